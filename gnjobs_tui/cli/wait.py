"""`gnjobs wait`: prints how each job ended, and exits 0 only when all succeeded."""

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from gnjobs.records.statuses import STATUSES, SUCCESS
from gnjobs.text import duration_words, few
from gnjobs_tui.cli.exits import DONE, FAILED, NO_SUCH_JOB
from gnjobs_tui.cli.selection import Target, select, selecting
from gnjobs_tui.cli.session import Duration, Session, complain, say, with_session

if TYPE_CHECKING:
    from gnjobs.records.fields import Job

_LOOK_AGAIN_AFTER = 0.5
_MOST_NAMED = 5


@click.command()
@selecting(asks=False)
@click.option("--timeout", type=Duration(), metavar="D", help="Give up after this time, such as 90s or 2h.")
@click.option("--any", "any_", is_flag=True, help="Wait for the first of them only.")
@with_session
def wait(session: Session, ids: tuple[str, ...], query: str | None, timeout: float | None, any_: bool) -> int:
    """Wait until the jobs have ended, and print how each did.

    Exits 0 only when all of them succeeded; with --any as the first that ended did. After --timeout it exits 1 and
    names what still runs. --filter waits for the jobs that match when it starts.
    """
    until = math.inf if timeout is None else time.monotonic() + timeout
    waiting = select(session, ids, query, ended=False)
    worst, told = DONE, set[str]()
    while waiting:
        ended = _ended(waiting, until, told)
        for target, job in ended:
            waiting.remove(target)
            worst = max(worst, _tell(target[1].id, job))
        left = until - time.monotonic()
        if not waiting or (any_ and ended):
            break
        if left <= 0:
            names = [job.id for _, job in waiting]
            complain(f"not ended within {duration_words(timeout or 0.0)}: {few(names, _MOST_NAMED)}")
            return max(worst, FAILED)
        time.sleep(min(_LOOK_AGAIN_AFTER, left))
    return worst


def _ended(waiting: "Sequence[Target]", until: float, told: set[str]) -> "list[tuple[Target, Job | None]]":
    """Those that have ended, or whose record is gone or another job's (None); a Redis that is away is waited for.

    Of a status that means nothing it is said once, of which `told` takes note.
    """
    from gnjobs.records.connection import patiently

    ended: list[tuple[Target, Job | None]] = []
    for store in {store for store, _ in waiting}:
        asked = [job for each, job in waiting if each is store]
        read = partial(store.many, [job.id for job in asked])
        for waited, found in zip(asked, patiently(read, max(0.0, until - time.monotonic())), strict=True):
            job = found if found is not None and found.created == waited.created else None
            if job is None or job.is_final:
                ended.append(((store, waited), job))
            elif job.status not in STATUSES and job.id not in told:
                told.add(job.id)
                complain(
                    f"the status of {job.id} is {job.status!r:.80}, which means nothing here; waiting for one that does"
                )
    return ended


def _tell(job_id: str, job: "Job | None") -> int:
    if job is None:
        complain(f"job {job_id} was removed")
        return NO_SUCH_JOB
    say(f"{job_id}  {job.status}" + (f"  {job.error}" if job.error else ""))
    return DONE if job.status == SUCCESS else FAILED
