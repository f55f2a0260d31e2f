"""The command line: one module for each command or a few related ones; `main` finds them by name.

Only the console script `gnjobs` and `python -m gnjobs_tui` import it. Its modules import what they need when their
command runs, so that `gnjobs ls` starts as quickly as its libraries allow.
"""
