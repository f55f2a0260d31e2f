"""Rules that hold for the verdict on every record, whatever it says."""

import re
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gnjobs.health.assess import assess
from gnjobs.health.silence import judge_child
from gnjobs.processes.seen import Presence, ProcessSnapshot, SeenProcess
from gnjobs.records.fields import Child, Job
from gnjobs.records.summaries import ChildrenSummary, SilentChild, TellingProcess

NOW = 1_700_000_000.0
ORDER = ("ok", "quiet", "stuck", "dead")
ages = st.one_of(st.none(), st.floats(0, 7200))
cpus = st.one_of(st.none(), st.floats(0, 200))
states = st.sampled_from("SDRTI")
CODE = st.sampled_from([None, "in align() (qc.py:88) for 12 min, by 13 samples"])
AT_WORK = re.compile(r"runnable|computes| in \w+\(\)")
WHERE = st.sampled_from(
    [
        Presence("gone"),
        Presence("running", "1 process runs"),
        Presence("hidden", "?"),
        Presence("late", "?"),
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
    doing = draw(
        st.one_of(st.none(), st.builds(TellingProcess, pid=st.just(2), state=states, cpu=cpus, code=CODE))
    )
    return {
        "status": draw(st.sampled_from(["running", "stopping"])),
        "started": NOW - 9000,
        "heartbeat": NOW,
        "last_output": ago(draw(ages)),
        "idle_since": ago(draw(ages)),
        "cpu": draw(cpus),
        "stuck_after": draw(st.one_of(st.none(), st.floats(1, 3600))),
        "children_summary": summary,
        "doing": doing,
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
    assert health.verdict != "stuck" or not AT_WORK.search(" ".join(health.evidence))


@given(records(), st.sampled_from(["R", "S"]))
def test_a_part_with_a_runnable_process_is_not_what_is_stuck(record: dict[str, Any], state: str) -> None:
    child = SilentChild(id="c", since=NOW - 7200, idle_since=NOW - 7200, cpu=0.0, pid=7, state=state)
    summary = ChildrenSummary(counts={"running": 1}, quietest=child)
    judged = badness(
        record | {"children_summary": summary, "cpu": 99.0, "last_output": NOW, "stuck_after": 60.0}
    )
    assert judged == ORDER.index("quiet" if state == "R" else "stuck")


@given(st.floats(0, 7200), st.floats(0, 7200))
def test_more_waiting_never_betters_a_verdict(waited: float, longer: float) -> None:
    def of(age: float) -> int:
        return badness({"status": "pending", "created": NOW - age})

    assert of(waited + longer) >= of(waited)
    assert of(waited) == ORDER.index("stuck" if waited > 60 else "ok") or abs(waited - 60) < 0.001


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


def of_child(record: dict[str, Any], snapshot: ProcessSnapshot, said: float | None) -> int:
    child = Child(id="c", status="running", started=NOW - 9000, last_output=said)
    return ORDER.index(judge_child(Job(id="j", **record), child, snapshot).verdict)


def changed(snapshot: ProcessSnapshot, change: Callable[[SeenProcess], SeenProcess]) -> ProcessSnapshot:
    return ProcessSnapshot(snapshot.at, tuple(change(process) for process in snapshot.processes))


def idler(process: SeenProcess, longer: float) -> SeenProcess:
    since = process.idle_since
    return replace(process, idle_since=None if since is None else since - longer)


@given(records(), snapshots(), ages, st.floats(0, 7200))
def test_more_silence_or_idleness_never_betters_a_child(
    record: dict[str, Any], snapshot: ProcessSnapshot, age: float | None, longer: float
) -> None:
    known = record | {"children_summary": None}
    before = of_child(known, snapshot, ago(age))
    if age is not None:
        assert of_child(known, snapshot, NOW - age - longer) >= before
    assert of_child(known, changed(snapshot, lambda each: idler(each, longer)), ago(age)) >= before


@given(records(), snapshots(), ages)
def test_a_sign_of_life_never_worsens_a_child(
    record: dict[str, Any], snapshot: ProcessSnapshot, age: float | None
) -> None:
    known = record | {"children_summary": None}
    before = of_child(known, snapshot, ago(age))
    assert of_child(known, snapshot, NOW) <= before
    for alive in ({"idle_since": NOW}, {"state": "R"}, {"cpu": 100.0}):
        # One that idles for an unknown time keeps the whole from being known to idle; life makes it known.
        woken = changed(
            snapshot, lambda each, alive=alive: replace(each, **alive) if each.idle_since else each
        )
        assert of_child(known, woken, ago(age)) <= before


@given(records(), snapshots(), ages)
def test_a_stuck_child_has_no_runnable_process(
    record: dict[str, Any], snapshot: ProcessSnapshot, age: float | None
) -> None:
    if of_child(record, snapshot, ago(age)) == ORDER.index("stuck"):
        assert all(each.state != "R" for each in snapshot.processes if each.child == "c")


@given(records(), told(), st.floats(0, 7200), st.sampled_from(["since", "idle_since"]))
def test_more_silence_or_idleness_of_a_told_child_never_betters_its_job(
    record: dict[str, Any], child: SilentChild, longer: float, name: str
) -> None:
    before = getattr(child, name)
    if before is not None:
        summary = ChildrenSummary(counts={"running": 1}, quietest=child)
        later = ChildrenSummary(counts={"running": 1}, quietest=replace(child, **{name: before - longer}))
        assert badness(record | {"children_summary": later}) >= badness(
            record | {"children_summary": summary}
        )
