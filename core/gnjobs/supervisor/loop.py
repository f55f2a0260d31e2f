"""The supervisor's main loop: starts the command, answers requests, and ends the job, whatever happens first."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from gnjobs.health.verdict import Limits
from gnjobs.outputs.writer import OutputWriter
from gnjobs.processes.end import Ended, EndingThread, kill_child
from gnjobs.processes.files import LOOKS
from gnjobs.processes.find import processes_of
from gnjobs.processes.host import allow_many_descriptors, lift_limits, own_account
from gnjobs.processes.proc import concealed_children, process_start
from gnjobs.processes.seen import Found
from gnjobs.processes.table import ProcessView, Wanted
from gnjobs.records.connection import connect
from gnjobs.records.ends import StopRequest, last_step
from gnjobs.records.environment import digest_of_mark
from gnjobs.records.fields import SLURM, Job
from gnjobs.records.keys import Keys, is_id, is_user
from gnjobs.records.listener import ControlListener
from gnjobs.records.pool import RequestPool
from gnjobs.records.reading import Records
from gnjobs.records.requests import ControlRequest, KillStep, asker_words, proven_asker, step
from gnjobs.records.statuses import RUNNING, STOPPING
from gnjobs.supervisor import slurm
from gnjobs.supervisor.answers import Answers
from gnjobs.supervisor.children import ChildWatch
from gnjobs.supervisor.command import RunningCommand
from gnjobs.supervisor.finish import Finishing
from gnjobs.supervisor.listed_faults import ListedFaults
from gnjobs.supervisor.measure import Measuring
from gnjobs.supervisor.outcome import JobOutcome
from gnjobs.supervisor.record import RecordLink
from gnjobs.supervisor.reporter import Reporter
from gnjobs.supervisor.setup import ReportPipe, Settings, release_memory
from gnjobs.supervisor.slurm import SlurmEnd
from gnjobs.supervisor.wakeups import MOST_COLLECTED, Exit, Reaper, Wakeups
from gnjobs.text import complain

GRACE_SECONDS = 10.0
_AGAIN_SECONDS = 2.0
# How long a supervisor that has nothing else to do waits for its last answers to be sent.
_ANSWERING_SECONDS = 2.0
# How long the end of a killed child waits for a Redis that is away.
_REPORTING_SECONDS = 600.0
_SLURM_SECONDS = 2.0
_REMOVED = "its record was removed; nothing more is stored"


class Reported(NamedTuple):
    """The job's end was told to Redis; `is_recorded` says whether there was a record to take it."""

    is_recorded: bool


class EndLasted(NamedTuple):
    """The end has lasted, or there is no record for it."""


class Removed(NamedTuple):
    """The record was taken away while the job runs."""


def _streams_heeded(keys: Keys, job: Job) -> list[str]:
    """Where somebody may ask for something: the admins' stream, and that of the owner whom the job was launched for."""
    own = [keys.user_requests(job.user)] if job.user is not None and is_user(job.user) else []
    return [keys.admin_requests, *own]


