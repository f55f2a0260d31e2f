"""Who we are and where: host, boot, pid namespace, login name; and whether a record speaks of the same machine."""

import contextlib
import os
import pwd
import resource
import socket
import time
from pathlib import Path

from gnjobs.records import values
from gnjobs.records.fields import Job
from gnjobs.records.hosts import HostLoad

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CLOCK_SLACK = 60.0
_UNKNOWN = "uid "
_MOST_DESCRIPTORS = 8192
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO: the same on every Linux


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
        return f"{_UNKNOWN}{uid}"


def user_id(account: str) -> int | None:
    """The user id of an account as `account_name` names it; None where this host does not know it."""
    if account.startswith(_UNKNOWN):
        return values.integer(account.removeprefix(_UNKNOWN))
    try:
        return pwd.getpwnam(account).pw_uid
    except (KeyError, ValueError):
        return None


def own_account() -> str:
    """The account that this process runs as."""
    return account_name(os.getuid())


def allow_many_descriptors() -> None:
    """Let this process have more files open than usual: it holds hundreds of processes while it ends them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def lift_limits() -> None:
    """Let this process run as long, and grow as large, as its account may: its starter's limits were for others."""
    for limit in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_FSIZE):
        for most in (resource.RLIM_INFINITY, resource.getrlimit(limit)[1]):
            with contextlib.suppress(ValueError):  # only root may go beyond the hard limit
                resource.setrlimit(limit, (most, most))
                break


def load_here(now: float) -> HostLoad:
    """How busy this host is; `now` in unix seconds. What the system does not say is 0."""
    try:
        load = os.getloadavg()[0]
    except OSError:
        load = 0.0
    memory, free = _memory()
    cores = os.cpu_count() or 0
    return HostLoad(
        at=now,
        cores=cores,
        load=round(load, 2),
        memory=memory,
        free=free,
        account=own_account(),
        pid=os.getpid(),
    )


def _memory() -> tuple[int, int]:
    """The memory of this host, and how much of it is available without swapping (bytes)."""
    try:
        words = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
    except OSError:
        return 0, 0
    sizes = {line[0]: int(line[1]) * 1024 for line in words if len(line) > 1}
    return sizes.get("MemTotal:", 0), sizes.get("MemAvailable:", 0)


def is_on_this_host(job: Job) -> bool:
    """Whether the record says that the job runs on this host."""
    return job.host == host_name()


def sees_all_namespaces() -> bool:
    """Whether this process is in the machine's first pid namespace, from which the processes of all are seen."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE
    except OSError:
        return False


def is_of_this_boot(job: Job) -> bool:
    """Whether the job runs on this machine, in any namespace, and began since the machine was started."""
    return is_on_this_host(job) and job.boot_id is not None and job.boot_id == boot_id()


def restarted_since(job: Job) -> bool:
    """Whether this host was started again after the job last beat.

    A job of another boot that beat after we were started runs on another machine of the same name.
    """
    here = boot_id()
    if not is_on_this_host(job) or here is None or job.boot_id in (None, here):
        return False
    began = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return (job.heartbeat or job.started or 0.0) < began + _CLOCK_SLACK


def pids_count_here(job: Job) -> bool:
    """Whether pids in the record mean the same here: the same host, boot and pid namespace."""
    return is_on_this_host(job) and job.boot_id == boot_id() and job.pid_namespace == pid_namespace()
