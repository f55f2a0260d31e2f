"""One kind of process, and what is true of it."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple


class Kind(NamedTuple):
    """A command; `says` is what the evidence must hold where it has a `verdict` (None: it is at work, never accused).

    It `needs` programs, modules of Python, paths, `root`, or what `services` tells of in the environment.
    """

    command: list[str]
    says: str | None = None
    verdict: str = "stuck"
    needs: tuple[str, ...] = ()

    def missing(self, services: Collection[str]) -> list[str]:
        """What it needs and is not there."""
        return [need for need in self.needs if not _is_there(need, services)]


def _is_there(need: str, services: Collection[str]) -> bool:
    if need.startswith("/"):
        return Path(need).exists()
    if need == "root":
        return os.getuid() == 0
    return need in services or shutil.which(need) is not None or importlib.util.find_spec(need) is not None


def python(code: str, says: str | None = None, needs: tuple[str, ...] = ()) -> Kind:
    """A piece of Python."""
    return Kind([sys.executable, "-c", code], says, needs=needs)


def shell(code: str, says: str | None = None, verdict: str = "stuck", needs: tuple[str, ...] = ()) -> Kind:
    """A piece of shell."""
    return Kind(["sh", "-c", code], says, verdict, needs)
