"""A job is judged as well under the agent, once its supervisor is gone, as under that: at work, asleep, awake again."""

import contextlib
import os
import re
import signal
import time

import pytest

from gnjobs.store import JobStore
from tests.support.agents import agent_at_work
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, python, supervised
from tests.support.waiting import wait_for

LIMIT = 6.0
NAMED_WITHIN = 15.0
# Computes for a tenth of the time; SIGUSR1 makes it sleep or work, SIGUSR2 say something.
WORKER = python(
    "import signal, time\n"
    "from gnjobs import current_job\n"
    "state = {'works': True, 'says': False}\n"
    "signal.signal(signal.SIGUSR1, lambda *_: state.update(works=not state['works']))\n"
    "signal.signal(signal.SIGUSR2, lambda *_: state.update(says=True))\n"
    "with current_job() as job:\n"
    "    print('ready', flush=True)\n"
    "    while True:\n"
    "        signal.pause() if not state['works'] else time.sleep(sum(range(10**6)) and 0.2)\n"
    "        if state['says']:\n"
    "            state['says'] = False\n"
    "            job.message('awake')\n"
)


def verdict(store: JobStore, job: SupervisedJob) -> str:
    return store.view(job.id).glance().health.verdict


def evidence(store: JobStore, job: SupervisedJob) -> str:
    return " ".join(store.view(job.id).glance().health.evidence)


def silent_for(job: SupervisedJob) -> float:
    record = job.read()
    return (record.heartbeat or 0.0) - (record.last_output or 0.0)


def lose_supervisor(store: JobStore, job: SupervisedJob) -> None:
    job.processes[0].kill()
    job.processes[0].wait()
    store.client.hset(KEYS.job(job.id), "heartbeat", store.now() - 100)
    wait_for(lambda: job.read().orphaned, what="the agent to beat for it")


@pytest.mark.faults
@pytest.mark.parametrize("is_orphan", [False, True], ids=["supervised", "orphan"])
def test_a_job_is_judged_at_work_asleep_and_awake_again(
    store: JobStore, server: Server, is_orphan: bool
) -> None:
    with supervised(server, WORKER, stuck_after=str(LIMIT)) as job, contextlib.ExitStack() as stack:
        job.wait_for_line("ready")
        pid = wait_for(lambda: job.read().pid)
        if is_orphan:
            stack.enter_context(agent_at_work(store))
            lose_supervisor(store, job)
        said = set()
        wait_for(lambda: said.add(verdict(store, job)) or silent_for(job) > 2 * LIMIT, what="a long silence")
        assert said <= {"ok", "quiet"}, "at work"

        slept = time.monotonic()
        os.kill(pid, signal.SIGUSR1)
        wait_for(lambda: verdict(store, job) == "stuck", LIMIT + NAMED_WITHIN, "a sleeper to be named")
        assert time.monotonic() - slept > LIMIT - 3.0
        assert re.search(rf"pid {pid} \(\S+\) .*asleep, idle since", evidence(store, job))
        wait_for(lambda: "waits for a signal" in evidence(store, job), NAMED_WITHIN, "what it waits for")

        os.kill(pid, signal.SIGUSR1)
        wait_for(lambda: verdict(store, job) != "stuck", NAMED_WITHIN, "one at work to be acquitted")
        os.kill(pid, signal.SIGUSR2)
        wait_for(lambda: verdict(store, job) == "ok", NAMED_WITHIN, "one that says something to be ok")
