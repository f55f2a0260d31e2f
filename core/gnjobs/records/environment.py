"""The variables by which a process knows its job, and by which it is known to belong to it."""

import os
import stat
from collections.abc import Mapping
from typing import Final

ENV_URL: Final = "GNJOBS_REDIS_URL"
ENV_PREFIX: Final = "GNJOBS_PREFIX"
ENV_JOB: Final = "GNJOBS_JOB_ID"
ENV_CHILD: Final = "GNJOBS_CHILD_ID"
ENV_MARK: Final = "GNJOBS_MARK"
ENV_ON_END: Final = "GNJOBS_ON_END"  # a command, quoted for a shell: see `records.hooks`
ENV_LINES_FD: Final = "GNJOBS_LINES_FD"
ENV_LINES_PIPE: Final = "GNJOBS_LINES_PIPE"


def pipe_identity(descriptor: int) -> str:
    """What tells a pipe from any other that gets the same descriptor; empty for what is no pipe."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return ""
    return str(found.st_ino) if stat.S_ISFIFO(found.st_mode) else ""


def lines_descriptor(environment: Mapping[str, str]) -> int | None:
    """The descriptor to which the job's own code writes structured lines, if this process has inherited it.

    A process that did not may have opened something else under that number.
    """
    number, pipe = environment.get(ENV_LINES_FD, ""), environment.get(ENV_LINES_PIPE, "")
    if not number.isdecimal() or not pipe or pipe_identity(int(number)) != pipe:
        return None
    return int(number)
