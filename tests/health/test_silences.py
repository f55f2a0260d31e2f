"""Silence and what supports a verdict on it: clocks, CPU, processes, children in numbers, common causes."""

from datetime import datetime
from typing import Any

import pytest

from gnjobs.health.assess import BeatClock, assess, common_causes
from gnjobs.health.silence import child_silence, judge_child, process_words, summary_words
from gnjobs.health.verdict import Health, Limits, worst_of
from gnjobs.processes.seen import ProcessSnapshot, SeenProcess
from gnjobs.records.fields import Child, ChildrenSummary, Job

NOW = 1_700_000_000.0
MINUTE = 60.0
LONG_AGO = NOW - 23 * MINUTE


def running(**fields: Any) -> Job:
    known = {"status": "running", "started": NOW - 7200, "heartbeat": NOW, "heartbeat_every": 5, "cpu": 50.0}
    return Job(id="j", **(known | {"last_output": NOW} | fields))


def child(name: str = "c", silent: float = 23 * MINUTE, **fields: Any) -> Child:
    known = {"id": name, "status": "running", "started": NOW - 7200, "last_output": NOW - silent}
    return Child(**(known | fields))


def seen(child_id: str | None = "c", cpu: float | None = 0.0, **fields: Any) -> SeenProcess:
    return SeenProcess(**({"pid": 48213, "started": 1, "child": child_id, "cpu": cpu} | fields))


def test_what_is_not_known_to_idle_is_not_stuck() -> None:
    assert judge_child(running(), child(), [seen()]).verdict == "stuck"
    assert judge_child(running(), child(), [seen(cpu=None)]).verdict == "quiet"
    assert judge_child(running(), child(), [seen(), seen(cpu=99.0)]).verdict == "quiet"
    for not_seen in (None, []):
        assert judge_child(running(), child(), not_seen).verdict == "quiet"
        assert judge_child(running(cpu=0.2), child(), not_seen).verdict == "stuck"


def test_a_thread_whose_job_computes_is_not_stuck_though_it_has_no_process() -> None:
    snapshot = ProcessSnapshot(NOW, (seen(None, 99.0),))
    health = assess(running(), now=NOW, children=[child()], snapshot=snapshot)
    assert health.verdict == "quiet"
    assert health.evidence[0] == "1 of 1 children: c, no line and no progress for 23 min"


def test_an_old_snapshot_says_nothing_of_now() -> None:
    snapshot = ProcessSnapshot(NOW - 120, (seen(),))
    assert assess(running(), now=NOW, children=[child()], snapshot=snapshot).verdict == "quiet"


def test_a_host_whose_clock_is_wrong_accuses_no_child() -> None:
    behind = child(silent=25 * MINUTE)
    assert child_silence(running(), behind) == 25 * MINUTE
    assert child_silence(running(clock_shift=25 * MINUTE), behind) == 0
    ahead = child(silent=-25 * MINUTE)
    assert child_silence(running(clock_shift=-25 * MINUTE - 400), ahead) == 400


def test_several_children_are_told_by_the_one_silent_longest() -> None:
    children = [child("a", 20 * MINUTE), child("b", 70 * MINUTE), child("c", 10), child("d", 6 * MINUTE)]
    health = assess(running(cpu=0.0), now=NOW, children=children)
    assert health.verdict == "stuck"
    told = "2 of 4 children: the longest b, no line and no progress for 1 h 10 min (limit: 15 min), CPU 0 %"
    assert health.evidence == (told, "supervisor heard 0 s ago")


def test_only_children_that_run_are_silent() -> None:
    for status in ("pending", "success", "killed", None, "what?"):
        assert judge_child(running(cpu=0.0), child(status=status)).verdict == "ok"
    assert child_silence(running(heartbeat=None), child()) is None
    assert child_silence(running(), Child(id="c", status="running")) is None


def test_a_silent_main_process_waits_for_children_that_are_known_to_run() -> None:
    silent = running(last_output=LONG_AGO, cpu=0.0)
    assert assess(silent, now=NOW, children=[child(silent=0)]).verdict == "ok"
    assert assess(silent, now=NOW, children=[Child(id="c", status="running")]).verdict == "stuck"
    assert assess(silent, now=NOW, children=[child(status="success")]).verdict == "stuck"
    summary = ChildrenSummary(counts={"success": 3})
    assert (
        assess(running(last_output=LONG_AGO, cpu=0.0, children_summary=summary), now=NOW).verdict == "stuck"
    )


@pytest.mark.parametrize(
    ("limit", "words"),
    [(900, "(limit: 15 min)"), (30, "(limit: 30 s)"), (3 * 3600, None), (1200, "(limit: 20 min)")],
)
def test_the_limit_is_said_as_the_silence_is(limit: float, words: str | None) -> None:
    health = assess(running(last_output=LONG_AGO, cpu=0.0, stuck_after=limit), now=NOW)
    assert health.verdict == ("stuck" if words else "quiet")
    assert words is None or words in health.evidence[0]


def test_what_processes_do_and_since_when_they_idle() -> None:
    clock = f"{datetime.fromtimestamp(NOW - 600):%H:%M}"
    idle = seen(idle_since=NOW - 600)
    assert process_words([idle], NOW) == f"pid 48213 asleep, nothing read or written since {clock}"
    assert process_words([seen(idle_since=NOW - 9000, state="D"), idle], NOW).endswith(f"since {clock}")
    assert process_words([seen(state="D"), idle], NOW) == (
        "pid 48213 in uninterruptible sleep, pid 48213 asleep"
    )
    assert process_words([seen(idle_since=NOW - 30)], NOW) == "pid 48213 asleep"
    assert process_words([seen(state="?")] * 5, NOW).endswith("pid 48213 ? and 2 more")


