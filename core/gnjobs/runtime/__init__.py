"""What a job's own code calls: the current job, its children, their lines and their progress.

It runs inside the job's processes. The public names are exported by `gnjobs`; no other room imports this one.
"""
