"""How ended processes are collected beside all else that a supervisor does."""

import os
from itertools import count

import pytest

from gnjobs.supervisor.wakeups import MOST_COLLECTED, Reaper


def test_processes_that_end_without_end_keep_a_supervisor_from_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pids = count(1)
    monkeypatch.setattr(os, "waitpid", lambda *_: (next(pids), 0))
    reaper = Reaper()
    assert reaper.collect() == list(range(1, MOST_COLLECTED + 1))
    assert reaper.collect()[0] == MOST_COLLECTED + 1
