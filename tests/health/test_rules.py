"""Rules that hold for the verdict on every record, whatever it says."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gnjobs.health.assess import assess
from gnjobs.processes.seen import Presence, ProcessSnapshot, SeenProcess
from gnjobs.records.fields import Child, Job
from gnjobs.records.summaries import ChildrenSummary, SilentChild

NOW = 1_700_000_000.0
ORDER = ("ok", "quiet", "stuck", "dead")
ages = st.one_of(st.none(), st.floats(0, 7200))
cpus = st.one_of(st.none(), st.floats(0, 200))
states = st.sampled_from("SDRTI")
WHERE = st.sampled_from(
    [
        Presence("gone"),
        Presence("running", "1 process runs"),
        Presence("hidden", "?"),
        Presence("elsewhere", "?"),
    ]
)


def ago(age: float | None) -> float | None:
    return None if age is None else NOW - age


@st.composite
def told(draw: st.DrawFn) -> SilentChild:
    since, idle, state = draw(ages), draw(ages), draw(st.one_of(st.none(), states))
    return SilentChild(id="c", since=ago(since), idle_since=ago(idle), cpu=draw(cpus), pid=7, state=state)


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    summary = draw(st.one_of(st.none(), st.builds(ChildrenSummary, quietest=told(), idlest=told())))
    return {
        "status": draw(st.sampled_from(["running", "stopping"])),
        "started": NOW - 9000,
        "heartbeat": NOW,
        "last_output": ago(draw(ages)),
        "idle_since": ago(draw(ages)),
        "cpu": draw(cpus),
        "stuck_after": draw(st.one_of(st.none(), st.floats(1, 3600))),
        "children_summary": summary,
    }


@st.composite
def snapshots(draw: st.DrawFn) -> ProcessSnapshot:
    seen = draw(st.lists(st.tuples(st.sampled_from([None, "c"]), states, ages, cpus), max_size=4))
    return ProcessSnapshot(
        NOW,
        tuple(
            SeenProcess(n + 2, 1, child, state, cpu, idle_since=ago(idle), parent=n + 1)
            for n, (child, state, idle, cpu) in enumerate(seen)
        ),
    )


def badness(record: dict[str, Any], age: float = 0.0, where: Presence | None = None, **more: Any) -> int:
    look = None if where is None else lambda _: where
    return ORDER.index(assess(Job(id="j", **record), now=NOW + age, look=look, **more).verdict)


@given(records(), st.floats(0, 7200))
def test_more_silence_or_idleness_never_betters_a_verdict(record: dict[str, Any], longer: float) -> None:
    for name in ("last_output", "idle_since"):
        if record[name] is not None:
            assert badness(record | {name: record[name] - longer}) >= badness(record)


@given(records(), st.floats(0, 7200), st.floats(0, 7200), WHERE)
def test_an_older_beat_never_betters_a_verdict(
    record: dict[str, Any], age: float, more: float, where: Presence
) -> None:
    assert badness(record, age + more, where) >= badness(record, age, where)


@given(records(), st.sampled_from(["last_output", "idle_since", "cpu"]))
def test_a_sign_of_life_never_worsens_a_verdict(record: dict[str, Any], sign: str) -> None:
    life = {"last_output": NOW, "idle_since": NOW, "cpu": 100.0}[sign]
    known = record if record[sign] is not None else record | {sign: 0.0}
    assert badness(known | {sign: life}) <= badness(known)


@given(records(), snapshots())
def test_stuck_is_never_said_beside_a_runnable_process(
    record: dict[str, Any], snapshot: ProcessSnapshot
) -> None:
    health = assess(Job(id="j", **record), now=NOW, snapshot=snapshot)
    assert health.verdict != "stuck" or "runnable" not in " ".join(health.evidence)


@given(records(), snapshots())
def test_who_sees_the_processes_says_the_same_as_who_knows_the_record(
    record: dict[str, Any], snapshot: ProcessSnapshot
) -> None:
    child = Child(id="c", status="running", started=NOW - 9000)
    assert badness(record, children=[child], snapshot=snapshot) == badness(record)


@given(records())
def test_what_is_stuck_was_silent_and_idle_for_the_whole_limit(record: dict[str, Any]) -> None:
    job = Job(id="j", **record)
    if assess(job, now=NOW).verdict != "stuck":
        return
    summary = job.children_summary
    parts = [(job.last_output or job.started, job.idle_since)]
    parts += [(each.since, each.idle_since or job.idle_since) for each in (summary.told if summary else ())]
    limit = job.stuck_after or 900.0
    assert any(
        since is not None and idle is not None and NOW - max(since, idle) >= limit for since, idle in parts
    )
