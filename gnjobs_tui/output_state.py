"""How the job or child stands whose output is on screen."""

from collections.abc import Sequence
from typing import NamedTuple

from gnjobs.health.silence import child_silence, judge_child
from gnjobs.health.states import State, child_state
from gnjobs.health.verdict import Limits
from gnjobs.records.keys import is_id
from gnjobs.store import JobStore
from gnjobs.text import silence_text
from gnjobs.watch.rows import JobRow
from gnjobs_tui.styling import Cell, Part, state_cell, state_named


class OutputState(NamedTuple):
    """The state of an output's writer, and how many seconds it has been silent while at work."""

    state: State
    silence: float | None = None
    percent: float | None = None


def state_of_row(row: JobRow) -> OutputState:
    """The state of a job, as its list has it."""
    return OutputState(state_named(row.state), row.silence, row.percent)


def read_child_state(store: JobStore, job_id: str, child_id: str, limits: Limits) -> OutputState | None:
    """Read and judge a child; None for one of gn-uploader's, of which nothing is recorded."""
    job = store.many([job_id])[0]
    if job is None or not is_id(child_id):
        return None
    child = store.child(job_id, child_id)
    snapshot = None if child.is_final else store.processes(job_id)
    seen = None if snapshot is None else [each for each in snapshot.processes if each.child == child_id]
    health = judge_child(job, child, seen, limits)
    silence = None if child.is_final or child.started is None else child_silence(job, child)
    return OutputState(child_state(child, health.verdict), silence, child.percent)


def state_parts(state: OutputState | None) -> Sequence[Part]:
    """The state and the silence, for a title."""
    if state is None:
        return []
    silence = silence_text(state.silence)
    return ["   ", state_cell(state.state), Cell(f" {silence}" if silence else "", "warning")]
