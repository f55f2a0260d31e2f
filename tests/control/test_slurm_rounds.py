"""The agent's looks at Slurm: few questions, a limit of time, and no record that has others called lost."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import redis

from gnjobs.control import slurm_rounds
from gnjobs.control.agent import Agent
from gnjobs.control.slurm_rounds import SlurmRounds
from gnjobs.processes.host import host_name
from gnjobs.records.fields import Job
from gnjobs.store import JobStore
from gnjobs.supervisor.slurm import slurm_mark
from gnjobs.text import place_of
from tests.support.fake_slurm import FakeSlurm
from tests.support.supervised import KEYS


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    found = FakeSlurm(tmp_path)
    monkeypatch.setenv("PATH", found.path)
    monkeypatch.setattr(slurm_rounds, "LOOK_SECONDS", 0.0)
    return found


def waiting(store: JobStore, **fields: str) -> Job:
    """A record that says that its job waits in the queue."""
    job = store.create(["true"])
    here: Mapping[str, str | float] = {"launch-host": host_name(), "launched": 1, "queue-reason": "x"}
    store.client.hset(KEYS.job(job.id), mapping={**here, **fields})
    return store.get(job.id)


def queued(store: JobStore, queue: FakeSlurm, number: str, name: str = "") -> Job:
    """One that does wait there."""
    job = waiting(store, **{"slurm-job": number})
    mark = slurm_mark(job.id, place_of(store.url, store.keys.prefix))
    queue.write(number, name=name or f"gnjobs-{job.id}", comment=mark, state="PENDING", account="jane")
    return job


def statuses(store: JobStore, jobs: list[Job]) -> list[str]:
    return [store.get(job.id).status for job in jobs]


def test_a_number_that_slurm_refuses_has_no_other_job_called_lost(queue: FakeSlurm, store: JobStore) -> None:
    honest = [queued(store, queue, "17"), queued(store, queue, "18", "renamed"), queued(store, queue, "19")]
    numbers = ("3000000000", "999999999999", "4294967295", "x")
    forged = [waiting(store, **{"slurm-job": number}) for number in numbers]
    rounds = SlurmRounds(store)
    for _ in range(2):
        rounds.go([store.get(job.id) for job in (*forged, *honest)], store.now())
    assert statuses(store, honest) == ["pending"] * 3
    assert [store.get(job.id).queue_reason for job in honest] == ["Resources"] * 3
    assert statuses(store, forged) == ["lost"] * 4


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CANCELLED"])
def test_what_slurm_gave_the_number_to_since_is_not_taken_for_the_job(
    queue: FakeSlurm, store: JobStore, state: str
) -> None:
    job = waiting(store, **{"slurm-job": "17"})
    store.client.hset(KEYS.job(job.id), mapping={"status": "running", "started": 1})
    queue.write("17", name="another", comment="c", state=state, account="jane")
    rounds = SlurmRounds(store)
    for _ in range(2):
        rounds.go([store.get(job.id)], store.now())
    found = store.get(job.id)
    assert (found.status, found.error) == ("lost", "Slurm knows nothing more of its job 17")


def test_records_without_a_number_cost_one_question_for_all(queue: FakeSlurm, store: JobStore) -> None:
    forged = [waiting(store) for _ in range(300)]
    honest = queued(store, queue, "17")
    SlurmRounds(store).go([*forged, honest], store.now())
    assert len(queue.questions()) == 1
    assert store.get(honest.id).queue_reason == "Resources"


def test_a_round_has_a_limit_of_time_and_the_next_one_goes_on_from_there(
    queue: FakeSlurm, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_rounds, "_AT_ONCE", 1)
    monkeypatch.setattr(slurm_rounds, "_ROUND_SECONDS", 0.0)
    jobs = [queued(store, queue, str(number)) for number in range(1, 4)]
    rounds = SlurmRounds(store)
    asked = []
    for _ in range(6):
        rounds.go(jobs, store.now())
        asked += queue.questions()
    assert asked == [f"--name=gnjobs-{job.id}" for job in jobs] * 2


def test_what_there_was_no_time_to_ask_for_is_not_called_lost_and_comes_first(
    queue: FakeSlurm, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_rounds, "_ROUND_SECONDS", 0.0)
    renamed = queued(store, queue, "18", "renamed")
    forged = waiting(store, **{"slurm-job": "3000000000"})
    rounds = SlurmRounds(store)
    for _ in range(3):  # one question a round: the list of both is refused each time
        rounds.go([renamed, forged], store.now())
    assert statuses(store, [renamed, forged]) == ["pending", "pending"]
    monkeypatch.setattr(slurm_rounds, "_ROUND_SECONDS", 5.0)
    for _ in range(2):
        rounds.go([renamed, forged], store.now())
    assert statuses(store, [renamed, forged]) == ["pending", "lost"]


def test_what_reports_is_not_asked_for(queue: FakeSlurm, store: JobStore) -> None:
    job = queued(store, queue, "17")
    store.client.hset(KEYS.job(job.id), mapping={"status": "running", "heartbeat": store.now()})
    SlurmRounds(store).go([store.get(job.id)], store.now())
    assert queue.questions() == []


@pytest.mark.parametrize("state", ["PENDING", "NODE_FAIL"])
def test_what_reports_again_by_the_time_that_slurm_answers_is_left_alone(
    queue: FakeSlurm, store: JobStore, state: str
) -> None:
    job = queued(store, queue, "17")
    queue.write("17", state=state)
    store.client.hset(KEYS.job(job.id), mapping={"status": "running", "started": 1})
    seen = store.get(job.id)
    store.client.hset(KEYS.job(job.id), mapping={"heartbeat": store.now(), "mark": "of-the-next-run"})
    rounds = SlurmRounds(store)
    for _ in range(2):
        rounds.go([seen], store.now())
    found = store.get(job.id)
    assert (found.status, found.mark, found.requeues) == ("running", "of-the-next-run", None)


def test_what_a_record_s_children_are_keeps_nobody_else_from_being_looked_at(
    queue: FakeSlurm, store: JobStore
) -> None:
    forged, honest = queued(store, queue, "17"), queued(store, queue, "18")
    children = {"child:c": KEYS.child_output(forged.id, "c"), "child:d": KEYS.child_output(forged.id, "d")}
    store.client.hset(KEYS.job(forged.id), mapping={"status": "running", "started": 1, **children})
    store.client.set(KEYS.child(forged.id, "c"), "x")
    store.client.hset(KEYS.child(forged.id, "d"), "status", "running")
    SlurmRounds(store).go([store.get(forged.id), honest], store.now())
    assert store.get(honest.id).queue_reason == "Resources"
    assert (store.get(forged.id).requeues, store.child(forged.id, "d").may_fail) == (1, 1)


def test_what_fails_for_one_job_is_said_and_stops_no_other(
    queue: FakeSlurm, store: JobStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise redis.ResponseError("WRONGTYPE")

    monkeypatch.setattr(slurm_rounds, "requeue_job", fail)
    failing, honest = queued(store, queue, "17"), queued(store, queue, "18")
    store.client.hset(KEYS.job(failing.id), mapping={"status": "running", "started": 1})
    SlurmRounds(store).go([store.get(failing.id), honest], store.now())
    assert store.get(honest.id).queue_reason == "Resources"
    assert capsys.readouterr().err == f"gnjobs: agent: job {failing.id}: WRONGTYPE\n"


def test_what_fails_in_looks_at_slurm_keeps_no_index_from_being_tidied(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(store)
    monkeypatch.setattr(agent, "_slurm", None)
    store.client.zadd(KEYS.jobs, {"gone": 1})
    with pytest.raises(AttributeError):
        agent.look_around()
    assert store.client.zcard(KEYS.jobs) == 0


def test_a_job_that_is_removed_while_the_agent_concludes_it_keeps_it_from_no_other(
    queue: FakeSlurm, store: JobStore
) -> None:
    jobs = [waiting(store, **{"slurm-job": "17"}) for _ in range(2)]
    rounds = SlurmRounds(store)
    rounds.go(jobs, store.now())
    store.client.delete(KEYS.job(jobs[0].id))
    rounds.go(jobs, store.now())
    assert store.get(jobs[1].id).status == "lost"
