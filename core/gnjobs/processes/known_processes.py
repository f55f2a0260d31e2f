"""Which processes were seen as a job's while somebody watched it: a lost mark does not make them gone."""

from gnjobs.store import JobStore


def known_identities(store: JobStore, job_id: str) -> set[tuple[int, int]]:
    """Pids and starts of the job's processes as its supervisor saw them last, and as its children told them."""
    snapshot = store.processes(job_id)
    seen = {(each.pid, each.started) for each in snapshot.processes} if snapshot is not None else set()
    children = ((child.pid, child.process_started) for child in store.children(job_id) if not child.is_final)
    return seen | {(pid, started) for pid, started in children if pid is not None and started is not None}
