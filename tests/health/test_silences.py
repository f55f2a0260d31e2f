"""Silence and what supports a verdict on it: clocks, CPU, processes, children in numbers, common causes."""

from datetime import datetime
from typing import Any

import pytest

from gnjobs.health.assess import BeatClock, assess, common_causes
from gnjobs.health.silence import child_silence, judge_child, process_words
from gnjobs.health.verdict import Health, Limits, worst_of
from gnjobs.processes.seen import Presence, ProcessSnapshot, SeenProcess
from gnjobs.records.fields import Child, Job
from gnjobs.records.summaries import ChildrenSummary, SilentChild, TellingProcess

NOW = 1_700_000_000.0
MINUTE = 60.0
LONG_AGO = NOW - 23 * MINUTE


def running(**fields: Any) -> Job:
    known = {"status": "running", "started": NOW - 7200, "heartbeat": NOW, "heartbeat_every": 5, "cpu": 50.0}
    return Job(id="j", **(known | {"last_output": NOW, "idle_since": NOW} | fields))


def idle(**fields: Any) -> Job:
    return running(**({"cpu": 0.0, "idle_since": NOW - 7200} | fields))


def child(name: str = "c", silent: float = 23 * MINUTE, **fields: Any) -> Child:
    known = {"id": name, "status": "running", "started": NOW - 7200, "last_output": NOW - silent}
    return Child(**(known | fields))


def seen(child_id: str | None = "c", **fields: Any) -> SeenProcess:
    known = {"pid": 48213, "started": 1, "child": child_id, "cpu": 0.0, "idle_since": NOW - 7200}
    return SeenProcess(**(known | fields))


def judged(*processes: SeenProcess, job: Job | None = None, of: Child | None = None) -> str:
    snapshot = ProcessSnapshot(NOW, processes) if processes else None
    return judge_child(job or running(), of or child(), snapshot).verdict


def test_what_is_not_known_to_idle_for_the_whole_limit_is_not_stuck() -> None:
    assert judged(seen()) == "stuck"
    for busy in (
        {"idle_since": None},
        {"idle_since": NOW - 14 * MINUTE},
        {"cpu": 1.1},
        {"state": "R"},
    ):
        assert judged(seen(**busy)) == "quiet"
        assert judged(seen(), seen(pid=7, **busy)) == "quiet"
    assert judged(seen(), seen("other", pid=7, state="R", idle_since=NOW)) == "stuck"
    assert judged() == "quiet"
    assert judged(job=idle()) == "stuck"


def test_a_child_is_what_descends_from_it_and_in_a_pool_the_process_that_it_told() -> None:
    works = {"idle_since": NOW, "cpu": 9.0}
    assert judged(seen(), seen("inner", pid=7, parent=48213, **works)) == "quiet"
    assert judged(seen(), seen("inner", pid=7, parent=1, **works)) == "stuck"
    main, sleeper, worker = (
        seen(None, pid=1),
        seen(None, pid=2, parent=1),
        seen(None, pid=3, parent=1, **works),
    )
    assert judged(main, sleeper, worker, of=child(pid=2)) == "stuck"
    assert judged(main, sleeper, worker, of=child(pid=3)) == "quiet"
    assert judged(main, sleeper, worker, of=child(pid=1)) == "quiet"


def test_the_process_that_sleeps_is_named_and_not_its_waiting_parent() -> None:
    snapshot = ProcessSnapshot(
        NOW, (seen(command="bash run.sh"), seen(None, pid=7, parent=48213, command="/usr/bin/sort -k2"))
    )
    health = judge_child(running(), child(), snapshot)
    assert health.evidence[0].startswith("c: pid 7 (sort) asleep, idle since ")
    assert "48213" not in " ".join(health.evidence)


def test_who_waits_for_another_of_the_job_is_not_named_and_whoever_waits_for_else_is() -> None:
    clock = f"{datetime.fromtimestamp(NOW - 7200):%H:%M}"
    main = seen(waits="waits for data from 10.0.0.3:3306", command="python3 load.py")
    tracker = seen(
        None, pid=7, parent=48213, waits="waits for data from a pipe to pid 48213", waits_for=48213
    )
    health = judge_child(running(), child(), ProcessSnapshot(NOW, (tracker, main)))
    told = f"c: pid 48213 (python3) waits for data from 10.0.0.3:3306, asleep, idle since {clock}"
    assert health == Health("stuck", (told, "silent and idle for 23 min (limit: 15 min), CPU 0.0 %"))
    each_other = (
        seen(waits="waits", waits_for=7),
        seen(None, pid=7, parent=48213, waits="w", waits_for=48213),
    )
    assert "pid 7 w" in judge_child(running(), child(), ProcessSnapshot(NOW, each_other)).evidence[0]


