"""`gnjobs notify`: tells people of a job's end, by mail, chat or web hook, through the library apprise."""

import logging
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from gnjobs.errors import ConfigError, GnjobsError, InvalidJob
from gnjobs.health.states import FAILED, LOST, display_state
from gnjobs.health.verdict import Health
from gnjobs.records.fields import Job, run_seconds
from gnjobs.records.keys import is_user
from gnjobs.records.statuses import SUCCESS
from gnjobs.text import duration_words, plural, safe_line

if TYPE_CHECKING:
    from apprise import Apprise


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--failures", is_flag=True, help="Tell nobody of jobs that succeeded.")
def notify(file: Path, failures: bool) -> int:
    """Tell people that a job has ended. It is for `on-end` in the configuration: the job comes on standard input.

    FILE is a configuration of the library apprise, one URL a line: `jsmith=mailto://user:password@example.org` is told
    of jsmith's jobs, `always=json://127.0.0.1:8080/hook` of all. Needs pip install 'gnjobs[notify]'.
    """
    try:
        job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    except msgspec.MsgspecError as error:
        raise InvalidJob(f"standard input is not a job as on-end gives it: {error}") from error
    if failures and job.status == SUCCESS:
        return 0
    problems = _Problems()
    logging.getLogger("apprise").addHandler(problems)
    title, body, kind = _message(job)
    result = _apprise(file).notify(body, title, kind, body_format="text", tag=_tag(job.user))
    if not result and result.results:  # without any, nobody wants to hear of this user's jobs
        raise GnjobsError(f"not everybody was told: {problems.last or 'no reason was given'}")
    return 0


def _tag(user: str | None) -> str:
    """What apprise is to look for: the owner alone, since it takes some texts for everybody and a comma for "or"."""
    return user if user and is_user(user) and user.lower() not in ("all", "always") else "nobody"


class _Problems(logging.Handler):
    """Keeps the last thing that apprise complained of."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.last = record.getMessage()


def _apprise(file: Path) -> "Apprise":
    """Read whom to tell; the URLs hold passwords and tokens, so not everybody may."""
    try:
        from apprise import Apprise, AppriseConfig
    except ImportError:
        raise GnjobsError("this needs apprise: pip install 'gnjobs[notify]'") from None
    try:
        if file.stat().st_mode & stat.S_IROTH:
            raise ConfigError(f"{file} holds secrets and everybody can read it: chmod o-r {file}")
        file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} can't be read: {error.strerror}") from error
    found = AppriseConfig(paths=str(file.absolute()))
    if not found.services():
        raise ConfigError(f"{file} names nobody to tell: a line is like always=json://127.0.0.1:8080/hook")
    told = Apprise()
    told.add(found)
    return told


def _message(job: Job) -> tuple[str, str, str]:
    """Title, body and kind of what is said."""
    state = display_state(job, Health())
    run = run_seconds(job, job.finished or 0.0)
    killed = f"killed by {job.stop_by}" + (f": {job.stop_reason}" if job.stop_reason else "")
    said = (
        killed if job.stop_by else "",
        job.error,
        f"{plural(job.faults, 'fault')} in its data" if job.faults else "",
        job.message,
        f"ran {duration_words(run)} on {job.host}" if run is not None else "",
        f"gnjobs show {job.id}",
    )
    kind = "failure" if state in (FAILED, LOST) else "success" if job.status == SUCCESS else "warning"
    body = "\n".join(safe_line(line) for text in said if text for line in text.split("\n"))
    return safe_line(f"{job.name}: {state.word}"), body, kind
