"""Outputs as a person reads them: what is seen of a line, the lines in memory, and the work that is done in threads."""