def test_of_a_part_at_work_the_busiest_process_is_named_with_where_it_is() -> None:
    works = seen(cpu=97.0, state="R", idle_since=NOW, code="in align() (qc.py:88) for 12 min, by 13 samples")
    helper = seen(None, pid=7, parent=48213)
    health = judge_child(running(), child(), ProcessSnapshot(NOW, (helper, works)))
    told = "c: pid 48213 in align() (qc.py:88) for 12 min, by 13 samples"
    assert health == Health("quiet", (told, "no line and no progress for 23 min, CPU 97 %"))
    doing = TellingProcess(pid=48213, state="R", cpu=97.0, idle_since=NOW, code=works.code)
    listed = assess(running(last_output=LONG_AGO, cpu=97.0, doing=doing), now=NOW)
    assert listed.evidence[0] == f"pid 48213 {works.code}"
    older = ProcessSnapshot(NOW, (seen(cpu=97.0, state="R", idle_since=NOW),))
    assert assess(running(last_output=LONG_AGO, cpu=97.0, doing=doing), snapshot=older, now=NOW).evidence[
        0
    ] == (f"pid 48213 {works.code}")
    idles = assess(idle(last_output=LONG_AGO, doing=doing), now=NOW)
    assert (idles.verdict, "align" in " ".join(idles.evidence)) == ("stuck", False)


def test_a_thread_whose_job_computes_is_not_stuck_though_it_has_no_process() -> None:
    snapshot = ProcessSnapshot(NOW, (seen(None, cpu=99.0, idle_since=NOW),))
    assert judge_child(running(cpu=99.0), child(), snapshot).verdict == "quiet"
    health = judge_child(running(cpu=99.0), child(pid=48213), snapshot)
    assert health.verdict == "quiet"
    assert health.evidence == ("c: pid 48213 computes", "no line and no progress for 23 min, CPU 99 %")


def test_an_old_snapshot_says_nothing_of_now() -> None:
    snapshot = ProcessSnapshot(NOW - 120, (seen(),))
    assert judge_child(running(), child(), snapshot).verdict == "quiet"


def test_a_host_whose_clock_is_wrong_accuses_no_child() -> None:
    behind = child(silent=25 * MINUTE)
    assert child_silence(running(), behind) == 25 * MINUTE
    assert child_silence(running(clock_shift=25 * MINUTE), behind) == 0
    ahead = child(silent=-25 * MINUTE)
    assert child_silence(running(clock_shift=-25 * MINUTE - 400), ahead) == 400


def test_only_children_that_run_are_silent() -> None:
    for status in ("pending", "success", "killed", None, "what?"):
        assert judge_child(idle(), child(status=status)).verdict == "ok"
    assert child_silence(running(heartbeat=None), child()) is None
    assert child_silence(running(), Child(id="c", status="running")) is None


def test_a_job_that_idles_is_stuck_whatever_its_children_once_said() -> None:
    silent = idle(last_output=LONG_AGO)
    assert assess(silent, now=NOW, children=[child(status="success")]).verdict == "stuck"
    summary = ChildrenSummary(counts={"success": 3})
    assert assess(idle(last_output=LONG_AGO, children_summary=summary), now=NOW).verdict == "stuck"
    assert assess(idle(last_output=NOW - 60, children_summary=summary), now=NOW).verdict == "ok"
    assert assess(running(last_output=LONG_AGO, cpu=0.3), now=NOW).verdict == "quiet"


@pytest.mark.parametrize(
    ("limit", "words"),
    [(900, "(limit: 15 min)"), (30, "(limit: 30 s)"), (3 * 3600, None), (1200, "(limit: 20 min)")],
)
def test_the_limit_is_said_with_its_unit(limit: float, words: str | None) -> None:
    health = assess(idle(last_output=LONG_AGO, stuck_after=limit), now=NOW)
    assert health.verdict == ("stuck" if words else "quiet")
    assert words is None or words in health.evidence[0]


def test_no_number_contradicts_the_rule() -> None:
    for cpu, words in ((0.04, "CPU 0.0 %"), (0.66, "CPU 0.6 %"), (0.999, "CPU 0.9 %"), (1.0, "CPU 1.0 %")):
        assert assess(idle(last_output=LONG_AGO, cpu=cpu), now=NOW).evidence[0].endswith(words)
    health = assess(running(last_output=LONG_AGO, cpu=0.2, idle_since=NOW - 3), now=NOW)
    assert health.evidence[0] == "no line and no progress for 23 min, CPU 0.2 %, at work 3 s ago"


