"""Lists and a job's page say the same of one job at one moment, also with thousands of children."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from gnjobs.health.assess import assess
from gnjobs.health.parts import Family
from gnjobs.processes.presence import look
from gnjobs.processes.seen import ProcessSnapshot, SeenProcess
from gnjobs.records.fields import Child
from gnjobs.records.keys import CHILD_FIELD
from gnjobs.records.scripts import set_fields
from gnjobs.records.statuses import RUNNING
from gnjobs.store import JobStore
from gnjobs.supervisor.children import ChildWatch
from gnjobs.supervisor.measure import Amount, Clocks, Measured
from gnjobs.supervisor.signs import JobSigns
from gnjobs.watch.judge import Judge
from gnjobs.watch.rows import row_of
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_running

STUCK_AFTER = 900.0
PROCESSES = 20
_VERDICTS = {"ok", "quiet", "stuck"}


class LaterStore(JobStore):
    """A store whose server's clock a test sets."""

    clock = 0.0

    def now(self) -> float:
        return self.clock


class Seeded:
    """A job whose children and processes are as a test says, and whose record its supervisor's code writes."""

    def __init__(self, server: Server, seed: int, recorded: int, working: int) -> None:
        self.chance = random.Random(seed)
        self.store = LaterStore.from_url(server.url)
        self.id = write_running(server, "seeded", stuck_after=STUCK_AFTER)
        self.client = self.store.client
        self.now = float(self.store.get(self.id).heartbeat or 0.0)
        self.working = [f"w{number}" for number in range(working)]
        self.seen: tuple[SeenProcess, ...] = ()
        self._record([f"p{number}" for number in range(recorded)], {"status": "pending"})
        self._record(self.working, {"status": "running", "started": self.now, "last-output": self.now})
        self.watch = ChildWatch(KEYS, self.id)
        self.watch.discover(self.client)
        self.signs = JobSigns(KEYS, self.id, self.watch, self._measure, self.now)
        pipe = self.client.pipeline(transaction=False)
        self.signs.add_reads(pipe)
        self.signs.take(pipe.execute())

    def _record(self, names: list[str], child: Mapping[str, Any]) -> None:
        pipe = self.client.pipeline(transaction=False)
        for name in names:
            pipe.hset(KEYS.job(self.id), f"{CHILD_FIELD}{name}", KEYS.child_output(self.id, name))
            pipe.hset(KEYS.child(self.id, name), mapping={"label": name, **child})
        pipe.execute()

    def live(self) -> None:
        """Let time go on, some children say something, and the processes do or not do what they like."""
        self.now += self.chance.choice((5, 10, 60, 400, 1000))
        talkers = self.chance.sample(self.working, self.chance.choice((0, 1, len(self.working))))
        pipe = self.client.pipeline(transaction=False)
        for name in talkers:
            spoke = self.now - self.chance.uniform(0, 4)
            pipe.hset(KEYS.child(self.id, name), "last-output", spoke)
            # Reading ten thousand at each beat would take the test minutes.
            self.watch.children[name] = self.watch.children[name]._replace(last_output=spoke, status=RUNNING)
        pipe.execute()
        self.seen = tuple(self._processes())

    def _processes(self) -> Iterator[SeenProcess]:
        for number, child in enumerate(self.working[:PROCESSES]):
            idle = self.chance.choice((0.0, 3.0, 899.0, 901.0, 5000.0))
            state = self.chance.choice("SDR") if idle == 0.0 else "S"
            cpu = 100.0 if state == "R" else self.chance.choice((0.0, 0.6, 1.0))
            yield SeenProcess(number + 2, 1, child, state, cpu, idle_since=self.now - idle, command="sort x")

    def _measure(self, now: float, _: object, amount: Amount | None) -> Measured:
        """Two beats in three come without a new snapshot, as at work."""
        ages = [each.idle_since for each in self.seen if each.idle_since is not None]
        fields = {"cpu": sum(each.cpu or 0.0 for each in self.seen), "processes": len(self.seen)}
        is_due = self.chance.random() < 0.5
        snapshot = msgspec.json.encode(ProcessSnapshot(now, self.seen)) if is_due else None
        return Measured(fields | ({"idle-since": max(ages)} if ages else {}), Family(self.seen), snapshot)

    def beat(self) -> None:
        """Write what a supervisor writes at a beat."""
        said = self.signs.look(Clocks(self.now, self.now, self.now))
        set_fields(self.client, KEYS.job(self.id), said.fields)
        if said.snapshot is not None:
            self.client.set(KEYS.processes(self.id), said.snapshot)


@pytest.mark.parametrize(
    ("recorded", "working", "page_every", "looks"),
    [
        pytest.param(3000, 2, 1, 25, marks=pytest.mark.faults),
        (0, 3000, 10, 25),
        pytest.param(3000, 2, 1, 100, marks=pytest.mark.faults),
        pytest.param(0, 10_000, 10, 100, marks=pytest.mark.faults),
    ],
)
def test_list_dashboard_and_page_agree(
    server: Server, recorded: int, working: int, page_every: int, looks: int
) -> None:
    """At each look; what a page reads of thousands of children at work is read anew at every tenth."""
    job = Seeded(server, recorded + working, recorded, working)
    view, judge, said = job.store.view(job.id), Judge(), set()
    children: list[Child] = []
    for number in range(looks):
        job.live()
        job.beat()
        job.store.clock = now = job.now + job.chance.uniform(0.0, 10.0)
        listed = job.store.many([job.id])[0]
        assert listed is not None
        if number % page_every == 0:
            page = view.glance()
            shown, children = page.health, page.children
        else:
            snapshot = job.store.processes(job.id)
            shown = assess(job.store.get(job.id), now=now, children=children, snapshot=snapshot)
        assert assess(listed, now=now, look=look).verdict == shown.verdict, shown
        assert judge.judge(row_of(listed), now)[0] == shown.verdict, shown
        said.add(shown.verdict)
    assert len(children) == recorded + working
    assert said == _VERDICTS
