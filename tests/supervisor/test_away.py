"""A supervisor whose Redis is away, forgets, or hangs: the job goes on, and nothing of it is lost."""

import signal
import socket
from pathlib import Path

import pytest

from tests.support.servers import BINARIES, SYNCED, Server
from tests.support.supervised import KEYS, SupervisedJob, python, supervised
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

# Prints its numbers only when told: a file appears for each step.
STEPS = (
    "import pathlib, sys, time\n"
    "place = pathlib.Path(sys.argv[1])\n"
    "for step in range(3):\n"
    "    while not (place / str(step)).exists(): time.sleep(0.01)\n"
    "    for i in range(1000): print(step * 1000 + i, flush=True)\n"
    "    (place / f'done{step}').touch()\n"
)
ALL_LINES = [str(number) for number in range(3000)]


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """Where the job of `STEPS` is told to go on."""
    return tmp_path


def go(steps: Path, step: int) -> None:
    """Let the job print its next thousand lines, and wait until it has."""
    (steps / str(step)).touch()
    wait_for((steps / f"done{step}").exists)


def lasting(tmp_path_factory: pytest.TempPathFactory, binary: str) -> Server:
    """A server that keeps what it acknowledged over a restart."""
    return Server(tmp_path_factory.mktemp("lasting"), BINARIES[binary], SYNCED)


@pytest.mark.parametrize("binary", sorted(BINARIES))
def test_a_restart_under_a_job_loses_no_line(
    tmp_path_factory: pytest.TempPathFactory, steps: Path, binary: str
) -> None:
    server = lasting(tmp_path_factory, binary).start()
    try:
        with supervised(server, python(STEPS, str(steps))) as job:
            job.wait_for("running")
            go(steps, 0)
            server.kill()
            go(steps, 1)
            server.start()
            go(steps, 2)
            assert job.wait_for().status == "success"
            assert job.lines("out") == ALL_LINES
    finally:
        server.stop()


def test_a_job_that_ends_while_redis_is_away_is_reported_later(
    tmp_path_factory: pytest.TempPathFactory, steps: Path
) -> None:
    server = lasting(tmp_path_factory, "valkey").start()
    try:
        with supervised(server, python(STEPS, str(steps))) as job:
            pid = wait_for(lambda: job.wait_for("running").pid)
            server.kill()
            for step in range(3):
                go(steps, step)
            wait_for(lambda: not Path(f"/proc/{pid}").exists())
            server.start()
            done = job.wait_for()
            assert (done.status, done.exit_code, done.lines) == ("success", 0, 3000)
            assert job.lines("out") == ALL_LINES
            wait_for(lambda: not server.client().zcard(KEYS.unfinished))
            assert job.processes[0].wait(60) == 0
    finally:
        server.stop()


def test_a_server_that_forgot_everything_is_told_again(own_server: Server, steps: Path) -> None:
    with supervised(own_server, python(STEPS, str(steps)), label="forgotten", user_id="jsmith") as job:
        pid = wait_for(lambda: job.wait_for("running").pid)
        go(steps, 0)
        own_server.restart()
        assert wait_for(lambda: job.wait_for("running").pid) == pid
        found = job.wait_for("running")
        assert (found.label, found.user) == ("forgotten", "jsmith")
        client = own_server.client()
        wait_for(lambda: client.zscore(KEYS.unfinished, job.id))
        assert client.zscore(KEYS.jobs, job.id)
        assert client.zscore(KEYS.user_jobs("jsmith"), job.id)
        for step in (1, 2):
            go(steps, step)
        assert job.wait_for().status == "success"
        assert job.lines("out")[-2000:] == ALL_LINES[-2000:]


@pytest.mark.parametrize("own_server", ["valkey"], indirect=True)
def test_children_that_the_server_forgot_are_as_they_were(own_server: Server) -> None:
    with supervised(own_server, ["sleep", "600"]) as job:
        wait_for(job.alive)
        client = own_server.client()
        ended = {"status": "error", "label": "geno.tsv", "faults": "3", "signal": "11", "pid": "99"}
        waiting = {"status": "pending", "label": "pheno.tsv"}
        for name, fields in {"ended": ended, "waiting": waiting}.items():
            client.hset(KEYS.child(job.id, name), mapping=fields)
            client.hset(KEYS.job(job.id), f"child:{name}", KEYS.child_output(job.id, name))
        client.hset(KEYS.job(job.id), "children", 2)
        wait_for(
            lambda: (said := job.read().children_summary) and said.counts.get("error"),
            what="the supervisor to know of it",
        )
        own_server.restart()
        wait_for(lambda: job.child("ended").status == "error", what="its end to be there again")
        found = job.child("ended")
        assert (found.label, found.faults, found.signal, found.pid) == ("geno.tsv", 3, 11, 99)
        wait_for(lambda: job.child("waiting").label)
        found = job.child("waiting")
        assert (found.status, found.label) == ("pending", "pheno.tsv")


