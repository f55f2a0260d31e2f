"""What a job's supervisor and its children stored of their processes, which anybody may have written."""

import redis

from gnjobs.processes.seen import LONGEST_SNAPSHOT, Identity, ProcessSnapshot, read_snapshot
from gnjobs.records.connection import read_or_none
from gnjobs.records.keys import Keys
from gnjobs.records.reading import Records


def read_processes(client: redis.Redis, keys: Keys, job_id: str) -> ProcessSnapshot | None:
    """Read the job's processes as its supervisor last saw them; if they are too long, only enough to tell so."""
    return read_snapshot(read_or_none(client.getrange, keys.processes(job_id), 0, LONGEST_SNAPSHOT))


def known_identities(records: Records, job_id: str) -> set[Identity]:
    """Pids and starts of the job's processes as its supervisor saw them last, and as its children told them."""
    snapshot = read_processes(records.client, records.keys, job_id)
    seen = {each.identity for each in snapshot.processes} if snapshot is not None else set()
    children = (
        (child.pid, child.process_started) for child in records.children(job_id) if not child.is_final
    )
    return seen | {(pid, started) for pid, started in children if pid is not None and started is not None}
