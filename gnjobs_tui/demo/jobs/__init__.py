"""The demo's jobs, written as a user would write hers: through the public names of `gnjobs` alone."""
