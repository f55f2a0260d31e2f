"""The variables between a supervisor and whoever started it; they never reach the job's command."""

import uuid
from collections.abc import Mapping
from typing import NamedTuple

from gnjobs.records.connection import DEFAULT_URL
from gnjobs.records.environment import (
    ENV_CHILD,
    ENV_JOB,
    ENV_LINES_FD,
    ENV_LINES_PIPE,
    ENV_MARK,
    ENV_PREFIX,
    ENV_URL,
)
from gnjobs.records.keys import DEFAULT_PREFIX
from gnjobs.supervisor.reports import REPORT_FD

ECHO = "GNJOBS_ECHO"

_NOT_INHERITED = frozenset({REPORT_FD, ECHO, ENV_LINES_FD, ENV_LINES_PIPE, ENV_CHILD, ENV_MARK})


class Settings(NamedTuple):
    """What a supervisor is told by its environment."""

    url: str
    prefix: str
    job_id: str
    is_foreground: bool = False
    echo: bool = False
    mark: str = ""

    def __repr__(self) -> str:
        return f"Settings(prefix={self.prefix!r}, job_id={self.job_id!r})"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings; raises `KeyError` when no job is named."""
    return Settings(
        url=environment.get(ENV_URL, DEFAULT_URL),
        prefix=environment.get(ENV_PREFIX, DEFAULT_PREFIX),
        job_id=environment[ENV_JOB],
        is_foreground=environment.get(REPORT_FD, "2") != "2",
        echo=environment.get(ECHO) == "1",
        mark=environment.get(ENV_MARK) or uuid.uuid4().hex,
    )


def for_supervisor(outer: Mapping[str, str], url: str, prefix: str, job_id: str) -> dict[str, str]:
    """The environment of a supervisor: that of its starter, with this job's marks and nobody else's.

    One of them is new each time, and tells this job's processes from those of a job of the same id in another store.
    """
    marks = {ENV_URL: url, ENV_PREFIX: prefix, ENV_JOB: job_id, ENV_MARK: uuid.uuid4().hex}
    return {name: value for name, value in outer.items() if name not in _NOT_INHERITED} | marks


def for_command(outer: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The environment of a job's command; Python does not hold back there what it prints."""
    own = for_supervisor(outer, settings.url, settings.prefix, settings.job_id)
    return {"PYTHONUNBUFFERED": "1", **own, ENV_MARK: settings.mark}
