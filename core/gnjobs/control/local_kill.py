"""A kill done on the job's own host by whoever asks or by its agent, where the supervisor can't do it."""

from collections.abc import Callable, Collection, Generator, Iterator

from gnjobs.processes.end import end_processes
from gnjobs.processes.find import (
    Identity,
    is_supervisor,
    processes_of,
    supervisor_process,
    why_not_alone,
    worker_processes_of,
)
from gnjobs.processes.host import host_name, pids_count_here
from gnjobs.processes.presence import unseen
from gnjobs.processes.seen import Found
from gnjobs.processes.table import ProcessView
from gnjobs.records.fields import Child, Job
from gnjobs.records.reading import Records
from gnjobs.records.requests import KillStep, step

Verdict = Generator[KillStep, None, KillStep]


class LocalKill:
    """Ends the processes of a job, or of one child; `steps` returns the last step, the verdict, and writes nothing."""

    def __init__(self, store: Records, job: Job, child: Child | None, grace: float) -> None:
        self._store = store
        self._job = job
        self._child = child
        self._grace = grace
        self._supervisor = self._supervisor_identity()

    def _supervisor_identity(self) -> Identity | None:
        """The frozen supervisor's pid and start, from which descent counts; None for one that is not known to be it."""
        pid, started = self._job.supervisor_pid, self._job.supervisor_started
        is_it = pids_count_here(self._job) and is_supervisor(pid, started, self._job.id, unreadable=False)
        return (pid, started) if is_it and pid is not None and started is not None else None

    def outlived_its_end(self) -> bool:
        """Whether something of a job that is said to have ended runs all the same."""
        found = self._find()
        return bool(found.processes or (self._job.left_running and found.hidden))

    def steps(self) -> Verdict:
        """End the child, the job and its frozen supervisor, or what gn-uploader started itself."""
        if self._job.supervisor_pid is None:
            return (yield from self._end_foreign())
        if self._child is not None:
            return (yield from self._end_child(self._child))
        from gnjobs.processes.find import known_identities

        known = known_identities(self._store, self._job.id)
        last = yield from self._end(lambda: self._find(known))
        if self._supervisor is not None:
            yield from self._end_supervisor(self._supervisor)
        return last

    def _find(self, known: Collection[Identity] = ()) -> Found:
        """Find what is to be ended; when there is nothing, what may be the job's and can't be touched."""
        view = ProcessView()
        found = self._marked(self._child.id if self._child is not None else None, view)
        hidden = None if found else unseen(self._job, view, known, self._child)
        return found if hidden is None else Found(hidden=((hidden.pid, hidden.why),))

    def _marked(self, child_id: str | None, view: ProcessView | None = None) -> Found:
        job = self._job
        return processes_of(job.id, child_id, supervisor=self._supervisor, token=job.mark, view=view)

    def _end(self, find: Callable[[], Found]) -> Verdict:
        return (yield from _relay(end_processes(find, grace=self._grace)))

    def _end_child(self, child: Child) -> Verdict:
        obstacle = why_not_alone(child, self._marked)
        if obstacle is not None:
            return step("refused", obstacle, final=True)
        return (yield from self._end(self._find))

    def _end_supervisor(self, supervisor: Identity) -> Iterator[KillStep]:
        yield step("killing", f"ending the frozen supervisor {supervisor[0]}", (supervisor[0],))
        yield from _relay(end_processes(lambda: supervisor_process(supervisor, self._job.id), grace=0.0))

    def _end_foreign(self) -> Verdict:
        """End what gn-uploader started itself; this host is all that can be looked at."""

        def find() -> Found:
            return worker_processes_of(self._job.id) or processes_of(self._job.id)

        if not find():
            text = (
                f"no process of it was found on {host_name()}, and its record names no supervisor and no host"
            )
            return step("refused", text, final=True)
        return (yield from self._end(find))


def _relay(steps: Iterator[KillStep]) -> Verdict:
    """Yield steps but the last, the verdict, which is returned."""
    last = None
    for each in steps:
        if last is not None:
            yield last
        last = each
    assert last is not None
    return last
