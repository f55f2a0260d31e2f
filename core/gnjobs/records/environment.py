"""The variables by which a process knows its job, and by which it is known to belong to it."""

import hashlib
import os
import stat
from collections.abc import Mapping
from typing import Final

ENV_URL: Final = "GNJOBS_REDIS_URL"
ENV_PREFIX: Final = "GNJOBS_PREFIX"
ENV_JOB: Final = "GNJOBS_JOB_ID"
ENV_CHILD: Final = "GNJOBS_CHILD_ID"
ENV_MARK: Final = "GNJOBS_MARK"
ENV_CREATED: Final = "GNJOBS_CREATED"  # which job of its id it is: see `records.scripts.Run`
ENV_OWNER: Final = "GNJOBS_OWNER"  # whom the job was launched for, whatever its record says by now
ENV_ASKED: Final = "GNJOBS_ASKED"  # what the launcher wants to run: see `supervisor.setup`
ENV_DIRECTORY: Final = "GNJOBS_DIRECTORY"  # where a job begins whose record names no directory
ENV_ON_END: Final = "GNJOBS_ON_END"  # a command, quoted for a shell: see `records.hooks`
# Of a supervisor that is itself a job of Slurm's, not only inside one.
ENV_IN_SLURM: Final = "GNJOBS_IN_SLURM"
ENV_SLURM_JOB: Final = "SLURM_JOB_ID"  # Slurm's own, as the next
ENV_SLURM_RESTARTS: Final = "SLURM_RESTART_COUNT"
ENV_LASTING: Final = "GNJOBS_LASTING_SECONDS"  # see `records.lasting`
ENV_LINES_FD: Final = "GNJOBS_LINES_FD"
ENV_LINES_PIPE: Final = "GNJOBS_LINES_PIPE"


def digest_of_mark(mark: str) -> str:
    """The digest of a mark, which the record holds: whoever reads it can't forge the mark."""
    return hashlib.sha256(mark.encode("utf-8", "surrogatepass")).hexdigest()


def created_here(prefix: str, job_id: str) -> str:
    """When the job was created, if it is the one of which this process is part; nothing where that is not known.

    Another prefix may have a job of the same id.
    """
    ours = os.environ.get(ENV_PREFIX, prefix), os.environ.get(ENV_JOB)
    return os.environ.get(ENV_CREATED, "") if ours == (prefix, job_id) else ""


def pipe_identity(descriptor: int) -> str:
    """What tells a pipe from any other that gets the same descriptor; empty for anything but a pipe."""
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
