"""The words for where a job or child stands, as stored in Redis."""

from typing import Final

PENDING: Final = "pending"
RUNNING: Final = "running"
STOPPING: Final = "stopping"
SUCCESS: Final = "success"
ERROR: Final = "error"
KILLED: Final = "killed"
LOST: Final = "lost"

FINAL_STATUSES: Final = frozenset({SUCCESS, ERROR, KILLED, LOST})
UNFINISHED_STATUSES: Final = frozenset({PENDING, RUNNING, STOPPING})
STATUSES: Final = FINAL_STATUSES | UNFINISHED_STATUSES
