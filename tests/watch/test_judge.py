"""Verdicts for a catalogue: with the time when each may change, and what was seen of processes."""

from typing import Any

from gnjobs.health.assess import LEAST_OVERDUE
from gnjobs.health.verdict import Limits
from gnjobs.processes.seen import Presence
from gnjobs.records.fields import Job
from gnjobs.watch.judge import LOOK_AGAIN_AFTER, Judge
from gnjobs.watch.rows import JobRow, row_of
from tests.support.clock import Clock

NOW = 10_000.0


def running(**fields: Any) -> JobRow:
    stored = {"heartbeat": NOW, "heartbeat_every": 5.0, "started": NOW - 60, "last_output": NOW} | fields
    return row_of(Job(id="a", status="running", **stored))


def test_a_pending_job_is_due_when_it_has_waited_too_long() -> None:
    judge = Judge(Limits(pending_after=60))
    row = row_of(Job(id="a", status="pending", created=NOW))
    assert judge.judge(row, NOW + 10) == ("ok", NOW + 60)
    assert judge.judge(row, NOW + 61) == ("stuck", None)
    assert judge.judge(row_of(Job(id="b", status="pending")), NOW) == ("ok", None)


def test_a_running_job_is_due_when_its_beat_is_overdue_and_no_jump_of_the_clock_hastens_it() -> None:
    clock = Clock()
    judge = Judge(monotonic=clock)
    assert judge.judge(running(), NOW) == ("ok", NOW + LEAST_OVERDUE)
    clock.now += 10
    assert judge.judge(running(), NOW + 5000) == ("ok", NOW + 5000 + LEAST_OVERDUE - 10)
    clock.now += LEAST_OVERDUE
    verdict, due = judge.judge(running(), NOW + 25)
    assert (verdict, due) == ("quiet", NOW + 25 + LOOK_AGAIN_AFTER)  # nobody has looked at its processes yet
    assert judge.judge(running(heartbeat=NOW + 25), NOW + 25)[0] == "ok"


def test_one_without_a_heartbeat_or_that_has_ended_is_never_due() -> None:
    judge = Judge()
    assert judge.judge(running(heartbeat=None), NOW) == ("ok", None)
    assert judge.judge(row_of(Job(id="a", status="success")), NOW) == ("ok", None)


def test_processes_are_wanted_of_jobs_with_a_silent_supervisor_again_and_again() -> None:
    clock = Clock()
    judge = Judge(monotonic=clock)
    late = NOW + 100
    assert judge.judge(running(), late)[0] == "quiet"
    clock.now += 60
    assert judge.judge(running(), late + 60)[0] == "stuck"
    assert set(judge.take_unlooked()) == {"a"}
    assert not judge.take_unlooked()
    judge.learn({"a": Presence("gone")})
    assert judge.judge(running(), late)[0] == "dead"
    assert not judge.take_unlooked()
    clock.now += LOOK_AGAIN_AFTER
    judge.judge(running(), late)
    assert set(judge.take_unlooked()) == {"a"}
    judge.forget(running())
    assert judge.judge(running(), late)[0] == "quiet"


def test_evidence_is_given_for_a_row() -> None:
    health = Judge().health(running(last_output=NOW - 1000, cpu=0.0, idle_since=NOW - 1000), NOW)
    assert health.verdict == "stuck"
    assert "silent and idle for 16 min" in health.evidence[0]


def test_the_beats_of_another_prefix_s_job_of_the_id_are_its_own() -> None:
    clock, verdict = Clock(), ""
    judge = Judge(monotonic=clock)
    for beat in range(10):
        beating = Job(id="a", status="running", heartbeat=NOW + beat, started=NOW)
        assert judge.judge(row_of(beating, key="other a"), NOW + beat)[0] == "ok"
        verdict, _ = judge.judge(running(), NOW)
        clock.now += LEAST_OVERDUE / 4
    assert verdict == "quiet"  # nobody has looked at its processes yet
