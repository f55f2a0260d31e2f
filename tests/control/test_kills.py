"""Kills as who asks sees them, where the supervisor can't do it, or can't be looked at."""

from collections.abc import Callable, Iterator

import pytest

from gnjobs.control.kill import _Kill, kill_job
from gnjobs.control.local_kill import LocalKill
from gnjobs.records.actor import Actor
from gnjobs.records.ends import StopRequest, conclude_kill
from gnjobs.records.requests import answer, step
from gnjobs.records.statuses import PENDING
from gnjobs.store import JobStore
from tests.support.lost_replies import lose_first_reply
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, is_alive, python, supervised
from tests.support.waiting import wait_for

JANE = Actor.admin("jane")


def test_a_supervisor_of_another_account_is_asked(
    store: JobStore, sleeper: SupervisedJob, conceal: Callable[..., None]
) -> None:
    record = sleeper.read()
    conceal(record.supervisor_pid, record.pid)
    steps = list(kill_job(store, sleeper.id, actor=JANE))
    assert steps[0].kind == "asked"
    assert steps[-1].verified, steps
    assert sleeper.read().status == "killed"


def test_orphans_of_another_account_are_named_and_not_called_gone(
    store: JobStore, sleeper: SupervisedJob, conceal: Callable[..., None]
) -> None:
    record = sleeper.read()
    sleeper.processes[0].kill()
    sleeper.processes[0].wait()
    conceal(record.pid)
    steps = list(kill_job(store, sleeper.id, actor=JANE, grace=0.0))
    assert not steps[-1].verified, steps
    assert str(record.pid) in steps[-1].text
    assert record.account in steps[-1].text
    assert sleeper.read().status == "stopping"  # asked, and not over


def test_what_a_supervisor_says_last_is_heard_though_it_is_gone_by_then(store: JobStore) -> None:
    job = store.create(["true"])
    store.client.hset(KEYS.job(job.id), "status", "killed")
    kill = _Kill(store, store.get(job.id), None, JANE, "", 1.0, False, False)

    def answers_and_ends() -> bool:
        """Whether the supervisor is still there: it answers just before it is looked for."""
        ((asked, _),) = store.client.xrevrange(KEYS.admin_requests, count=1)
        last = step("written", "all of it is gone", verified=True, final=True)
        answer(store.client, KEYS.answers(job.id), f"{KEYS.admin_requests}/{asked.decode()}", last)
        return False

    steps = list(kill._ask(KEYS.admin_requests, 30.0, lambda: iter(()), answers_and_ends))
    assert [each.text for each in steps] == ["asked as jane", "all of it is gone"]


