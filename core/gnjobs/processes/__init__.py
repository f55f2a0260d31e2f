"""The processes of this host: which belong to a job, what they are doing, and how they are ended for sure.

Stands on `records` alone. `health`, `supervisor` and `control` import it.
"""
