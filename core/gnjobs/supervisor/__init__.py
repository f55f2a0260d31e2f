"""Runs one job in a process of its own: `python -m gnjobs.supervisor`.

`launch` starts that process; `control` and `store` import nothing but that module.
"""
