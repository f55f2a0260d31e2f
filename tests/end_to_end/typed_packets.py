"""Keys in one packet, as a slow line delivers them, beside the same keys typed slowly.

`python -m tests.end_to_end.typed_packets [--delay SECONDS] [--at-once N] [SCREEN…]` tries every two and three of the
keys on every screen: minutes a screen; the suite tries a few.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

from tests.support.command import environment
from tests.support.proxy import running_proxy
from tests.support.servers import Server, running_server
from tests.support.stored_records import KEYS, write_child, write_job, write_line, write_running
from tests.support.terminal import Terminal, gnjobs

ENTER, ESC = "\r", "\x1b"
# Escape as terminals with the newer protocol send it, which nothing behind it can change: back from anywhere.
RETURN = 5 * "\x1b[27u" + "g"
TYPED = (ENTER, "j", "k", "K", ESC, "/")
# How to get to a screen from the list of jobs, and what tells that it is there.
SCREENS = {
    "jobs": ("", "3 running 2"),
    "job": (ENTER, "the job itself"),
    "output": ("\rj\r", "line 3 of 3"),
    "log": ("L", "event log"),
    "users": ("u", "Newest"),
    "faults": ("\re", "no faults were reported"),
    "kill": ("K", "Kill one job"),
    "help": ("?", "Keys of this screen"),
    "hosts": ("h", "Agent"),
    "pulse": ("p", "no agent"),
    "timeline": ("\rt", "timeline of its children"),
    "tree": ("\rp", "its supervisor tells of no process"),
    "stacks": ("b", "Where in its code"),
}
Place = list[str]
QUIET = 0.4
# To try them all takes less time so; what differs then is tried again as it is done else.
LEAST_QUIET = 0.2
PATIENCE = 10.0


def write_jobs(server: Server) -> None:
    """Two users' running jobs with two children each, and one that has ended."""
    now = time.time()
    for number, user in enumerate(("anna", "bert")):
        job = write_running(
            server, f"job-{user}", label=f"check of {user}", user_id=user, created=now - 50 - number
        )
        for child in ("first", "second"):
            write_child(server, job, child, label=f"{child} of {user}")
            for line in range(1, 4):
                write_line(server, KEYS.child_output(job, child), line, f"line {line}")
    write_job(server, "job-ended", label="ended", user_id="anna", created=now - 200, finished=now - 100)
    server.client().xadd(KEYS.events, {"kind": "done", "text": "done", "job": "job-ended"})


class Typist:
    """Types into the dashboard from the list of jobs, and tells where it got to."""

    def __init__(self, terminal: Terminal, quiet: float = QUIET) -> None:
        self._terminal = terminal
        self._quiet = quiet
        self._starts: dict[str, str] = {}

    @contextmanager
    def slower(self) -> Iterator[None]:
        """Wait for longer until the screen counts as at rest."""
        usual, self._quiet = self._quiet, 4 * self._quiet
        try:
            yield
        finally:
            self._quiet = usual

    def at_rest(self) -> str:
        """The screen once nothing has come for a moment, and not for want of a free processor."""
        text = self._terminal.wait_for_rest(self._quiet)
        while self._terminal.is_busy:
            text = self._terminal.wait_for_rest(self._quiet)
        return text

    def go(self, screen: str) -> None:
        """Go back to the list of jobs, and from there to a screen; in one go, if that leads to where it led before."""
        if screen in self._starts and self._is_back(screen, RETURN + SCREENS[screen][0]):
            return
        keys, sign = SCREENS[screen]
        while not self._arrives(keys, sign):
            assert self._terminal.is_open, f"the dashboard ended:\n{self._terminal.text}"
        self._starts[screen] = _without_ages(self.at_rest())

    def _is_back(self, screen: str, keys: str) -> bool:
        start = self._starts[screen]
        if _without_ages(self._terminal.text) == start:
            return True
        self._terminal.send(keys)
        with suppress(AssertionError):
            self._terminal.wait_for(lambda text: _without_ages(text) == start, 10 * self._quiet)
        return _without_ages(self.at_rest()) == start

    def _arrives(self, keys: str, sign: str) -> bool:
        """Go from the list to where keys lead; a screen that reads for long comes later than the rest before it."""
        while not _is_plain_list(self.at_rest()) and self._terminal.is_open:
            self._terminal.send(ESC)
        self._terminal.send("g")
        self.at_rest()
        for key in keys[:-1]:
            self._terminal.send(key)
            self.at_rest()
        self._terminal.send(keys[-1:])
        with suppress(AssertionError):
            return bool(self._terminal.wait_for(sign, PATIENCE))
        return False

    def place(self) -> Place:
        """What tells where one is: the title, the rows of cursors, dialogs, and what is typed or can be pressed."""
        return _place_of(self.at_rest())

    def slowly(self, screen: str, keys: str) -> Place:
        """Type keys one by one; returns where that led."""
        return self.after(screen, keys, {})

    def after(self, screen: str, keys: str, known: Mapping[str, Place]) -> Place:
        """Type keys one by one; returns where that led. A key that led elsewhere before has acted when one is there."""
        self.go(screen)
        before: Place | None = None
        for number, key in enumerate(keys, 1):
            self._terminal.send(key)
            there = known.get(keys[:number])
            if there is None or there == before or not self._comes(there):
                there = self.place()
            before = there
        assert before is not None
        return before

    def _comes(self, place: Place) -> bool:
        with suppress(AssertionError):
            return bool(self._terminal.wait_for(lambda text: _place_of(text) == place, self._quiet))
        return False

    def both(self, screen: str, keys: str) -> tuple[Place, Place]:
        """Where keys lead slowly and at once."""
        slowly = self.slowly(screen, keys)
        return slowly, self.at_once(screen, keys, slowly)

    def at_once(self, screen: str, keys: str, expected: Place) -> Place:
        """Send keys in one packet; returns where they led once that is as expected, or nothing has changed for long."""
        self.go(screen)
        self._terminal.send(keys)
        deadline = time.monotonic() + 15 * self._quiet
        while (place := self.place()) != expected and time.monotonic() < deadline:
            continue
        return place


