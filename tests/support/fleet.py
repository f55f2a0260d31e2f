"""Simulated jobs on simulated hosts: supervisors beat, lines come, clocks jump, and a dashboard's judge looks on.

Time goes in beats of 5 s. What a supervisor writes is worked out by its own code where clocks matter.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gnjobs.health.verdict import Health
from gnjobs.processes.seen import Presence
from gnjobs.records.fields import Job
from gnjobs.records.summaries import ChildrenSummary, SilentChild
from gnjobs.supervisor.measure import Clocks, LastSign
from gnjobs.watch.catalogue import Catalogue
from gnjobs.watch.judge import Judge
from gnjobs.watch.rows import Change, FeedState, JobRow, row_of

BEAT = 5.0
START = 1_700_000_000.0
TROUBLE = ("STUCK", "DEAD")


@dataclass
class Host:
    """A host with its own clocks: `wall` is how far its wall clock is off, `slept` how long it was suspended."""

    name: str
    wall: float = 0.0
    slept: float = 0.0
    late: Callable[[float], float] = lambda _: 0.0

    def clocks(self, now: float, server: float) -> Clocks:
        return Clocks(now + self.wall, now - self.slept, server)


@dataclass
class SimulatedJob:
    """One job; `prints` says whether a line comes at this second, `uses` gives CPU and the last sign of life."""

    id: str
    host: Host
    prints: Callable[[float], bool] = lambda _: False
    uses: Callable[[float], tuple[float, float | None]] = lambda _: (0.0, None)
    pending_for: float = 0.0
    supervisor_ends_at: float = float("inf")
    processes_end_at: float = float("inf")
    quietest: Callable[[float], tuple[float, float] | None] = lambda _: (
        None
    )  # a child's last line and its CPU
    fields: dict[str, Any] = field(default_factory=dict)
    _told: float = 0.0
    _sign: LastSign = field(default_factory=LastSign)
    _offset: float | None = None
    _written: Job | None = None

    def live(self, age: float) -> None:
        """Spend the time since the last beat."""
        if age >= self.pending_for and self.prints(age):
            self._told = START + age + self.host.wall

    def beat(self, age: float) -> Job | None:
        """What the supervisor writes now, by its idea of the server's time; None where it writes nothing."""
        now = START + age
        if age < self.pending_for:
            return Job(id=self.id, status="pending", created=START, **self.fields) if age == 0 else None
        if age >= self.supervisor_ends_at:
            return None
        monotonic = now - self.host.slept
        server = monotonic + (self._offset if self._offset is not None else now - monotonic)
        self._offset = now - monotonic
        last_output = self._sign.at(self._told, self.host.clocks(now, server)) if self._told else None
        cpu, moved = self.uses(age)
        summary, quietest = None, self.quietest(age)
        if quietest is not None:
            summary = ChildrenSummary(
                counts={"running": 2},
                idlest=SilentChild(id="c", since=quietest[0], cpu=quietest[1], idle_since=quietest[0]),
            )
        return Job(
            id=self.id, status="running", host=self.host.name, created=START, started=START + self.pending_for,
            heartbeat=server, heartbeat_every=BEAT, last_output=last_output, cpu=cpu, idle_since=moved,
            children_summary=summary, **self.fields,
        )  # fmt: skip

    def presence(self, age: float) -> Presence:
        """What is seen of its processes on its host."""
        if age < self.processes_end_at:
            return Presence("running", "2 processes run")
        return Presence("gone")


class Dashboard:
    """A judge over a catalogue, told of beats as by a watcher; `troubled` notes when a job was first accused."""

    def __init__(self, jobs: list[SimulatedJob]) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.age = self.slept = 0.0
        self.judge = Judge(monotonic=lambda: self.age - self.slept)
        self.catalogue = Catalogue(self.judge, lambda: START + self.age - self.slept)
        self.troubled: dict[str, tuple[float, Health]] = {}
        self.kind = "live"
        self._late: list[tuple[float, JobRow]] = []

    def run(self, until: float, *, feed: Callable[[float], FeedState] = lambda _: FeedState("live")) -> None:
        """Go on to an age; `feed` says at each whether anything can be written and read."""
        while self.age < until:
            self.step(feed(self.age))
            self.age += BEAT

    def step(self, state: FeedState) -> None:
        """Live through one beat."""
        for job in self.jobs.values():
            job.live(self.age)
        self.catalogue.apply(Change(state=state))
        if state.hears_beats:
            for job in self.jobs.values():
                if (written := job.beat(self.age)) is not None:
                    self._late.append((self.age + job.host.late(self.age), row_of(written)))
        self._deliver(state)
        self.catalogue.expire()
        self._look()
        self._note()

    def _deliver(self, state: FeedState) -> None:
        if state.kind != "away":
            self.catalogue.put(row for due, row in self._late if due <= self.age)
            self._late = [(due, row) for due, row in self._late if due > self.age]

    def _look(self) -> None:
        unlooked = self.judge.take_unlooked()
        self.catalogue.apply(Change(presences={key: self.jobs[key].presence(self.age) for key in unlooked}))

    def _note(self) -> None:
        for row in self.catalogue.unfinished():
            if row.state in TROUBLE and row.key not in self.troubled:
                health = self.judge.health(row, START + self.age - self.slept)
                self.troubled[row.key] = (self.age, health)
