"""A job that prints its lines in steps, so that a test can do something between them."""

from pathlib import Path

from tests.support.supervised import KEYS, SupervisedJob
from tests.support.waiting import wait_for

# Prints lines in steps, each when its file appears, and leaves a file when a step is done.
STEPS = (
    "import pathlib, sys, time\n"
    "place = pathlib.Path(sys.argv[1])\n"
    "for step in range(3):\n"
    "    while not (place / str(step)).exists(): time.sleep(0.005)\n"
    "    for i in range(500): print(step * 500 + i, flush=True)\n"
    "    (place / f'done{step}').touch()\n"
)
ALL_LINES = [str(number) for number in range(1500)]


def go(place: Path, *steps: int) -> None:
    """Let the job print, and wait until it has."""
    for step in steps:
        (place / str(step)).touch()
        wait_for((place / f"done{step}").exists)


def check_end(job: SupervisedJob, status: str, lines: list[str]) -> None:
    """What must hold at the end of every job."""
    done = job.wait_for()
    assert (done.status, done.error) == (status, None)
    assert job.lines("out") == lines
    assert done.lines == len(lines)
    wait_for(lambda: job.client.zscore(KEYS.unfinished, job.id) is None, what="the index to be tidied")
    assert job.client.zscore(KEYS.jobs, job.id)
    assert job.alive() == []
