"""Plain data about a job's processes: one process, all that were found, and the snapshot that a supervisor stores."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from gnjobs.processes.table import Mark
from gnjobs.records import values

IDLE_CPU: Final = 1.0
LONGEST_SNAPSHOT: Final = 4 * 1024 * 1024  # of some 15 000 processes; a job's code can write any

Identity = tuple[int, int]  # pid and start: no other process of this boot has both


def computes(cpu: float | None) -> bool:
    """Whether this much CPU (% of one core) is work."""
    return cpu is not None and cpu > IDLE_CPU


class SeenProcess(msgspec.Struct, frozen=True):
    """One process of a job: `started` in ticks since boot, `cpu` in % of one core, `rss` in bytes.

    `inner_pid` is its pid in its own pid namespace, where that is another one than ours; `idle_since` when it last gave
    a sign of life (unix seconds, see `health.idleness`); `waits` what an idle one waits for, in words, and `waits_for`
    the pid of the job's process that it waits for; `code` where one that computes silently is in its code, in words.
    """

    pid: values.Count
    started: values.Count
    child: str | None = None
    state: str = "S"
    cpu: values.Number | None = None
    rss: values.Count | None = None
    command: str = ""
    account: str | None = None
    idle_since: values.Seconds | None = None
    parent: values.Count | None = None
    inner_pid: values.Count | None = None
    waits: str | None = None
    waits_for: values.Count | None = None
    code: str | None = None

    @property
    def identity(self) -> Identity:
        """Its pid and start."""
        return self.pid, self.started


class Found(msgspec.Struct, frozen=True):
    """A job's processes with their marks; `hidden`: pid and why of what may be its own but can't be touched.

    `job` is its id, where it is one of ours; `passing` the pid of what has ended since the look before, and may have
    started what is in neither.
    """

    processes: tuple[SeenProcess, ...] = ()
    hidden: tuple[tuple[int, str], ...] = ()
    marks: Mapping[int, Mark | None] = {}
    job: str | None = None
    passing: int | None = None

    def __bool__(self) -> bool:
        return bool(self.processes or self.hidden)


Points = Annotated[tuple[values.Number, ...], msgspec.Meta(max_length=1000)]


class History(msgspec.Struct, frozen=True):
    """A job's run so far in a few points `every` seconds apart, the oldest first.

    `cpu` is in % of one core, `rss` in bytes; `rate` counts `unit` a second and is empty where nobody counts anything.
    """

    every: values.Seconds
    cpu: Points = ()
    rss: Points = ()
    rate: Points = ()
    unit: str | None = None


class ProcessSnapshot(msgspec.Struct, frozen=True):
    """A job's processes as its supervisor saw them at a time (unix seconds), and what they used before."""

    at: values.Seconds
    processes: tuple[SeenProcess, ...] = ()
    history: History | None = None


def read_snapshot(stored: bytes | None) -> ProcessSnapshot | None:
    """Read what a supervisor stored; None where there is nothing that can be read, or too much."""
    is_too_long = stored is not None and len(stored) > LONGEST_SNAPSHOT
    return None if is_too_long else values.json(stored, ProcessSnapshot)


class Presence(NamedTuple):
    """What can be said here of a job's processes when its supervisor is silent.

    `late`: its supervisor is there and waits for a processor; `elsewhere`: the job runs on another host; `restarted`:
    this host was started again since.
    """

    kind: Literal["gone", "running", "late", "hidden", "elsewhere", "restarted"]
    words: str = ""
