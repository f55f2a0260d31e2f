"""The command of the configuration that runs whenever a job has ended, whoever ends it."""

import json
import os
import pwd
import shlex
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import psutil
import pytest

from gnjobs.control.kill import kill_job
from gnjobs.records import hooks
from gnjobs.records.actor import Actor
from gnjobs.records.fields import Job
from gnjobs.records.hooks import run_on_end
from gnjobs.records.listener import ControlListener
from gnjobs.records.pool import RequestPool
from gnjobs.records.requests import ControlRequest, KillStep, send_request, step
from gnjobs.store import JobStore
from tests.support.agents import agent_at_work
from tests.support.os_accounts import needs_accounts
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, supervised
from tests.support.waiting import wait_for


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the command of these tests writes what it is given: a file a call, whatever account writes it."""
    with tempfile.TemporaryDirectory() as name:
        yield prepare(Path(name), monkeypatch)


def prepare(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory.chmod(0o777)
    script = directory / "on-end"
    script.write_text('#!/bin/sh\ncat > "$1/$$.part" && mv "$1/$$.part" "$1/$$.json"\n')
    script.chmod(0o755)
    monkeypatch.setenv("GNJOBS_ON_END", shlex.join([str(script), str(directory)]))
    return directory


def read_one(directory: Path) -> dict[str, Any]:
    """What the command was given, the one time that it ran."""
    (found,) = wait_for(lambda: list(directory.glob("*.json")))
    return json.loads(found.read_text())


def test_a_supervisor_runs_it_once_with_the_job_as_json(server: Server, told: Path) -> None:
    with supervised(server, ["sh", "-c", "exit 3"], user_id="jsmith", label="QC") as job:
        given = read_one(told)
        assert (given["id"], given["status"], given["exit_code"]) == (job.id, "error", 3)
        assert (given["user"], given["label"], given["type"]) == ("jsmith", "QC", None)
        job.processes[0].wait(60)
    assert len(list(told.glob("*.json"))) == 1


def test_what_is_no_utf_8_keeps_nobody_from_being_told(store: JobStore, told: Path) -> None:
    run_on_end(store, store.create(["true"], label="S\udce3o"), as_ourselves=True)
    assert read_one(told)["label"] == "S?o"


def test_it_is_told_of_no_later_job_of_the_id(store: JobStore, told: Path) -> None:
    """It waits for its turn, and its record may be gone by then."""
    job = store.create(["true"])
    store.client.hset(KEYS.job(job.id), "created", "1700000000.000001")
    run_on_end(store, job, as_ourselves=True)
    run_on_end(store, store.create(["true"], label="the next"), as_ourselves=True)
    assert read_one(told)["label"] == "the next"
    wait_for(lambda: not hooks._waiting._threads)
    assert len(list(told.glob("*.json"))) == 1


def test_it_is_no_process_of_the_job_that_a_kill_would_end(
    server: Server, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = told / "environment"
    script = 'env > "$1.part"; mv "$1.part" "$1"'
    monkeypatch.setenv("GNJOBS_ON_END", shlex.join(["sh", "-c", script, "sh", str(seen)]))
    with supervised(server, ["true"]) as job:
        wait_for(seen.exists)
        names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
        assert "GNJOBS_REDIS_URL" in names
        assert not names & {"GNJOBS_JOB_ID", "GNJOBS_MARK", "GNJOBS_CHILD_ID"}
        job.processes[0].wait(60)


def test_a_kill_of_what_has_ended_leaves_it_at_work(
    server: Server, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(told / "go")
    script = (
        'echo $$ > "$0/pid.part"; mv "$0/pid.part" "$0/pid"; read -r word < "$0/go"; echo "$word" > "$0/told"'
    )
    monkeypatch.setenv("GNJOBS_ON_END", shlex.join(["sh", "-c", script, str(told)]))
    with supervised(server, ["true"]) as job:
        wait_for((told / "pid").exists)
        last = list(kill_job(JobStore.from_url(server.url), job.id, actor=Actor.admin("tux"), grace=0.1))[-1]
        assert last.text == "it has already ended: success"
        (told / "go").write_text("all\n")
        job.processes[0].wait(60)
    assert (told / "told").read_text() == "all\n"


def test_a_kill_before_the_start_runs_it(server: Server, store: JobStore, told: Path) -> None:
    job = store.create(["true"], label="never")
    if os.geteuid() == 0:  # whose account the job would have had is not known, and never is it run as root
        list(kill_job(store, job.id, actor=Actor.admin("tux")))
        texts = wait_for(lambda: [event.text for event in store.events() if event.kind == "hook"])
        assert texts[-1] == "on-end failed: the job's account is not known, and nothing is run as root for it"
        assert not list(told.glob("*.json"))
    else:
        list(kill_job(store, job.id, actor=Actor.admin("tux")))
        assert (read_one(told)["id"], read_one(told)["status"]) == (job.id, "killed")


def test_an_agent_never_runs_it_as_root_whatever_the_record_says(
    server: Server, store: JobStore, told: Path
) -> None:
    with supervised(server, ["sleep", "600"]) as job, agent_at_work(store):
        end_without_a_word(job, store)
        job.wait_for("lost")
        if os.geteuid() == 0:
            assert wait_for(
                lambda: [event for event in store.events() if event.kind == "hook" and event.job == job.id]
            )
            assert not list(told.glob("*.json"))
        else:
            assert read_one(told)["status"] == "lost"


def end_without_a_word(job: SupervisedJob, store: JobStore) -> None:
    """Kill the supervisor, then the command, so that nobody reports the end."""
    job.wait_for("running")
    pid = wait_for(lambda: job.read().pid)
    supervisor = job.processes[0]
    supervisor.send_signal(signal.SIGSTOP)
    supervisor.kill()
    supervisor.wait()
    psutil.Process(pid).kill()
    store.client.hset(KEYS.job(job.id), "heartbeat", store.now() - 100)


@needs_accounts
def test_root_runs_it_as_the_job_s_account(store: JobStore, told: Path) -> None:
    """Of the account that it waited in turn for, whatever the record says by then."""
    job = store.create(["true"])
    store.client.hset(KEYS.job(job.id), mapping={"account": "daemon", "status": "lost"})
    run_on_end(store, Job(id=job.id, account="nobody"), as_ourselves=False)
    (found,) = wait_for(lambda: list(told.glob("*.json")))
    assert found.stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert stat.S_ISREG(found.stat().st_mode)


# As the code of its account can have it do: it closes both outputs and stops, or another process traces it.
TRACES_ITS_PARENT = (
    "import ctypes, os, time; ctypes.CDLL(None).ptrace(0x4206, os.getppid(), 0, 0); time.sleep(60)"
)
HELD = {
    "stopped": "exec >&- 2>&-; kill -STOP $$",
    "traced": f"{shlex.join([sys.executable, '-c', TRACES_ITS_PARENT])} >/dev/null 2>&1 & "
    "while kill -0 $!; do while read -r name pid; do "
    '[ "$name$pid" != TracerPid:0 ] || continue 2; done < /proc/$$/status; break; done; exec >&- 2>&-',
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it is left, and runs
@pytest.mark.parametrize("held", HELD)
def test_nobody_waits_for_what_its_account_holds(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    monkeypatch.setenv("GNJOBS_ON_END", "true")
    monkeypatch.setattr(hooks, "_SAYING_EXIT_CODE", ("/bin/sh", "-c", HELD[held], "sh"))
    monkeypatch.setattr(hooks, "_ENDING_SECONDS", 0.2)
    run_on_end(store, store.create(["true"]), as_ourselves=True)
    wait_for(lambda: "on-end" not in [thread.name for thread in threading.enumerate()])
    for process in psutil.process_iter(["cmdline"]):
        if TRACES_ITS_PARENT in (process.info["cmdline"] or ()):
            process.kill()


def test_one_that_prints_without_end_is_ended_and_fills_no_memory(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = store.create(["true"])
    monkeypatch.setenv("GNJOBS_ON_END", "cat /dev/zero")
    before = psutil.Process().memory_info().rss
    run_on_end(store, job, as_ourselves=True)
    texts = wait_for(lambda: [event.text for event in store.events() if event.job == job.id])
    assert texts == ["on-end failed: it printed more than 16 MB"]
    assert psutil.Process().memory_info().rss - before < 10_000_000


def test_what_fails_is_told_in_the_log(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    job = store.create(["true"])
    monkeypatch.setenv("GNJOBS_ON_END", shlex.join(["sh", "-c", "echo no mail server >&2; exit 7"]))
    run_on_end(store, job, as_ourselves=True)
    hooks = wait_for(lambda: [event for event in store.events() if event.kind == "hook"])
    assert [event.text for event in hooks if event.job == job.id] == [
        "on-end failed: exit code 7: no mail server"
    ]


def test_a_few_run_at_a_time_each_account_in_turn_and_what_is_too_much_is_left_out(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever writes records can make as many jobs that end as she likes."""
    os.mkfifo(tmp_path / "go")
    monkeypatch.setenv(
        "GNJOBS_ON_END", shlex.join(["sh", "-c", 'cat "$0"; cat >> "$0.told"', str(tmp_path / "go")])
    )
    monkeypatch.setattr(hooks, "_MOST_WAITING", 12)
    flood = [store.create(["true"], label="flood") for _ in range(30)]
    for job in flood:
        run_on_end(store, msgspec.structs.replace(job, account="mallory"), as_ourselves=True)
        wait_for(lambda: len(hooks._waiting._hooks) < 1 or hooks._waiting._at_work["mallory"] == 2)
    theirs = store.create(["true"], label="theirs")
    run_on_end(store, msgspec.structs.replace(theirs, account="jsmith"), as_ourselves=True)
    wait_for(lambda: [thread.name for thread in threading.enumerate()].count("on-end") == 3)
    left_out = [event for event in store.events() if event.kind == "hook"]
    assert {event.text.partition(":")[0] for event in left_out} == {"on-end is left out"}
    assert len(left_out) == 30 - 2 - 11
    assert theirs.id not in [event.job for event in left_out]
    (tmp_path / "gone").touch()
    writer = os.open(tmp_path / "go", os.O_RDWR)
    (tmp_path / "gone").replace(tmp_path / "go")
    os.close(writer)  # so that nobody waits
    told = tmp_path / "go.told"
    wait_for(lambda: told.exists() and theirs.id in told.read_text())
    wait_for(lambda: "on-end" not in [thread.name for thread in threading.enumerate()])
    assert told.read_text().count('"label":"flood"') == 2 + 11