class Supervision:
    """Runs one claimed job to its end; `run` is its main loop, and nothing else waits for processes."""

    def __init__(
        self,
        link: RecordLink,
        job: Job,
        settings: Settings,
        wakeups: Wakeups,
        reports: ReportPipe,
        since: float,
    ) -> None:
        self._link = link
        self._job = job
        self._settings = settings
        self._wakeups = wakeups
        self._reports = reports
        self._reaper = Reaper()
        self._collected = self._reaper.collected
        self._watch = ChildWatch(link.keys, job.id)
        link.statement.children = self._watch.output_keys
        self._output = OutputWriter(
            settings.url,
            link.keys.output(job.id),
            hash_key=link.key,
            run=link.statement.run,
            expire_seconds=link.lifetime,
        )
        self._command = RunningCommand(self._output)
        self._listed = ListedFaults(settings.url, link)
        self._reporter = self._make_reporter()
        self._wanted = Wanted(job.id, digest_of_mark(settings.mark), uid=os.getuid())
        self._others = Records(connect(settings.url, retries=0), link.keys, settings.url)
        self._me = (os.getpid(), process_start(os.getpid()) or 0)
        self._listener = self._make_listener(since)
        self._answers = Answers(self._listener, link.keys)
        self._requests = RequestPool(self._beside, self._answers.send, link.keys)
        self._verdict: KillStep | None = None
        self._stop: StopRequest | None = None
        self._is_admins = False
        self._is_stopped_by_signal = False
        self._slurm_end: SlurmEnd | None = None
        self._ending: EndingThread | None = None
        self._is_reporting = False
        self._asks_slurm: threading.Thread | None = None
        self._has_left = False
        self._is_over = False

    def _make_listener(self, since: float) -> ControlListener:
        return ControlListener(
            self._settings.url,
            self._link.keys,
            _streams_heeded(self._link.keys, self._job),
            self._wakeups.post,
            since=since,
            is_for_us=lambda request: (
                request.job == self._job.id and request.is_of(self._wanted.token, since)
            ),
        )

    def _make_reporter(self) -> Reporter:
        return Reporter(
            self._link,
            self._watch,
            Measuring(lambda view: self._find(view=view).processes, Limits().quiet(self._job)),
            self._output,
            lambda: self._command.faults,
            self._listed,
            on_removed=lambda: self._wakeups.post(Removed()),
            on_lasting=lambda: self._wakeups.post(EndLasted()),
        )

    def run(self) -> int:
        """Run the job, after `begin`; returns its command's exit code as a shell says it."""
        self._command.start(self._job, self._settings)
        allow_many_descriptors()  # not before: the command has the limits that it was given
        lift_limits()
        os.chdir("/")
        self._reporter.say(self._command.fields)
        if self._command.failure is not None:
            self._report_end(Ended())
        release_memory()
        while not self._is_over:
            for event in self._wakeups.wait():
                self._handle(event)
        self._answers.finish(_ANSWERING_SECONDS)
        self._reports.ended(self._shell_code)
        return self._shell_code

    def begin(self) -> None:
        """Start what must run whatever the command does, which may leave its account no room for a thread.

        Raises `OSError` or `RuntimeError` where there is none already.
        """
        self._listed.open()
        self._command.begin(self._settings.echo)
        self._reporter.start()
        self._listener.start()
        self._answers.start()
        if self._settings.slurm_job is not None:
            self._asks_slurm = threading.Thread(target=self._say_limits, name="slurm", daemon=True)
            self._asks_slurm.start()

    def _say_limits(self) -> None:
        self._reporter.say(slurm.limits_of(self._settings.slurm_job or ""))

    @property
    def _shell_code(self) -> int:
        return self._command.exit.shell_code if self._command.exit is not None else 128 + signal.SIGKILL

    def _find(self, child_id: str | None = None, view: ProcessView | None = None) -> Found:
        """Find the processes of the job, or of a child; where they are to be ended, what we are not shown is named."""
        store = self._others if view is None else None
        found = processes_of(self._wanted, child_id, supervisor=self._me, view=view, store=store)
        if view is not None:
            return found
        why = "is a process below its supervisor that can't be seen"
        concealed = ((pid, why) for pid in concealed_children())
        return msgspec.structs.replace(found, hidden=(*found.hidden, *concealed))

    def _find_to_end(self) -> Found:
        """Find what is to be ended; what we have collected since the look before may have forked in between."""
        found, before = self._find(), self._collected
        self._collected = self._reaper.collected
        return msgspec.structs.replace(
            found, passing=None if self._collected == before else self._collected[1]
        )

    def _handle(self, event: object) -> None:
        match event:
            case signal.SIGCHLD:
                self._reap()
            case signal.Signals():
                self._stop_by_signal(event)
            case ControlRequest():
                self._on_request(event)
            case Ended():
                self._on_ended(event)
            case Reported():
                if not event.is_recorded:
                    self._complain(_REMOVED)
                self._tell_askers(event.is_recorded)
                self._reports.ended(self._shell_code)
            case Removed():
                self._complain(_REMOVED)
            case EndLasted():
                self._is_over = True

    def _reap(self) -> None:
        pid, ended = self._command.pid, self._reaper.collect()
        if len(ended) == MOST_COLLECTED:  # there may be more, after what else has happened
            self._wakeups.post(signal.SIGCHLD)
        if pid in ended and pid is not None:
            self._command.ended(self._reaper.exits[pid])
            self._begin_ending()

    def _begin_ending(self, grace: float = GRACE_SECONDS) -> None:
        """End the job's processes: at once for a kill, otherwise those left after the pipes were drained."""
        if self._ending is None:
            self._collected = self._reaper.collected
            self._ending = EndingThread(
                self._find_to_end,
                grace,
                prepare=self._before_ending,
                conclude=self._conclude_ending,
                on_step=self._answers.tell,
                on_ended=self._wakeups.post,
            )
            try:
                self._ending.start()
            except RuntimeError:  # no room for a thread: the job has used up its account's processes
                self._ending.run()

    def _before_ending(self) -> None:
        if self._has_left:
            time.sleep(_AGAIN_SECONDS)
        elif self._stop is None:
            self._command.drain()

    def _conclude_ending(self) -> None:
        """Read the pipes to their end; where a signal ended the job under Slurm, ask Slurm why."""
        self._command.finish_pipes()
        by_signal = self._command.exit is not None and self._command.exit.signal is not None
        if self._settings.slurm_job is not None and (self._is_stopped_by_signal or by_signal):
            self._slurm_end = slurm.why_ended(self._settings.slurm_job)

    def _stop_by_signal(self, number: signal.Signals) -> None:
        if self._is_reporting or self._has_left:
            before = "everything of it was gone" if self._has_left else "its end was reported"
            self._complain(f"told to stop before {before}")
            self._is_over = True
            return
        by = own_account() if self._settings.slurm_job is None else SLURM
        stop = StopRequest(by, f"its supervisor got {number.name}", self._link.now())
        self._is_stopped_by_signal = self._stop is None or self._is_stopped_by_signal
        self._kill(stop, GRACE_SECONDS if self._stop is None else 0.0, is_admins=False)

    def _on_request(self, request: ControlRequest) -> None:
        if request.kind in LOOKS:
            self._requests.take(request)
        if request.kind != "kill":
            return
        if request.child is not None and not is_id(request.child):
            text = "only a child that the job itself recorded can be killed alone; kill the whole job"
            self._answers.send(request, step("refused", text, final=True))
        elif request.child is not None:
            self._requests.take(request)
        elif self._is_reporting and self._stop is None:
            text = "its command has just ended by itself"
            self._answers.send(request, step("skipped", text, verified=True, final=True))
        else:
            self._answers.add_asker(request)
            self._answers.tell(step("answered", f"supervisor {os.getpid()} answers"))
            stop = StopRequest(asker_words(self._link.keys, request), request.reason, self._link.now())
            is_admins = proven_asker(self._link.keys, request) is None
            self._kill(stop, 0.0 if request.force else request.grace, is_admins=is_admins)

    def _beside(self, request: ControlRequest) -> Iterator[KillStep]:
        """Do what takes seconds outside of the main loop: read stacks, or kill one child."""
        if request.kind in LOOKS:
            yield step("answered", LOOKS[request.kind](self._find(request.child)), final=True)
        else:
            yield from self._kill_child(request)

    def _kill_child(self, request: ControlRequest) -> Iterator[KillStep]:
        yield step("answered", f"supervisor {os.getpid()} answers")
        stop = StopRequest(asker_words(self._link.keys, request), request.reason, self._link.now())
        with connect(self._settings.url) as client:
            records = Records(client, self._link.keys, self._settings.url)
            yield from kill_child(
                records,
                self._job,
                records.child(self._job.id, request.child or ""),
                stop,
                self._find,
                grace=0.0 if request.force else request.grace,
                wait_seconds=_REPORTING_SECONDS,
            )

    def _kill(self, stop: StopRequest, grace: float, *, is_admins: bool) -> None:
        """Kill the job; of several who ask, the shortest grace counts, and the first who asked, or the first admin."""
        self._command.wait_for_no_reader()
        if self._stop is None:
            self._stop, self._is_admins = stop, is_admins
            self._reporter.move({RUNNING}, STOPPING, stop.job_fields)
        elif is_admins and not self._is_admins:
            self._stop, self._is_admins = stop._replace(at=self._stop.at), True
        self._begin_ending(grace)
        if self._ending is not None:
            self._ending.hurry(grace)

    def _on_ended(self, ended: Ended) -> None:
        """Report the end; a kill has none before everything is gone."""
        self._verdict = ended.verdict
        if self._stop is None or ended.verdict is None or ended.verdict.verified:
            self._report_end(ended)
            return
        self._has_left = True
        self._tell_askers(is_recorded=True)
        self._reporter.say({"left-running": " ".join(map(str, ended.verdict.pids))})
        self._ending = None
        self._begin_ending(0.0)

    def _report_end(self, ended: Ended) -> None:
        self._reap()
        self._is_reporting = True
        if self._asks_slurm is not None:
            self._asks_slurm.join(_SLURM_SECONDS)
        by_slurm = self._slurm_end if self._stop is None or self._is_stopped_by_signal else None
        if by_slurm is not None:
            since = self._stop.at if self._stop is not None else self._link.now()
            self._stop = StopRequest(SLURM, by_slurm.why, since)
        elif self._stop is not None and self._stop.by == SLURM:
            # Slurm says nothing of it: somebody here did it.
            self._stop = self._stop._replace(by=own_account())
        outcome = JobOutcome(
            exit=self._command.exit or Exit(),
            failed_start=self._command.failure.error if self._command.failure else None,
            stop=self._stop,
            ended_after=ended.targets,
            survivors=ended.survivors,
            last_words=self._command.last_words,
            ending_took=self._link.now() - self._stop.at if self._stop else ended.took,
            requeued=by_slurm.why if by_slurm is not None and by_slurm.requeued else None,
        )
        self._reporter.finish(
            Finishing(
                self._link,
                self._watch,
                self._output,
                outcome,
                self._reaper.exits,
                own_faults=self._command.faults,
                listed=self._listed,
                on_reported=lambda is_recorded: self._wakeups.post(Reported(is_recorded)),
            )
        )

    def _tell_askers(self, is_recorded: bool) -> None:
        """Tell those who asked for the kill how it went."""
        verdict = self._verdict or step("verified", "was already gone", verified=True)
        if self._stop is not None:
            self._answers.tell(last_step(verdict, self._stop.by, "done" if is_recorded else "gone", ""))

    def _complain(self, line: str) -> None:
        complain(f"job {self._job.id}: {line}")
