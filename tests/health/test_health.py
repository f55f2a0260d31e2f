"""Verdicts and the evidence for them."""

import pytest

from gnjobs.health.assess import BeatClock, assess, common_causes
from gnjobs.health.states import child_state, display_state
from gnjobs.health.verdict import Health, Limits
from gnjobs.processes.seen import Presence, ProcessSnapshot, SeenProcess
from gnjobs.records.fields import Child, Job
from gnjobs.records.summaries import ChildrenSummary, SilentChild
from gnjobs.text import age_text, duration_words, parse_duration, silence_text

NOW = 1_700_000_000.0
MINUTE = 60.0


def running(**fields: object) -> Job:
    known = {"status": "running", "started": NOW - 7200, "heartbeat": NOW, "heartbeat_every": 5, "cpu": 0.0}
    return Job(id="j", **(known | {"last_output": NOW, "idle_since": NOW - 7200} | fields))


def test_silence_is_quiet_and_then_stuck_and_only_where_nothing_computes() -> None:
    assert assess(running(), now=NOW).verdict == "ok"
    assert assess(running(last_output=NOW - 6 * MINUTE), now=NOW).verdict == "quiet"
    stuck = assess(running(last_output=NOW - 23 * MINUTE), now=NOW)
    assert stuck.verdict == "stuck"
    assert stuck.evidence[0] == "silent and idle for 23 min (limit: 15 min), CPU 0.0 %"
    assert assess(running(last_output=NOW - 23 * MINUTE, cpu=99.0), now=NOW).verdict == "quiet"
    assert assess(running(last_output=NOW - 23 * MINUTE, cpu=None), now=NOW).verdict == "quiet"


def test_limits_by_job_and_type() -> None:
    silent = {"last_output": NOW - 10 * MINUTE}
    assert assess(running(**silent, stuck_after=300), now=NOW).verdict == "stuck"
    limits = Limits(stuck_by_type={"insert": 300})
    assert assess(running(**silent, type="insert"), now=NOW, limits=limits).verdict == "stuck"
    assert assess(running(**silent, type="qc"), now=NOW, limits=limits).verdict == "quiet"


def test_a_job_is_as_bad_as_its_worst_unfinished_child() -> None:
    told = SilentChild(
        id="se", label="pheno_se.tsv", since=NOW - 23 * MINUTE, idle_since=NOW - 1400, cpu=0.0, pid=48213
    )
    summary = ChildrenSummary(counts={"running": 1, "success": 11}, quietest=told)
    snapshot = ProcessSnapshot(NOW, (SeenProcess(48213, 1, "se", "S", 0.0, idle_since=NOW - 1400),))
    health = assess(running(children_summary=summary), now=NOW, snapshot=snapshot)
    assert health.verdict == "stuck"
    assert health.evidence[0].startswith("pheno_se.tsv: pid 48213 asleep, idle since ")
    assert health.evidence[1] == "one of 12 children, silent and idle for 23 min (limit: 15 min), CPU 0.0 %"


def test_the_summary_alone_tells_the_same() -> None:
    summary = ChildrenSummary(
        counts={"running": 1, "success": 11},
        quietest=SilentChild(
            label="pheno_se.tsv", since=NOW - 1400, idle_since=NOW - 1400, cpu=0, pid=48213, state="S"
        ),
    )
    health = assess(running(children_summary=summary), now=NOW)
    assert health.verdict == "stuck"
    assert health.evidence[0].startswith("pheno_se.tsv: pid 48213 asleep, idle since ")
    assert health.evidence[1].startswith("one of 12 children, silent and idle for 23 min")


@pytest.mark.parametrize(
    ("presence", "verdict"),
    [
        (Presence("gone"), "dead"),
        (Presence("restarted"), "dead"),
        (Presence("running", "3 processes run"), "stuck"),
        (Presence("hidden", "cannot see processes of www-data"), "stuck"),
        (Presence("elsewhere", "cannot be seen from here"), "stuck"),
    ],
)
def test_a_silent_supervisor(presence: Presence, verdict: str) -> None:
    health = assess(running(heartbeat=NOW - 600), now=NOW, look=lambda _: presence)
    assert health.verdict == verdict
    assert "no heartbeat for 10 min" in " ".join(health.evidence)
    assert presence.words in " ".join(health.evidence)


def test_a_jumped_clock_accuses_nobody() -> None:
    clock = [0.0]
    beats = BeatClock(lambda: clock[0])
    job = running(heartbeat=NOW)
    assert beats.age(job, NOW) == 0
    clock[0] = 4.0
    assert beats.age(job, NOW + 100_000) == 4.0


def test_waiting_for_too_long_and_foreign_jobs() -> None:
    pending = Job(id="j", status="pending", created=NOW - 180)
    assert assess(pending, now=NOW).verdict == "stuck"
    assert assess(pending, now=NOW - 150).verdict == "ok"
    assert assess(Job(id="j", status="running"), now=NOW).verdict == "ok"


def test_many_that_fall_silent_together_are_one_sentence() -> None:
    lost = Health("stuck", ("no heartbeat for 10 min; cannot be seen",))
    judged = [(running(heartbeat=NOW, host="gn-web1"), lost)] * 38
    (sentence,) = common_causes(judged)
    assert sentence.startswith("38 jobs on gn-web1 silent since ")
    assert common_causes(judged[:2]) == []


def test_states_as_they_are_shown() -> None:
    assert display_state(running(), Health("stuck")).word == "STUCK"
    assert display_state(running(), Health("quiet")).word == "quiet"
    assert display_state(Job(id="j", status="success", faults=2), Health()).word == "faults"
    assert display_state(Job(id="j", status="what?"), Health()).word == "unknown"
    assert child_state(Child(id="c", status="killed")).word == "killed"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1h30m", 5400)])
def test_lengths_of_time_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5x", "-1h", "1h x", "h"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="length of time"):
        parse_duration(text)


def test_lengths_of_time_are_said_coarsely() -> None:
    assert [age_text(s) for s in (5, 2460, 7800, 273600)] == ["5s", "41m", "2h 10m", "3d 4h"]
    assert silence_text(59) == ""
    assert duration_words(1400) == "23 min"


def test_a_job_in_slurms_queue_is_not_stuck_and_says_why_it_waits() -> None:
    job = Job(
        id="a", status="pending", created=10.0, slurm_job="17", queue_reason="Resources", queue_read=1000.0
    )
    health = assess(job, now=1060.0)
    assert (health.verdict, health.evidence) == (
        "ok",
        ("waits in Slurm's queue as job 17 for 17 min: Resources",),
    )


def test_a_queue_that_nobody_reads_is_said_to_be_read_by_nobody() -> None:
    job = Job(
        id="a",
        status="pending",
        created=10.0,
        slurm_job="17",
        queue_reason="Resources",
        queue_read=1000.0,
        launch_host="login1",
    )
    (said,) = assess(job, now=2000.0).evidence
    assert said.startswith("waits in Slurm's queue as job 17 for 33 min: Resources, as of ")
    assert said.endswith(": no agent on login1 reads it")


def test_an_end_by_slurm_is_told_as_one() -> None:
    job = Job(id="a", status="killed", stop_by="Slurm", stop_reason="time limit 8 h")
    assert assess(job, now=0.0).evidence == ("ended by Slurm: time limit 8 h",)
