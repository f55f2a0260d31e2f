"""The last lines of what the cursor rests on: read in a thread once it rests, and again when there is news of it."""

from collections.abc import Sequence
from typing import NamedTuple

from textual.content import Content
from textual.message import Message
from textual.timer import Timer

from gnjobs.errors import GnjobsError
from gnjobs.processes.seen import History
from gnjobs.watch.rows import RANK_TROUBLED, JobRow
from gnjobs_tui.outputs.seen import Item, SeenLine
from gnjobs_tui.screens.row_actions import RowActions
from gnjobs_tui.style import GLYPHS, Cell, content, cropped, safe

# A cursor that stays on a row for so long rests, and a job in front is read again no sooner than this.
REST_SECONDS = 0.3
AGAIN_SECONDS = 1.0


class Aim(NamedTuple):
    """What to read: the first of these parts that has lines (id and name, None and empty for the job itself).

    It is read again when `news` is another. `lines` is how many there is room for.
    """

    prefix: str
    job_id: str
    parts: Sequence[tuple[str | None, str]]
    news: object
    lines: int
    runs: bool = False

    @property
    def what(self) -> object:
        """What it is about, apart from the news of it."""
        return self.prefix, self.job_id, self.parts[0]


def parts_of(row: JobRow) -> Sequence[tuple[str | None, str]]:
    """Whose lines tell most of a job: those of its child in trouble, else its own, else its quietest child's."""
    told = row.job.children_summary.told if row.job and row.job.children_summary else ()
    children = [(child.id, child.label or child.id) for child in told if child.id]
    own: list[tuple[str | None, str]] = [(None, "")]
    return [*children, *own] if row.rank == RANK_TROUBLED else [*own, *children]


class Glance(NamedTuple):
    """What was read for an aim: the part's name with its last lines, and of a job that runs its history."""

    aim: Aim
    name: str = ""
    items: Sequence[Item] = ()
    history: History | None = None

    @property
    def last_line(self) -> str:
        """The last line; empty where there is none."""
        last = self.items[-1] if self.items else None
        return last.text if isinstance(last, SeenLine) else ""


class GlanceScreen(RowActions):
    """A screen that shows the last lines of what its cursor is on; `aim` says of what, None where there is no room."""

    class Glanced(Message):
        """Lines were read."""

        def __init__(self, glance: Glance) -> None:
            super().__init__()
            self.glance = glance

    _glance: Glance | None = None
    _aim: Aim | None = None
    _resting: Timer | None = None
    _is_reading = False

    def aim(self) -> Aim | None:
        """What the cursor is on."""
        raise NotImplementedError

    def draw_glance(self) -> None:
        """Show the lines that were read last."""
        raise NotImplementedError

    @property
    def glance(self) -> Glance | None:
        """What was read of that which the cursor is on now."""
        aim, glance = self._aim, self._glance
        return glance if aim is not None and glance is not None and glance.aim.what == aim.what else None

    def look(self) -> None:
        """Have read, in a moment, what the cursor is on, unless that was read and there is no news of it."""
        before, self._aim = self._aim, self.aim()
        has_moved = before is None or self._aim is None or before.what != self._aim.what
        if has_moved and self._resting is not None:
            self._resting.stop()
            self._resting = None
        is_known = self.glance is not None and self._glance is not None and self._glance.aim == self._aim
        if self._aim is not None and self._resting is None and not is_known:
            self._resting = self.set_timer(REST_SECONDS if has_moved else AGAIN_SECONDS, self._glance_now)

    def _glance_now(self) -> None:
        self._resting, aim = None, self._aim
        # One at a time, however slow: lines may be of many MB, and news come all the time.
        is_free = not self._is_reading and self.is_current and self.dashboard.feed.kind != "away"
        if aim is not None and is_free:
            self._is_reading = True
            self.run_worker(lambda: self._read_last(aim), thread=True, exit_on_error=False, group="glance")

    def _read_last(self, aim: Aim) -> None:
        from redis.exceptions import RedisError

        from gnjobs_tui.outputs.reading import OutputSource, last_items

        store, glance = self.dashboard.store_under(aim.prefix), Glance(aim)
        try:
            snapshot = store.processes(aim.job_id) if aim.runs else None
            glance = glance._replace(history=snapshot.history if snapshot is not None else None)
            for child, name in aim.parts:
                if items := last_items(OutputSource(store, aim.job_id, child), aim.lines):
                    glance = glance._replace(name=name, items=items)
                    break
            else:
                glance = glance._replace(name=aim.parts[0][1])
        except (GnjobsError, RedisError, OSError, ValueError):
            self.log.warning("last lines could not be read; the output's own screen says why")
        finally:
            self.post_message(self.Glanced(glance))

    def on_glance_screen_glanced(self, message: Glanced) -> None:
        """Take in what was read, and look again where there was news meanwhile."""
        self._glance, self._is_reading = message.glance, False
        self.look()
        self.draw_glance()


def glance_lines(glance: Glance | None, room: int, width: int) -> list[Content]:
    """A rule with the part's name, and under it its last lines."""
    if room < 2 or glance is None:
        return []
    what = "last lines" if glance.items else "no output"
    of = f" of {safe(glance.name)}" if glance.name else ""
    title = f"{GLYPHS.rule * 2} {what}{of} "
    rule = content(Cell(cropped(title, width).ljust(width, GLYPHS.rule), "dim"))
    return [rule, *(_line(item) for item in glance.items[1 - room :])]


def _line(item: Item) -> Content:
    if isinstance(item, SeenLine):
        return content(Cell(item.text, item.token))
    return content(Cell(item.words, "warning"))
