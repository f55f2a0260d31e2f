"""What a supervisor tells of processes and children at a beat, as JSON in a field of the job's record."""

import msgspec

from gnjobs.records import values


class TellingProcess(msgspec.Struct, frozen=True, kw_only=True):
    """The process of a job or child that tells most of what it does, as its supervisor saw it (see `SeenProcess`).

    `idle_since` (unix seconds) and `cpu` (% of one core) are of all processes of the part together.
    """

    idle_since: values.Seconds | None = None
    cpu: values.Number | None = None
    pid: values.Count | None = None
    state: str | None = None
    command: str = ""
    waits: str | None = None
    code: str | None = None


class SilentChild(TellingProcess, frozen=True, kw_only=True):
    """A running child as its supervisor tells of it, silent `since` (unix seconds)."""

    id: str | None = None
    label: str | None = None
    since: values.Seconds | None = None


class ChildrenSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor says of all children at a beat, so that a list needs to read no child.

    `counts` maps status to number; of the running children, `quietest` has been silent longest, and `idlest` silent and
    idle at once (None where that is the same one).
    """

    counts: dict[str, values.Count] = {}
    quietest: SilentChild | None = None
    idlest: SilentChild | None = None

    @property
    def told(self) -> tuple[SilentChild, ...]:
        """The children that it tells of."""
        return tuple(child for child in (self.quietest, self.idlest) if child is not None)


def children_summary(value: bytes | str | None) -> ChildrenSummary | None:
    """Read a supervisor's summary of the children, else None."""
    return values.json(value, ChildrenSummary)


def telling_process(value: bytes | str | None) -> TellingProcess | None:
    """Read what a supervisor says of the process that tells most, else None."""
    return values.json(value, TellingProcess)
