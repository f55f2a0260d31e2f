"""Where a job's processes are in their code, or which files they have open, as told by those who may look into them."""

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from gnjobs.processes.files import LOOKS
from gnjobs.processes.find import is_supervisor, processes_of, supervisor_here, wanted_of
from gnjobs.processes.host import host_name, is_on_this_host, pids_count_here
from gnjobs.processes.seen import Found
from gnjobs.processes.stack import NOT_ALLOWED
from gnjobs.processes.table import Wanted
from gnjobs.records import requests
from gnjobs.records.fields import Child, Job
from gnjobs.records.hosts import agent_beats
from gnjobs.records.reading import Records
from gnjobs.records.requests import ControlRequest, stream_of_asker
from gnjobs.records.streams import newest_id

if TYPE_CHECKING:
    from gnjobs.records.actor import Actor

_ANSWER_SECONDS: Final = 60.0


def job_stacks(
    store: Records, job_id: str, child_id: str | None = None, *, actor: "Actor", kind: str = "stack"
) -> str:
    """Say where the processes of a job, or of one child, are in their code; nothing is stopped for it.

    With the `kind` "files": which files they have open, and how far they are in each. We look ourselves where the job
    runs here and none of it is another account's; else its supervisor or its host's agent does. Raises `NoSuchJob`,
    `NoSuchChild` and `NotAllowed`.
    """
    job = store.get(job_id)
    actor.check("see", job)
    child = store.child(job_id, child_id) if child_id is not None else None
    if job.is_final or (child is not None and child.is_final):
        return f"it has ended: {job.status if child is None or job.is_final else child.status}"
    here = find_here(store, job, child_id) if is_on_this_host(job) else None
    if not here and child is not None and is_on_this_host(job):
        here = _find_told(find_here(store, job, None), child)
    told = LOOKS[kind](here) if here else None
    if told is not None and NOT_ALLOWED not in told:
        return told
    if not actor.may("kill", job):  # asking is writing
        return told or f"{actor.name} may only look, and asks nobody; run {_there(job)}"
    return _asked(store, job, child_id, actor, kind) or told or f"nobody answers; run {_there(job)}"


def find_here(store: Records, job: Job, child_id: str | None, owner: str | None = None) -> Found:
    """The processes of a job, or of one child, on this host; with an `owner` only what was launched for that user."""
    wanted = wanted_of(job, store, owner)
    return processes_of(wanted, child_id, supervisor=supervisor_here(job, wanted))


def _find_told(whole: Found, child: Child) -> Found:
    """The process in which a child runs that has no mark of its own, as a thread or in a Pool: that of its pid."""
    return Found(tuple(each for each in whole.processes if child.pid in (each.pid, each.inner_pid)))


def streams_of_who_answers(store: Records, job: Job, actor: "Actor") -> list[str]:
    """Where the actor may ask a job's supervisor, and its host's agent, as far as they are there."""
    is_gone = pids_count_here(job) and not is_supervisor(
        job.supervisor_pid, job.supervisor_started, Wanted(job.id)
    )
    has_agent = agent_beats(store.client, store.keys, job.host)
    is_curator = actor.role == "curator"  # whose own stream agents heed, too
    streams = [stream_of_asker(store.keys, actor, job)] if not is_gone or (is_curator and has_agent) else []
    if has_agent and not is_curator:
        streams.append(store.keys.host_control(job.host or ""))
    return streams


def _asked(store: Records, job: Job, child_id: str | None, actor: "Actor", kind: str) -> str | None:
    """What supervisor or agent answers; None where nobody does, or it may not be asked."""
    mark = wanted_of(job).token
    request = ControlRequest("", kind, job.id, child_id, by=actor.name, origin=host_name(), digest=mark)
    for stream in streams_of_who_answers(store, job, actor):
        answers = store.keys.answers(job.id)
        last = newest_id(store.client, answers)
        request_id = requests.send_request(store.client, stream, request)
        until = time.monotonic() + _ANSWER_SECONDS
        for answered in requests.read_answers(store.client, answers, request_id, partial(float, until), last):
            if answered is not None and answered.final:
                return answered.text
    return None


def _there(job: Job) -> str:
    return f"on {job.host or 'its host'}: gnjobs stack {job.id}"
