"""A dashboard in a pseudo-terminal beside a run of faults: it never crashes, never shows a dead feed as live."""

import contextlib
import os
import statistics
import time

import redis

from tests.support.command import environment
from tests.support.servers import Server
from tests.support.supervised import KEYS
from tests.support.terminal import Terminal, gnjobs

RIGHT_AGAIN_WITHIN = 2.0
_DEAD_AT_ONCE = {"crash", "forgets", "last second"}
_NOTICED_WITHIN = 1.0
_LONGEST = 30.0
_BEACON = "beacon"


class Onlooker:
    """Looks at the dashboard's screen: does it say that the feed is dead, and when is it right again?

    A job that nobody runs is the beacon: its label changes after each fault, and has to be seen.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._changes = 0
        self.again: list[float] = []
        self.notes: list[str] = []
        with server.client() as client:
            record = {"jobid": _BEACON, "command": "none", "status": "pending", "percent": "0"}
            created = time.time() - 3600
            client.hset(KEYS.job(_BEACON), mapping=record | {"label": "beacon 0", "created": f"{created}"})
            client.zadd(KEYS.jobs, {_BEACON: created})
            client.zadd(KEYS.unfinished, {_BEACON: created})
        self._terminal = Terminal(gnjobs(), 120, 40, env=environment(server.url))

    def __enter__(self) -> "Onlooker":
        self._terminal.wait_for("beacon 0")
        return self

    def __exit__(self, *_: object) -> None:
        self._terminal.close()

    def look_while_broken(self, fault: str) -> None:
        """A server that is dead must not be shown as live."""
        if fault in _DEAD_AT_ONCE:
            with contextlib.suppress(AssertionError):
                self._terminal.wait_for(lambda text: not _is_live(text), _NOTICED_WITHIN)
                return
            self.notes.append(f"after {fault} the feed is shown as live: {self._terminal.lines[0]}")

    def look_after(self) -> None:
        """Change something as soon as the server is back, and wait until it is seen."""
        self._changes += 1
        began, wanted = time.monotonic(), f"beacon {self._changes} "
        with self._server.client(socket_timeout=5.0) as client:
            while True:
                with contextlib.suppress(redis.RedisError):
                    client.hset(KEYS.job(_BEACON), "label", wanted)
                    break
                time.sleep(0.02)
        try:
            self._terminal.wait_for(lambda text: wanted in text and _is_live(text), _LONGEST)
        except AssertionError:
            self.notes.append(f"not right within {_LONGEST} s:\n{self._terminal.text}")
        took, load = time.monotonic() - began, os.getloadavg()[0]
        self.again.append(took)
        if took > RIGHT_AGAIN_WITHIN * max(1.0, load / (os.cpu_count() or 1)):  # as many share a processor
            self.notes.append(f"right again after {took:.1f} s, load {load:.1f}")

    @property
    def is_clean(self) -> bool:
        """Whether everything held."""
        return not self.notes

    def __str__(self) -> str:
        if not self.again:
            return "dashboard            was not looked at"
        times, late = len(self.again), sum(took > RIGHT_AGAIN_WITHIN for took in self.again)
        figures = f"median {statistics.median(self.again):.2f} s, longest {max(self.again):.2f} s"
        first = f"dashboard            right again {times} times, {figures}"
        return "\n".join([f"{first}, {late} after more than {RIGHT_AGAIN_WITHIN:.0f} s", *self.notes])


def _is_live(text: str) -> bool:
    header = text.split("\n", 1)[0]
    return " live" in header
