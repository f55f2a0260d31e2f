"""A close look at processes that seem to wake by their own timers alone: whether they ask somebody in between.

One that asks, is answered within a millisecond and sleeps for a second is found asleep by every look at a beat. A
timer alone puts a thread on a processor once; whoever waits for an answer, too, is put there again at once. One that
does so is restless, and looked at as often as its waits are short, until it shows what it waits for.
"""

import contextlib
import os
import threading
import time
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from gnjobs.processes.activity import Wait, runs_in, wait_in
from gnjobs.processes.seen import Identity
from gnjobs.processes.sockets import socket_inode
from gnjobs.processes.waits import INPUT, link_of, polled

_FAR_APART: Final = 0.02
_CLOSE: Final = 0.001
_SECONDS: Final = 4.0  # over before the next beat, on a busy machine, too
_SOON: Final = 0.1
_AWAKE_SECONDS: Final = 0.003
_MOST_AWAKE: Final = 20
_MOST_THREADS: Final = 64
_VAIN_TIMES: Final = 3
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 120.0


class Suspect(NamedTuple):
    """A process that would idle unless a close look finds more: its threads that woke, the sockets that it holds."""

    identity: Identity
    threads: Sequence[int]
    sockets: Collection[int]


class Seen(NamedTuple):
    """Which suspects were seen to wait for somebody, and which may do so though a first look did not show it."""

    at_work: Collection[Identity] = ()
    doubtful: Collection[Identity] = ()


class _Vain(NamedTuple):
    """How often nothing was seen of a process one time after the other, and until when it is let alone (monotonic).

    A restless one is looked at closely from the beginning.
    """

    times: int = 0
    until: float = 0.0
    is_restless: bool = False


class Glances:
    """Looks at suspects for some `seconds`, closer as soon as one of them is restless; no beat waits for it."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._thread: threading.Thread | None = None
        self._at_work: set[Identity] = set()
        self._doubtful: set[Identity] = set()
        self._vain: dict[Identity, _Vain] = {}

    def take(self) -> Seen:
        """What was seen since this was asked last."""
        found = Seen(self._at_work, self._doubtful)
        self._at_work, self._doubtful = set(), set()
        return found

    def begin(self, suspects: Sequence[Suspect]) -> None:
        """Begin to look at these, unless others are looked at still."""
        due = [suspect for suspect in suspects if self._is_due(suspect.identity)]
        if due and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._look, args=(due,), name="glances", daemon=True)
            self._thread.start()

    def _is_due(self, identity: Identity) -> bool:
        return time.monotonic() >= self._vain.get(identity, _Vain()).until

    def forget(self, alive: Collection[Identity]) -> None:
        """Drop what is known of processes that have ended."""
        for gone in self._vain.keys() - alive:
            self._vain.pop(gone, None)

    def _look(self, suspects: Sequence[Suspect]) -> None:
        with contextlib.ExitStack() as files:
            named = [(suspect, thread) for suspect in suspects for thread in suspect.threads]
            threads = [_Thread(suspect, thread, files) for suspect, thread in named[:_MOST_THREADS]]
            restless = self._watch(threads)
        for suspect in suspects:
            self._note(suspect.identity, is_restless=suspect.identity in restless)

    def _watch(self, threads: Sequence["_Thread"]) -> Collection[Identity]:
        """Look at threads until each process was seen at work; returns which ones are restless."""
        left, end = list(threads), time.monotonic() + self._seconds
        restless = {each.identity for each in left if self._vain.get(each.identity, _Vain()).is_restless}
        while left and time.monotonic() < end:
            time.sleep(_CLOSE if restless else _FAR_APART)
            for thread in left:
                if restless:
                    is_at_work = thread.waits_for_somebody_now()
                else:
                    is_at_work = thread.waits_for_somebody()
                    restless |= {thread.identity} if thread.woke_twice() else set()
                if is_at_work:
                    self._at_work.add(thread.identity)
            left = [thread for thread in left if thread.identity not in self._at_work]
            restless -= self._at_work
        return restless

    def _note(self, identity: Identity, *, is_restless: bool) -> None:
        """Look ever less often at a process that showed nothing a few times."""
        if identity in self._at_work:
            self._vain[identity] = _Vain(is_restless=True)
            return
        times = self._vain.get(identity, _Vain()).times + 1
        pause = min(_FIRST_PAUSE * 2 ** (times - _VAIN_TIMES), _LONGEST_PAUSE) if times > _VAIN_TIMES else 0.0
        self._vain[identity] = _Vain(times, time.monotonic() + pause, is_restless)
        if is_restless and times == 1:
            self._doubtful.add(identity)


class _Thread:
    """One thread under a close look; it waits for nobody where it can't be seen or is gone."""

    def __init__(self, suspect: Suspect, thread: int, files: contextlib.ExitStack) -> None:
        self.identity = suspect.identity
        self._sockets = suspect.sockets
        self._files = [self._open(thread, name, files) for name in ("syscall", "schedstat")]
        self._times, self._looked_at = self._ran(), time.monotonic()
        self._rests_in = self._call()
        self._awake = 0

    def _open(self, thread: int, name: str, files: contextlib.ExitStack) -> int | None:
        try:
            number = os.open(f"/proc/{self.identity[0]}/task/{thread}/{name}", os.O_RDONLY)
        except OSError:
            return None
        files.callback(os.close, number)
        return number

    def woke_twice(self) -> bool:
        """Whether it was put on a processor more than once since the last look, if that was just now."""
        before, (self._times, self._looked_at) = (
            (self._times, self._looked_at),
            (self._ran(), time.monotonic()),
        )
        return self._times > before[0] + 1 and self._looked_at < before[1] + _SOON

    def waits_for_somebody(self) -> bool:
        """Whether it waits for what only others bring about, or for a peer that has answered; not while it runs."""
        call, end = self._call(), time.monotonic() + _AWAKE_SECONDS
        while call.startswith(b"running") and time.monotonic() < end:
            call = self._call()
        return self._is_for_somebody(call)

    def waits_for_somebody_now(self) -> bool:
        """The same, of one that was looked at a moment ago: if it woke since, it is watched until it rests again."""
        before, self._times = self._times, self._ran()
        if self._times == before or self._awake >= _MOST_AWAKE:
            return self.waits_for_somebody()
        self._awake += 1
        end = time.monotonic() + _AWAKE_SECONDS
        while time.monotonic() < end:
            if self._is_for_somebody(self._call()):
                return True
        return False

    def _is_for_somebody(self, call: bytes) -> bool:
        wait = wait_in(call) if call != self._rests_in else None
        return wait is not None and bool(wait.call) and (wait.is_event or self._has_new_peer(wait))

    def _has_new_peer(self, wait: Wait) -> bool:
        """Whether it polls a socket that is newer than the suspicion for what comes; not where that still connects."""
        pid = self.identity[0]
        links = (link_of(pid, number) for number in polled(pid, wait, INPUT))
        return any(socket_inode(link) not in (None, *self._sockets) for link in links)

    def _ran(self) -> int:
        runs = runs_in(self._read(1))
        return 0 if runs is None else runs.times

    def _call(self) -> bytes:
        return self._read(0)

    def _read(self, which: int) -> bytes:
        number = self._files[which]
        try:
            return b"" if number is None else os.pread(number, 256, 0)
        except OSError:
            return b""
