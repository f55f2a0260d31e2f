"""Acting on jobs from outside: killing them, and the agent that answers for jobs without a supervisor.

Imported by `store` and by the command line and the dashboard.
"""