def test_what_is_left_out_is_the_newest_and_costs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    done, is_over = list[str](), threading.Event()

    class Slow(NamedTuple):
        job_id: str
        account: str

        def run(self) -> None:
            is_over.wait(60)
            done.append(self.job_id)

    monkeypatch.setattr(hooks, "_MOST_WAITING", 3)
    waiting = hooks._Waiting()
    add = cast("Callable[[Slow], Slow | None]", waiting.add)
    for number in range(8):
        add(Slow(f"busy-{number}", f"{number // 2}"))
        wait_for(lambda: not waiting._hooks)
    assert [add(Slow(f"job-{number}", f"account-{number}")) for number in range(5)] == [
        None,
        None,
        None,
        Slow("job-3", "account-3"),
        Slow("job-4", "account-4"),
    ]
    is_over.set()
    wait_for(lambda: len(done) == 11 and not waiting._threads)


def test_an_account_that_is_not_here_waits_for_nothing(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nobody fills the queue by names of accounts that she makes up."""
    monkeypatch.setenv("GNJOBS_ON_END", "true")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    run_on_end(store, msgspec.structs.replace(store.create(["true"]), account="f0"), as_ourselves=False)
    (said,) = [event.text for event in store.events() if event.kind == "hook"]
    assert said == "on-end failed: there is no account 'f0' here"


def test_without_room_for_a_thread_it_is_left_out_and_requests_go_on(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    wait_for(lambda: "on-end" not in [thread.name for thread in threading.enumerate()])  # of an earlier test
    said: list[KillStep] = []
    pool = RequestPool(lambda _: [step("verified", "", final=True)], lambda _, each: said.append(each), KEYS)
    monkeypatch.setenv("GNJOBS_ON_END", "true")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        run_on_end(store, store.create(["true"]), as_ourselves=True)
        pool.take(ControlRequest("s/1-1", "kill", "j"))
    assert [event.text.partition(":")[0] for event in store.events() if event.kind == "hook"] == [
        "on-end is left out"
    ]
    assert [each.kind for each in said] == ["refused"]
    pool.take(ControlRequest("s/1-2", "kill", "j"))
    wait_for(lambda: [each.kind for each in said] == ["refused", "verified"])


def test_who_asks_for_less_grace_does_not_wait_for_who_asked_for_more() -> None:
    begun: list[float] = []
    is_over = threading.Event()

    def handle(request: ControlRequest) -> Iterator[KillStep]:
        begun.append(request.grace)
        is_over.wait(60)
        yield step("verified", "", final=True)

    pool = RequestPool(handle, lambda *_: None, KEYS)
    for number, grace in enumerate((600.0, 600.0, 2.0)):
        pool.take(ControlRequest(f"s/{number}-1", "kill", "j", grace=grace))
    wait_for(lambda: sorted(begun) == [2.0, 600.0])
    for number in range(9):  # a look that is asked for with any number of graces is one
        pool.take(ControlRequest(f"s/{number}-2", "stack", "j", grace=float(number)))
    wait_for(lambda: len(begun) == 3)
    is_over.set()
    pool.join(30)
    assert len(begun) == 3


def test_a_listener_outlives_whatever_a_request_brings(server: Server, store: JobStore) -> None:
    heard: list[str | None] = []

    def hear(request: ControlRequest) -> None:
        heard.append(request.job)
        if len(heard) == 1:
            raise RuntimeError("can't start new thread")

    stream = KEYS.admin_requests
    ControlListener(server.url, KEYS, [stream], hear, since=0.0).start()
    for job in ("one", "two"):
        send_request(store.client, stream, ControlRequest("", "kill", job))
    wait_for(lambda: heard == ["one", "two"])
