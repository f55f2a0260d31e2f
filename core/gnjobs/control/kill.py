"""Killing a job or one of its children, asked by a person and verified.

The supervisor is asked; where it is gone or does not answer, or what it ended runs on, the asker does the same on the
same host, and from another host the agent there is asked.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from redis.exceptions import NoPermissionError, RedisError

from gnjobs.control.local_kill import LocalKill
from gnjobs.control.slurm_kill import SlurmKill
from gnjobs.errors import GnjobsError, NoSuchChild, NoSuchJob, NotAllowed
from gnjobs.processes.end import KILL_SECONDS
from gnjobs.processes.find import is_supervisor, wanted_of
from gnjobs.processes.host import host_name, is_on_this_host, own_account, pids_count_here
from gnjobs.processes.slurm import SlurmError
from gnjobs.processes.table import Wanted, require_our_processes
from gnjobs.processes.traces import is_concealed
from gnjobs.records import events, requests
from gnjobs.records.accounts import SUPER_USER
from gnjobs.records.connection import is_passing
from gnjobs.records.ends import StopRequest, conclude_kill
from gnjobs.records.fields import Child, Job
from gnjobs.records.hooks import LONGEST_RUN
from gnjobs.records.hosts import AGENT_BEAT_SECONDS, agent_beats
from gnjobs.records.keys import is_id
from gnjobs.records.reading import Records
from gnjobs.records.requests import DEFAULT_GRACE, LONGEST_GRACE, ControlRequest, KillStep, failed, step
from gnjobs.records.scripts import transition
from gnjobs.records.servers import is_refusal
from gnjobs.records.statuses import PENDING, RUNNING, STOPPING
from gnjobs.records.streams import newest_id

if TYPE_CHECKING:
    from gnjobs.records.actor import Actor

SUPERVISOR_SECONDS = 3.0
_WRITING_SECONDS = 15.0
_LOOK_SECONDS = 0.02


def kill_job(
    store: Records,
    job_id: str,
    child_id: str | None = None,
    *,
    actor: "Actor",
    created: float | None = None,
    reason: str = "",
    grace: float = DEFAULT_GRACE,
    force: bool = False,
    supervisor_timeout: float = SUPERVISOR_SECONDS,
    as_agent: bool = False,
) -> Iterator[KillStep]:
    """Kill a job, or one child alone, and yield each step; the last is `final` and says whether it is `verified`.

    TERM goes to every process, KILL to what is left after `grace` seconds; `force` kills at once, and hurries a kill
    that is under way; `created` is as for `get`. A host's agent acts `as_agent`, and asks none. Raises `NotAllowed`,
    `NoSuchJob`, `NoSuchChild`, `NoProcesses`, and `ValueError` for a `grace` outside of 0 to 3600.
    """
    if not 0.0 <= grace <= LONGEST_GRACE:
        raise ValueError(f"grace must be 0 to {LONGEST_GRACE:.0f} seconds, not {grace}")
    require_our_processes()
    try:
        job = store.get(job_id, created)
        child = store.child(job_id, child_id) if child_id is not None else None
        _check(store, job, actor, reason)
        kill = _Kill(store, job, child, actor, reason, 0.0 if force else grace, force, as_agent)
        yield from kill.steps(supervisor_timeout)
    except (GnjobsError, OSError):
        raise
    except Exception as problem:
        if isinstance(problem, RedisError) and (is_passing(problem) or is_refusal(problem)):
            raise
        yield failed(problem)


def _check(store: Records, job: Job, actor: "Actor", reason: str) -> None:
    try:
        actor.check("kill", job)
    except NotAllowed as refused:
        events.record_refusal(store.client, store.keys, "kill", job, refused, by=actor.name, reason=reason)
        raise


class _Kill:
    """One request to kill, on its way from the supervisor to whoever can do it."""

    def __init__(
        self,
        store: Records,
        job: Job,
        child: Child | None,
        actor: "Actor",
        reason: str,
        grace: float,
        force: bool,
        as_agent: bool,
    ) -> None:
        self.store = store
        self.job = job
        self.child = child
        self.actor = actor
        self.by = actor.name
        self.reason = reason
        self.grace = grace
        self.force = force
        self.as_agent = as_agent
        self._was_answered = False
        # Whom they were checked against, whatever the record says later: an agent ends for others only what is theirs.
        self.owner = job.user if as_agent and actor.role != "admin" else None

    def steps(self, supervisor_timeout: float) -> Iterator[KillStep]:
        """Everything that happens, in order; says that all is gone only where neither this host nor Slurm denies it."""
        for each in self._asking_at_last(supervisor_timeout):
            said = each
            if each.final and each.verified and self.child is None:
                said = yield from self._slurm().confirm(each, 0.0 if self.as_agent else LONGEST_RUN)
            yield self._local().unless_seen(said) if said.final else said

    def _asking_at_last(self, timeout: float) -> Iterator[KillStep]:
        """The steps; whatever the record says, the supervisor of what may run all the same is asked."""
        is_doubtful = self._local().may_run_elsewhere()
        for each in self._steps(timeout):
            is_last = each.final and self.child is None and self.owner is None and not self._was_answered
            runs = is_last and ((each.verified and is_doubtful) or self._local().is_claimed())
            if runs and not self.store.is_anothers(self.job):
                unanswered = partial(self._unless_it_runs, each)
                yield from self._ask(self._stream, timeout, unanswered, names_run=False)
            else:
                yield each

    def _steps(self, supervisor_timeout: float) -> Iterator[KillStep]:
        target = self.child or self.job
        if self.child is not None and not (self.job.is_supervised and is_id(self.child.id)):
            yield step(
                "refused",
                "a worker of a Pool can't be killed alone: its parent would wait for it for ever; kill the job instead",
                final=True,
            )
        elif target.is_final:
            yield from self._already_ended(target)
        elif self.job.status == PENDING and (self.job.supervisor_pid is None or self.job.is_in_slurm):
            yield from self._kill_pending()
        elif not self.job.is_supervised:
            yield from self._end_here()
        elif pids_count_here(self.job) and not self._supervisor_lives():
            yield from self._answer_for_supervisor("is gone")
        elif self.as_agent and self.actor.role != "admin":
            # Who asks has asked the supervisor, too, as far as the job is theirs.
            yield from self._unanswered()
        else:
            yield from self._ask(self._stream, supervisor_timeout, self._unanswered, self._may_answer)

    def _supervisor_lives(self) -> bool:
        """Whether it is there; one that is not shown to us is asked, too."""
        pid = self.job.supervisor_pid
        return is_supervisor(pid, self.job.supervisor_started, Wanted(self.job.id)) or is_concealed(pid)

    @property
    def _stream(self) -> str:
        return requests.stream_of_asker(self.store.keys, self.actor, self.job)

    def _local(self) -> LocalKill:
        """A kill here as the job is by now."""
        stop, owner, as_agent = self._stop(), self.owner, self.as_agent
        return LocalKill(self.store, self.job, self.child, stop, self.grace, owner, as_agent=as_agent)

    def _slurm(self) -> SlurmKill:
        return SlurmKill(self.store, self.job, self.owner)

    def _may_answer(self) -> bool:
        return not pids_count_here(self.job) or self._supervisor_lives()

    def _already_ended(self, target: Job | Child) -> Iterator[KillStep]:
        """Nothing is to be done for what has ended, unless something of it runs all the same."""
        if self.child is None:
            if self._local().runs_on():
                yield step("answered", f"it has ended ({target.status}), yet something of it runs")
                yield from self._end_here()
                return
            if self.job.left_running and not is_on_this_host(self.job):
                yield step("answered", f"it has ended ({target.status}), leaving {self.job.left_running}")
                yield from self._ask_agent()
                return
        yield step("skipped", f"it has already ended: {target.status}", verified=True, final=True)

    def _kill_pending(self) -> Iterator[KillStep]:
        if self.job.is_foreign:
            yield from self._kill_foreign_pending()
            return
        verdict = step("verified", "it had not been started", verified=True)
        last = conclude_kill(self.store, self.job, None, self._stop(), verdict, allowed={PENDING})
        self.job = self.store.again(self.job)
        if self.job.is_final or not last.verified:
            if self.job.is_in_slurm and last.verified:
                yield self._slurm().leave_queue()
            yield last
        else:
            yield step("answered", f"it is {self.job.status} by now")
            yield from self.steps(SUPERVISOR_SECONDS)

    def _kill_foreign_pending(self) -> Iterator[KillStep]:
        """End its worker if there is one here; if not, another program's record can't prove that there is none."""
        if self._local().has_worker():
            yield from self._end_here()
            return
        verdict = step("verified", "marked as killed", verified=True)
        conclude_kill(self.store, self.job, None, self._stop(), verdict, allowed={PENDING})
        self.job = self.store.again(self.job)
        written = "it is marked as killed" if self.job.is_final else f"its status is {self.job.status}"
        text = f"no process of it was found on {host_name()}; {written}, yet its program may run it elsewhere or later"
        yield step("left", text, final=True)

    def _ask(
        self,
        stream: str,
        timeout: float,
        unanswered: Callable[[], Iterator[KillStep]],
        may_answer: Callable[[], bool] = lambda: True,
        names_run: bool = True,
    ) -> Iterator[KillStep]:
        """Ask on a stream and pass on what is answered, until nobody is left who could answer, or it takes too long."""
        request = ControlRequest(
            "",
            "kill",
            self.job.id,
            child=self.child.id if self.child else None,
            by=self.by,
            reason=self.reason,
            grace=self.grace,
            force=self.force,
            origin=host_name(),
            digest=wanted_of(self.job).token if names_run else None,
        )
        client, answers = self.store.client, self.store.keys.answers(self.job.id)
        last, asked = newest_id(client, answers), step("asked", f"asked as {self.by}")
        try:
            request_id = requests.send_request(client, stream, request)
        except NoPermissionError as refused:
            yield step("refused", f"this login may not ask for it: {refused}", final=True)
            return
        yield asked
        began, has_gone = time.monotonic(), False
        until = unheard = began + timeout
        for answered in requests.read_answers(client, answers, request_id, lambda: until, last):  # noqa: B023 - as it is by then
            if answered is not None:
                if until == unheard:  # the rest may take its time, and no answers make it longer
                    self._was_answered = True
                    until = time.monotonic() + self.grace + KILL_SECONDS + _WRITING_SECONDS
                if answered.final:
                    said = self._confirmed(answered)
                    yield from self._unless_it_runs(said, time.monotonic() - began)
                    return
                yield answered
            elif has_gone:
                break
            else:
                has_gone = not may_answer()  # what it said last is read once more
        yield from unanswered()

    def _unless_it_runs(self, said: KillStep, spent: float = 0.0) -> Iterator[KillStep]:
        """Take it as the last word, though anybody who writes records may say it, unless we see the job run."""
        if self._may_act() and self._local().runs_on(is_verified=said.verified):
            yield msgspec.structs.replace(said, verified=False, final=False)
            self.grace = max(0.0, self.grace - spent)
            yield from self._answer_for_supervisor("has not ended it")
        else:
            yield said

    def _confirmed(self, answered: KillStep) -> KillStep:
        """Believe an answer that all is gone only where the record says so, too, or has gone with it."""
        until = time.monotonic() + _WRITING_SECONDS
        while answered.verified:
            try:
                target = self._read_target()
            except (NoSuchJob, NoSuchChild):
                if is_on_this_host(self.job) and not self._local().is_there():
                    return answered
                return step("left", f"{answered.text}; nothing is left that would confirm it", final=True)
            if target.is_final or time.monotonic() > until:
                break
            time.sleep(_LOOK_SECONDS)
        if not answered.verified or target.is_final:
            return answered
        return step("left", f"answered: {answered.text}; yet its status is {target.status}", final=True)

    def _read_target(self) -> Job | Child:
        if self.child is not None:
            return self.store.child(self.job.id, self.child.id)
        return self.store.again(self.job)

    def _unanswered(self) -> Iterator[KillStep]:
        self.job = self.store.again(self.job)
        if self.job.is_final:
            yield from self._already_ended(self.job)
        elif is_on_this_host(self.job):
            lives = self._supervisor_lives()
            yield from self._answer_for_supervisor("does not answer" if lives else "is gone")
        elif self.job.slurm_job is not None:
            yield from self._end_in_slurm(self.job.slurm_job)
        else:
            yield from self._ask_agent()

    def _end_in_slurm(self, slurm_job: str) -> Iterator[KillStep]:
        """Have Slurm end what does not answer on its node; from a host without Slurm, by where it was submitted."""
        if self.child is not None:
            yield step("refused", "its supervisor does not answer; kill the whole job", final=True)
            return
        text = f"its supervisor on {self.job.host} does not answer; Slurm is to end its job {slurm_job}"
        yield step("answered", text)
        stop = self._stop()
        with contextlib.suppress(RedisError):  # what counts is that it ends
            self._mark_stopping(stop)
        try:
            verdict = self._slurm().cancel_and_wait()
        except SlurmError as problem:
            yield step("answered", str(problem))
            yield from self._ask_agent(self.job.launch_host)
            return
        last = conclude_kill(self.store, self.job, None, stop, verdict)
        self.job = self.store.again(self.job)
        yield last

    def _answer_for_supervisor(self, state: str) -> Iterator[KillStep]:
        """Do on the job's host what its supervisor should; the agent does it for those who may not."""
        pid = self.job.supervisor_pid
        supervisor = f"its supervisor {state}" if pid is None else f"supervisor {pid} {state}"
        if (
            not self._may_act()
            and not self.as_agent
            and agent_beats(self.store.client, self.store.keys, self.job.host)
        ):
            yield step(
                "answered", f"{supervisor}, and {own_account()} may not end processes of {self.job.account}"
            )
            yield from self._ask_agent()
        else:
            yield step("answered", f"{supervisor}; doing it from here")
            yield from self._end_here()

    def _announce(self) -> None:
        """Write that what runs is being killed, so that nobody takes its end for a loss; see who else asked for it."""
        stop = self._stop()
        with contextlib.suppress(RedisError, NoSuchJob):  # what counts is that it ends
            if self._local().is_there():
                self._mark_stopping(stop)
            self.job = self.store.again(self.job)

    def _mark_stopping(self, stop: StopRequest) -> None:
        run = self.store.run_of(self.job)
        transition(self.store.client, run.record, {RUNNING}, STOPPING, uuid.uuid4().hex, stop.job_fields, run)

    def _may_act(self) -> bool:
        return os.geteuid() == SUPER_USER or self.job.account == own_account()

    def _ask_agent(self, host: str | None = None) -> Iterator[KillStep]:
        host = host or self.job.host
        if self.as_agent or not agent_beats(self.store.client, self.store.keys, host):
            yield from self._refused()
            return
        yield step("answered", f"asking the agent of {host}")
        # In a curator's own stream the agent hears what concerns a silent supervisor.
        is_curators = self.actor.role == "curator"
        stream = self._stream if is_curators else self.store.keys.host_control(host or "")
        yield from self._ask(stream, AGENT_BEAT_SECONDS, self._unanswered_by_agent, self._may_still_run)

    def _may_still_run(self) -> bool:
        return not self._read_target().is_final or bool(self.job.left_running)

    def _unanswered_by_agent(self) -> Iterator[KillStep]:
        if self._may_still_run():
            yield from self._refused()
        else:
            yield from self._already_ended(self._read_target())

    def _refused(self) -> Iterator[KillStep]:
        child = f" --child {self.child.id}" if self.child else ""
        where = self.job.host or "its host"
        text = f"nobody answers on {where}, and no agent runs there; run there: gnjobs kill {self.job.id}"
        yield from self._unless_it_runs(step("refused", text + child, final=True))

    def _stop(self) -> StopRequest:
        return StopRequest(self.by, self.reason, self.store.now())

    def _end_here(self) -> Iterator[KillStep]:
        """Do the supervisor's work, or end what another program started."""
        if self.child is None and self.job.is_supervised and self._may_act():
            self._announce()
        yield from self._local().steps()
