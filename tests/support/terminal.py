"""A real pseudo-terminal with a program in it, used as a person would: keys in, a screen out."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pyte
from textual.constants import ESCAPE_DELAY

_READ_IN = 0.1
_LAST_SENT = 2000


class Terminal:
    """A program in a pseudo-terminal whose screen pyte keeps; every byte that it sent is kept, too."""

    def __init__(
        self, command: list[str], columns: int = 100, rows: int = 30, env: Mapping[str, str] | None = None
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.raw = bytearray()
        self.exit_code: int | None = None
        self._stream = pyte.ByteStream(self.screen)
        self._rows = [""] * rows
        self._changed = threading.Condition()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            self._become(command, env or {})
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _become(self, command: list[str], env: Mapping[str, str]) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ}
        kept |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)  # as a login shell would start it
        while os.get_terminal_size(0).columns != self.screen.columns:
            time.sleep(0.001)
        try:
            os.execvpe(command[0], command, kept | dict(env))
        finally:
            os._exit(127)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                data = b""
            with self._changed:
                self._take(data)
                self._changed.notify_all()
            if not data:
                return

    def _take(self, data: bytes) -> None:
        self.raw += data
        self._stream.feed(data)

    def scribble(self, text: str) -> None:
        """Write on the screen what the program did not send, as another one on the same terminal would."""
        with self._changed:
            self._stream.feed(text.encode())

    @property
    def lines(self) -> list[str]:
        """What is on the screen now, a string a row, without trailing blanks."""
        with self._changed:
            return self._shown()

    def _shown(self) -> list[str]:
        """All rows; only those that changed since the last look are put together anew."""
        for row in self.screen.dirty:
            cells = self.screen.buffer[row]
            text = "".join([cells[column].data for column in range(self.screen.columns)])
            self._rows[row] = text.rstrip()
        self.screen.dirty.clear()
        return self._rows.copy()

    @property
    def text(self) -> str:
        """What is on the screen now."""
        return "\n".join(self.lines)

    def send(self, keys: str) -> None:
        """Press keys; `\\x1b` is escape, behind which nothing is pressed for a moment: it would be one key with it."""
        os.write(self._fd, keys.encode())
        if keys.endswith("\x1b"):
            time.sleep(2 * ESCAPE_DELAY)

    def answer(self, keys: str) -> None:
        """Answer a question that was read: what comes as soon as it is shown was typed before it."""
        self.wait_for_rest(_READ_IN)
        self.send(keys)

    def wait_for(self, wanted: str | Callable[[str], bool], limit: float = 60.0) -> str:
        """Wait until the screen shows a text, or fulfils a condition; return the screen."""
        deadline = time.monotonic() + limit
        fulfilled = wanted if callable(wanted) else lambda text: wanted in text
        with self._changed:
            while True:
                text = "\n".join(self._shown())
                if fulfilled(text):
                    return text
                left = deadline - time.monotonic()
                if left <= 0:
                    sent = bytes(self.raw[-_LAST_SENT:])
                    raise AssertionError(
                        f"not seen within {limit} s: {wanted!r}; last sent {sent!r}; the screen shows\n{text}"
                    )
                self._changed.wait(min(left, 1.0))

    def wait_for_rest(self, quiet: float) -> str:
        """Wait until the screen has looked the same for `quiet` seconds; return it."""
        with self._changed:
            text, since = self.text, time.monotonic()
            while (left := since + quiet - time.monotonic()) > 0:
                self._changed.wait(left)
                if self.text != text:
                    text, since = self.text, time.monotonic()
            return text

    def wait_closed(self, limit: float = 60.0) -> int:
        """Wait until the program has ended; return its exit code (negative: a signal)."""
        pidfd = os.pidfd_open(self.pid)
        try:
            ready, _, _ = select.select([pidfd], [], [], limit)
        finally:
            os.close(pidfd)
        if not ready:
            raise AssertionError(f"still running after {limit} s; the screen shows\n{self.text}")
        _, status = os.waitpid(self.pid, 0)
        self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code

    @property
    def is_open(self) -> bool:
        """Whether the program may still write."""
        return self._reader.is_alive()

    @property
    def is_busy(self) -> bool:
        """Whether the program computes now, or would if a processor were free."""
        try:
            stats = [stat.read_text() for stat in Path(f"/proc/{self.pid}/task").glob("*/stat")]
        except OSError:
            return False
        return any(stat.rpartition(")")[2].split()[0] == "R" for stat in stats)

    def wait_read(self) -> None:
        """Wait until everything that an ended program had sent is on the screen."""
        self._reader.join()

    def close(self) -> None:
        """End the program if it runs, and close the terminal."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait_closed()
        # Not before the reader has ended: the next terminal gets the same descriptor, and its bytes.
        self._reader.join()
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def gnjobs(*arguments: str) -> list[str]:
    """The command line that runs gnjobs with the interpreter of the tests."""
    return [sys.executable, "-m", "gnjobs_tui", *arguments]


def see(terminal: Terminal, keys: str, *signs: str, gone: str = "\0") -> None:
    """Press keys; what is to be seen comes, and what is left is gone."""
    terminal.send(keys)
    terminal.wait_for(lambda text: gone not in text and all(sign in text for sign in signs))
