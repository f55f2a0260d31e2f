"""What is stored last of children, in a form in which another thread or process can store it again."""

from collections.abc import Collection, Mapping, Sequence
from threading import Condition
from typing import Any, NamedTuple

import redis

from gnjobs import values
from gnjobs.keeping import MissingJob
from gnjobs.keys import Keys
from gnjobs.lines import encode_text
from gnjobs.output_connection import OutputConnection
from gnjobs.output_delivery import OutputDelivery
from gnjobs.output_window import Batch, OutputWindow
from gnjobs.scripts import Value, add_children, set_fields, transition
from gnjobs.statuses import PENDING


class OutputEnd(NamedTuple):
    """The end of an output: the entries that were stored last, as `OutputDelivery` needs them."""

    url: str
    key: str
    base: int
    acknowledged: int
    run_id: bytes | None
    expire: int
    batches: Sequence[Batch]

    @property
    def size(self) -> int:
        """How many bytes of lines it holds."""
        return sum(len(batch.data) for batch in self.batches)

    def mend(self, client: redis.Redis) -> None:
        """Store again what the server forgot; raises what `OutputDelivery` does."""
        if self.base + self.acknowledged == 0 or self._last_id(client) >= self.base + self.acknowledged:
            return
        window = OutputWindow(keep_bytes=self.size + 1)
        window.restore(self.batches, self.acknowledged)
        connection = OutputConnection(self.url, self.key)
        delivery = OutputDelivery(connection, self.key, window, Condition(), max_bytes=0, expire=self.expire)
        try:
            delivery.resume(self.base, self.run_id)
            while window.waiting:
                delivery.deliver()
        finally:
            delivery.drop()

    def _last_id(self, client: redis.Redis) -> int:
        """The last number that is stored; -1 where there is no stream."""
        try:
            info: Any = client.xinfo_stream(self.key)
        except redis.ResponseError as error:
            if "no such key" in str(error):
                return -1
            raise
        return int(bytes(info["last-generated-id"]).partition(b"-")[0])


class ChildrenMade(NamedTuple):
    """Children as they were allocated: their keys in the job's record, and a hash with a label for each."""

    url: str
    keys: Keys
    job_id: str
    labels: Mapping[str, str]
    expire: int

    def mend(self, client: redis.Redis) -> None:
        """Record them, and make those hashes that are not there."""
        output_keys = {each: self.keys.child_output(self.job_id, each) for each in self.labels}
        if add_children(client, self.keys.job(self.job_id), output_keys) < 0:
            raise MissingJob
        make_hashes(client, self.keys, self.job_id, self.labels, self.expire)


def make_hashes(client: redis.Redis, keys: Keys, job_id: str, labels: Mapping[str, str], expire: int) -> None:
    """Make the hashes of children that wait to be started (id → label)."""
    pipe = client.pipeline(transaction=False)
    for child_id, label in labels.items():
        key = keys.child(job_id, child_id)
        pipe.hsetnx(key, "status", PENDING)
        pipe.hset(key, "label", encode_text(label))
        pipe.expire(key, expire)
    pipe.execute()


class ChildEnded(NamedTuple):
    """One child's final status, with every field that was written of it, and from which statuses it may be reached."""

    url: str
    keys: Keys
    job_id: str
    child_id: str
    allowed_from: Collection[str]
    status: str
    token: str
    fields: Mapping[str, Value]
    expire: int

    def mend(self, client: redis.Redis) -> None:
        """Write it, unless what is there may not become it any more."""
        key = self.keys.child(self.job_id, self.child_id)
        found: Any = client.hget(key, "status")
        if found is not None and values.text(found) not in self.allowed_from:
            return
        if not client.exists(self.keys.job(self.job_id)):
            raise MissingJob
        if client.hsetnx(key, "status", PENDING):
            client.expire(key, self.expire)
        set_fields(client, key, self.fields)
        transition(client, key, self.allowed_from, self.status, self.token, self.fields)


class Leftovers(NamedTuple):
    """All that is left of a child that ended: its output before its status, as they were stored."""

    url: str
    output: OutputEnd
    end: ChildEnded

    def mend(self, client: redis.Redis) -> None:
        """Store again what the server forgot of it."""
        self.output.mend(client)
        self.end.mend(client)
