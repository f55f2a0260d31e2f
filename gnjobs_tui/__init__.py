"""The terminal dashboard and the command line over the gnjobs library."""
