"""Some kinds of real processes side by side: who is at work is not accused, who idles is named, and truly."""

import pytest

from tests.health.corpus.judging import LIMIT, wrongs
from tests.health.corpus.kinds import KINDS, SHORT
from tests.health.corpus.services import web_server
from tests.support.servers import Server


@pytest.mark.faults
def test_kinds_of_processes_are_judged_right(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server() as told:
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        assert wrongs(server, SHORT, watched=2 * LIMIT) == []


def test_there_are_kinds_enough() -> None:
    assert len(KINDS) >= 60
