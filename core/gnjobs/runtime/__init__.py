"""What a job's own code calls: the current job, its children, their lines and their progress.

Nothing but `gnjobs` itself imports it: it runs inside the job's processes.
"""
