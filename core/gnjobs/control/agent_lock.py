"""The lock by which one agent at a time works on a host: a key that says which process holds it."""

import contextlib
import os
import time
import uuid
from typing import Any, Final

import msgspec
import redis

from gnjobs.processes.host import boot_id, own_account, pid_namespace
from gnjobs.processes.proc import ENDED_STATES, process_start, read_entry
from gnjobs.records import values
from gnjobs.records.bounded import TooLarge
from gnjobs.records.connection import passing_over_other_types
from gnjobs.records.scripts import swap

LOCK_SECONDS: Final = 30.0
_SLACK_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.5


class Holder(msgspec.Struct, frozen=True):
    """The process that holds the lock; `token` is new for each."""

    token: str
    pid: int
    started: int | None = None
    boot: str | None = None
    namespace: str | None = None
    account: str = "?"

    @classmethod
    def this_process(cls) -> "Holder":
        """Ourselves."""
        pid = os.getpid()
        return cls(uuid.uuid4().hex, pid, process_start(pid), boot_id(), pid_namespace(), own_account())

    @property
    def is_gone(self) -> bool | None:
        """Whether it has ended; None where its pid says nothing here."""
        if (self.boot, self.namespace) != (boot_id(), pid_namespace()) or read_entry(1) is None:
            return None
        entry = read_entry(self.pid)
        return entry is None or entry.started != self.started or entry.state in ENDED_STATES

    def __str__(self) -> str:
        return f"pid {self.pid} of {self.account}"


class AgentLock:
    """A key that its holder renews and that expires without it; a holder that was killed is followed at once."""

    def __init__(self, client: redis.Redis, key: str, seconds: float = LOCK_SECONDS) -> None:
        self._client = client
        self._key = key
        self._seconds = seconds
        self._mine = msgspec.json.encode(Holder.this_process())

    def take(self) -> Holder | None:
        """Take the lock; returns who holds it where somebody does, after waiting for one that can't be looked at."""
        limit = time.monotonic() + self._seconds + _SLACK_SECONDS
        while True:
            holder = self.renew()
            if holder is None or holder.is_gone is False or time.monotonic() > limit:
                return holder
            time.sleep(_LOOK_SECONDS)

    def renew(self) -> Holder | None:
        """Hold it for longer, or take it from one that is gone; returns who has it, if anybody else does."""
        while True:
            stored = self._read()
            holder = None if stored == self._mine else values.json(stored, Holder)
            if holder is not None and not holder.is_gone and self._expires():
                return holder
            # Refused where it changed meanwhile: somebody was faster, or this is said again since a reply was lost.
            if swap(self._client, self._key, stored, self._mine, int(self._seconds * 1000)):
                return None

    def release(self) -> None:
        """Let go of it, if it is ours."""
        if self._read() == self._mine:
            self._client.delete(self._key)

    def _expires(self) -> bool:
        """Whether it goes without being renewed, as what an agent wrote does."""
        seconds: Any = self._client.ttl(self._key)
        return bool(0 <= seconds <= max(LOCK_SECONDS, self._seconds))

    def _read(self) -> bytes:
        """What stands there; what no agent can have written is removed."""
        with contextlib.suppress(TooLarge), passing_over_other_types():
            found: Any = self._client.get(self._key)
            return found or b""
        self._client.unlink(self._key)
        return b""
