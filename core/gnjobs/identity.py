"""Who we are and where: host, boot, pid namespace, login name; and whether a record speaks of the same machine."""

import os
import pwd
import socket
from pathlib import Path

from gnjobs.records import Job

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def host_name() -> str:
    """The name of this host, as records say it."""
    return socket.gethostname()


def boot_id() -> str | None:
    """What this start of the machine is called; None where the system does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None


def pid_namespace() -> str | None:
    """The namespace in which our pids count; None where the system has none."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def account_name(uid: int) -> str:
    """The account of a user id."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def login_name() -> str:
    """The account that this process runs as."""
    return account_name(os.getuid())


def is_on_this_host(job: Job) -> bool:
    """Whether the record says that the job runs on this host."""
    return job.host == host_name()


def pids_count_here(job: Job) -> bool:
    """Whether pids in the record mean the same here: the same host, boot and pid namespace."""
    return is_on_this_host(job) and job.boot_id == boot_id() and job.pid_namespace == pid_namespace()
