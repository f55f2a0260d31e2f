"""What the host's agent starts for those who ask: jobs that its configuration allows, as the account that it names."""

import os
import shlex
from collections.abc import Mapping
from typing import Final

from gnjobs.errors import LaunchError
from gnjobs.processes.host import own_account
from gnjobs.records import values
from gnjobs.records.accounts import SUPER_USER, as_account, as_we_are
from gnjobs.records.actor import AgentStarts
from gnjobs.records.environment import ENV_DIRECTORY
from gnjobs.records.fields import Job
from gnjobs.records.keys import is_user
from gnjobs.records.reading import Records
from gnjobs.supervisor.launch import note_launch, spawn
from gnjobs.supervisor.setup import digest_of, for_supervisor

# No start is taken up that was asked earlier, and each is given so long; who launches waits for longer than both.
LATEST_START: Final = 10.0
_STARTING_SECONDS: Final = 8.0


def start_for_agent(job: Job, store: Records, starts: Mapping[str, AgentStarts], digest: str | None) -> str:
    """Start a job that somebody asked an agent to start; returns the account that it runs as.

    `starts` says by account what may be started; nothing is started as root, nor what gives another `digest` than what
    was asked for: whoever writes records may have changed it since. Raises `LaunchError`.
    """
    if digest_of(job) != digest:
        raise LaunchError("its record says something other than what was asked to be started")
    account = _account_for(job, starts)
    if (url := starts[account].url) is None:
        why = starts[account].problem
        raise LaunchError(f"this agent can't read the url-file of [agent-starts.{account}]: {why}")
    is_us = account == own_account()
    try:
        begin = as_we_are() if is_us and os.geteuid() != SUPER_USER else as_account(account)
    except ValueError as refused:
        raise LaunchError(f"this agent starts no such job: {refused}") from None
    note_launch(job, store.url, store.keys.prefix, {"account": account})
    environment = for_supervisor(begin.env, url, store.keys.prefix, job)
    environment[ENV_DIRECTORY] = starts[account].directories[0]
    # What stands in a directory's place by now is for the account to enter, and not for us.
    spawn(environment, begin=begin.words, directory="/", within=_STARTING_SECONDS).reports.close()
    return account


def _account_for(job: Job, starts: Mapping[str, AgentStarts]) -> str:
    """The first account that may run it; the directory counts, for whoever chooses it chooses what `-m` imports."""
    words = values.command_words(job.command)
    if job.env is not None:
        raise LaunchError("this agent starts no job that brings an environment of its own")
    if job.user is not None and not is_user(job.user):
        raise LaunchError(f"this agent starts no job of {job.user!r:.80}, which is not a user id")
    for account, allowed in starts.items():
        beginnings = [shlex.split(beginning) for beginning in allowed.commands]
        begins_so = any(first and words[: len(first)] == first for first in beginnings)
        if begins_so and job.cwd in (None, *allowed.directories):
            return account
    raise LaunchError(
        "this agent starts no such job: its configuration allows no command with this beginning in this directory"
    )
