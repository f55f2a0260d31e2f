"""A master dies under a running job and an open dashboard, and its replica takes over."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.job_in_steps import ALL_LINES, STEPS, check_end, go
from tests.support.servers import BINARIES, Sentinels, running_sentinels
from tests.support.supervised import SupervisedJob, python
from tests.support.watched import fill, wait_until_right, watch

pytestmark = pytest.mark.faults


@pytest.fixture(params=sorted(BINARIES))
def sentinels(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sentinels]:
    with running_sentinels(tmp_path / "servers", BINARIES[request.param]) as made:
        yield made


def test_nothing_is_lost_and_everything_is_right_again_within_5_s(
    sentinels: Sentinels, tmp_path: Path
) -> None:
    with sentinels.client() as client:
        fill(client)
    job = SupervisedJob(sentinels, python(STEPS, str(tmp_path)), label="job-steps")
    try:
        with watch(sentinels.url) as terminal:
            job.supervise()
            go(tmp_path, 0)
            job.wait_for_line("499")
            wait_until_right(terminal, job.client, 20)
            printing = threading.Thread(target=go, args=(tmp_path, 1))
            printing.start()
            sentinels.fail_over()
            wait_until_right(terminal, job.client, 5)
            job.wait_for_line("999", 5)
            printing.join()
            go(tmp_path, 2)
            check_end(job, "success", ALL_LINES)
            wait_until_right(terminal, job.client, 5)
    finally:
        job.end()
