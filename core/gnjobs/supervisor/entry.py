"""From a supervisor's environment to its exit code."""

import os
import signal
import sys

from gnjobs.processes.find import boot_id, host_name, login_name, pid_namespace, process_start
from gnjobs.records.environment import ENV_JOB
from gnjobs.records.keys import Keys
from gnjobs.records.scripts import Value
from gnjobs.supervisor.claiming import GivenUp, claim
from gnjobs.supervisor.loop import Supervision
from gnjobs.supervisor.private_environment import Settings, read_settings
from gnjobs.supervisor.record import RecordLink
from gnjobs.supervisor.reporter import BEAT_SECONDS
from gnjobs.supervisor.reports import ReportPipe
from gnjobs.supervisor.setup import STOP_SIGNALS, hear_stop_signals
from gnjobs.supervisor.wakeups import Wakeups

_WRONG_USE = 2


def supervise_from_environment(reports: ReportPipe) -> int:
    """Supervise the job that the environment names; returns an exit code, after one line where it gave up."""
    wakeups = Wakeups()
    wakeups.hear_signals((signal.SIGCHLD, *STOP_SIGNALS))
    hear_stop_signals()
    try:
        settings, link = _open()
        job = claim(link, wakeups, {**identity(), "mark": settings.mark})
    except GivenUp as given_up:
        print(f"gnjobs: {given_up}", file=sys.stderr, flush=True)  # noqa: T201
        reports.ended(given_up.exit_code)
        return given_up.exit_code
    return Supervision(link, job, settings, wakeups, reports).run()


def _open() -> tuple[Settings, RecordLink]:
    try:
        settings = read_settings(os.environ)
        return settings, RecordLink(settings.url, Keys(settings.prefix), settings.job_id)
    except KeyError:
        raise GivenUp(f"set {ENV_JOB} to the id of the job to run", _WRONG_USE) from None
    except ValueError as problem:  # a URL or a name that can't be used
        raise GivenUp(str(problem), _WRONG_USE) from None


def identity() -> dict[str, Value]:
    """The fields of a record that say who supervises the job, so that no reused pid is mistaken for it."""
    known: dict[str, Value | None] = {
        "host": host_name(),
        "account": login_name(),
        "supervisor-pid": os.getpid(),
        "supervisor-started": process_start(os.getpid()),
        "boot-id": boot_id(),
        "pid-namespace": pid_namespace(),
        "heartbeat-every": BEAT_SECONDS,
    }
    return {name: value for name, value in known.items() if value is not None}
