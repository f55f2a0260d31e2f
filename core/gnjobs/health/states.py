"""The states that lists show: for each its symbol, its word, the name of its colour, and how bad it is.

Here a stored status and a verdict become one state. `gnjobs_tui.style` says what colour a name stands for.
"""

from typing import Final, NamedTuple

from gnjobs.health.verdict import DEAD, QUIET, STUCK, Health
from gnjobs.records import statuses
from gnjobs.records.fields import Child, Job


class State(NamedTuple):
    """One row of the table of states.

    `token` names the colour; `rank` orders lists: 0 troubled, 1 unfinished, 2 ended.
    """

    word: str
    symbol: str
    ascii_symbol: str
    token: str
    rank: int


WAITING: Final = State("waiting", "·", ".", "dim", 1)
RUNNING: Final = State("running", "●", "*", "accent", 1)
QUIET_STATE: Final = State("quiet", "○", "o", "plain", 1)
STUCK_STATE: Final = State("STUCK", "!", "!", "warning-bold", 0)
DEAD_STATE: Final = State("DEAD", "!", "!", "error-bold", 0)
STOPPING: Final = State("stopping", "□", "~", "warning", 1)
DONE: Final = State("done", "✓", "+", "success", 2)
FAULTS: Final = State("faults", "▲", "^", "warning", 2)
FAILED: Final = State("failed", "✗", "x", "error", 2)
KILLED: Final = State("killed", "■", "#", "plain", 2)
LOST: Final = State("lost", "?", "?", "error", 2)
UNKNOWN: Final = State("unknown", "?", "?", "dim", 2)

STATES: Final = (
    WAITING, RUNNING, QUIET_STATE, STUCK_STATE, DEAD_STATE, STOPPING, DONE, FAULTS, FAILED, KILLED, LOST, UNKNOWN,
)  # fmt: skip
_BY_VERDICT: Final = {STUCK: STUCK_STATE, DEAD: DEAD_STATE}
_BY_STATUS: Final = {
    statuses.PENDING: WAITING,
    statuses.RUNNING: RUNNING,
    statuses.STOPPING: STOPPING,
    statuses.SUCCESS: DONE,
    statuses.ERROR: FAILED,
    statuses.KILLED: KILLED,
    statuses.LOST: LOST,
}


def state_of(status: str | None, verdict: str, faults: int | None) -> State:
    """The state of a job or child with this stored status, verdict and number of faults."""
    if verdict in _BY_VERDICT:
        return _BY_VERDICT[verdict]
    if status == statuses.SUCCESS and faults:
        return FAULTS
    if status == statuses.RUNNING and verdict == QUIET:
        return QUIET_STATE
    return _BY_STATUS.get(status or "", UNKNOWN)


def display_state(job: Job, health: Health) -> State:
    """The state of a job."""
    return state_of(job.status, health.verdict, job.faults)


def child_state(child: Child, verdict: str = "ok") -> State:
    """The state of a child."""
    return state_of(child.status, verdict, child.faults)


ALL: Final = "all"
TROUBLE: Final = "trouble"
GROUP_RUNNING: Final = "running"
GROUP_WAITING: Final = "waiting"
GROUP_FAILED: Final = "failed"
GROUP_DONE: Final = "done"

GROUPS: Final = (ALL, TROUBLE, GROUP_RUNNING, GROUP_WAITING, GROUP_FAILED, GROUP_DONE)

_STATES_OF_GROUP: Final = {
    TROUBLE: (STUCK_STATE, DEAD_STATE),
    GROUP_RUNNING: (RUNNING, QUIET_STATE, STOPPING),
    GROUP_WAITING: (WAITING,),
    GROUP_FAILED: (FAILED, KILLED, LOST),
    GROUP_DONE: (DONE, FAULTS),
}
_GROUP_OF_WORD: Final = {state.word: group for group, found in _STATES_OF_GROUP.items() for state in found}


def group_of(word: str) -> str:
    """Name the group of a shown state; `all` for one that belongs to no other, since nothing is known of the job."""
    return _GROUP_OF_WORD.get(word, ALL)
