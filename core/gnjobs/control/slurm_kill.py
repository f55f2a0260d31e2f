"""Kills everything in Slurm that has a job's name and mark, since the number in its record may be a decoy's."""

import contextlib
import time
from collections.abc import Generator, Sequence
from functools import partial
from typing import Final

from redis.exceptions import RedisError

from gnjobs.processes.host import own_account
from gnjobs.processes.slurm import (
    NoSlurm,
    Placed,
    SlurmError,
    cancel,
    look_up,
    look_up_names,
    shows_jobs_of_others,
)
from gnjobs.records.backoff import Backoff
from gnjobs.records.fields import Job
from gnjobs.records.reading import Records
from gnjobs.records.requests import KillStep, step
from gnjobs.supervisor.slurm import slurm_mark, slurm_name
from gnjobs.text import place_of

# Slurm gives a job 30 s between TERM and KILL by default (`KillWait`), and its nodes some time to say so.
CANCEL_SECONDS: Final = 120.0
_LEAVING_SECONDS: Final = 3.0
_DOUBTFUL_SECONDS: Final = 3.0
# A Slurm that gave no answer is not asked by each of many kills, unless a record says that it has the job.
_SILENT_SECONDS: Final = 60.0
_silence = Backoff(_SILENT_SECONDS, _SILENT_SECONDS)
_SHORTEST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 2.0
_AT_ONCE: Final = 100
_MOST_NAMED: Final = 10


