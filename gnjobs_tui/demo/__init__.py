"""`gnjobs demo`: a Redis server of its own, real jobs of several users on it, and the dashboard.

Only the command line imports it. The demo's supervisors run the programs in `demo.jobs`.
"""
