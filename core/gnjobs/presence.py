"""What can be said on this host of the processes of a job whose supervisor is silent."""

from gnjobs.health import Presence
from gnjobs.identity import boot_id, is_on_this_host, pids_count_here
from gnjobs.processes import is_supervisor, processes_of
from gnjobs.records import Job


def look(job: Job) -> Presence:
    """Look for the job's processes here; it takes some milliseconds."""
    if not is_on_this_host(job):
        return Presence(
            "elsewhere", f"its processes on {job.host or 'another host'} cannot be seen from here"
        )
    if job.boot_id is not None and job.boot_id != boot_id():
        return Presence("restarted")
    if not pids_count_here(job):
        return Presence(
            "elsewhere", "its processes are in another pid namespace and cannot be seen from here"
        )
    identity = (job.supervisor_pid or 0, job.supervisor_started or 0)
    lives = is_supervisor(*identity, job.id)
    found = processes_of(job.id, supervisor=identity if lives else None)
    if found.hidden:
        return Presence("hidden", f"cannot see processes of {found.hidden[0][1]}")
    if found.processes:
        count = len(found.processes)
        return Presence("running", f"{count} process{'es run' if count > 1 else ' runs'}")
    if lives:
        return Presence("running", f"supervisor {job.supervisor_pid} is there and does not report")
    return Presence("gone")
