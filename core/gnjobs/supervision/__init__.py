"""The pieces of a supervisor: the process that runs one job, hears it, reports on it and ends it."""
