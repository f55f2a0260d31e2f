"""Huge values, wherever somebody may write them: nobody reads them, and nothing else suffers."""

import queue
import resource
import socket
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from gnjobs.control.agent import Agent
from gnjobs.control.kill import kill_job
from gnjobs.control.orphans import Rounds
from gnjobs.records import requests
from gnjobs.records.actor import Actor
from gnjobs.records.bounded import TooLarge
from gnjobs.records.connection import connect
from gnjobs.records.events import LONGEST_TEXT, record_event
from gnjobs.records.feed import ChangeFeed
from gnjobs.records.fields import Child, Job
from gnjobs.records.foreign import Part, part_key
from gnjobs.records.hosts import read_beats
from gnjobs.records.indexes import tidy
from gnjobs.records.listener import ControlListener
from gnjobs.records.requests import ControlRequest
from gnjobs.records.streams import newest_id, read_behind
from gnjobs.store import JobStore
from gnjobs.supervisor.children import ChildWatch, read_children
from gnjobs.supervisor.listed_faults import ListedFaults
from gnjobs.supervisor.record import RecordLink
from gnjobs.watch.uncounted import UncountedFaults
from gnjobs_tui.cli.main import cli
from tests.support.command import run
from tests.support.mirror import loaded_mirror
from tests.support.servers import Server, waiting_readers
from tests.support.supervised import KEYS, SupervisedJob, supervised
from tests.support.waiting import wait_for

TUX = Actor.admin("tux")
HUGE = b"x" * 3_000_000
TOLD = "(3000000 bytes)"


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read at once is little, so that huge values need not be."""
    for module in ("bounded", "streams"):
        monkeypatch.setattr(f"gnjobs.records.{module}.LARGEST_REPLY", 2**20)


@pytest.fixture
def large(server: Server, small_limit: None) -> JobStore:
    """A store with a job whose label and child's label are huge, as are members of its indexes."""
    return fill(server)


def fill(server: Server) -> JobStore:
    store = JobStore.from_url(server.url)
    store.create(["true"], label="plain")
    huge = store.create(["true"], job_id="the-huge-one")
    with server.client() as client:
        client.hset(KEYS.job(huge.id), mapping={"label": HUGE, "status": "running", "account": "somebody"})
        client.hset(KEYS.job(huge.id), "child:c", KEYS.child_output(huge.id, "c"))
        client.hset(KEYS.child(huge.id, "c"), mapping={"status": "running", "done": 3, "label": HUGE})
        client.zadd(KEYS.jobs, {HUGE: 9e9})
        client.zadd(KEYS.unfinished, {HUGE: 9e9})
    return store


def test_records_and_lists_tell_the_size_in_place_of_the_value(large: JobStore) -> None:
    job = large.get("the-huge-one")
    assert (job.label, job.status, job.account) == (TOLD, "running", "somebody")
    assert sorted(job.label or "" for job in large.page().jobs) == [TOLD, "plain"]
    (child,) = large.children("the-huge-one")
    assert (child.label, child.status, child.done) == (TOLD, "running", 3.0)


def test_a_dashboard_s_rows_do_too(large: JobStore) -> None:
    with loaded_mirror(large.url) as mirror:
        assert sorted(row.label for row in mirror.rows().values()) == [TOLD, "plain"]
        large.client.hset(KEYS.job("the-huge-one"), "percent", 50)
        wait_for(lambda: {row.percent for row in mirror.rows().values()} >= {50.0})


def kept(records: Iterable[Job | Child]) -> int:
    """How long all that is known of these is together."""
    return sum(len(str(value)) for each in records for value in msgspec.structs.astuple(each))


def test_many_long_records_are_kept_in_little_memory(store: JobStore, small_limit: None) -> None:
    long = dict.fromkeys(("label", "message", "error", "command", "cwd", "stop-reason"), b"x" * 50000)
    parent = store.create(["true"])
    for number in range(30):
        job, child = store.create(["true"]), KEYS.child(parent.id, f"c{number}")
        store.client.hset(KEYS.job(job.id), mapping={**long, "status": "running"})
        store.client.hset(KEYS.job(parent.id), f"child:c{number}", KEYS.child_output(parent.id, f"c{number}"))
        store.client.hset(child, mapping={**long, "status": "running"})
    jobs = [job for job in store.page().jobs if job.status == "running"]
    whole, children = list(Rounds(store, print)._read_whole(jobs)), list(store.children(parent.id))
    assert (len(jobs), len(whole), len(children)) == (30, 30, 30)
    assert {each.status for each in (*whole, *children)} == {"running"}
    assert max(map(kept, (jobs, whole, children))) < 2**20


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls", "--json"),
        ("show", "the-huge-one"),
        ("show", "the-huge-one", "--json"),
        ("rerun", "the-huge-one"),
    ],
)
def test_a_command_does_too(large: JobStore, arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, [*arguments, "--redis-url", large.url])
    assert done.exit_code == (1 if arguments[0] == "rerun" and "no command" in done.output else 0), (
        done.output
    )
    assert TOLD in done.output


