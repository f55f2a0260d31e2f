"""Signs of life of a job's processes and children, measured at each beat by its supervisor, or by the agent."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from redis.exceptions import InvalidResponse

from gnjobs.health.parts import Activity, Family, activity_by_child
from gnjobs.processes.seen import SeenProcess
from gnjobs.records import values
from gnjobs.records.keys import Keys
from gnjobs.records.scripts import Value
from gnjobs.records.statuses import FINAL_STATUSES, PENDING
from gnjobs.records.summaries import ChildrenSummary, SilentChild, TellingProcess
from gnjobs.supervisor.children import ChildWatch, WatchedChild
from gnjobs.supervisor.measure import JITTER, Amount, Clocks, LastSign, Measuring
from gnjobs.text import encodable

_WORDS: Final = ("percent", "message", "done", "unit")


class Beat(NamedTuple):
    """The fields to write at a beat, and at times a snapshot of the processes."""

    fields: dict[str, Value]
    snapshot: bytes | None


class JobSigns:
    """Follows the signs of life of one job and its children, one beat after the other.

    At each beat comes `look`, then `add_reads` and `take` around one pipeline. `last_output` is when a line last came,
    as far as is known (unix seconds).
    """

    def __init__(
        self, keys: Keys, job_id: str, watch: ChildWatch, measure: Measuring, last_output: float = 0.0
    ) -> None:
        self.watch = watch
        self._key = keys.job(job_id)
        self._measure = measure
        self._last_output = last_output
        self._line = LastSign()
        self._children = _ChildSigns(watch)
        self._words: Sequence[bytes | None] | None = None
        self._said_something = False
        self._at_work: frozenset[str] = frozenset()
        self._began = 0.0
        self._offset: float | None = None

    def look(self, clocks: Clocks, last_line: float = 0.0) -> Beat:
        """Look at the processes, and say what is known; `last_line` is when the job printed, by this host's clock."""
        self._follow(clocks.server - clocks.monotonic)
        self._began = self._began or clocks.server
        measured = self._measure(
            clocks.server, lambda process: clocks.server - self._last_word(process), self._amount()
        )
        self._at_work = frozenset(each.child for each in measured.family.processes if each.child is not None)
        self._children.hear(clocks)
        own = self._line.at(last_line, clocks) if last_line else 0.0
        if self._said_something:
            own = clocks.server
        self._said_something = False
        self._last_output = max(self._last_output, own, self._children.last_output)
        fields = {**measured.fields, "heartbeat": round(clocks.server, 3)}
        fields["clock-shift"] = round(clocks.server - clocks.wall)
        whole = measured.family.activity(measured.family.processes)
        fields["doing"] = msgspec.json.encode(TellingProcess(**telling_fields(whole))).decode()
        if self._last_output:
            fields["last-output"] = round(self._last_output, 3)
        if self.watch.children:
            fields["children-summary"] = self._children.summary(measured.family)
        return Beat(fields, measured.snapshot)

    def _follow(self, offset: float) -> None:
        """Say what was when the server's clock was set by what that says now: a time ahead would hide a silence."""
        if self._offset is not None and abs(offset - self._offset) <= JITTER:
            return
        shift = offset - (offset if self._offset is None else self._offset)
        self._offset = offset
        self._began, self._last_output, self._children.last_output = (
            at and max(0.0, at + shift) for at in (self._began, self._last_output, self._children.last_output)
        )

    def _last_word(self, process: SeenProcess) -> float:
        """When the child that a process belongs to, or else the job, was last heard of as of the last beat."""
        own = self._children.heard.get(process.child) if process.child is not None else None
        return own or self._last_output or self._began

    def _amount(self) -> Amount | None:
        """How much is done, as the job itself says, or else its children together."""
        _, _, done, unit = self._words or (None,) * len(_WORDS)
        own = values.number(done)
        return self.watch.amount if own is None else Amount.of(own, unit)

    def add_reads(self, pipe: Any) -> int:
        """Add to a pipeline the reading of the job's words and of its children; return how many replies come."""
        self.watch.add_read(pipe, self._key, ("children", *_WORDS))
        return 1 + self.watch.add_reads(pipe, at_work=self._at_work)

    def take(self, replies: Sequence[Any]) -> int:
        """Take these replies, whose first must be no error; returns how many children the record has.

        Raises `InvalidResponse`, and keeps nothing, where the first is no list: what answers for a moment on the port
        of a server that is away may answer anything.
        """
        if not isinstance(replies[0], list) or len(replies[0]) != 1 + len(_WORDS):
            raise InvalidResponse("the job's words were asked for, and something else was answered")
        count, *words = replies[0]
        before, self._words = self._words, words
        if before is not None:
            changes = zip(words, before, strict=True)
            self._said_something |= any(new is not None and new != old for new, old in changes)
        self.watch.take(replies[1:])
        return values.integer(count) or 0


