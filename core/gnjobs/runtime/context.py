"""What code inside a job knows of its job: the connection, its keys, how new children and their ends are recorded."""

import contextlib
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import redis

from gnjobs.errors import NoSuchJob
from gnjobs.records import values
from gnjobs.records.connection import connect, patiently
from gnjobs.records.environment import created_here
from gnjobs.records.keys import CHILD_FIELD, Keys, check_id, child_ids
from gnjobs.records.lasting import Lasting, Statement, new_child, say
from gnjobs.records.scripts import Run, Value, add_children, make_hash, set_fields
from gnjobs.records.statuses import KILLED, PENDING

_LONGEST_NESTED_PREFIX = 24
_CHUNK = 500
_OUTLAST_SECONDS = 15.0
_allocating = threading.Lock()


class ChildEnds:
    """The ends of children that could not say so themselves, written by their job's own process."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._lasting = Lasting()

    def write(self, ends: Sequence[Statement]) -> None:
        """Write each end, unless the child or its killer said so first; waits while Redis is away."""
        if ends:
            patiently(lambda: say(self._client, ends))
            self._lasting.said(ends)

    def outlast(self) -> None:
        """Wait until all of it has stood for a while.

        Gives up after a while where a server dies again and again, or the job was removed; waits where it is away.
        """
        deadline = time.monotonic() + _OUTLAST_SECONDS
        while self._lasting.statements and time.monotonic() < deadline:
            time.sleep(max(0.0, self._lasting.due - time.monotonic()))
            if patiently(lambda: self._lasting.stands(self._client)):
                return


class JobContext:
    """The job that this process is part of, and the child (`child_id`) that it is, if it is one."""

    def __init__(self, job_id: str, url: str, prefix: str, child_id: str | None) -> None:
        self.id = check_id(job_id, "job id")
        self.url = url
        self.keys = Keys(prefix)
        self.run = Run(self.keys.job(job_id), created_here(prefix, job_id))
        self.client = connect(url)
        self.child_id = child_id

    def set_fields(self, fields: Mapping[str, Value]) -> None:
        """Set fields of the job's record, waiting while Redis is away."""
        patiently(lambda: set_fields(self.client, self.run.record, fields, self.run))

    def allocate_children(self, labels: Iterable[str], *, may_fail: bool = False) -> list[str]:
        """Build and record the output keys of children that are to be started; returns them in order.

        Call it before any of them starts. Each then writes by `ChildOutput(key)`. A job one of whose children failed,
        was killed or ended without a word ends as `error`, unless they were allocated with `may_fail`. Raises
        `NoSuchJob` where the job's record is gone, and `TypeError` in a child that runs its parent's script because
        that has no `__main__` guard.
        """
        names = [str(label) for label in labels]
        refuse_in_bootstrap()
        with _allocating:
            ids = self._free_ids(names)
            output_keys = {child_id: self.keys.child_output(self.id, child_id) for child_id in ids}
            self._record_children(output_keys)
        self._make_children(list(zip(ids, names, strict=True)), may_fail=may_fail)
        return list(output_keys.values())

    def child_ends(self) -> ChildEnds:
        """Who writes the ends of children that could not say so themselves."""
        return ChildEnds(self.client)

    def shares_done(self, child_ids: Sequence[str]) -> float:
        """How much of their work these children have done, each counted from 0 to 1; 0 while Redis is away."""
        found: list[Any] = []
        with contextlib.suppress(redis.RedisError):
            pipe = self.client.pipeline(transaction=False)
            for child_id in child_ids:
                pipe.hget(self.keys.child(self.id, child_id), "percent")
            found = pipe.execute()
        return sum(values.percentage(share) or 0.0 for share in found) / 100

    def is_killed(self, child_id: str) -> bool:
        """Whether somebody has killed this child, as far as Redis answers."""
        with contextlib.suppress(redis.RedisError):
            return values.text(self.client.hget(self.keys.child(self.id, child_id), "status")) == KILLED
        return False

    def _free_ids(self, labels: Sequence[str]) -> list[str]:
        """Ids that no child has; those of grandchildren begin with their parent's, since siblings allocate, too."""
        prefix = self._nested_prefix()
        ours = [
            child_id.removeprefix(prefix) for child_id in self._taken_ids() if child_id.startswith(prefix)
        ]
        return [prefix + child_id for child_id in child_ids(labels, ours)]

    def _taken_ids(self) -> list[str]:
        """The ids of all children that the record names."""
        found = patiently(
            lambda: list(self.client.hscan_iter(self.keys.job(self.id), f"{CHILD_FIELD}*", 1000))
        )
        return [(values.text(field) or "").removeprefix(CHILD_FIELD) for field, _ in found]

    def _record_children(self, output_keys: Mapping[str, str]) -> None:
        """Name new children in the job's record, in which they stand before the first is started."""
        if output_keys and patiently(lambda: add_children(self.client, self.run, output_keys)) < 0:
            raise NoSuchJob(f"the record of job {self.id} is gone, so it can have no children")

    def _make_children(self, children: Sequence[tuple[str, str]], *, may_fail: bool) -> None:
        for start in range(0, len(children), _CHUNK):
            patiently(partial(self._make_hashes, children[start : start + _CHUNK], may_fail=may_fail))

    def _nested_prefix(self) -> str:
        if self.child_id is None:
            return ""
        if len(self.child_id) <= _LONGEST_NESTED_PREFIX:
            return f"{self.child_id}."
        return f"{zlib.crc32(self.child_id.encode()):08x}."

    def _make_hashes(self, children: Sequence[tuple[str, str]], *, may_fail: bool) -> None:
        pipe = self.client.pipeline(transaction=False)
        for child_id, label in children:
            fields = {"status": PENDING, **new_child(label, may_fail=may_fail)}
            make_hash(pipe, self.keys.child(self.id, child_id), fields, self.run)
        pipe.execute()


def refuse_in_bootstrap() -> None:
    """Raise `TypeError` in a child that runs its parent's whole script, since it must only import it."""
    # Not imported for this: no child was started without it.
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and getattr(multiprocessing.current_process(), "_inheriting", False):
        raise TypeError(
            "a child that imports this script would start children of its own: put what starts them "
            'under an `if __name__ == "__main__"` guard'
        )
