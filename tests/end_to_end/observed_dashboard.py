"""The dashboard in a terminal beside the random run, looked at as a person would."""

import contextlib
import os
import time
from types import TracebackType

import redis

from tests.end_to_end.command import environment
from tests.end_to_end.faults import Fault
from tests.end_to_end.random_jobs import World
from tests.end_to_end.terminal import Terminal, gnjobs

# What the server's end of a connection does at once, or a feed that is dead for this long, must be told.
NOTICED = 0.5
BACK_WITHIN = 2.0
GIVEN = 20.0
# Faults by which the server can't be reached at all, from the first moment.
AWAY = {"crash", "forgets", "loses a second"}


class ObservedDashboard:
    """Counts how often a dead feed was shown as live, and how long the dashboard took to be right again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._terminal = Terminal(gnjobs(), 140, 40, environment(world.server.url))
        self._returns: list[float] = []
        self._problems: list[str] = []
        self._looks = 0

    def __enter__(self) -> "ObservedDashboard":
        self._terminal.wait_for("live")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._check_lives()
        self._terminal.close()

    def look(self, fault: Fault) -> None:
        """See that a server that is away is not shown as live."""
        self._check_lives()
        if fault.name in AWAY:
            self._looks += 1
            with contextlib.suppress(AssertionError):
                self._terminal.wait_for("AWAY", NOTICED)
                return
            self._problems.append(f"{fault}: shown as live {NOTICED} s after the server died")

    def check_return(self, fault: Fault) -> None:
        """Measure how long after the server's return it shows what there is: a job that is new then."""
        name = f"seen{len(self._returns)}"
        with self._world.client(socket_timeout=5.0) as client:
            begun = time.monotonic()
            try:
                client.hset(
                    f"gn-uploader:jobs:{name}",
                    mapping={"jobid": name, "status": "success", "label": name, "created": time.time()},
                )
                client.zadd("gn-uploader:jobs", {name: time.time()})
                client.expire(f"gn-uploader:jobs:{name}", 60)
            except redis.RedisError:
                return  # it still refuses; nothing is to be seen
        try:
            self._terminal.wait_for(lambda text: name in text and "live" in text, GIVEN)
        except AssertionError as error:
            self._problems.append(f"{fault}: not right within {GIVEN} s: {error}")
            return
        self._returns.append(time.monotonic() - begun)
        if self._returns[-1] > BACK_WITHIN:
            self._problems.append(f"{fault}: right after {self._returns[-1]:.1f} s")

    def _check_lives(self) -> None:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(self._terminal.pid, os.WNOHANG) != (0, 0):
                self._problems.append(f"it ended; the screen shows\n{self._terminal.text}")
                self._terminal.exit_code = 1

    @property
    def is_right(self) -> bool:
        """Whether it was right all the time."""
        return not self._problems

    def __str__(self) -> str:
        took = sorted(self._returns) or [0.0]
        said = (
            f"dashboard: {len(self._returns)} returns seen, median {took[len(took) // 2]:.2f} s, "
            f"longest {took[-1]:.2f} s; looked at {self._looks} times while the server was away; "
            f"{len(self._problems)} problems"
        )
        return "\n".join([said, *self._problems])
