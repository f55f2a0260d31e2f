"""Reports by job type: the code that makes sense of a job's outputs when somebody asks for its status.

Imported by `store` and by the dashboard; authors of processors import `processor` and `report`.
"""
