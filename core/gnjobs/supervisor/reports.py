"""What a supervisor tells the process that started it: that it runs, and at last how its job ended."""

import contextlib
import os
from collections.abc import Mapping

from gnjobs.supervisor.setup import silence

REPORT_FD = "GNJOBS_REPORT_FD"
READY = b"ready"
ENDED = b"ended"

_STDERR = 2


class ReportPipe:
    """The descriptor on which reports go; without one (under systemd, or by hand) nobody listens."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ReportPipe":
        """Take the descriptor that the starter named."""
        named = environment.get(REPORT_FD, "")
        return cls(int(named) if named.isascii() and named.isdigit() else None)

    def detach(self) -> None:
        """Go on as a process that nobody has to wait for, and report its pid."""
        if self._descriptor is None:
            return
        if os.fork():
            os._exit(0)
        self._write(b"%s %d\n" % (READY, os.getpid()))
        if self._descriptor == _STDERR:
            silence(0, 1, 2)
            self._descriptor = None
        else:
            os.set_inheritable(self._descriptor, False)

    def ended(self, shell_code: int) -> None:
        """Report the job's end, and let go of everything that the starter could still wait for."""
        if self._descriptor is None:
            return
        self._write(b"%s %d\n" % (ENDED, shell_code))
        os.close(self._descriptor)
        self._descriptor = None
        silence(0, 1, 2)

    def _write(self, report: bytes) -> None:
        assert self._descriptor is not None
        with contextlib.suppress(OSError):
            os.write(self._descriptor, report)
