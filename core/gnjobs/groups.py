"""The groups that lists count and filter by: every job is in exactly one of them, and in `all`."""

from typing import Final

ALL: Final = "all"
TROUBLE: Final = "trouble"
RUNNING: Final = "running"
WAITING: Final = "waiting"
FAILED: Final = "failed"
DONE: Final = "done"

GROUPS: Final = (ALL, TROUBLE, RUNNING, WAITING, FAILED, DONE)

_GROUP_OF_STATE: Final = {
    "STUCK": TROUBLE,
    "DEAD": TROUBLE,
    "running": RUNNING,
    "quiet": RUNNING,
    "stopping": RUNNING,
    "waiting": WAITING,
    "failed": FAILED,
    "killed": FAILED,
    "lost": FAILED,
    "done": DONE,
    "faults": DONE,
}
STATE_WORDS: Final = tuple(_GROUP_OF_STATE)


def group_of(state: str) -> str:
    """Name the group of a shown state; a word that is none of ours counts as running, since nothing ended it."""
    return _GROUP_OF_STATE.get(state, RUNNING)
