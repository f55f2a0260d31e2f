"""Keys in one packet, as a slow line delivers them, beside the same keys typed slowly.

`python -m tests.end_to_end.typed_packets [--delay SECONDS] [SCREEN…]` tries every two and three of the keys on every
screen, which takes about ten minutes a screen; the suite tries a few.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path

from tests.support.command import environment
from tests.support.proxy import running_proxy
from tests.support.servers import Server, running_server
from tests.support.stored_records import KEYS, write_child, write_job, write_line, write_running
from tests.support.terminal import Terminal, gnjobs

ENTER, ESC = "\r", "\x1b"
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
}
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

    @contextmanager
    def slower(self) -> Iterator[None]:
        """Wait for longer until the screen counts as at rest."""
        usual, self._quiet = self._quiet, 4 * self._quiet
        try:
            yield
        finally:
            self._quiet = usual

    def at_rest(self) -> str:
        """The screen once nothing has come for a moment."""
        return self._terminal.wait_for_rest(self._quiet)

    def go(self, screen: str) -> None:
        """Go back to the list of jobs, and from there to a screen."""
        keys, sign = SCREENS[screen]
        while not self._arrives("g" + keys, sign):
            continue

    def _arrives(self, keys: str, sign: str) -> bool:
        """Go from the list to where keys lead; a screen that reads for long comes later than the rest before it."""
        while not _is_plain_list(self.at_rest()):
            self._terminal.send(ESC)
        for key in keys:
            self._terminal.send(key)
            self.at_rest()
        with suppress(AssertionError):
            return bool(self._terminal.wait_for(sign, PATIENCE))
        return False

    def place(self) -> list[str]:
        """What tells where one is: the title, the rows of cursors, dialogs, and what is typed or can be pressed."""
        lines = self.at_rest().splitlines()
        told = [line for line in lines if line.startswith(">") or line.lstrip().startswith(("╭", "│"))]
        return [lines[0].split("live")[0], *(_without_ages(line) for line in told), lines[-1]]

    def slowly(self, screen: str, keys: str) -> list[str]:
        """Type keys one by one; returns where that led."""
        return self.each_slowly(screen, keys)[-1]

    def each_slowly(self, screen: str, keys: str) -> list[list[str]]:
        """Type keys one by one; returns where each led."""
        self.go(screen)
        places = []
        for key in keys:
            self._terminal.send(key)
            places.append(self.place())
        return places

    def both(self, screen: str, keys: str) -> tuple[list[str], list[str]]:
        """Where keys lead slowly and at once."""
        slowly = self.slowly(screen, keys)
        return slowly, self.at_once(screen, keys, slowly)

    def at_once(self, screen: str, keys: str, expected: list[str]) -> list[str]:
        """Send keys in one packet; returns where they led once that is as expected, or nothing has changed for long."""
        self.go(screen)
        self._terminal.send(keys)
        deadline = time.monotonic() + PATIENCE
        while (place := self.place()) != expected and time.monotonic() < deadline:
            continue
        return place


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


def differing(typist: Typist, screen: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """The packets of two and three keys that lead elsewhere than the keys do one by one, with both places."""
    expected: dict[str, list[str]] = {}
    for keys in packets(3):
        places = typist.each_slowly(screen, keys)
        expected |= {keys[:2]: places[1], keys: places[2]}
    for keys, slowly in sorted(expected.items()):
        if typist.at_once(screen, keys, slowly) != slowly:
            with typist.slower():
                again, at_once = typist.both(screen, keys)
            if again != at_once:
                yield keys, again, at_once


def main() -> None:
    """Try them all, and say which differ."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("screens", nargs="*", choices=[*SCREENS, []], default=list(SCREENS))
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as room,
        running_server(Path(room, "server")) as server,
        running_proxy(server.port) as proxy,
    ):
        write_jobs(server)
        proxy.delay = asked.delay
        with Terminal(gnjobs(), 100, 30, environment(proxy.url)) as terminal:
            terminal.wait_for("3 running 2")
            typist = Typist(terminal, LEAST_QUIET + 3 * asked.delay)
            for screen in asked.screens:
                found = list(differing(typist, screen))
                for keys, slowly, at_once in found:
                    print(screen, repr(keys), slowly, at_once, sep="\n   ", flush=True)
                print(f"{screen}: {len(found)} differ", flush=True)


if __name__ == "__main__":
    main()
