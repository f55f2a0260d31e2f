"""What other threads ask of the watcher (which jobs are on screen, reload, stop), and how it delivers changes."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping

from gnjobs.processes.seen import Presence
from gnjobs.records.fields import Job
from gnjobs.watch.rows import Change

Deliver = Callable[[Change], None]
Look = Callable[[Job], Presence]


class WatchRequests:
    """Flags and sets that any thread may change; the watcher's thread waits on `wake` and takes them.

    `visible` are the keys of the rows on screen, `open` those of jobs whose every change is to be told.
    """

    def __init__(self) -> None:
        self.wake, self._alarm = socket.socketpair()
        self.wake.setblocking(False)
        self._alarm.setblocking(False)
        self._lock = threading.Lock()
        self.stopping = False
        self.visible: frozenset[str] = frozenset()
        self.open: frozenset[str] = frozenset()
        self._held_until = 0.0
        self._refresh = False
        self._unlooked: dict[str, Job] = {}

    def _ring(self) -> None:
        # A full buffer wakes as well as one byte more.
        with contextlib.suppress(BlockingIOError, OSError):
            self._alarm.send(b"!")

    def wait(self, timeout: float) -> None:
        """Wait until something is asked, or the time is over (seconds)."""
        select.select([self.wake], [], [], timeout)
        self.quieten()

    def quieten(self) -> None:
        """Empty the wake-up socket."""
        with contextlib.suppress(BlockingIOError):
            while self.wake.recv(4096):
                pass

    def close(self) -> None:
        """Close the descriptors once the thread has ended."""
        self._alarm.close()
        self.wake.close()

    def stop(self) -> None:
        """Ask the thread to end."""
        self.stopping = True
        self._ring()

    def hold(self, seconds: float) -> None:
        """Ask the thread not to compute for so long, unless it has begun to."""
        self._held_until = time.monotonic() + seconds

    def wait_while_held(self) -> None:
        """Wait as long as the thread is asked to."""
        while not self.stopping and (left := self._held_until - time.monotonic()) > 0:
            time.sleep(left)

    def refresh(self) -> None:
        """Ask the thread to read everything again."""
        with self._lock:
            self._refresh = True
        self._ring()

    def take_refresh(self) -> bool:
        """Whether everything is to be read again; resets the request."""
        with self._lock:
            wanted, self._refresh = self._refresh, False
        return wanted

    def look_at(self, jobs: Mapping[str, Job]) -> None:
        """Ask for the processes of these jobs, by key."""
        if jobs:
            with self._lock:
                self._unlooked.update(jobs)
            self._ring()

    def take_unlooked(self) -> tuple[str, Job] | None:
        """One job whose processes are to be looked for, or None."""
        with self._lock:
            if not self._unlooked:
                return None
            key = next(iter(self._unlooked))
            return key, self._unlooked.pop(key)

    @property
    def has_unlooked(self) -> bool:
        """Whether processes are to be looked for."""
        return bool(self._unlooked)