def test_older_data_that_comes_back_without_a_loss_of_the_connection_is_mended(server: Server) -> None:
    """As when a backup is put back by replication."""
    with supervised(server, python("import time; time.sleep(1000)")) as job:
        job.wait_for("running")
        claimed = wait_for(lambda: (found := job.read()).pid and found)
        job.client.hset(KEYS.job(job.id), mapping={"status": "pending", "transition-token": "x"})
        job.client.hdel(KEYS.job(job.id), "host", "pid", "supervisor-pid")
        mended = job.wait_for("running")
        assert (mended.host, mended.pid, mended.supervisor_pid) == (
            claimed.host,
            claimed.pid,
            claimed.supervisor_pid,
        )


def test_of_a_job_that_was_removed_no_child_is_made_again(server: Server) -> None:
    with supervised(server, ["sleep", "600"]) as job:
        wait_for(job.alive)
        key = KEYS.child(job.id, "a")
        job.client.hset(key, mapping={"status": "success", "label": "geno.tsv"})
        job.client.hset(KEYS.job(job.id), mapping={"child:a": KEYS.child_output(job.id, "a"), "children": 1})
        wait_for(lambda: (said := job.read().children_summary) and said.counts.get("success"))
        job.client.delete(KEYS.job(job.id), key)
        server.client().client_kill_filter(_type="normal", skipme=True)
        job.processes[0].terminate()
        assert job.processes[0].wait(60) != 0
        assert not job.client.exists(key)


def test_an_end_that_the_server_forgot_is_reported_again(own_server: Server) -> None:
    with supervised(own_server, ["true"]) as job:
        job.wait_for("success")
        own_server.restart()
        assert job.wait_for().status == "success"
        assert job.processes[0].wait(60) == 0
        wait_for(lambda: not own_server.client().zcard(KEYS.unfinished))


@pytest.mark.parametrize("fault", ["killed", "hung"])
def test_sigterm_kills_the_job_also_while_redis_is_away(own_server: Server, fault: str) -> None:
    trap = "trap '' TERM; sleep 600 & echo ready; wait; sleep 600"
    with supervised(own_server, ["sh", "-c", trap]) as job:
        job.wait_for_line("ready")
        if fault == "killed":
            own_server.kill()
        else:
            own_server.send(signal.SIGSTOP)
        job.processes[0].terminate()
        job.processes[0].send_signal(signal.SIGINT)  # the second signal leaves it no more time
        wait_for(lambda: not job.alive(), what="everything is gone")
        assert job.processes[0].poll() is None, "it waits to report"
        if fault == "killed":
            own_server.start()
        else:
            own_server.send(signal.SIGCONT)
        done = job.wait_for()
        assert done.status == "killed"
        assert done.stop_by
        assert "its supervisor got SIG" in done.stop_reason


def test_a_supervisor_that_can_not_report_leaves_when_told(own_server: Server) -> None:
    with supervised(own_server, ["sleep", "600"]) as job:
        wait_for(job.alive)
        own_server.kill()
        supervisor = job.processes[0]
        supervisor.terminate()
        wait_for(lambda: not job.alive())

        def told_again() -> bool:
            supervisor.terminate()
            return supervisor.poll() is not None

        wait_for(told_again)
        assert b"before its end was reported" in supervisor.stderr.read()


def test_a_supervisor_that_finds_no_redis_waits_for_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = lasting(tmp_path_factory, "valkey").start()
    job = SupervisedJob(server, ["true"])
    server.kill()
    try:
        with socket.create_server(("127.0.0.1", server.port)) as closed_door:
            closed_door.settimeout(20)
            job.supervise()
            closed_door.accept()[0].close()
        server.start()
        assert job.wait_for().status == "success"
    finally:
        job.end()
        server.stop()