class SlurmKill:
    """The kill of all that Slurm runs, or lets wait, as a job; with an `owner`, of what was launched for that user."""

    def __init__(self, store: Records, job: Job, owner: str | None = None) -> None:
        self._is_anothers = partial(store.is_anothers, job)
        self._name = slurm_name(job.id)
        self._number = job.slurm_job or ""
        place = place_of(store.url, store.keys.prefix)
        self._mark = slurm_mark(job.id, place)
        self._mark_for_owner = slurm_mark(job.id, place, owner)
        self._whom = f" for {owner}" if owner is not None else ""
        self._is_in_slurm = job.is_in_slurm
        self._account = job.account
        self._was_shown = False

    def leave_queue(self) -> KillStep:
        """Have Slurm forget a waiting job, which nobody would run any more."""
        name = f"Slurm's job {self._number or self._name}"
        try:
            verdict = self.cancel_and_wait()
        except SlurmError as problem:
            return step("answered", f"{name} was not cancelled, and does nothing when it starts ({problem})")
        return step("answered", f"{name} was cancelled" if verdict.verified else verdict.text)

    def cancel_and_wait(self) -> KillStep:
        """Have Slurm end all of it, and wait until it has seen that; the step says whether that is `verified`.

        Raises `SlurmError` where this host can't ask Slurm, may not cancel what is left, or is told of nothing that is
        this job.
        """
        found = self._find()
        its = [placed for placed in found if not self._why_not(placed)]
        if not its:
            unknown = f"Slurm knows nothing of a job {self._number or self._name:.80}"
            raise SlurmError(self._why_not(found[-1]) if found else unknown)
        until, refusals = time.monotonic() + CANCEL_SECONDS, dict[str, str]()
        backoff = Backoff(_SHORTEST_PAUSE, _LONGEST_PAUSE)
        while left := _running(found):
            new = sorted((placed for placed in left if placed.id not in refusals), key=self._turn)[:_AT_ONCE]
            refusals |= {placed.id: self._cancel(placed) for placed in new}
            if all(refusals.get(placed.id) for placed in left) and not new:
                raise SlurmError(refusals[left[0].id])
            if time.monotonic() > until:
                return step("left", f"{_words(left)} still, {CANCEL_SECONDS:.0f} s later")
            time.sleep(backoff.failed())
            found = self._find()
        its = [placed for placed in found if not self._why_not(placed)] or its
        return _verdict([placed for placed in its if placed.id in (*refusals, self._number)] or its)

    def confirm(self, answered: KillStep, wait_seconds: float) -> Generator[KillStep, None, KillStep]:
        """Return what was answered, that the job is gone, once Slurm has nothing more of it.

        Cancels what is still there after `wait_seconds`. Where nobody can ask Slurm here, the answer stands.
        """
        if not self._is_in_slurm and time.monotonic() < _silence.retry_at:
            return answered
        try:
            left = self._left_after(_LEAVING_SECONDS)
            if left and wait_seconds and not any(placed.waits for placed in left):
                yield step("answered", f"{answered.text}; {_words(left)}, which has yet to end")
                left = self._left_after(wait_seconds)
            if not left and self._may_be_hidden():
                raise SlurmError(f"it shows {own_account()} nothing of others' jobs")
        except SlurmError as problem:
            if isinstance(problem, NoSlurm):
                return answered
            if not self._is_in_slurm:
                _silence.failed()
                return answered
            return step(
                "left", f"{answered.text}; yet whether Slurm runs it is not known: {problem}", final=True
            )
        if not left:
            return answered
        yield step("answered", f"{answered.text}; yet {_words(left)}, which will be ended now")
        try:
            verdict = self.cancel_and_wait()
        except SlurmError as problem:
            verdict = step("left", f"{_words(left)}: {problem}")
        if not verdict.verified:
            return step("left", f"{answered.text}; yet {verdict.text}", final=True)
        yield step("answered", verdict.text)
        return answered

    def _left_after(self, seconds: float) -> list[Placed]:
        """What has not ended by then; nobody waits for what waits itself."""
        until, backoff = time.monotonic() + seconds, Backoff(_SHORTEST_PAUSE, _LONGEST_PAUSE)
        while left := _running(self._find()):
            if time.monotonic() > until or any(placed.waits for placed in left):
                break
            time.sleep(backoff.failed())
        return left

    def _find(self) -> list[Placed]:
        """What Slurm has with its name and mark, and under the number of its record, which may be another's.

        Other servers and prefixes may have a job of the same id.
        """
        named = look_up_names([self._name], 0.0 if self._is_in_slurm else _DOUBTFUL_SECONDS)
        found = [placed for placed in named if self._mark in placed.comment.split()]
        self._was_shown |= any(self._number in ("", placed.id) for placed in found)
        if self._number and self._number not in {placed.id for placed in found}:
            found += filter(None, look_up([self._number]).values())
        return found

    def _may_be_hidden(self) -> bool:
        """Whether Slurm may show others what it does not show us: how a job ended it says for minutes."""
        return self._is_in_slurm and not self._was_shown and not shows_jobs_of_others()

    def _turn(self, placed: Placed) -> tuple[bool, ...]:
        """First comes what runs, then what the record names: anybody may have thousands wait under its name."""
        return placed.waits, placed.id != self._number, placed.account != self._account

    def _why_not(self, placed: Placed) -> str:
        """Why this is not to be cancelled: a record may name any number, and any id as its own."""
        if placed.name != self._name:
            return f"Slurm's job {placed.id} is not this one, and is left alone"
        if self._mark_for_owner in placed.comment.split():
            return ""
        return (
            f"Slurm's job {placed.id} is left alone: its comment does not say that it was submitted{self._whom} by way "
            "of this server and prefix"
        )

    def _cancel(self, placed: Placed) -> str:
        """Have Slurm end it; returns why that is not done. It has one record before it is submitted."""
        if refusal := self._why_not(placed):
            return refusal
        with contextlib.suppress(RedisError):  # what counts is that it ends
            if self._is_anothers():
                return f"Slurm's job {placed.id} is left alone: another job has the id by now"
        try:
            cancel(placed.array)
        except SlurmError as problem:
            return str(problem)
        return ""


def _running(found: Sequence[Placed]) -> list[Placed]:
    return [placed for placed in found if not placed.has_ended]


def _words(left: Sequence[Placed]) -> str:
    """What is left, for a person."""
    said = [f"Slurm's job {placed.id} of {placed.account} is {placed.state}" for placed in left[:_MOST_NAMED]]
    more = [f"{len(left) - _MOST_NAMED} more"] if len(left) > _MOST_NAMED else []
    return " and ".join([*said, *more])


def _verdict(ended: Sequence[Placed]) -> KillStep:
    unreachable = [placed.nodes for placed in ended if placed.state == "NODE_FAIL"]
    if unreachable:
        return step("left", f"Slurm can't reach {unreachable[0]}, and can't tell what runs there")
    places = [
        f"its job {placed.id} has ended{f' on {placed.nodes}' if placed.nodes else ''}"
        for placed in ended[:_MOST_NAMED]
    ]
    return step("verified", f"Slurm says that {' and '.join(places)}", verified=True)
