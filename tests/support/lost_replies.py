"""A server whose reply to the end of a job is lost."""

from typing import Any

import pytest
import redis

from gnjobs.records import ends
from gnjobs.records.scripts import MoveOutcome, transition


def lose_first_reply(monkeypatch: pytest.MonkeyPatch) -> list[tuple[MoveOutcome, str]]:
    """Have the connection break over the reply to the next end that is written; returns the replies that were lost."""
    lost: list[tuple[MoveOutcome, str]] = []

    def lossy(*arguments: Any, **options: Any) -> tuple[MoveOutcome, str]:
        said = transition(*arguments, **options)
        if not lost:
            lost.append(said)
            raise redis.ConnectionError("the reply is lost")
        return said

    monkeypatch.setattr(ends, "transition", lossy)
    return lost