class _ChildSigns:
    """When each child was last heard of, by the server's clock, and when any last said something (`last_output`)."""

    def __init__(self, watch: ChildWatch) -> None:
        self._watch = watch
        self._signs: dict[str, LastSign] = {}
        self.heard: dict[str, float] = {}
        self.last_output = 0.0

    def hear(self, clocks: Clocks) -> None:
        """Note when each child that has not ended was last heard of, and when others ended."""
        children = self._watch.children
        signs = {
            child_id: self._signs.get(child_id, LastSign())
            for child_id, child in children.items()
            if child.status not in FINAL_STATUSES and child.last_sign
        }
        heard = {child_id: sign.at(children[child_id].last_sign, clocks) for child_id, sign in signs.items()}
        ended = {child_id for child_id in self._signs.keys() - signs.keys() if child_id in children}
        ends = [self._signs[child_id].at(_end_of(children[child_id]), clocks) for child_id in ended]
        self._signs, self.heard = signs, heard
        words = (at for child_id, at in heard.items() if children[child_id].last_output)
        self.last_output = max(self.last_output, *words, *ends, 0.0)

    def summary(self, family: Family) -> str:
        """Say in JSON what lists show of children (`ChildrenSummary`)."""
        children = self._watch.children
        active = {
            child_id: children[child_id].pid
            for child_id in self._watch.unfinished()
            if children[child_id].status != PENDING
        }
        does = activity_by_child(family, active)
        heard = {child_id: self._last_word(child_id, family, does) for child_id in active}
        known = {child_id: at for child_id, at in heard.items() if at is not None}
        whole = family.activity(family.processes)
        signs = {name: max(at, does.get(name, whole).idle_since or at) for name, at in known.items()}
        quietest = min(known, key=known.__getitem__, default=next(iter(active), None))
        idlest = min(signs, key=signs.__getitem__, default=None)
        told = [
            None if name is None else self._tell(name, heard[name], does.get(name, Activity()))
            for name in (quietest, idlest if idlest != quietest else None)
        ]
        return encode_summary(self._watch, *told)

    def _last_word(self, child_id: str, family: Family, does: Mapping[str, Activity]) -> float | None:
        """When a child or one that runs inside of it was last heard of."""
        own = self.heard.get(child_id)
        if child_id not in does:
            return own
        below = family.below(child_id, self._watch.children[child_id].pid)
        return max(
            (at for name in (child_id, *below) if (at := self.heard.get(name)) is not None), default=own
        )

    def _tell(self, child_id: str, heard: float | None, does: Activity) -> SilentChild:
        child = self._watch.children[child_id]
        return SilentChild(
            id=child_id,
            label=encodable(child.label),
            since=None if heard is None else round(heard, 3),
            **({"pid": child.pid} | telling_fields(does)),
        )


def telling_fields(does: Activity) -> dict[str, Any]:
    """The fields of a `TellingProcess` that say what processes do."""
    said = {"idle_since": does.idle_since, "cpu": does.cpu}
    if not does.telling:
        return said
    named = does.telling[0]
    state = "R" if does.is_runnable else named.state
    return said | {
        "pid": named.pid, "state": state, "command": named.command, "waits": named.waits, "code": named.code
    }  # fmt: skip


def encode_summary(
    watch: ChildWatch, quietest: SilentChild | None = None, idlest: SilentChild | None = None
) -> str:
    """Say in JSON how many children there are of each status, and which are silent (`ChildrenSummary`)."""
    counts = Counter(child.status for child in watch.children.values())
    return msgspec.json.encode(
        ChildrenSummary(counts=dict(counts), quietest=quietest, idlest=idlest)
    ).decode()


def _end_of(child: WatchedChild) -> float:
    return max(child.last_sign, values.seconds(child.end_fields.get("finished")) or 0.0)
