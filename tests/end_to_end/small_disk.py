"""A disk so small that it can be filled: a tmpfs of its own, where we may mount one."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.end_to_end.faults import Fault
from tests.servers import Server

MEBIBYTES = 256


class Filler:
    """Fills the disk under a server's journal, so that its writes fail, and empties it again."""

    def __init__(self, directory: Path) -> None:
        self._ballast = directory / "ballast"
        self.fault = Fault("disk full", self._fill)

    def _fill(self, _: Server) -> Callable[[], None]:
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while file.write(b"\0" * (1 << 20)):
                continue
        return lambda: self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(directory: Path) -> Iterator[Filler | None]:
    """Mount a small disk at a directory for the time of a with block; None where that is not allowed."""
    directory.mkdir()
    if os.geteuid() != 0 or not _run("mount", "-t", "tmpfs", "-o", f"size={MEBIBYTES}m", "tmpfs", directory):
        yield None
        return
    try:
        yield Filler(directory)
    finally:
        _run("umount", "-l", directory)


def _run(*command: str | Path) -> bool:
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True).returncode == 0
    return False
