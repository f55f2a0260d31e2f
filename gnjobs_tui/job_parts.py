"""A job's screen as data: its parts as rows, its facts and its result as lines."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gnjobs.durations import clock_text, silence_text
from gnjobs.health import Health, Limits, child_silence, job_silence, judge_child
from gnjobs.processes import ProcessSnapshot, SeenProcess
from gnjobs.processing import Report
from gnjobs.records import Child, Job
from gnjobs.states import State, child_state, display_state
from gnjobs.views import JobStatus
from gnjobs_tui.job_cells import BAR_WIDTH, CPU, RUN, SILENT, percent_text, progress_text, run_text, size_text
from gnjobs_tui.styling import GLYPHS, Cell, Part, state_cell
from gnjobs_tui.widgets.columns import Column
from gnjobs_tui.widgets.virtual_table import Cells

# No id of a child has a colon, so this key is free.
ITSELF = ":itself"
PART_COLUMNS = (
    Column("state", "State", 10, 100),
    Column("part", "Part", 20, 99, grows=True),
    Column("progress", "Progress", BAR_WIDTH + 5, 60, from_width=90),
    Column("percent", "%", 4, 97, "right", stands_for="progress"),
    CPU,
    SILENT,
    RUN,
    Column("says", "Says", 18, 94, grows=True),
)
LONGEST_RESULT = 5


class JobPicture(NamedTuple):
    """Everything that a job's screen shows, read at one time."""

    status: JobStatus
    snapshot: ProcessSnapshot | None
    limits: Limits
    now: float

    @property
    def job(self) -> Job:
        """The job."""
        return self.status.job


def by_child(snapshot: ProcessSnapshot | None) -> Mapping[str | None, list[SeenProcess]]:
    """The processes of each child; those of the job itself under None."""
    found: dict[str | None, list[SeenProcess]] = defaultdict(list)
    for process in snapshot.processes if snapshot is not None else ():
        found[process.child].append(process)
    return found


def part_rows(picture: JobPicture) -> list[tuple[str, Cells]]:
    """The job itself, then its children, the troubled first, then the unfinished."""
    processes = by_child(picture.snapshot)
    judged = []
    for child in picture.status.children:
        seen = None if picture.snapshot is None else processes.get(child.id, [])
        health = judge_child(picture.job, child, seen, picture.limits)
        judged.append((child_state(child, health.verdict), child, seen or []))
    judged.sort(key=lambda each: (each[0].rank, each[1].label or each[1].id))
    itself = _own_cells(picture, processes.get(None, []))
    return [
        (ITSELF, itself),
        *((child.id, _child_cells(picture, *each)) for each in judged for child in each[1:2]),
    ]


def _own_cells(picture: JobPicture, processes: Sequence[SeenProcess]) -> Cells:
    job = picture.job
    cpu = sum(process.cpu or 0.0 for process in processes) if processes else job.cpu
    return {
        "state": state_cell(display_state(job, picture.status.health)),
        "part": Cell("the job itself", "bold"),
        "progress": Cell(progress_text(job.percent), "dim" if job.is_final else "accent"),
        "percent": Cell(percent_text(job.percent)),
        "cpu": Cell("" if job.is_final else percent_text(cpu)),
        "silent": Cell(silence_text(job_silence(job)), "warning"),
        "run": Cell(run_text(_run_seconds(job, picture.now))),
        "says": Cell(_last_line(job.error) or job.message or ""),
    }


def _child_cells(picture: JobPicture, state: State, child: Child, processes: Sequence[SeenProcess]) -> Cells:
    silence = child_silence(picture.job, child) if not child.is_final and child.started else None
    return {
        "state": state_cell(state),
        "part": Cell(child.label or child.id),
        "progress": Cell(progress_text(child.percent), "dim" if child.is_final else "accent"),
        "percent": Cell(percent_text(child.percent)),
        "cpu": Cell(percent_text(sum(p.cpu or 0.0 for p in processes)) if processes else ""),
        "silent": Cell(silence_text(silence), "warning"),
        "run": Cell(run_text(_run_seconds(child, picture.now))),
        "says": Cell(child_words(child)),
    }


def child_words(child: Child) -> str:
    """The last word on a child: who killed it, what went wrong, what it found, or how far it is."""
    if child.stop_by:
        return f"by {child.stop_by}" + (f": {child.stop_reason}" if child.stop_reason else "")
    faults = f"{child.faults} fault{'' if child.faults == 1 else 's'}" if child.faults else ""
    said = _last_line(child.error) or child.message or _how_far(child)
    return ", ".join(part for part in (faults, said) if part)


def _how_far(child: Child) -> str:
    if child.is_final or child.done is None:
        return ""
    total = f" of {_count(child.total)}" if child.total else ""
    return f"{child.unit or 'done'} {_count(child.done)}{total}"


def _count(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


def _last_line(text: str | None) -> str:
    return (text or "").strip().rpartition("\n")[2]


def _run_seconds(part: Job | Child, now: float) -> float | None:
    return None if part.started is None else max(0.0, (part.finished or now) - part.started)


def verdict_lines(job: Job, health: Health) -> list[list[Part]]:
    """The state with its evidence, in two lines."""
    state = state_cell(display_state(job, health))
    evidence = list(health.evidence) or [job.message or ""]
    indent = " " * (len(state.text) + 3)
    more = f" {'.' if GLYPHS.is_ascii else '·'} ".join(evidence[1:])
    return [[state, "   ", evidence[0]], [indent, more]]


def fact_lines(picture: JobPicture) -> list[list[Part]]:
    """Where and how long it runs, on what, and its command; fields of others are left to `x`."""
    job, now = picture.job, picture.now
    dot = " . " if GLYPHS.is_ascii else " · "
    ran = run_text(_run_seconds(job, now))
    word = "ran" if job.is_final else "running"
    facts = [f"{word} {ran} since {clock_text(job.started, now)}"] if ran else ["not started"]
    facts += [" as ".join(part for part in (job.host, job.account) if part)] if job.host else []
    facts += [f"{job.processes} processes"] if job.processes and not job.is_final else []
    facts += [size_text(job.rss)] if job.rss else []
    facts += [f"wrote {size_text(job.written)}"] if job.written else []
    facts += [f"exit code {job.exit_code}"] if job.exit_code is not None else []
    facts += [f"signal {job.signal}"] if job.signal is not None else []
    return [[dot.join(facts)], [Cell("command   ", "dim"), job.command or ""]]


def result_lines(report: Report, room: int) -> list[list[Part]]:
    """The report's headline, its notes, and the first rows of its first table with how often each occurs."""
    found: list[list[Part]] = [[Cell("result    ", "dim"), Cell(report.headline, "bold")]]
    found += [[Cell("          ", "dim"), Cell(note, "warning")] for note in report.notes]
    for table in report.tables[:1]:
        for place, row in enumerate(table.rows):
            count = table.counts[place] if place < len(table.counts) else 1
            times = Cell(f"  {'x' if GLYPHS.is_ascii else '×'}{count}", "dim") if count > 1 else ""
            found.append([f"  {row[0] or ''}   {row[-1] or ''}", times])
    return found[: max(1, room)]
