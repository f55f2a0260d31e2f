"""`python -m gnjobs_tui` is `gnjobs`."""

from gnjobs_tui.cli import main

main()
