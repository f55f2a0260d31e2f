"""Servers that lose their last second under children at work, and right after children ended."""

from pathlib import Path

import pytest

from tests.end_to_end.accounts import account, wrote
from tests.end_to_end.lost_seconds import accounts, losing, write_under_deaths
from tests.servers import BINARIES
from tests.supervised import KEYS
from tests.waiting import wait_for


@pytest.mark.parametrize("kind", ["journal", "replica"])
def test_deaths_under_children_that_write(kind: str, tmp_path: Path) -> None:
    with losing(kind, tmp_path, BINARIES["valkey"]) as dying:
        job, lost = write_under_deaths(dying, tmp_path, children=4, lines=20_000, seconds=3.0, deaths=2)
        try:
            assert job.wait_for(limit=60).status == "success"
            found = accounts(job, tmp_path, 4)
            assert [each for each in found if not each.is_right] == []
            assert sum(each.stored for each in found) == 20_000
            assert job.read().faults == sum(each.faults[1] for each in found)
            assert {job.child(each.child_id).status for each in found} == {"success"}
        finally:
            job.end()
    assert min(lost) > 0, "a server that forgot nothing proves nothing"


@pytest.mark.parametrize("kind", ["journal", "replica"])
def test_a_death_right_after_a_child_ended(kind: str, tmp_path: Path) -> None:
    """What it wrote last, and its end, are forgotten when its own code has nothing more to say."""
    with losing(kind, tmp_path, BINARIES["valkey"]) as dying:
        job, _ = write_under_deaths(dying, tmp_path, children=2, lines=4_000, seconds=1.0, deaths=0)
        try:
            wait_for(lambda: job.child("writer-0").status == "success", 30, "the first child's end")
            dying.die()
            assert job.wait_for(limit=60).status == "success"
            for child_id in ("writer-0", "writer-1"):
                assert account(job.client, KEYS, job.id, child_id, wrote(tmp_path, child_id)).is_right
                assert job.child(child_id).status == "success"
            assert job.read().faults == 6
        finally:
            job.end()
