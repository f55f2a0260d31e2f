"""`python -m gnjobs_tui` is `gnjobs`."""

from gnjobs_tui.cli.main import main

main()
