"""The screen of hosts: whether each one's agent answers, how busy the host is, and its jobs."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

from textual.binding import BindingType
from textual.message import Message

from gnjobs.health.hosts import NO_AGENT, HostHealth, judge_hosts
from gnjobs.records.hosts import AgentBeat
from gnjobs.text import size_text
from gnjobs.watch.filters import quoted
from gnjobs_tui.keys import bind
from gnjobs_tui.screens.base import WatchScreen
from gnjobs_tui.screens.dashboard import Dashboard
from gnjobs_tui.screens.tables import TableScreen
from gnjobs_tui.style import Cell, Part
from gnjobs_tui.widgets.columns import Cells, Column
from gnjobs_tui.widgets.rows import RowList
from gnjobs_tui.widgets.table import VirtualTable

COLUMNS: Final = (
    Column("host", "Host", 12, 100, grows=1),
    Column("agent", "Agent", 18, 99),
    Column("running", "Running", 8, 98, "right"),
    Column("silent", "Silent", 7, 97, "right"),
    Column("load", "Load", 16, 90, "right"),
    Column("memory", "Memory in use", 18, 80, "right"),
    Column("cpu", "Jobs' CPU", 10, 70, "right"),
    Column("rss", "Jobs' memory", 13, 60, "right"),
    Column("processes", "Processes", 10, 50, "right"),
)
READ_EVERY: Final = 10.0


def all_beats(app: Dashboard) -> list[AgentBeat]:
    """What agents said last, under all prefixes; only to be used in a thread."""
    from gnjobs.records.hosts import read_beats

    stores = [app.store_under(prefix) for prefix in app.config.prefixes]
    return [beat for store in stores for beat in read_beats(store.client, store.keys)]


def hosts_now(app: Dashboard, beats: Sequence[AgentBeat]) -> list[HostHealth]:
    """How the hosts are, with the jobs at work of now."""
    at_work = (row.job for row in app.jobs.catalogue.unfinished() if row.job is not None)
    return judge_hosts(beats, at_work, app.jobs.now())


class BeatsScreen(WatchScreen):
    """A screen that shows what agents said last, read anew while it is looked at."""

    class Read(Message):
        """Agents' beats were read."""

        def __init__(self, beats: list[AgentBeat]) -> None:
            super().__init__()
            self.beats = beats

    _beats: list[AgentBeat] | None = None

    def read_beats(self) -> None:
        """Read them, now and every ten seconds."""
        self._read()
        self.set_interval(READ_EVERY, self._read)

    def _read(self) -> None:
        if self.is_current or self._beats is None:
            self.work(self._read_beats, "hosts")

    def reload(self) -> None:
        """Read all jobs and the beats again."""
        super().reload()
        self._read()

    def _read_beats(self) -> None:
        self.post_message(self.Read(all_beats(self.dashboard)))

    def on_beats_screen_read(self, message: Read) -> None:
        """Show what was read."""
        self._beats = message.beats
        self.draw()


class HostsScreen(BeatsScreen, TableScreen):
    """Every host with an agent or with jobs at work, the troubled first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("p", "app.pulse", "Show the pulse: what is unusual", "hosts.pulse"),
    ]
    columns = COLUMNS
    usual = "troubled first"
    keys = (
        ("enter", "this host's jobs"),
        ("s", "sort"),
        ("p", "pulse"),
        (":", "more"),
        ("?", "help"),
        ("esc", "back"),
    )

    @property
    def takes_keys(self) -> bool:
        """Whether the hosts were read, or can't be."""
        return self._beats is not None or self.has_failed

    def on_mount(self) -> None:
        """Read the beats, now and every ten seconds."""
        self.table.focus()
        self.read_beats()

    def trail(self) -> Sequence[Part]:
        """The screen's name."""
        return ["hosts"]

    def draw_content(self) -> None:
        """Show the hosts as they are now."""
        empty = "no agents and no running jobs" if self._beats is not None else self.unread()
        self.table.show(RowList(self._rows()), empty=empty)

    def _rows(self) -> Iterator[tuple[str, Cells]]:
        if self._beats is None:  # rows that come later would move the cursor's
            return
        now = self.dashboard.jobs.now()
        for host in hosts_now(self.dashboard, self._beats):
            yield host.host, _cells(host, now)

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Show the host's jobs."""
        self.dashboard.open_jobs(f"host:{quoted(message.key)}")


def agent_cell(host: HostHealth, now: float) -> Cell:
    """How a host's agent is."""
    words = host.agent_words(now)
    return Cell(words, "success" if host.answers else "warning" if words == NO_AGENT else "error-bold")


def _cells(host: HostHealth, now: float) -> Cells:
    load = host.load if host.answers else None
    return {
        "host": Cell(host.host, "bold" if host.is_troubled else "plain"),
        "agent": agent_cell(host, now),
        "running": Cell(str(host.running or ""), "accent", host.running),
        "silent": Cell(str(host.silent or ""), "warning-bold", host.silent),
        "load": Cell(host.load_words, value=load.load if load else None),
        "memory": Cell(host.memory_words, value=load.memory - load.free if load else None),
        "cpu": Cell(f"{host.cpu:.0f}%" if host.running else "", value=host.cpu),
        "rss": Cell(size_text(host.rss) if host.running else "", value=host.rss),
        "processes": Cell(str(host.processes or ""), value=host.processes),
    }
