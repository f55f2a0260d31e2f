"""What was seen of a job's processes: as a supervisor stores it, and as who looks for processes finds it."""

from typing import Literal, NamedTuple

import msgspec

from gnjobs.records import values


class SeenProcess(msgspec.Struct, frozen=True):
    """One process of a job: `started` in ticks since boot, `cpu` in % of one core, `rss` in bytes.

    `idle_since` is when it last read or wrote anything, as far as that was watched (unix seconds).
    """

    pid: int
    started: int
    child: str | None = None
    state: str = "S"
    cpu: values.Number | None = None
    rss: int | None = None
    command: str = ""
    account: str | None = None
    idle_since: values.Seconds | None = None


class Found(msgspec.Struct, frozen=True):
    """A job's processes, and as pairs of pid and why those that may be its own but can't be touched."""

    processes: tuple[SeenProcess, ...] = ()
    hidden: tuple[tuple[int, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.processes or self.hidden)


class ProcessSnapshot(msgspec.Struct, frozen=True):
    """A job's processes as its supervisor saw them at a time (unix seconds)."""

    at: values.Seconds
    processes: tuple[SeenProcess, ...] = ()


def read_snapshot(stored: bytes | None) -> ProcessSnapshot | None:
    """Read what a supervisor stored; None where there is nothing that can be read."""
    return values.json(stored, ProcessSnapshot)


class Presence(NamedTuple):
    """What can be said here of a job's processes when its supervisor is silent.

    `elsewhere`: the job runs on another host; `restarted`: this host was started again since.
    """

    kind: Literal["gone", "running", "hidden", "elsewhere", "restarted"]
    words: str = ""
