"""Views of a job: what they process, once, and what they say of it."""

from collections.abc import Iterable, Sequence

import pytest
import redis

from gnjobs.outputs.lines import Hole, Line
from gnjobs.processes.host import boot_id, host_name, pid_namespace
from gnjobs.processes.seen import Presence
from gnjobs.processing.processor import Source
from gnjobs.processing.report import Report
from gnjobs.processing.view import JobView
from gnjobs.records.fields import Child, Job
from gnjobs.records.foreign import SHORTEST_REST
from gnjobs.records.keys import CHILD_FIELD, Keys
from gnjobs.store import JobStore

JOB = "job-1"
KEYS = Keys()


class Recorder:
    """A processor that remembers what it was fed."""

    def __init__(self) -> None:
        self.fed: list[tuple[str, str]] = []

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        self.fed += [
            (source.id, line.text if isinstance(line, Line) else f"{line.first}-{line.last}")
            for line in lines
        ]

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        return Report(f"{len(self.fed)} lines")


@pytest.fixture
def store(fake: redis.Redis) -> JobStore:
    store = JobStore(fake, KEYS, "redis://nowhere")
    store.create(["true"], job_id=JOB)
    fake.hset(KEYS.job(JOB), "status", "running")
    return store


def add_child(store: JobStore, child_id: str, status: str = "running") -> str:
    output_key = KEYS.child_output(JOB, child_id)
    store.client.hset(KEYS.job(JOB), f"{CHILD_FIELD}{child_id}", output_key)
    store.client.hset(KEYS.child(JOB, child_id), "status", status)
    return output_key


def write(store: JobStore, key: str, last: int, data: str) -> None:
    store.client.xadd(key, {"at": 1, "kind": "out", "data": data}, id=f"{last}-0")


def test_each_line_is_processed_once(store: JobStore) -> None:
    recorder = Recorder()
    child = add_child(store, "a")
    view = store.view(JOB, recorder)
    write(store, KEYS.output(JOB), 2, "one\ntwo")
    write(store, child, 1, "x")
    assert view.status().report == Report("3 lines")
    assert view.status().report == Report("3 lines")
    write(store, KEYS.output(JOB), 3, "three")
    write(store, child, 5, "y")
    view.status()
    assert recorder.fed == [(JOB, "one"), (JOB, "two"), ("a", "x"), (JOB, "three"), ("a", "2-4"), ("a", "y")]


def test_a_child_that_gets_its_label_later_is_not_processed_twice(store: JobStore) -> None:
    recorder = Recorder()
    write(store, add_child(store, "a"), 1, "x")
    view = store.view(JOB, recorder)
    view.status()
    store.client.hset(KEYS.child(JOB, "a"), "label", "file a")
    view.status()
    assert recorder.fed == [("a", "x")]


def test_a_child_that_has_ended_is_read_again_only_when_its_record_changes(store: JobStore) -> None:
    recorder = Recorder()
    output = add_child(store, "a", status="success")
    write(store, output, 1, "x")
    view = store.view(JOB, recorder)
    view.status()
    write(store, output, 2, "late")
    view.status()
    assert recorder.fed == [("a", "x")]
    store.client.hset(KEYS.child(JOB, "a"), "faults", 1)
    view.status()
    assert recorder.fed == [("a", "x"), ("a", "late")]


def test_trimmed_lines_are_said_to_be_missing(store: JobStore) -> None:
    recorder = Recorder()
    view = store.view(JOB, recorder)
    write(store, KEYS.output(JOB), 1, "one")
    view.status()
    write(store, KEYS.output(JOB), 2, "two")
    write(store, KEYS.output(JOB), 3, "three")
    store.client.xtrim(KEYS.output(JOB), minid="3-0", approximate=False)
    view.status()
    assert recorder.fed == [(JOB, "one"), (JOB, "2-2"), (JOB, "three")]


def test_an_output_that_began_anew_makes_the_view_begin_anew(store: JobStore) -> None:
    def count(lines: Iterable[Line]) -> str:
        return " ".join(line.text for line in lines)

    view = store.view(JOB, count)
    write(store, KEYS.output(JOB), 2, "one\ntwo")
    assert view.status().report.headline == "one two"
    store.client.delete(KEYS.output(JOB))
    write(store, KEYS.output(JOB), 1, "anew")
    assert view.status().report.headline == "anew"


def test_a_glance_reads_no_output(store: JobStore) -> None:
    recorder = Recorder()
    view = store.view(JOB, recorder)
    write(store, KEYS.output(JOB), 1, "one")
    assert view.glance().report == Report()
    assert recorder.fed == []
    view.status()
    assert view.glance().report == Report("1 lines")


def test_a_stopped_view_ends_early(store: JobStore) -> None:
    recorder = Recorder()
    write(store, add_child(store, "a"), 1, "x")
    view = store.view(JOB, recorder)
    view.stop()
    view.status()
    assert recorder.fed == []
    view.go_on()
    view.status()
    assert [text for _, text in recorder.fed] == ["x"]


def test_a_child_outside_its_job_is_not_read(store: JobStore) -> None:
    recorder = Recorder()
    add_child(store, "a")
    store.client.hset(KEYS.job(JOB), f"{CHILD_FIELD}a", KEYS.output("job-2"))
    write(store, KEYS.output("job-2"), 1, "secret")
    store.view(JOB, recorder).status()
    assert recorder.fed == []


