"""The table on a job's screen: a row for the job itself and one for each child."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gnjobs.health.silence import ChildJudge, child_silence, job_silence
from gnjobs.health.states import State, child_state, display_state
from gnjobs.health.verdict import DEAD, Limits
from gnjobs.records.fields import Child, Job, percent_done, run_seconds
from gnjobs.text import count_text, last_line, percent_text, plural, silence_text
from gnjobs_tui.screens.job_cells import (
    BAR_WIDTH,
    CPU,
    RUN,
    SILENT,
    progress_text,
    run_text,
)
from gnjobs_tui.screens.trends import pace_words
from gnjobs_tui.style import Cell, state_cell
from gnjobs_tui.widgets.columns import Cells, Column

if TYPE_CHECKING:
    from gnjobs.processes.seen import History, ProcessSnapshot, SeenProcess
    from gnjobs.processing.view import JobStatus

# No id of a child has a colon, so this key is free.
ITSELF = ":itself"
PART_COLUMNS = (
    Column("state", "State", 10, 100, order="worst first"),
    Column("part", "Part", 18, 99, grows=1),
    Column("progress", "Progress", BAR_WIDTH + 5, 60, from_width=90, order="least first"),
    Column("percent", "%", 4, 97, "right", stands_for="progress", sort="progress"),
    CPU,
    SILENT,
    RUN,
    Column("says", "Says", 20, 94, grows=1),
)


# What needs an eye comes first: trouble, what is at work, what waits, and of what has ended the worst.
_ORDER = (
    "DEAD", "STUCK", "stopping", "quiet", "running", "waiting", "failed", "lost", "unknown", "killed", "faults", "done",
)  # fmt: skip
_PLACES = {word: place for place, word in enumerate(_ORDER)}


class JobPicture(NamedTuple):
    """Everything that a job's screen shows, read at one time; made in a thread, since children may be many."""

    status: "JobStatus"
    parts: "JobParts"
    history: "History | None" = None

    @property
    def job(self) -> Job:
        """The job."""
        return self.status.job


class _Part(NamedTuple):
    state: State
    child: Child
    processes: "Sequence[SeenProcess]"


class JobParts:
    """The job itself, then its children, the troubled first, then the unfinished: the rows of a table."""

    def __init__(
        self,
        status: "JobStatus",
        snapshot: "ProcessSnapshot | None",
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._job = status.job
        self._health = status.health
        self._clock = clock
        processes = by_child(snapshot)
        self._own_processes = processes.get(None, ())
        judge = ChildJudge(status.job, snapshot, limits).judge
        self._parts = sorted(
            (
                _Part(child_state(child, judge(child).verdict), child, processes.get(child.id, ()))
                for child in status.children
            ),
            key=_order,
        )
        self._places = {part.child.id: place for place, part in enumerate(self._parts, 1)}
        self._places[ITSELF] = 0

    def __len__(self) -> int:
        return 1 + len(self._parts)

    def key_at(self, index: int) -> str:
        """The id of the child in a row, `ITSELF` in the first."""
        return ITSELF if index == 0 else self._parts[index - 1].child.id

    def index_of(self, key: str) -> int | None:
        """Where a child is."""
        return self._places.get(key)

    def cells_at(self, index: int) -> Cells:
        """The cells of a row."""
        if index == 0:
            return self._own_cells()
        return self._child_cells(*self._parts[index - 1])

    def child(self, key: str | None) -> Child | None:
        """The child of a row, None for the job itself."""
        place = self._places.get(key or ITSELF)
        return self._parts[place - 1].child if place else None

    def silence(self, child: Child | None) -> float | None:
        """Seconds of silence of a part that is at work."""
        if child is None:
            return job_silence(self._job)
        return child_silence(self._job, child) if not child.is_final and child.started else None

    @property
    def _is_dead(self) -> bool:
        """Whether its processes are gone: what they used is used no more."""
        return self._health.verdict == DEAD

    def _own_cells(self) -> Cells:
        job = self._job
        seen = self._own_processes
        cpu = sum(process.cpu or 0.0 for process in seen) if seen else job.cpu
        return {
            "state": state_cell(display_state(job, self._health)),
            "part": Cell("the job itself", "bold"),
            "progress": Cell(progress_text(percent_done(job)), "accent"),
            "percent": Cell(percent_text(percent_done(job))),
            "cpu": Cell("" if job.is_final or self._is_dead else percent_text(cpu)),
            "silent": Cell(silence_text(job_silence(job)), "warning"),
            "run": Cell(run_text(run_seconds(job, self._clock()), is_over=job.is_final)),
            "says": Cell(last_line(job.error) or job.message or ""),
        }

    def _child_cells(self, state: State, child: Child, processes: "Sequence[SeenProcess]") -> Cells:
        is_running = state.word == "running"
        silence, run, percent = self.silence(child), run_seconds(child, self._clock()), percent_done(child)
        cpu = sum(process.cpu or 0.0 for process in processes) if processes and not self._is_dead else None
        pace = pace_words(child, silence, self._clock()) if is_running else ""
        return {
            "state": part_state_cell(state),
            "part": Cell(child.label or child.id),
            "progress": Cell(progress_text(percent), "dim" if child.is_final else "accent", percent),
            "percent": Cell(percent_text(percent)),
            "cpu": Cell(percent_text(cpu), value=cpu),
            "silent": Cell(silence_text(silence), "warning", silence),
            "run": Cell(run_text(run, is_over=child.is_final), value=run),
            "says": Cell(", ".join(filter(None, (child_words(child), pace)))),
        }


def part_state_cell(state: State) -> Cell:
    """A part's state, which sorts by how much it needs an eye."""
    return state_cell(state)._replace(value=_PLACES[state.word])


def _order(part: _Part) -> tuple[int, str]:
    return _PLACES[part.state.word], part.child.label or part.child.id


def by_child(snapshot: "ProcessSnapshot | None") -> "Mapping[str | None, list[SeenProcess]]":
    """The processes of each child; those of the job itself under None."""
    found: dict[str | None, list[SeenProcess]] = defaultdict(list)
    for process in snapshot.processes if snapshot is not None else ():
        found[process.child].append(process)
    return found


def child_words(child: Child) -> str:
    """The last word on a child: who killed it, what went wrong, what it found, or how far it is."""
    if child.stop_by:
        return f"by {child.stop_by}" + (f": {child.stop_reason}" if child.stop_reason else "")
    faults = plural(child.faults, "fault") if child.faults else ""
    said = last_line(child.error) or child.message or _how_far(child)
    return ", ".join(part for part in (faults, said) if part)


def _how_far(child: Child) -> str:
    if child.is_final or child.done is None:
        return ""
    total = f" of {count_text(child.total)}" if child.total else ""
    return f"{child.unit or 'done'} {count_text(child.done)}{total}"
