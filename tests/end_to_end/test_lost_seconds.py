"""Servers that lose their last second under children at work, and right after children ended."""

from pathlib import Path

import pytest

from tests.end_to_end.lost_seconds import check, losing, write_under_deaths
from tests.support.servers import BINARIES
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("kind", ["journal", "replica"])
def test_deaths_under_children_that_write(kind: str, tmp_path: Path) -> None:
    with losing(kind, tmp_path, BINARIES["valkey"]) as dying:
        job, lost = write_under_deaths(dying, tmp_path, children=4, lines=20_000, seconds=3.0, deaths=2)
        try:
            ledger = check(job, tmp_path, 4)
            assert ledger.is_clean, str(ledger)
            assert ledger.written == 20_000
        finally:
            job.end()
    assert min(lost) > 0, "a server that forgot nothing proves nothing"


@pytest.mark.parametrize("kind", ["journal", "replica"])
def test_a_death_right_after_a_child_ended(kind: str, tmp_path: Path) -> None:
    """What it wrote last, and its end, are forgotten when its own code has nothing more to say."""
    with losing(kind, tmp_path, BINARIES["valkey"]) as dying:
        job, _ = write_under_deaths(dying, tmp_path, children=2, lines=6_000, seconds=1.0, deaths=0)
        try:
            wait_for(lambda: job.child("ends-0").status == "success", what="the first child's end")
            dying.die()
            ledger = check(job, tmp_path, 2)
            assert ledger.is_clean, str(ledger)
            assert ledger.written == 6_000
        finally:
            job.end()
