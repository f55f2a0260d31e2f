"""`gnjobs demo`: a Redis server of its own, real jobs of several users on it, and the dashboard over them.

Only the command line imports it; `demo.jobs` are programs that the demo's supervisors run.
"""
