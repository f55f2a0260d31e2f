"""What code inside a job knows of its job: the connection, its keys, and how keys for new children are recorded."""

import sys
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from gnjobs.errors import NoSuchJob
from gnjobs.records import values
from gnjobs.records.connection import connect, patiently
from gnjobs.records.keys import CHILD_FIELD, MONTH, Keys, check_id, child_ids
from gnjobs.records.lasting import new_child
from gnjobs.records.scripts import Value, add_children, make_hash, set_fields
from gnjobs.records.statuses import PENDING

_LONGEST_NESTED_PREFIX = 24
_CHUNK = 500
_allocating = threading.Lock()


class JobContext:
    """The job that this process is part of, and the child (`child_id`) that it is, if it is one."""

    def __init__(self, job_id: str, url: str, prefix: str, child_id: str | None) -> None:
        self.id = check_id(job_id, "job id")
        self.url = url
        self.keys = Keys(prefix)
        self.client = connect(url)
        self.child_id = child_id

    def set_fields(self, fields: Mapping[str, Value]) -> None:
        """Set fields of the job's record, waiting while Redis is away."""
        patiently(lambda: set_fields(self.client, self.keys.job(self.id), fields))

    def allocate_children(self, labels: Iterable[str], *, may_fail: bool = False) -> list[str]:
        """Build and record the output keys of children that are to be started; returns them in order.

        Call it before any of them starts. Each then writes by `ChildOutput(key)`. A job one of whose children failed,
        was killed or ended without a word ends as `error`, unless they were allocated with `may_fail`. Raises
        `NoSuchJob` where the job's record is gone, and `TypeError` in a child that runs its parent's script for want
        of a guard.
        """
        names = [str(label) for label in labels]
        refuse_in_bootstrap()
        with _allocating:
            ids = self._free_ids(names)
            output_keys = {child_id: self.keys.child_output(self.id, child_id) for child_id in ids}
            record = self.keys.job(self.id)
            if output_keys and patiently(lambda: add_children(self.client, record, output_keys)) < 0:
                raise NoSuchJob(f"the record of job {self.id} is gone, so it can have no children")
        pairs = list(zip(ids, names, strict=True))
        for start in range(0, len(pairs), _CHUNK):
            patiently(partial(self._make_hashes, pairs[start : start + _CHUNK], may_fail=may_fail))
        return list(output_keys.values())

    def _free_ids(self, labels: Sequence[str]) -> list[str]:
        """Ids that no child has; those of grandchildren begin with their parent's, since siblings allocate, too."""
        prefix = self._nested_prefix()
        found = patiently(
            lambda: list(self.client.hscan_iter(self.keys.job(self.id), f"{CHILD_FIELD}*", 1000))
        )
        taken = ((values.text(field) or "").removeprefix(CHILD_FIELD) for field, _ in found)
        ours = [child_id.removeprefix(prefix) for child_id in taken if child_id.startswith(prefix)]
        return [prefix + child_id for child_id in child_ids(labels, ours)]

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
            make_hash(pipe, self.keys.child(self.id, child_id), MONTH, fields)
        pipe.execute()


def refuse_in_bootstrap() -> None:
    """Raise `TypeError` in a child that runs its parent's whole script, since it must only import it."""
    multiprocessing = sys.modules.get(
        "multiprocessing"
    )  # not imported for this: no child was started without it
    if multiprocessing is not None and getattr(multiprocessing.current_process(), "_inheriting", False):
        raise TypeError(
            "a child that imports this script would start children of its own: put what starts them "
            'under an `if __name__ == "__main__"` guard'
        )