def test_a_summary_says_the_same_of_its_quietest_child() -> None:
    summary = ChildrenSummary(
        counts={"running": 2, "success": 10}, quietest_label="pheno_se.tsv", quietest_since=LONG_AGO,
        quietest_cpu=0.0, quietest_pid=48213, quietest_state="S", quietest_idle_since=LONG_AGO,
    )  # fmt: skip
    clock = f"{datetime.fromtimestamp(LONG_AGO):%H:%M}"
    health = assess(running(children_summary=summary), now=NOW + 1)
    assert health == Health(
        "stuck",
        (
            "1 of 12 children: pheno_se.tsv, no line and no progress for 23 min (limit: 15 min), CPU 0 %",
            f"pid 48213 asleep, nothing read or written since {clock}",
            "supervisor heard 1 s ago",
        ),
    )
    assert summary_words(ChildrenSummary(quietest_pid=1), NOW) == ()
    unknown = ChildrenSummary(counts={"running": 1}, quietest_id="c", quietest_since=LONG_AGO)
    assert assess(running(children_summary=unknown), now=NOW).verdict == "quiet"
    assert assess(running(children_summary=unknown, cpu=0.0), now=NOW).verdict == "stuck"


def test_children_that_contradict_their_job_are_evidence() -> None:
    ended = Job(id="j", status="success")
    children = [child("a", status="success"), child("b"), child("c", status="pending")]
    assert assess(ended, now=NOW, children=children).evidence == (
        "2 of 3 children never said how they ended",
    )
    there, gone = child("a", silent=0, pid=48213), child("b", silent=0, pid=5)
    snapshot = ProcessSnapshot(NOW - 8, (seen("a"),))
    health = assess(running(), now=NOW, children=[there, gone], snapshot=snapshot)
    assert (health.verdict, health.evidence[0]) == (
        "ok",
        "b is called running, yet its process 5 was not seen",
    )
    just_begun = child("b", silent=0, pid=5, started=NOW - 9)
    for children, look in (([there], snapshot), ([there, just_begun], snapshot), ([there, gone], None)):
        assert "was not seen" not in " ".join(
            assess(running(), now=NOW, children=children, snapshot=look).evidence
        )


def test_how_a_job_ended_is_its_evidence() -> None:
    ended = Job(
        id="j", status="killed", stop_by="tux", stop_reason="runaway", left_running="7, 8", error="a\nb\n"
    )
    assert assess(ended, now=NOW).evidence == ("killed by tux: runaway", "left running: 7, 8", "b")


def test_a_long_run_is_evidence_and_no_verdict() -> None:
    health = assess(running(), now=NOW, usual_run=600)
    assert health.verdict == "ok"
    assert health.evidence[-1] == "runs for 2 h, earlier jobs of its type took 10 min"
    assert len(assess(running(), now=NOW, usual_run=3000).evidence) == 1


def test_a_beat_that_is_new_is_young_and_one_that_was_forgotten_is_seen_anew() -> None:
    clock = [0.0]
    beats = BeatClock(lambda: clock[0])
    assert beats.age(running(heartbeat=NOW - 100), NOW) == 100
    clock[0] = 7.0
    assert beats.age(running(heartbeat=NOW - 500), NOW) == 0
    clock[0] = 9.0
    assert beats.age(running(heartbeat=NOW - 500), NOW) == 2
    beats.forget(["j", "unknown"])
    assert beats.age(running(heartbeat=NOW - 500), NOW) == 500
    assert beats.age(running(heartbeat=None), NOW) is None


def test_a_beat_is_overdue_by_its_own_period() -> None:
    slow = running(heartbeat=NOW - 50, heartbeat_every=20)
    assert assess(slow, now=NOW).verdict == "ok"
    assert assess(running(heartbeat=NOW - 50), now=NOW).verdict == "stuck"
    assert "were not looked at" in assess(running(heartbeat=NOW - 50), now=NOW).evidence[0]


def judged(host: str, *beats: float, verdict: str = "stuck") -> list[tuple[Job, Health]]:
    jobs = [running(host=host, heartbeat=beat) for beat in beats]
    return [(job, assess(job, now=NOW)) for job in jobs]


def test_only_what_falls_silent_together_has_a_common_cause() -> None:
    together = [NOW - 3600 - second for second in (0, 30, 90, 120)]
    said = common_causes(
        [
            *judged("gn-web1", *together, NOW - 40_000, NOW - 20_000),
            *judged("gn-web2", NOW - 100, NOW - 101),
            *judged("gn-web3", NOW, NOW, NOW),
        ],
        NOW,
    )
    assert said == [f"4 jobs on gn-web1 silent since {datetime.fromtimestamp(NOW - 3720):%H:%M}"]


def test_the_first_of_the_worst() -> None:
    first = Health("stuck", ("a",))
    assert worst_of([Health("quiet"), first, Health("stuck", ("b",))]) is first
    assert worst_of([]) == Health()


def test_limits_are_those_of_the_job_then_of_its_type() -> None:
    limits = Limits(stuck_by_type={"qc": 60})
    assert limits.stuck(Job(id="j", type="qc")) == 60
    assert limits.stuck(Job(id="j", type="qc", stuck_after=10)) == 10
    assert limits.quiet(Job(id="j", type="qc")) == 60
    assert limits.stuck(Job(id="j")) == 900
