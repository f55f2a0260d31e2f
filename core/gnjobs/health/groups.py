"""The groups that lists count and filter by: a job is in `all`, and in one more unless its status is unknown."""

from typing import Final

from gnjobs.health import states
from gnjobs.health.states import DEAD_STATE, FAULTS, KILLED, LOST, QUIET_STATE, STOPPING, STUCK_STATE

ALL: Final = "all"
TROUBLE: Final = "trouble"
RUNNING: Final = "running"
WAITING: Final = "waiting"
FAILED: Final = "failed"
DONE: Final = "done"

GROUPS: Final = (ALL, TROUBLE, RUNNING, WAITING, FAILED, DONE)

_STATES_OF_GROUP: Final = {
    TROUBLE: (STUCK_STATE, DEAD_STATE),
    RUNNING: (states.RUNNING, QUIET_STATE, STOPPING),
    WAITING: (states.WAITING,),
    FAILED: (states.FAILED, KILLED, LOST),
    DONE: (states.DONE, FAULTS),
}
_GROUP_OF_WORD: Final = {state.word: group for group, found in _STATES_OF_GROUP.items() for state in found}


def group_of(word: str) -> str:
    """Name the group of a shown state; `all` for one that belongs to no other, since nothing is known of the job."""
    return _GROUP_OF_WORD.get(word, ALL)