def test_a_kill_in_a_supervisor_s_place_whose_reply_was_lost_is_told_as_it_came_to_be(
    store: JobStore, sleeper: SupervisedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = lose_first_reply(monkeypatch)
    sleeper.processes[0].kill()
    sleeper.processes[0].wait()
    last = list(kill_job(store, sleeper.id, actor=JANE, grace=0.0))[-1]
    assert (last.verified, lost) == (True, [("done", "killed")])
    assert [event.kind for event in store.events(since=0.0) if event.job == sleeper.id] == ["killed"]


FORGOTTEN = ("host", "heartbeat", "pid", "process-started", "supervisor-pid", "supervisor-started", "mark")


@pytest.mark.parametrize(
    ("gone", "stands"),
    [
        (FORGOTTEN, {"status": "pending", "launched": 1, "launch-host": "elsewhere"}),
        (FORGOTTEN, {"status": "pending"}),
        (FORGOTTEN[2:], {"status": "pending"}),
        (FORGOTTEN[2:], {"status": "pending", "slurm-job": "17"}),
        ((), {"status": "killed", "finished": 1}),
    ],
    ids=["a claim", "a launch", "older data", "that Slurm has started it again", "a kill that was too early"],
)
def test_what_a_server_may_have_forgotten_is_asked_from_another_host(
    store: JobStore,
    sleeper: SupervisedJob,
    gone: tuple[str, ...],
    stands: dict[str, str | int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nothing of it can be seen, its supervisor is asked before it is called gone."""
    pid, key = sleeper.read().pid, KEYS.job(sleeper.id)
    monkeypatch.setenv("PATH", "/")  # no Slurm can be asked
    monkeypatch.setattr(LocalKill, "is_claimed", lambda _: False)
    monkeypatch.setattr(LocalKill, "runs_on", lambda _, **__: False)
    monkeypatch.setattr(LocalKill, "unless_seen", lambda _, said: said)
    with store.client.pipeline() as pipe:
        pipe.hset(key, mapping={**stands, "transition-token": "x"})
        if gone:
            pipe.hdel(key, *gone)
        pipe.execute()
    last = list(kill_job(store, sleeper.id, actor=JANE, grace=0.0))[-1]
    assert last.verified, last
    assert not is_alive(pid)
    assert sleeper.read().status == "killed"


@pytest.fixture
def parent(server: Server) -> Iterator[SupervisedJob]:
    """A job whose supervisor was killed, with a child that is a process, one that is a thread, one without a pid."""
    code = (
        "import os, subprocess, time\n"
        "started = subprocess.Popen(['sleep', '600'], env={**os.environ, 'GNJOBS_CHILD_ID': 'process'})\n"
        "print(started.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with supervised(server, python(code)) as made:
        pid = wait_for(lambda: made.lines("out"))[0]
        main = wait_for(lambda: made.read().pid)
        for name, mapping in {"process": {"pid": pid}, "thread": {"pid": main}, "unknown": {}}.items():
            made.client.hset(KEYS.child(made.id, name), mapping={"status": "running", **mapping})
            made.client.hset(KEYS.job(made.id), f"child:{name}", KEYS.child_output(made.id, name))
        made.processes[0].kill()
        made.processes[0].wait()
        yield made


def test_without_a_supervisor_only_a_child_with_processes_of_its_own_is_killed_alone(
    store: JobStore, parent: SupervisedJob
) -> None:
    for name, why in {"thread": "it is a thread of pid", "unknown": "no process of it is known"}.items():
        last = list(kill_job(store, parent.id, name, actor=JANE, grace=0.1))[-1]
        assert (last.kind, last.verified) == ("refused", False)
        assert why in last.text
        assert parent.child(name).status == "running"
    last = list(kill_job(store, parent.id, "process", actor=JANE, grace=0.1))[-1]
    assert last.verified, last
    assert parent.child("process").status == "killed"
    assert [process.pid for process in parent.alive()] == [parent.read().pid]


def test_a_child_that_is_said_to_wait_is_marked_as_killed_and_not_called_gone(
    store: JobStore, parent: SupervisedJob
) -> None:
    """Its job may start it all the same; whoever writes records may call pending what works as a thread."""
    last = {}
    for name in ("thread", "unknown", "process"):
        store.client.hset(KEYS.child(parent.id, name), "status", "pending")
        last[name] = list(kill_job(store, parent.id, name, actor=JANE, grace=0.1))[-1]
    assert {name: parent.child(name).status for name in last} == {
        "thread": "pending",
        "unknown": "killed",
        "process": "killed",
    }
    assert (last["unknown"].kind, last["unknown"].verified, last["process"].verified) == ("left", False, True)
    assert "its job may start it later" in last["unknown"].text
    assert "it is a thread of pid" in last["thread"].text


def test_what_runs_on_after_its_job_was_said_to_have_ended_is_killed(
    store: JobStore, parent: SupervisedJob
) -> None:
    store.client.hset(KEYS.job(parent.id), "status", "lost")
    steps = list(kill_job(store, parent.id, actor=JANE, grace=0.1))
    assert "yet something of it runs" in steps[0].text
    assert steps[-1].verified, steps
    assert parent.alive() == []
    assert parent.read().status == "lost"
    again = list(kill_job(store, parent.id, actor=JANE, grace=0.1))
    assert [step.kind for step in again] == ["skipped"]


def test_who_asks_from_inside_the_job_does_not_call_itself_gone(store: JobStore, server: Server) -> None:
    inside = (
        "import os, pathlib, signal, subprocess, sys\n"
        "os.kill(os.getppid(), signal.SIGKILL)\n"
        "kill = [sys.executable, '-m', 'gnjobs_tui', 'kill', os.environ['GNJOBS_JOB_ID'], '--grace', '0']\n"
        "done = subprocess.run(kill, capture_output=True, text=True)\n"
        "pathlib.Path(sys.argv[1]).write_text(f'{done.returncode} {done.stdout} {done.stderr}')\n"
    )
    said = server.directory / "said"
    with supervised(server, python(inside, str(said))) as job:
        text = wait_for(lambda: said.exists() and said.read_text())
        assert text.startswith("1 "), text
        assert "inside the job itself" in text
        assert job.read().status == "stopping"


def test_a_job_that_was_killed_from_outside_is_kept_no_longer_than_it_should(
    store: JobStore, parent: SupervisedJob
) -> None:
    store.client.hset(KEYS.job(parent.id), "keep", "1000")
    assert list(kill_job(store, parent.id, actor=JANE, grace=0.1))[-1].verified
    for key in (
        KEYS.job(parent.id),
        KEYS.child(parent.id, "process"),
        KEYS.child_output(parent.id, "process"),
    ):
        assert store.client.ttl(key) <= 1000, key


def test_a_kill_of_what_has_begun_meanwhile_ends_no_child_of_it(store: JobStore) -> None:
    seen = store.create(["true"])
    begun = {"status": "running", "child:c": KEYS.child_output(seen.id, "c")}
    store.client.hset(KEYS.job(seen.id), mapping=begun)
    store.client.hset(KEYS.child(seen.id, "c"), "status", "running")
    verdict = step("verified", "it had not been started", verified=True)
    stop = StopRequest("jane", "", store.now())
    last = conclude_kill(store, seen, None, stop, verdict, allowed={PENDING})
    assert last.text == "it had not been started; its status is running"
    assert (store.get(seen.id).status, store.child(seen.id, "c").status) == ("running", "running")
    store.client.hset(KEYS.job(seen.id), "status", "pending")
    conclude_kill(store, seen, None, stop, verdict, allowed={PENDING})
    assert (store.get(seen.id).status, store.child(seen.id, "c").status) == ("killed", "killed")
