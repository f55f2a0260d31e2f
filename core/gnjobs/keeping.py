"""Keeps what was stored last for a few seconds, for a server that dies and has forgotten it when it is back.

Whoever stored it may have ended by then: a child, say, whose last lines and whose end were just confirmed.
"""

import threading
from time import monotonic
from typing import Any, Final, Protocol

import redis

from gnjobs import process_exit
from gnjobs.connections import connect
from gnjobs.errors import AnotherWriter, OutputRemoved

# A journal that is synced every second may lose two.
LASTING_SECONDS: Final = 3.0
_LOOK_EVERY: Final = 0.25
_LONGEST_PAUSE: Final = 2.0
_MISSING_SECONDS: Final = 10.0


class MissingJob(Exception):
    """The job's record is not there: its supervisor will mend it soon, or it was removed."""


class Kept(Protocol):
    """Something that was stored, and can be stored again.

    `mend` raises redis-py's errors and `MissingJob`; it changes nothing where everything is still there.
    """

    @property
    def url(self) -> str:
        """The server that it is stored on."""
        ...

    def mend(self, client: redis.Redis) -> None:
        """Make sure that it is stored."""
        ...


class _Holding:
    """One kept thing: since when it is known to be there, and on which connection that was seen."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.since = monotonic()
        self.seen_on = 0
        self.missed_at: float | None = None


class Keeper:
    """Keeps things that are stored on one server, in a thread that runs while there is any."""

    def __init__(self, url: str) -> None:
        self._changed = threading.Condition()
        self._mending = threading.Lock()
        self._held: list[_Holding] = []
        self._connections = 0
        self._client = connect(url, retries=0, max_connections=1, redis_connect_func=self._connected)
        self._is_running = False
        self._is_copy = False

    def hold(self, kept: Kept) -> None:
        """Keep this from now on, until it has lasted."""
        with self._changed:
            self._held.append(_Holding(kept))
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="keeper", daemon=True).start()
                process_exit.watch(self)

    def flush(self) -> None:
        """Wait until everything has lasted."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._is_copy)

    def let_go(self) -> None:
        """Keep nothing more; nothing is mended once this has returned."""
        with self._mending, self._changed:
            self._held.clear()
            self._changed.notify_all()

    def refuse_copy(self) -> None:
        """Keep nothing in a forked copy: the original does."""
        self._is_copy = True
        _keepers.clear()

    def _connected(self, connection: Any) -> None:
        connection.on_connect()
        self._connections += 1

    def _run(self) -> None:
        pause = 0.0
        while self._wait(pause):
            try:
                self._client.ping()
                for holding in self._snapshot():
                    with self._mending:
                        self._look_after(holding)
                pause = _LOOK_EVERY
            except (redis.RedisError, OSError):
                pause = min(_LONGEST_PAUSE, 2 * pause or _LOOK_EVERY)
            except Exception:  # noqa: BLE001 - a reply that makes no sense: ask again on another connection
                self._client.connection_pool.disconnect()
                pause = _LONGEST_PAUSE
        self._client.close()

    def _wait(self, pause: float) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: not self._held, pause)
            self._is_running = bool(self._held)
            if not self._is_running:
                process_exit.forget(self)
            return self._is_running

    def _snapshot(self) -> list[_Holding]:
        with self._changed:
            return list(self._held)

    def _look_after(self, holding: _Holding) -> None:
        """Mend what a connection says nothing of yet; let go what is there for long enough."""
        if holding not in self._held:
            return
        connection = self._connections
        if holding.seen_on != connection:
            if not _is_mended(holding, self._client):
                return
            holding.seen_on = connection
        elif monotonic() - holding.since >= LASTING_SECONDS:
            self._drop(holding)
            return
        if holding.missed_at is not None and monotonic() - holding.missed_at > _MISSING_SECONDS:
            self._drop(holding)

    def _drop(self, holding: _Holding) -> None:
        with self._changed:
            if holding in self._held:
                self._held.remove(holding)
            self._changed.notify_all()


def _is_mended(holding: _Holding, client: redis.Redis) -> bool:
    try:
        holding.kept.mend(client)
    except MissingJob:
        now = monotonic()
        holding.missed_at = holding.missed_at or now
        if now - holding.missed_at <= _MISSING_SECONDS:
            return False
    except (AnotherWriter, OutputRemoved):
        holding.since = float("-inf")  # not ours any more
    else:
        holding.missed_at = None
    return True


_keepers: dict[str, Keeper] = {}
_making = threading.Lock()


def keep(kept: Kept) -> None:
    """Keep what was just stored until it has lasted; returns at once, but the process ends only after that."""
    with _making:
        keeper = _keepers.get(kept.url) or _keepers.setdefault(kept.url, Keeper(kept.url))
    keeper.hold(kept)


def let_all_go() -> None:
    """Keep nothing more, for the servers are known to be gone for good."""
    for keeper in list(_keepers.values()):
        keeper.let_go()
