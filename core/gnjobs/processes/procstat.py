"""When a process started, by the one clock that nobody can move."""

from pathlib import Path


def process_start(pid: int) -> int | None:
    """Read field 22 of `/proc/<pid>/stat`, ticks since the machine started; None where there is no such
    process.

    A pid and this number together name a process for as long as the machine runs: a reused pid has another
    one.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()  # the name before it may hold spaces and brackets
    return int(fields[19]) if len(fields) > 19 and fields[19].isdigit() else None