def test_what_processes_do_and_since_when_they_idle() -> None:
    clock = f"{datetime.fromtimestamp(NOW - 600):%H:%M}"
    rests = seen(idle_since=NOW - 600, waits="waits for data from a pipe")
    said = f"pid 48213 waits for data from a pipe, asleep, idle since {clock}"
    assert process_words([rests], NOW) == said
    assert process_words([rests, seen(pid=7), rests, rests], NOW).startswith(
        f"{said}, like 2 more; pid 7 asleep"
    )
    assert process_words([seen(state="D", idle_since=None)], NOW) == "pid 48213 in uninterruptible sleep"
    assert process_words([seen(idle_since=NOW - 2)], NOW) == "pid 48213 asleep, at work a moment ago"
    assert process_words([seen(state="R")], NOW) == "pid 48213 computes"
    many = [seen(state=state, idle_since=None) for state in "ABCDE?"]
    assert process_words(many, NOW) == "pid 48213 A; pid 48213 B; pid 48213 C; and 3 more"


def test_a_summary_says_the_same_of_its_children() -> None:
    stuck = SilentChild(
        id="se", label="pheno_se.tsv", since=LONG_AGO, cpu=0.0, pid=48213, state="S", idle_since=LONG_AGO
    )
    busy = SilentChild(id="b", label="b", since=LONG_AGO - 60, cpu=99.0, pid=7, state="R", idle_since=NOW)
    clock = f"{datetime.fromtimestamp(LONG_AGO):%H:%M}"
    expected = (
        f"pheno_se.tsv: pid 48213 asleep, idle since {clock}",
        "one of 12 children, silent and idle for 23 min (limit: 15 min), CPU 0.0 %",
        "supervisor heard 1 s ago",
    )
    for told in ({"quietest": stuck}, {"quietest": busy, "idlest": stuck}):
        summary = ChildrenSummary(counts={"running": 2, "success": 10}, **told)
        assert assess(running(children_summary=summary), now=NOW + 1) == Health("stuck", expected)
    for told in ({"quietest": busy}, {"quietest": SilentChild(id="c", since=LONG_AGO)}):
        summary = ChildrenSummary(counts={"running": 1}, **told)
        assert assess(running(children_summary=summary), now=NOW).verdict == "quiet"
    assert assess(idle(children_summary=summary), now=NOW).verdict == "stuck"


def test_who_beats_for_an_orphan_is_named() -> None:
    orphan = running(orphaned=NOW - 500, host="gn-web1")
    said = "its supervisor is gone; agent of gn-web1 heard 2 s ago"
    assert assess(orphan, now=NOW + 2).evidence == (said,)


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
        "b is marked as running, but its process 5 was not seen",
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


def test_a_supervisor_that_gets_no_processor_is_late_and_accuses_nobody_at_first() -> None:
    def starves(_: Job) -> Presence:
        return Presence("late", "supervisor 48190 waits for a processor")

    late = assess(running(heartbeat=NOW - 50), now=NOW, look=starves)
    assert late == Health("quiet", ("no heartbeat for 50 s: supervisor 48190 waits for a processor",))
    assert assess(running(heartbeat=NOW - 500), now=NOW, look=starves).verdict == "stuck"


def test_a_beat_is_overdue_by_its_own_period() -> None:
    slow = running(heartbeat=NOW - 50, heartbeat_every=20)
    assert assess(slow, now=NOW).verdict == "ok"
    assert assess(running(heartbeat=NOW - 50), now=NOW).verdict == "stuck"
    assert "were not looked at" in assess(running(heartbeat=NOW - 50), now=NOW).evidence[0]


def beating(host: str, *beats: float, verdict: str = "stuck") -> list[tuple[Job, Health]]:
    jobs = [running(host=host, heartbeat=beat) for beat in beats]
    return [(job, assess(job, now=NOW)) for job in jobs]


def test_only_what_falls_silent_together_has_a_common_cause() -> None:
    together = [NOW - 3600 - second for second in (0, 30, 90, 120)]
    said = common_causes(
        [
            *beating("gn-web1", *together, NOW - 40_000, NOW - 20_000),
            *beating("gn-web2", NOW - 100, NOW - 101),
            *beating("gn-web3", NOW, NOW, NOW),
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
