"""Makes `python -m gnjobs_tui` do the same as `gnjobs`."""

from gnjobs_tui.cli.main import main

main()
