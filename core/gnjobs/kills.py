"""Killing a job or one of its children, asked by a person and verified.

The supervisor is asked; where it is gone or does not answer, the asker does the same on the same host, and from
another host the agent there is asked.
"""

import os
import time
import uuid
from collections.abc import Callable, Collection, Generator, Iterator
from typing import TYPE_CHECKING

from gnjobs import control, events
from gnjobs.child_processes import why_not_alone
from gnjobs.control import DEFAULT_GRACE, ControlRequest
from gnjobs.ending import KILL_SECONDS, end_processes
from gnjobs.errors import NotAllowed
from gnjobs.hidden_processes import Identity, is_concealed
from gnjobs.identity import host_name, is_on_this_host, login_name, pids_count_here
from gnjobs.kill_steps import KillStep, step
from gnjobs.presence import unseen
from gnjobs.process_view import ProcessView
from gnjobs.processes import Found, is_supervisor, processes_of, supervisor_process, worker_processes_of
from gnjobs.records import Child, Job
from gnjobs.scripts import Value, transition
from gnjobs.statuses import KILLED, PENDING, UNFINISHED_STATUSES

if TYPE_CHECKING:
    from gnjobs.roles import Actor
    from gnjobs.store import JobStore

__all__ = ["KillStep", "kill_job"]

SUPERVISOR_SECONDS = 3.0
AGENT_BEAT_SECONDS = 30.0
_WRITING_SECONDS = 15.0


def kill_job(
    store: "JobStore",
    job_id: str,
    child_id: str | None = None,
    *,
    actor: "Actor",
    reason: str = "",
    grace: float = DEFAULT_GRACE,
    force: bool = False,
    supervisor_timeout: float = SUPERVISOR_SECONDS,
    as_agent: bool = False,
) -> Iterator[KillStep]:
    """Kill a job, or one child alone, and yield each step; the last is `final` and says whether it is `verified`.

    TERM goes to every process, KILL to what is left after `grace` seconds; `force` kills at once, and hurries a
    kill that is under way. A host's agent, which acts `as_agent`, asks no agent. Raises `NotAllowed`, `NoSuchJob`,
    `NoSuchChild`.
    """
    job = store.get(job_id)
    child = store.child(job_id, child_id) if child_id is not None else None
    _check(store, job, actor, reason)
    kill = _Kill(store, job, child, actor.name, reason, 0.0 if force else grace, force, as_agent)
    yield from kill.steps(supervisor_timeout)


def _check(store: "JobStore", job: Job, actor: "Actor", reason: str) -> None:
    try:
        actor.check("kill", job)
    except NotAllowed as refused:
        events.record_refusal(store.client, store.keys, "kill", job, refused, by=actor.name, reason=reason)
        raise


