"""Runs kinds of processes side by side under supervisors and compares what is said of them with what is true."""

import contextlib
import re
import time
from collections.abc import Iterable

from gnjobs.store import JobStore
from tests.health.corpus.kinds import KINDS
from tests.support.servers import Server
from tests.support.supervised import supervised

LIMIT = 8.0
NAMED_WITHIN = 15.0
START_SECONDS = 10.0


def wrongs(server: Server, names: Iterable[str], slack: float = 0.0) -> list[str]:
    """What was said of these kinds that is not so, one line each; `slack` in seconds for a machine that is busy."""
    found, said = [], {}
    with contextlib.ExitStack() as stack:
        store = JobStore.from_url(server.url)
        jobs = {
            name: stack.enter_context(supervised(server, KINDS[name].command, stuck_after=str(LIMIT)))
            for name in names
        }
        for job in jobs.values():
            job.wait_for("running", limit=60)
        until = time.monotonic() + START_SECONDS + LIMIT + NAMED_WITHIN + slack
        while time.monotonic() < until:
            for name, job in jobs.items():
                health = store.view(job.id).glance().health
                if health.verdict in ("stuck", "dead") and name not in said:
                    said[name] = health.verdict
                    if KINDS[name].says is None:
                        found.append(f"{name}: accused: {health}")
                if health.verdict == "stuck":
                    said[name] = " ".join(health.evidence)
            time.sleep(1.0)
    for name in jobs:
        says = KINDS[name].says
        if says is not None and name not in said:
            found.append(f"{name}: never named")
        elif says is not None and not re.search(says, said[name]):
            found.append(f"{name}: not said: {says}: {said[name]}")
    return found