def test_a_file_name_in_a_key_may_be_no_utf8(store: JobStore) -> None:
    recorder = Recorder()
    key = f"{KEYS.job('theirs')}:geno:errors:".encode() + b"bad\xff.tsv"
    store.client.hset(KEYS.job("theirs"), mapping={"jobid": "theirs", "status": "running"})
    store.client.rpush(key, "one")
    store.view("theirs", recorder).status()
    assert [text for _, text in recorder.fed] == ["one"]


def run_here(store: JobStore, **fields: object) -> None:
    """Make the job one whose supervisor on this host is silent."""
    here = {"host": host_name(), "boot-id": boot_id() or "", "pid-namespace": pid_namespace() or ""}
    store.client.hset(KEYS.job(JOB), mapping=here | {"heartbeat": store.now() - 600} | fields)


def test_a_job_whose_processes_are_gone_is_dead_unless_told_otherwise(store: JobStore) -> None:
    run_here(store)
    assert store.status(JOB).health.verdict == "dead"
    seen = store.view(JOB).status(lambda _: Presence("running", "3 processes run"))
    assert seen.health.verdict == "stuck"
    assert seen.health.evidence[0].endswith("yet 3 processes run")


def test_a_view_counts_the_age_of_a_beat_by_its_own_clock(store: JobStore) -> None:
    now = [1000.0]
    view = JobView(store, JOB, monotonic=lambda: now[0])
    store.client.hset(KEYS.job(JOB), "heartbeat", store.now())
    assert view.glance().health.verdict == "ok"
    store.client.hset(KEYS.job(JOB), "heartbeat", store.now() - 100_000)
    assert view.glance().health.verdict == "ok"
    now[0] += 60
    assert view.glance().health.verdict != "ok"


def test_a_run_far_longer_than_usual_is_told_and_no_verdict(store: JobStore) -> None:
    now = store.now()
    for number, minutes in enumerate((4, 5, 6)):
        job = store.create(["true"], job_type="qc")
        ended = {"status": "success", "started": 1000, "finished": 1000 + 60 * minutes}
        store.client.hset(KEYS.job(job.id), mapping=ended | {"label": number})
    ours = {"job-type": "qc", "heartbeat": now, "last-output": now, "started": now - 7200}
    store.client.hset(KEYS.job(JOB), mapping=ours)
    health = store.status(JOB).health
    assert health.verdict == "ok"
    assert "runs for 2 h, earlier jobs of its type took 5 min" in health.evidence


def test_gn_uploaders_keys_are_searched_for_now_and_then(store: JobStore) -> None:
    now = [1000.0]
    store.client.hset(KEYS.job("theirs"), mapping={"jobid": "theirs", "status": "running"})
    store.client.rpush(f"{KEYS.job('theirs')}:geno:errors:a.tsv", "{}")
    view = JobView(store, "theirs", monotonic=lambda: now[0])
    assert [child.label for child in view.glance().children] == ["geno: a.tsv"]
    store.client.rpush(f"{KEYS.job('theirs')}:geno:errors:b.tsv", "{}")
    store.client.rpush(f"{KEYS.job('theirs')}:geno:errors:a.tsv", "{}")
    assert [(child.label, child.faults) for child in view.glance().children] == [("geno: a.tsv", 2)]
    now[0] += SHORTEST_REST
    assert len(view.glance().children) == 2


def test_many_children_are_read_together_whatever_form_their_outputs_have(store: JobStore) -> None:
    recorder = Recorder()
    expected = []
    for number in range(250):
        key = add_child(store, f"c{number}", status="success" if number % 2 else "running")
        match number % 5:
            case 0:
                store.client.rpush(key, "of a list")
                expected.append((f"c{number}", "of a list"))
            case 1:
                for last in (1, 2, 3, 4):
                    write(store, key, last, f"entry {last}")
                expected += [(f"c{number}", f"entry {last}") for last in (1, 2, 3, 4)]
            case 2:
                write(store, key, 12, "after a hole")
                expected += [(f"c{number}", "1-11"), (f"c{number}", "after a hole")]
            case 3:
                store.client.xadd(key, {"text": "of a foreign stream"}, id="1700000000000-1")
                expected.append((f"c{number}", "of a foreign stream"))
            case _:
                store.client.sadd(key, "of no form that has lines")
    view = store.view(JOB, recorder)
    view.status()
    assert sorted(recorder.fed) == sorted(expected)
    view.status()
    assert len(recorder.fed) == len(expected)
    write(store, KEYS.child_output(JOB, "c2"), 13, "one more")
    view.status()
    assert recorder.fed[-1] == ("c2", "one more")
    assert len(recorder.fed) == len(expected) + 1


class Stopping(Recorder):
    """Stops the view when it is fed for the first time, as another thread would."""

    view: JobView | None = None

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        super().feed(source, lines)
        if self.view is not None:
            self.view.stop()
            self.view = None


def test_a_view_that_was_stopped_among_ended_children_goes_on_with_all_of_them(store: JobStore) -> None:
    for name in "abc":
        key = add_child(store, name, "success")
        for number in range(1, 201):  # more than what is read of many at once
            write(store, key, number, f"{name}{number}")
    recorder = Stopping()
    view = recorder.view = store.view(JOB, recorder)
    view.status()
    view.go_on()
    view.status()
    assert sorted(recorder.fed) == sorted((n, f"{n}{i}") for n in "abc" for i in range(1, 201))
