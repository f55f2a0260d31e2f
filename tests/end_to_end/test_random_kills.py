"""A few jobs of the by-hand module: supervisors and agents killed under them, with beats that are old at once."""

import pytest

from tests.end_to_end import random_kills
from tests.support.servers import Server

pytestmark = pytest.mark.faults


def test_every_job_ends_rightly_whole_and_in_time(server: Server) -> None:
    ledger, _ = random_kills.run(server, jobs=12, at_once=12, seed=5, old_beat=True)
    assert ledger.jobs == 12
    assert ledger.supervisor_kills
    assert ledger.is_clean, ledger
