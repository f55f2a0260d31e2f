"""The processes of this host: which belong to a job, what they are, and how they are ended for sure.

One of the two rooms right above `records`; `health`, `supervisor` and `control` import it.
"""
