"""The demo's jobs, written as users would write theirs: with the public names of `gnjobs` alone."""
