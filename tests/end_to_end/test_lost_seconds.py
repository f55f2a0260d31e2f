"""A server that loses its last second under a job with children: nothing is lost, nothing is there twice."""

from pathlib import Path

from tests.end_to_end.lost_seconds import lose_seconds


def test_a_cut_journal_and_a_promoted_replica(tmp_path: Path) -> None:
    outcome = lose_seconds(tmp_path, 20_000, ["journal", "replica"], rate=700)
    assert outcome.is_clean, outcome