class _Kill:
    """One request to kill, on its way from the supervisor to whoever can do it."""

    def __init__(
        self,
        store: "JobStore",
        job: Job,
        child: Child | None,
        by: str,
        reason: str,
        grace: float,
        force: bool,
        as_agent: bool,
    ) -> None:
        self.store = store
        self.job = job
        self.child = child
        self.by = by
        self.reason = reason
        self.grace = grace
        self.force = force
        self.as_agent = as_agent
        self.token = uuid.uuid4().hex

    def steps(self, supervisor_timeout: float) -> Iterator[KillStep]:
        """Everything that happens, in order."""
        target = self.child or self.job
        if self.child is not None and self.job.supervisor_pid is None:
            yield step(
                "refused",
                "a worker of a Pool can't be killed alone: its parent would wait for it for ever; kill the job instead",
                final=True,
            )
        elif target.is_final:
            yield from self._already_ended(target)
        elif self.job.status == PENDING and self.job.supervisor_pid is None:
            yield from self._kill_pending()
        elif self.job.supervisor_pid is None:
            yield from self._end_foreign()
        elif pids_count_here(self.job) and not self._supervisor_lives():
            yield from self._answer_for_supervisor("is gone")
        else:
            yield from self._ask(self.store.keys.control(self.job.id), supervisor_timeout, self._unanswered)

    def _supervisor_lives(self) -> bool:
        """Whether it is there; one that is not shown to us is asked, too."""
        pid = self.job.supervisor_pid
        return is_supervisor(pid, self.job.supervisor_started, self.job.id) or is_concealed(pid)

    def _already_ended(self, target: Job | Child) -> Iterator[KillStep]:
        """Nothing is to be done for what has ended, unless something of it runs all the same."""
        if self.child is None and self.job.supervisor_pid is not None:
            if is_on_this_host(self.job):
                if self._outlived_its_end():
                    yield step("answered", f"it has ended ({target.status}), yet something of it runs")
                    yield from self._end_here()
                    return
            elif self.job.left_running:
                yield step("answered", f"it has ended ({target.status}), leaving {self.job.left_running}")
                yield from self._ask_agent()
                return
        yield step("skipped", f"it has already ended: {target.status}", verified=True, final=True)

    def _outlived_its_end(self) -> bool:
        found = self._find(self._supervisor_identity())
        return bool(found.processes or (self.job.left_running and found.hidden))

    def _kill_pending(self) -> Iterator[KillStep]:
        outcome, status = self._write({PENDING})
        if outcome == "done":
            yield from self._written(["it had not been started"])
            return
        self.job = self.store.get(self.job.id)
        yield step("answered", f"it is {status} by now")
        yield from self.steps(SUPERVISOR_SECONDS)

    def _ask(
        self, stream: str, timeout: float, unanswered: Callable[[], Iterator[KillStep]]
    ) -> Iterator[KillStep]:
        request = ControlRequest(
            id="",
            kind="kill",
            job=self.job.id,
            child=self.child.id if self.child else None,
            by=self.by,
            reason=self.reason,
            grace=self.grace,
            force=self.force,
            origin=host_name(),
        )
        request_id = control.send_request(self.store.client, stream, request)
        yield step("asked", f"asked as {self.by}")
        wait = _Patience(timeout, self.grace)
        for answered in control.read_answers(self.store.client, stream, request_id, wait.until):
            if answered is not None:
                wait.encourage()
                yield answered
                if answered.final:
                    return
            elif pids_count_here(self.job) and not self._supervisor_lives():
                break
        yield from unanswered()

    def _unanswered(self) -> Iterator[KillStep]:
        self.job = self.store.get(self.job.id)
        if self.job.is_final:
            yield step("skipped", f"it has ended meanwhile: {self.job.status}", verified=True, final=True)
        elif is_on_this_host(self.job):
            yield from self._answer_for_supervisor(
                "does not answer" if self._supervisor_lives() else "is gone"
            )
        else:
            yield from self._ask_agent()

    def _answer_for_supervisor(self, state: str) -> Iterator[KillStep]:
        """Do on the job's host what its supervisor should; the agent does it for who may not."""
        supervisor = f"supervisor {self.job.supervisor_pid} {state}"
        if not self._may_act() and not self.as_agent and self._agent_beats():
            yield step(
                "answered", f"{supervisor}, and {login_name()} may not end processes of {self.job.account}"
            )
            yield from self._ask_agent()
        else:
            yield step("answered", f"{supervisor}; doing it from here")
            yield from self._end_here()

    def _may_act(self) -> bool:
        return os.geteuid() == 0 or self.job.account == login_name()

    def _ask_agent(self) -> Iterator[KillStep]:
        if self.as_agent or not self._agent_beats():
            yield from self._refused()
            return
        yield step("answered", f"asking the agent of {self.job.host}")
        host_stream = self.store.keys.host_control(self.job.host or "")
        yield from self._ask(host_stream, AGENT_BEAT_SECONDS, self._refused)

    def _agent_beats(self) -> bool:
        beat = self.store.client.zscore(self.store.keys.hosts, self.job.host or "")
        return beat is not None and self.store.now() - float(beat) < AGENT_BEAT_SECONDS

    def _refused(self) -> Iterator[KillStep]:
        child = f" --child {self.child.id}" if self.child else ""
        yield step(
            "refused",
            f"nobody answers on {self.job.host or 'its host'}, and no agent runs there; run there: "
            f"gnjobs kill {self.job.id}{child}",
            final=True,
        )

    def _supervisor_identity(self) -> tuple[int, int] | None:
        """The frozen supervisor's pid and start, from which descent counts; None for one that is not known to be it."""
        pid, started = self.job.supervisor_pid, self.job.supervisor_started
        is_it = pids_count_here(self.job) and is_supervisor(pid, started, self.job.id, unreadable=False)
        return (pid, started) if is_it and pid is not None and started is not None else None

    def _find(
        self,
        supervisor: tuple[int, int] | None,
        child: Child | None = None,
        known: Collection[Identity] = (),
    ) -> Found:
        """Find what is to be ended; when there is nothing, what may be the job's and can't be touched."""
        view, child_id = ProcessView(), child.id if child is not None else None
        found = processes_of(self.job.id, child_id, supervisor=supervisor, token=self.job.mark, view=view)
        hidden = None if found else unseen(self.job, view, known, child)
        return found if hidden is None else Found(hidden=((hidden.pid, hidden.why),))

    def _end_here(self) -> Iterator[KillStep]:
        """Do the supervisor's work, and end the supervisor, too, if it is frozen and the whole job goes."""
        supervisor = self._supervisor_identity()
        if self.child is not None:
            yield from self._end_child_here(self.child, supervisor)
            return
        from gnjobs.known_processes import known_identities

        known = known_identities(self.store, self.job.id)
        last = yield from _relay(end_processes(lambda: self._find(supervisor, known=known), grace=self.grace))
        if supervisor is not None:
            yield from self._end_supervisor(supervisor)
        yield from self._conclude(last)

    def _end_child_here(self, child: Child, supervisor: tuple[int, int] | None) -> Iterator[KillStep]:
        def find(child_id: str | None) -> Found:
            return processes_of(self.job.id, child_id, supervisor=supervisor, token=self.job.mark)

        obstacle = why_not_alone(child, find)
        if obstacle is not None:
            yield step("refused", obstacle, final=True)
            return
        last = yield from _relay(end_processes(lambda: self._find(supervisor, child), grace=self.grace))
        yield from self._conclude(last)

    def _end_supervisor(self, supervisor: tuple[int, int]) -> Iterator[KillStep]:
        def find() -> Found:
            return supervisor_process(supervisor, self.job.id)

        yield step("killing", f"ending the frozen supervisor {supervisor[0]}", (supervisor[0],))
        yield from _relay(end_processes(find, grace=0.0))

    def _end_foreign(self) -> Iterator[KillStep]:
        """End what gn-uploader started itself; this host is all that can be looked at."""
        found = worker_processes_of(self.job.id) or processes_of(self.job.id)
        if not found:
            yield step(
                "refused",
                f"no process of it was found on {host_name()}, and its record names no supervisor and no host",
                final=True,
            )
            return

        def find() -> Found:
            return worker_processes_of(self.job.id) or processes_of(self.job.id)

        last = yield from _relay(end_processes(find, grace=self.grace))
        yield from self._conclude(last)

    def _conclude(self, last: KillStep) -> Iterator[KillStep]:
        if not last.verified:
            yield step("left", f"not killed: {last.text}", last.pids, final=True)
            return
        outcome, status = self._write(UNFINISHED_STATUSES)
        if outcome == "done":
            yield from self._written([last.text])
        else:
            yield step(
                "verified", f"{last.text}; its status is {status or 'gone'}", verified=True, final=True
            )

    def _write(self, allowed: Collection[str]) -> tuple[str, str]:
        keys, client = self.store.keys, self.store.client
        key = keys.child(self.job.id, self.child.id) if self.child else keys.job(self.job.id)
        fields: dict[str, Value] = {
            "finished": f"{self.store.now():.3f}",
            "stop-by": self.by.encode("utf-8", "surrogateescape"),
            "stop-reason": self.reason.encode("utf-8", "surrogateescape"),
        }
        if self.child is None:
            fields["stop-requested"] = fields["finished"]
        outcome, status = transition(client, key, allowed, KILLED, self.token, fields)
        if outcome == "done" and self.child is None:
            client.zrem(keys.unfinished, self.job.id)
        return outcome, status

    def _written(self, facts: list[str]) -> Iterator[KillStep]:
        child = f" (child {self.child.label or self.child.id})" if self.child else ""
        events.record_event(
            self.store.client,
            self.store.keys,
            "killed",
            self.job,
            text=f"killed{child}: {'; '.join(facts)}",
            by=self.by,
            reason=self.reason,
        )
        yield step("written", f'{"; ".join(facts)}; written "killed by {self.by}"', verified=True, final=True)


class _Patience:
    """Until when answers are waited for: briefly for the first, then as long as a kill may take."""

    def __init__(self, first: float, grace: float) -> None:
        self.is_answered = False
        self._grace = grace
        self._until = time.monotonic() + first

    def until(self) -> float:
        """The end of waiting (monotonic)."""
        return self._until

    def encourage(self) -> None:
        """An answer came: the rest may take its time."""
        self.is_answered = True
        self._until = time.monotonic() + self._grace + KILL_SECONDS + _WRITING_SECONDS


def _relay(steps: Iterator[KillStep]) -> Generator[KillStep, None, KillStep]:
    """Yield steps but the last, the verdict, which is returned."""
    last = None
    for each in steps:
        if last is not None:
            yield last
        last = each
    assert last is not None
    return last