def test_an_agent_looks_at_all_jobs_all_the_same(large: JobStore) -> None:
    Agent(large).look_around()


def test_a_list_of_hosts_with_a_huge_member_is_read_and_made_whole(large: JobStore, server: Server) -> None:
    large.client.zadd(KEYS.hosts, {"db1": large.now()})
    with server.client() as client:
        client.zadd(KEYS.hosts, {HUGE: large.now()})
    assert [beat.host for beat in read_beats(large.client, KEYS)] == ["db1"]
    told = run(large.url, "metrics").stdout
    assert "gnjobs_up 1.0" in told
    assert 'heartbeat_age_seconds{host="db1"' in told
    Agent(large).look_around()
    assert large.client.zrange(KEYS.hosts, 0, -1) == [b"db1"]


def test_a_huge_member_keeps_no_other_index_from_being_tidied(large: JobStore) -> None:
    large.client.zadd(KEYS.user_jobs("jsmith"), {"gone": 1})
    tidy(large.client, KEYS, "jsmith")
    assert not large.client.exists(KEYS.user_jobs("jsmith"))


def test_behind_a_huge_event_the_log_goes_on(large: JobStore, server: Server) -> None:
    with server.client() as client:
        client.xadd(KEYS.events, {"kind": "evil", "text": HUGE})
    record_event(large.client, KEYS, "ended", large.get("the-huge-one"), text="done")
    assert [event.text for event in large.events()] == ["done"]
    assert [event.text for event in large.events.last(10)] == ["done"]


@pytest.mark.usefixtures("small_limit")
def test_who_follows_the_log_hears_what_comes_behind_a_huge_event(own_server: Server) -> None:
    large, heard = fill(own_server), queue.Queue[str]()
    job = large.get("the-huge-one")

    def follow(after: str | None) -> None:
        threading.Thread(
            target=lambda: [heard.put(event.text) for event in large.events.follow(after=after)], daemon=True
        ).start()

    with own_server.client() as client:
        follow(None)
        wait_for(lambda: waiting_readers(own_server) == 1)
        client.xadd(KEYS.events, {"kind": "evil", "text": HUGE})
        follow("0-1")
        follow(None)
        wait_for(lambda: waiting_readers(own_server) == 3)
    record_event(large.client, KEYS, "killed", job, text="killed")
    assert [heard.get(timeout=20) for _ in range(3)] == ["killed"] * 3


def test_a_log_that_ends_in_the_future_with_a_huge_event_begins_anew(large: JobStore, server: Server) -> None:
    with server.client() as client:
        client.xadd(KEYS.events, {"kind": "evil", "text": HUGE}, id=f"{2**62}-0")
    Agent(large).look_around()
    record_event(large.client, KEYS, "ended", large.get("the-huge-one"), text="done")
    assert [event.text for event in large.events()] == ["done"]


def test_behind_a_huge_request_others_are_heard_and_answered(large: JobStore, server: Server) -> None:
    stream, heard = KEYS.user_requests("jsmith"), list[ControlRequest]()
    job = large.create(["true"])
    with server.client() as client:
        client.xadd(stream, {"request": HUGE})
        client.xadd(KEYS.answers(job.id), {"answer": HUGE})
    last = newest_id(large.client, KEYS.answers(job.id))
    asked = requests.send_request(large.client, stream, ControlRequest("", "kill", job.id))
    listener = ControlListener(large.url, KEYS, [stream], heard.append, since=large.now() - 60)
    listener.start()
    wait_for(lambda: heard)
    listener.answer(heard[0], requests.step("refused", "no", final=True))
    answers = requests.read_answers(large.client, KEYS.answers(job.id), asked, lambda: 1e12, last)
    assert next(answer for answer in answers if answer).text == "no"


