"""Reads many records of ended jobs at once, as far as lists show them: field by field, since that is quick.

The result is what `records.foreign` reads of each by itself.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from gnjobs.records import values
from gnjobs.records.bounded import LONGEST_RECORD
from gnjobs.records.fields import ALIASES, JOB_FIELDS, Job, Reader
from gnjobs.records.foreign import converted, meaning_of, plain_value, time_in_id
from gnjobs.records.keys import MIRROR_FIELD, OWN_STATUS
from gnjobs.records.layouts import Layout
from gnjobs.records.statuses import FINAL_STATUSES

Column = Sequence[bytes | None]
Replies = Sequence[Column]

_STATUS: Final = "status"
_CREATED: Final = "created"
_HEARTBEAT: Final = "heartbeat"
_MOST_REMEMBERED: Final = 50_000
_LONGEST_REMEMBERED: Final = 80
_FINAL: Final = frozenset(status.encode() for status in FINAL_STATUSES)


class _Meanings(dict[Any, Any]):
    """What stored values mean, remembered, since many records share few; a word is thus kept once."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, value: Any) -> Any:
        meaning = self._read(value)
        if value is None or len(value) <= _LONGEST_REMEMBERED:
            if len(self) >= _MOST_REMEMBERED:
                self.clear()
            self[value] = meaning
        return meaning


class Columns(dict[str, Column]):
    """The stored values of many jobs by field; what was not read is missing in all of them."""

    def __init__(self, names: Sequence[str], replies: Replies) -> None:
        super().__init__(zip(names, zip(*replies, strict=True), strict=False))
        self.nothing: Column = (None,) * len(replies)
        self.created_as_stored = self[_CREATED]

    def __missing__(self, name: str) -> Column:
        return self.nothing

    def cut(self) -> None:
        """Cut values as long as a list does not keep."""
        for name, column in self.items():
            if max(map(len, filter(None, column)), default=0) > LONGEST_RECORD:
                self.change(name, lambda value: value[:LONGEST_RECORD])

    def change(self, name: str, change: Callable[[bytes], bytes | None]) -> None:
        """Change the values of a field."""
        column = self[name]
        if column.count(None) < len(column):
            self[name] = [None if value is None else change(value) for value in column]

    def prefer(self, name: str, other: str) -> None:
        """Take what stands in `other` only where a job has nothing in the first field."""
        if other in self:
            pairs = zip(self[name], self[other], strict=True)
            self[name] = [found if own is None else own for own, found in pairs]


class ColumnReader:
    """Reads the fields that are `wanted` of many jobs under one prefix; `names` are those to ask for.

    `is_described`: other programs' jobs are read as well. None has ended, as far as this can tell, where their
    description asks for more than a job's own fields.
    """

    def __init__(self, layout: Layout, wanted: Sequence[str]) -> None:
        self._described = {ours: theirs for ours, theirs in layout.fields.items() if ours in wanted}
        ending = [layout.ending] if layout.ending else []
        self.names = tuple(dict.fromkeys((*wanted, *self._described.values(), *ending)))
        self.is_described = bool(layout.json or layout.fields or layout.words or ending or layout.id_time)
        tells_more = "faults" in layout.parts.values() or layout.output_field("stderr") in self.names
        self._is_able = not self.is_described or not (tells_more or _STATUS in layout.fields)
        self._layout = layout
        self._meanings: dict[Reader, _Meanings] = {}
        self._words = _Meanings(self._word)
        self._status, self._mirror = self.names.index(_STATUS), self.names.index(MIRROR_FIELD)
        self._ending = self.names.index(layout.ending or _STATUS)

    def _word(self, said: tuple[bytes | None, bytes | None]) -> bytes | None:
        """Our word for a status, and for what says besides how a job has ended."""
        status, ending = map(plain_value, said) if self._layout.json else said
        word = meaning_of(self._layout, values.text(status), values.text(ending))
        return None if word is None else values.encode_text(word)

    def has_ended(self, reply: Any) -> bool:
        """Whether it is the record of a job that has ended, and that no supervisor runs in another program's place."""
        if not (self._is_able and isinstance(reply, list)) or reply[self._mirror] is not None:
            return False
        status = reply[self._status]
        return (self._words[status, reply[self._ending]] if self.is_described else status) in _FINAL

    def columns(self, job_ids: Sequence[str], replies: Replies) -> Columns:
        """The values of each field in gnjobs' own names and forms; `replies` may have only the first fields."""
        columns = Columns(self.names, replies)
        if self.is_described:
            self._translate(columns, job_ids, replies)
        for alias, name in ALIASES.items():
            columns.prefer(name, alias)
        if OWN_STATUS in columns:
            columns.prefer(OWN_STATUS, _STATUS)
            columns[_STATUS] = columns[OWN_STATUS]
        return columns

    def _translate(self, columns: Columns, job_ids: Sequence[str], replies: Replies) -> None:
        layout = self._layout
        columns.cut()
        if layout.json:
            for name in self.names:
                columns.change(name, plain_value)
        columns[_STATUS] = [self._words[reply[self._status], reply[self._ending]] for reply in replies]
        for ours, theirs in self._described.items():
            own = columns.nothing if ours == theirs else columns[ours]
            columns[ours] = [
                converted(layout, ours, found) if value is None and found is not None else value
                for value, found in zip(own, columns[theirs], strict=True)
            ]
        if layout.id_time:
            columns[_CREATED] = [
                time_in_id(layout, job_id) if at is None else at
                for at, job_id in zip(columns[_CREATED], job_ids, strict=True)
            ]

    def read(self, read: Reader, column: Column) -> list[Any]:
        """What the values of a column mean, as `read` reads each."""
        if read is values.seconds:
            return values.many_seconds(column)
        meanings = self._meanings.get(read)
        if meanings is None:
            meanings = self._meanings[read] = _Meanings(read)
        return [meanings[value] for value in column]


class JobReader(ColumnReader):
    """Reads jobs that have ended, and nothing of them but these fields (names in Redis)."""

    def __init__(self, layout: Layout, wanted: Iterable[str]) -> None:
        names = tuple(dict.fromkeys((*wanted, _STATUS, _CREATED)))
        aliases = [alias for alias, name in ALIASES.items() if name in names]
        super().__init__(layout, (*names, *aliases, _HEARTBEAT, OWN_STATUS, MIRROR_FIELD))
        self._fields = [JOB_FIELDS[name] for name in names]

    def read_jobs(self, job_ids: Sequence[str], replies: Replies) -> list[Job | None]:
        """The records, without `raw` and `unreadable`; None where these fields do not tell enough."""
        if not job_ids:
            return []
        stored = self.columns(job_ids, replies)
        stored.cut()
        found = {field.attribute: self.read(field.kind.read, stored[field.name]) for field in self._fields}
        created = values.many_seconds(stored.created_as_stored) if self.is_described else found[_CREATED]
        beaten = zip(created, stored[_HEARTBEAT], strict=True)
        are_foreign = [at is None and beat is None for at, beat in beaten]
        return [
            None
            if is_foreign and not self.is_described
            else Job(id=job_id, is_foreign=is_foreign, **dict(zip(found, read, strict=True)))
            for job_id, is_foreign, read in zip(
                job_ids, are_foreign, zip(*found.values(), strict=True), strict=True
            )
        ]
