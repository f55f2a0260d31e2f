"""Watching the jobs of a server: a thread that keeps telling what there is and what changes, come what may.

It only reads. What it tells goes to `deliver`, called from its thread, as batches for `Catalogue.apply`.
"""

import threading
import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from gnjobs.records.backoff import Backoff
from gnjobs.records.fields import Job
from gnjobs.records.keys import DEFAULT_PREFIX, check_prefix
from gnjobs.watch.requests import Deliver, Look, WatchRequests
from gnjobs.watch.rows import Change, FeedState

if TYPE_CHECKING:
    import redis

    from gnjobs.records.layouts import Layout
    from gnjobs.watch.reading import WatchedPrefix


REPLY_TIMEOUT = 2.0


class Watcher:
    """Watches all jobs under some prefixes, or those of some users, and comes back by itself when Redis does.

    `layouts` describes prefixes whose descriptions do not ship. `look` finds a job's processes on this host when it is
    asked by `look_at`. redis is imported in the thread, so that a dashboard need not wait for it. Every method returns
    at once, `stop` within a second or so.
    """

    def __init__(
        self,
        url: str,
        deliver: Deliver,
        *,
        prefixes: Iterable[str] = (DEFAULT_PREFIX,),
        users: Collection[str] | None = None,
        layouts: "Mapping[str, Layout] | None" = None,
        look: Look | None = None,
    ) -> None:
        self._url = url
        self._deliver = deliver
        self._prefixes = tuple(check_prefix(prefix) for prefix in prefixes)
        self._users = None if users is None else frozenset(users)
        self._layouts = layouts
        self._look = look
        self._requests = WatchRequests()
        self._server_time = time.time() - time.monotonic()
        self._told: FeedState | None = None
        self._thread = threading.Thread(target=self._run, name="gnjobs-watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """End watching; nothing is delivered once the thread has ended."""
        self._requests.stop()
        if self._thread.ident is None:
            self._requests.close()
        elif self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def refresh(self) -> None:
        """Read everything anew."""
        self._requests.refresh()

    def hold(self, seconds: float) -> None:
        """Pause loading for so many seconds, so that a key is answered first."""
        self._requests.hold(seconds)

    def set_visible(self, keys: Iterable[str]) -> None:
        """Say which rows are on screen; they are kept fresh even where changes are not pushed."""
        self._requests.visible = frozenset(keys)

    def set_open(self, keys: Iterable[str]) -> None:
        """Say which jobs are open: every change below their records is told as `touched`."""
        self._requests.open = frozenset(keys)

    def look_at(self, jobs: Mapping[str, Job]) -> None:
        """Ask for the processes of these jobs (by key); the answers come as `presences`."""
        if self._look is not None:
            self._requests.look_at(jobs)

    def now(self) -> float:
        """The server's time in unix seconds, as far as is known; no local clock's jump moves it."""
        return self._server_time + time.monotonic()

    def _run(self) -> None:
        from gnjobs.records.connection import connect
        from gnjobs.watch.reading import make_sources

        self._tell(FeedState("connecting", "", time.time()))
        try:
            with connect(self._url, reply_timeout=REPLY_TIMEOUT, retries=0) as client:
                self._watch(client, make_sources(client, self._prefixes, self._users, self._layouts))
        except ValueError as error:
            self._tell(FeedState("away", str(error), time.time()))
        finally:
            self._requests.close()

    def _watch(self, client: "redis.Redis", sources: "list[WatchedPrefix]") -> None:
        from gnjobs.records.servers import explain, is_refusal
        from gnjobs.watch.session import WatchSession

        backoff, away_since, again = Backoff(first=0.1, longest=1.0), 0.0, False
        while not self._requests.stopping:
            session = WatchSession(client, sources, self._requests, self._deliver, self._look)
            try:
                self._server_time = _server_time(client) - time.monotonic()
                session.open(again=again)
                backoff.succeeded()
                away_since, again, self._told = 0.0, True, None
                session.run()
            except Exception as error:  # noqa: BLE001 - a thread that dies in silence leaves a screen that looks live
                away_since = away_since or time.time()
                self._tell(FeedState("away", explain(error, self._url), away_since))
                self._requests.wait(backoff.failed(is_refusal=is_refusal(error)))
            finally:
                session.close()

    def _tell(self, state: FeedState) -> None:
        if state != self._told:
            self._told = state
            self._deliver(Change(state=state))


def _server_time(client: "redis.Redis") -> float:
    from redis.exceptions import ResponseError

    from gnjobs.records.connection import server_time

    try:
        return server_time(client)
    except ResponseError:
        return time.time()