def _place_of(text: str) -> Place:
    lines = text.splitlines()
    told = [line for line in lines if line.startswith(">") or line.lstrip().startswith(("╭", "│"))]
    return [lines[0].split("live")[0], *(_without_ages(line) for line in told), lines[-1]]


def _is_plain_list(text: str) -> bool:
    return (
        text.startswith("gnjobs   redis") and "│" not in text and "enter open" in text and "── /" not in text
    )


def _without_ages(line: str) -> str:
    return "".join("0" if character.isdigit() else character for character in line)


def packets(count: int) -> Iterator[str]:
    """Every so many keys. Behind an escape a terminal takes enter and / for keys with alt."""
    for keys in map("".join, product(TYPED, repeat=count)):
        if not any(pair in keys for pair in (ESC + ENTER, ESC + "/", ESC + ESC)):
            yield keys


def differing(typist: Typist, screen: str) -> Iterator[tuple[str, Place, Place]]:
    """The packets of two and three keys that lead elsewhere than the keys do one by one, with both places."""
    known: dict[str, Place] = {}
    tried = [keys for count in (2, 3) for keys in packets(count)]
    # Those that begin alike follow one another, the shortest first.
    for number, keys in enumerate(sorted(tried, key=_order), 1):
        for length in range(1, len(keys) + 1):
            if keys[:length] not in known:
                known[keys[:length]] = typist.after(screen, keys[:length], known)
        if typist.at_once(screen, keys, known[keys]) != known[keys]:
            with typist.slower():
                known[keys], at_once = typist.both(screen, keys)
            if known[keys] != at_once:
                yield keys, known[keys], at_once
        if number % 20 == 0:
            print(f"{screen}: {number} of {len(tried)} tried", flush=True)


def _order(keys: str) -> list[int]:
    return [TYPED.index(key) for key in keys]


def try_screen(screen: str, delay: float) -> int:
    """Try all packets at one screen, say which differ, and return how many."""
    count, began = 0, time.monotonic()
    with (
        tempfile.TemporaryDirectory() as room,
        running_server(Path(room, "server")) as server,
        running_proxy(server.port) as proxy,
    ):
        write_jobs(server)
        proxy.delay = delay
        with Terminal(gnjobs(), 100, 30, environment(proxy.url)) as terminal:
            terminal.wait_for("3 running 2")
            for keys, slowly, at_once in differing(Typist(terminal, LEAST_QUIET + 3 * delay), screen):
                print(screen, repr(keys), slowly, at_once, sep="\n   ", flush=True)
                count += 1
    print(f"{screen}: {count} differ ({time.monotonic() - began:.0f} s)", flush=True)
    return count


def main() -> None:
    """Try them all, and say which differ."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that each reply comes late")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="screens tried at the same time")
    parser.add_argument("screens", nargs="*", metavar="SCREEN", help=", ".join(SCREENS))
    asked = parser.parse_args()
    screens = asked.screens or list(SCREENS)
    with ProcessPoolExecutor(asked.at_once, get_context("spawn")) as pool:
        counts = pool.map(partial(try_screen, delay=asked.delay), screens, chunksize=1)
        print(f"{sum(counts)} differ at {len(screens)} screens")


if __name__ == "__main__":
    main()
