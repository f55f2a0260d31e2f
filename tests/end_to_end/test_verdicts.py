"""Verdicts on real processes: who computes, waits for a disk or is paused for a moment is not stuck; who sleeps is."""

import contextlib
import signal
import time
from collections.abc import Iterator

import pytest

from gnjobs.health.assess import assess
from gnjobs.processes.presence import look
from tests.support.servers import Server
from tests.support.supervised import SupervisedJob, python, supervised
from tests.support.waiting import wait_for

LIMIT = 6.0
NAMED_WITHIN = 60.0
CODES = {
    "sleeps": "import time; time.sleep(1000)",
    "computes": "import time\nwhile True: sum(range(10**6)); time.sleep(0.2)",
    # As from a slow disk: a little now and then, and hardly any CPU.
    "reads slowly": "import time\nfile = open('/dev/zero', 'rb')\nwhile True: file.read(9000); time.sleep(0.5)",
    "is paused": "import time\nwhile True: print('line', flush=True); time.sleep(0.5)",
}


@pytest.fixture
def jobs(server: Server) -> Iterator[dict[str, SupervisedJob]]:
    with contextlib.ExitStack() as stack:
        started = {
            name: stack.enter_context(supervised(server, python(code), stuck_after=str(LIMIT)))
            for name, code in CODES.items()
        }
        for job in started.values():
            job.wait_for("running")
        yield started


def verdict(job: SupervisedJob) -> str:
    seconds, microseconds = job.client.time()
    return assess(job.read(), now=seconds + microseconds / 1e6, look=look).verdict


@pytest.mark.faults  # it takes three limits; the corpus judges kinds like these at every change
def test_only_who_sleeps_is_stuck(jobs: dict[str, SupervisedJob]) -> None:
    command = wait_for(lambda: list(jobs["is paused"].alive()))[0]
    command.send_signal(signal.SIGSTOP)
    began, named_after = time.monotonic(), None
    while time.monotonic() < began + 3 * LIMIT or named_after is None:
        if time.monotonic() > began + LIMIT / 2:
            command.send_signal(signal.SIGCONT)
        verdicts = {name: verdict(job) for name, job in jobs.items()}
        if verdicts.pop("sleeps") == "stuck" and named_after is None:
            named_after = time.monotonic() - began
        assert not set(verdicts.values()) & {"stuck", "dead"}, verdicts
        assert time.monotonic() < began + LIMIT + NAMED_WITHIN, "never named"
        time.sleep(0.2)
    assert named_after > LIMIT - 3
    assert verdicts["computes"] == verdicts["reads slowly"] == "quiet"
