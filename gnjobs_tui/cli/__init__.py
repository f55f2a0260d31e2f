"""The command line: a module for each command or a few of them, found by name in `main`.

Nothing imports it but the console script `gnjobs` and `python -m gnjobs_tui`. Its modules import what they need when
their command runs, so that `gnjobs ls` starts as quickly as its libraries allow.
"""