def test_many_long_entries_take_no_more_memory_than_one(large: JobStore) -> None:
    """Whoever may write requests may write many that are just not too large."""
    mine, other = KEYS.user_requests("jsmith"), KEYS.admin_requests
    large.client.xadd(other, {"request": "kill"})
    for stream in (mine, KEYS.events):
        for _ in range(20):
            large.client.xadd(stream, {"text": HUGE[:400_000]})
        large.client.xadd(stream, {"text": "the last"})
    assert [len(event.text) for event in large.events()] == [LONGEST_TEXT, LONGEST_TEXT, 8]
    assert [len(event.text) for event in large.events.last(2)] == [LONGEST_TEXT, 8]
    read = {
        name.decode(): entries
        for name, entries in read_behind(large.client, {mine: "0-0", other: "0-0"}, 100, 1)
    }
    assert [len(fields[b"text"]) for _, fields in read[mine]] == [400_000, 8]
    assert len(read[other]) == 1


def test_names_of_parts_that_come_and_go_are_kept_up_to_a_bound(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnjobs.watch.uncounted._MOST_BYTES", 10_000)
    names = [f"{KEYS.inside('j')}s:errors:{number}".encode() for number in range(100)]
    uncounted = UncountedFaults(store.client, KEYS)
    uncounted.note_all(names[:10] * 100)
    uncounted.note_all([KEYS.inside("j").encode() + b"s:errors:" + b"x" * 2000])
    assert len(uncounted._parts["j"]) == 10
    uncounted.note_all(names)
    assert len(uncounted._parts["j"]) < 50


def test_a_supervisor_that_is_told_of_too_many_parts_counts_them_at_the_end(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnjobs.supervisor.listed_faults.MOST_CHILDREN", 10)
    job = store.create(["true"])
    link = RecordLink(store.url, KEYS, job.id)
    link.read()
    listed = ListedFaults(store.url, link)
    for number in range(20):
        assert listed.count() == (number if number <= 10 else None)
        store.client.rpush(part_key(KEYS, job.id, Part("s", "errors", str(number))), "{}")
    assert (len(listed._found), listed.count_at_end()) == (0, 20)


def test_a_supervisor_tells_no_faults_as_none_where_something_huge_stands_beside_them(
    large: JobStore,
) -> None:
    job = large.create(["true"])
    link = RecordLink(large.url, KEYS, job.id)
    link.read()
    listed = ListedFaults(large.url, link)
    assert listed.count() == 0
    large.client.rpush(part_key(KEYS, job.id, Part("s", "errors", "a")), "{}")
    assert listed.count() == 1
    huge = part_key(KEYS, job.id, Part("s", "metadata", "b"))
    large.client.hset(huge, "status", HUGE)
    assert [listed.count(), listed.count(), listed.count_at_end()] == [None] * 3
    assert listed.notes
    large.client.delete(huge)
    assert listed.count_at_end() == 1


@pytest.mark.parametrize("form", [{"at": "1700000000000", "kind": "out"}, {}])
def test_a_job_of_whose_outputs_lines_are_huge_is_shown(large: JobStore, form: dict[str, str]) -> None:
    job = large.create(["true"], label="shown")
    child = KEYS.child_output(job.id, "c")
    large.client.hset(KEYS.job(job.id), "child:c", child)
    for key in (KEYS.output(job.id), child):
        for number in range(1, 9):
            large.client.xadd(key, {**form, "data": HUGE[:300_000]}, id=f"{number}-0")
        large.client.xadd(key, {**form, "data": HUGE}, id="9-0")
    for options in ((), ("--json",)):
        done = run(large.url, "show", job.id, *options)
        assert (done.returncode, "larger than" in done.stdout, "shown" in done.stdout) == (0, True, True), (
            done
        )


def test_numbered_lines_are_read_up_to_what_is_read_at_once(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnjobs.outputs.streams.LARGEST_REPLY", 2**20)
    job = store.create(["true"])
    for number in range(1, 21):
        entry = {"at": "1700000000000", "kind": "out", "data": HUGE[:300_000]}
        store.client.xadd(KEYS.output(job.id), entry, id=f"{number}-0")
    assert len(store.output(job.id).read(1, 20)) < 20  # 4 MB are asked for at once
    assert len(list(store.output(job.id).iterate())) == 20


def test_children_are_believed_up_to_a_bound_and_drawn_up_to_another(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = store.create(["true"])
    listed = {f"child:c{number}": KEYS.child_output(job.id, f"c{number}") for number in range(2000)}
    store.client.hset(KEYS.job(job.id), mapping=listed)
    monkeypatch.setattr("gnjobs.records.reading._MOST_RECORDED", 1200)
    assert len(store.all_children(job.id)) == 1200
    assert run(store.url, "show", job.id).stdout.splitlines()[-1] == "and 200 more, which --json tells"


def test_a_log_that_takes_no_more_keeps_no_job_from_its_end(server: Server) -> None:
    """Anybody who may add an event may give it the highest id of all, behind which none can stand."""
    with supervised(server, ["sh", "-c", "read line"]) as job:
        job.client.xadd(KEYS.events, {"kind": "evil"}, id=f"{2**64 - 1}-{2**64 - 1}")
        assert job.wait_for("error", "success").status
        assert job.processes[0].wait(60) is not None


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_job_with_values_of_200_megabytes_is_supervised_and_killed(server: Server) -> None:
    job = SupervisedJob(server, ["sleep", "600"], user_id="jsmith")
    fill = "redis.call('hset', KEYS[1], ARGV[1], string.rep('x', 209715200))"
    with server.client(socket_timeout=100) as client:
        client.eval(fill, 1, KEYS.job(job.id), "label")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(TooLarge, match="larger than 72 MB"):
            connect(server.url, reply_timeout=60).hget(KEYS.job(job.id), "label")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 170 * 1024
        try:
            job.supervise()
            wait_for(lambda: client.hget(KEYS.job(job.id), "pid"), 60)
            client.hset(KEYS.job(job.id), mapping={"children": 1, "child:c": KEYS.child_output(job.id, "c")})
            client.hset(KEYS.child(job.id, "c"), mapping={"status": "running", "faults": 2})
            client.eval(fill, 1, KEYS.child(job.id, "c"), "label")
            wait_for(lambda: client.hget(KEYS.job(job.id), "faults") == b"2", 60)
            steps = list(kill_job(JobStore.from_url(server.url), job.id, actor=TUX, grace=0.2))
            assert steps[-1].verified, steps
            assert client.hget(KEYS.job(job.id), "status") == b"killed"
            assert job.processes[0].wait(60) in (137, 143)
        finally:
            client.flushall()
            job.end()


@pytest.mark.faults
def test_a_job_whose_children_hold_100_megabytes_in_all_ends(server: Server, tmp_path: Path) -> None:
    job = SupervisedJob(server, ["sh", "-c", f"until [ -e {tmp_path}/over ]; do sleep 0.1; done"])
    try:
        job.supervise()
        wait_for(lambda: job.read().pid)
        names = [f"c{number}" for number in range(30)]
        with server.client() as client:
            for name in names:
                long = dict.fromkeys(
                    ("label", "unit", "done", "stop-by", "stop-reason", "exit-code"), HUGE[:200_000]
                )
                twice = dict.fromkeys(
                    ("finished", "signal", "started", "last-output", "faults", "pid"), HUGE[:200_000]
                )
                client.hset(KEYS.child(job.id, name), mapping={"status": "running", **long, **twice})
            outputs = {f"child:{name}": KEYS.child_output(job.id, name) for name in names}
            client.hset(KEYS.job(job.id), mapping={"children": len(names), **outputs})
        (tmp_path / "over").touch()
        wait_for(lambda: job.read().status == "error", 60)
        assert (job.read().error or "").startswith("30 of 30 children ended without a word: ")
        assert job.processes[0].wait(60) == 0
    finally:
        job.end()


@pytest.mark.faults
def test_a_hundred_thousand_children_are_read(store: JobStore) -> None:
    job = store.create(["true"])
    names = [f"c{number}" for number in range(100_000)]
    outputs = {f"child:{name}": KEYS.child_output(job.id, name) for name in names}
    store.client.hset(KEYS.job(job.id), mapping=outputs)
    for name in (names[0], names[-1]):
        store.client.hset(KEYS.child(job.id, name), mapping={"status": "running", "faults": 2})
    link, watch = RecordLink(store.url, KEYS, job.id), ChildWatch(KEYS, job.id)
    link.read()
    read_children(link, watch)
    assert (len(watch.children), watch.faults) == (100_000, 4)


def test_a_feed_goes_on_however_much_changes(server: Server, small_limit: None) -> None:
    changed, key = set[bytes | None](), KEYS.job("x" * 100)
    with server.client() as client, socket.socket() as wake:
        feed = ChangeFeed(connect(server.url), [KEYS.jobs_namespace])
        feed.open()
        try:
            for part in range(20):
                with client.pipeline(transaction=False) as pipe:
                    for number in range(500):
                        pipe.set(f"{key}{part}-{number}", "1")
                    pipe.execute()
                wait_for(lambda: changed.update(feed.read(0.1, wake)) or len(changed) == (part + 1) * 500)  # noqa: B023
        finally:
            feed.close()
