"""The cells of a job's row in a table of jobs: how times, percentages, sizes and progress are written."""

from collections.abc import Callable, Sequence
from typing import Final

from gnjobs.errors import ConfigError
from gnjobs.health.assess import beat_overdue_after
from gnjobs.health.states import DEAD_STATE
from gnjobs.records.fields import percent_done, run_seconds
from gnjobs.text import MINUTE, age_text, clock_text, percent_text, plural, silence_text, size_text
from gnjobs.watch.listing import DEFAULT_SORT, Listing, Sort
from gnjobs.watch.rows import JobRow
from gnjobs_tui.style import GLYPHS, Cell, state_cell, state_named
from gnjobs_tui.widgets.columns import Cells, Column

BAR_WIDTH = 8

STATE = Column("state", "State", 10, 100)
LABEL = Column("label", "Label", 16, 99, grows=1)
USER = Column("user", "User", 9, 98)
SAYS = Column("says", "Says", 20, 98, grows=1, sort="faults")
PROGRESS = Column("progress", "Progress", BAR_WIDTH + 5, 60, from_width=90)
PERCENT = Column("percent", "%", 4, 97, "right", stands_for="progress", sort="progress")
CHILDREN = Column("children", "Children", 8, 50, "right", from_width=90)
CPU = Column("cpu", "CPU", 5, 45, "right", from_width=90, order="busiest first")
SILENT = Column("silent", "Silent", 6, 96, "right", order="silent for longest first")
RUN = Column("run", "Run", 7, 95, "right", order="longest first")
STARTED = Column("started", "Started", 9, 40, "right", from_width=90, sort="created")
ID = Column("id", "Id", 8, 30, from_width=110)
TYPE = Column("type", "Type", 9, 25, from_width=110)
HOST = Column("host", "Host", 10, 20, from_width=110)
MEMORY = Column("memory", "Memory", 7, 15, "right", from_width=110)

_MORE = (PROGRESS, PERCENT, CHILDREN, CPU, SILENT, RUN, STARTED, ID, TYPE, HOST, MEMORY)
ALL_USERS_COLUMNS = (STATE, LABEL, USER, *_MORE, SAYS._replace(worth=22, from_width=130))
ONE_USER_COLUMNS = (STATE, LABEL, SAYS, *_MORE)
_KNOWN: Final = {column.id: column for column in (*ALL_USERS_COLUMNS, SAYS)}
# In each order what an operator looks for comes first.
ORDERS: Final = (
    (DEFAULT_SORT, "worst first", "troubled, then unfinished, then newest"),
    (Sort("created", descending=True), "created", "newest first"),
    (Sort("finished", descending=True), "finished", "ended last first"),
    (Sort("silent", descending=True), "silent", "silent for longest first"),
    (Sort("run", descending=True), "run", "longest first"),
    (Sort("progress"), "progress", "least first"),
    (Sort("children", descending=True), "children", "most ended first"),
    (Sort("cpu", descending=True), "CPU", "busiest first"),
    (Sort("memory", descending=True), "memory", "largest first"),
    (Sort("faults", descending=True), "faults", "most first"),
    (Sort("state"), "state", "worst first, then by word"),
    (Sort("label"), "label", "alphabetical"),
    (Sort("user"), "user", "alphabetical"),
    (Sort("type"), "type", "alphabetical"),
    (Sort("host"), "host", "alphabetical"),
)


def job_columns(chosen: Sequence[str], *, of_user: bool) -> Sequence[Column]:
    """The columns of a list: those that the configuration names, of which the last goes first where room is short.

    Raises `ConfigError` for a name that no column has.
    """
    unknown = [name for name in chosen if name not in _KNOWN]
    if unknown:
        raise ConfigError(f"columns: there is no column {unknown[0]!r:.80}; known are {', '.join(_KNOWN)}")
    wanted = [
        _KNOWN[name]._replace(worth=len(chosen) - place, from_width=0, stands_for=None)
        for place, name in enumerate(dict.fromkeys(chosen))
        if not (of_user and name == USER.id)
    ]
    return wanted or (ONE_USER_COLUMNS if of_user else ALL_USERS_COLUMNS)


def run_text(seconds: float | None, *, is_over: bool = False) -> str:
    """A run time; of what still runs no seconds, so that lines rest."""
    if seconds is None:
        return ""
    return "<1m" if seconds < MINUTE and not is_over else age_text(seconds)


def progress_text(percent: float | None) -> str:
    """A bar with its percentage."""
    return "" if percent is None else f"{GLYPHS.bar(percent, BAR_WIDTH)} {percent_text(percent):>4}"


def _children(row: JobRow) -> str:
    return GLYPHS.none if not row.children else f"{row.children_done or 0}/{row.children}"


def _says(row: JobRow) -> str:
    faults = plural(row.faults, "fault") if row.faults else ""
    return ", ".join(part for part in (faults, row.says) if part)


def shown_silence(row: JobRow, now: float) -> float | None:
    """Seconds without a line or progress: up to the last beat, or up to now where the supervisor is silent too."""
    if row.job is None or row.silence is None or row.heartbeat is None:
        return row.silence
    beat_age = now - row.heartbeat
    return row.silence + (beat_age if beat_age > beat_overdue_after(row.job) else 0.0)


def job_cells(row: JobRow, now: float, name_of: Callable[[str | None], str]) -> Cells:
    """The cells of a job's row at a time (unix seconds)."""
    is_dead = row.state == DEAD_STATE.word  # what its processes used when they were last seen is used no more
    return {
        "state": state_cell(state_named(row.state)),
        "label": Cell(row.label),
        "user": Cell(name_of(row.user)),
        "says": Cell(_says(row)),
        "progress": Cell(progress_text(percent_done(row)), "dim" if row.is_final else "accent"),
        "percent": Cell(percent_text(percent_done(row))),
        "children": Cell(_children(row)),
        "cpu": Cell(GLYPHS.none if is_dead else percent_text(row.cpu)),
        "silent": Cell(silence_text(shown_silence(row, now)), "warning"),
        "run": Cell(run_text(run_seconds(row, now), is_over=row.is_final)),
        "started": Cell(clock_text(row.started, now), "dim"),
        "id": Cell(row.id[:8], "dim"),
        "type": Cell(row.type or "", "dim"),
        "host": Cell(row.host or "", "dim"),
        "memory": Cell("" if is_dead else size_text(row.rss), "dim"),
    }


class JobsSource:
    """A listing of the catalogue as the rows of a table."""

    def __init__(
        self, listing: Listing, clock: Callable[[], float], name_of: Callable[[str | None], str]
    ) -> None:
        self.listing = listing
        self._clock = clock
        self._name_of = name_of

    def __len__(self) -> int:
        return len(self.listing)

    def key_at(self, index: int) -> str:
        """The key of the job at a position."""
        return self.listing.row_at(index).key

    def index_of(self, key: str) -> int | None:
        """Where a job is now."""
        return self.listing.index_of(key)

    def cells_at(self, index: int) -> Cells:
        """The cells of the job at a position."""
        return job_cells(self.listing.row_at(index), self._clock(), self._name_of)
