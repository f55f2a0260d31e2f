"""A disk that is full: a small file system of a server's own, filled to its last byte."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.servers import Server

_SIZE = "256m"
_BALLAST = "ballast"


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """Mount a small file system for the time of a with block, where we may; tells whether we could."""
    place.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(place)]
    is_mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", str(place)], check=True)


def full_disk(server: Server) -> Callable[[], None]:
    """Fill the server's disk; what this returns makes room again."""
    ballast = Path(server.directory) / _BALLAST
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 10, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size) == size:
                    pass
    return lambda: ballast.unlink(missing_ok=True)
