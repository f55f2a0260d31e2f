"""A supervisor from its claim to its last word, with real processes and a real server."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from gnjobs.records.environment import ENV_LINES_FD
from gnjobs.records.keys import Keys
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, python
from tests.support.waiting import wait_for

Start = Callable[..., SupervisedJob]


@pytest.fixture
def make(server: Server) -> Iterator[Start]:
    """Make jobs, whose processes are ended with the test."""
    made: list[SupervisedJob] = []

    def make(command: Sequence[str], **fields: str) -> SupervisedJob:
        made.append(SupervisedJob(server, command, **fields))
        return made[-1]

    yield make
    for job in made:
        job.end()


@pytest.fixture
def start(make: Start) -> Start:
    """Make jobs with a supervisor each."""

    def start(command: Sequence[str], **fields: str) -> SupervisedJob:
        job = make(command, **fields)
        job.supervise()
        return job

    return start


def test_a_success_is_recorded_whole(start: Start, server: Server) -> None:
    job = start(["sh", "-c", "echo out; echo err >&2; printf unfinished"])
    done = job.wait_for()
    assert (done.status, done.exit_code, done.error, done.signal) == ("success", 0, None, None)
    assert sorted(job.lines("out")) == ["out", "unfinished"]
    assert job.lines("err") == ["err"]
    assert done.lines == 3
    assert done.started <= done.last_output <= done.finished
    assert None not in (done.host, done.account, done.boot_id, done.supervisor_started, done.process_started)
    wait_for(lambda: not server.client().zscore(KEYS.unfinished, job.id))
    wait_for(lambda: 0 < server.client().ttl(KEYS.job(job.id)) <= 7 * 86400)


def test_a_keep_that_redis_would_refuse_keeps_nothing_from_ending(start: Start, server: Server) -> None:
    job = start(["true"], keep="9000000000000000000")
    job.wait_for("success")
    assert job.processes[0].wait(30) == 0
    told = [fields[b"job"] for _, fields in server.client().xrevrange(KEYS.events, count=100)]
    assert job.id.encode() in told
    assert server.client().ttl(KEYS.job(job.id)) > 0


def test_keep_says_how_long_the_keys_live(start: Start, server: Server) -> None:
    job = start(["echo", "x"], keep="1000")
    job.wait_for()
    for key in (KEYS.job(job.id), KEYS.output(job.id)):
        wait_for(lambda key=key: 900 < server.client().ttl(key) <= 1000)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("command", "code", "number", "error"),
    [
        (["sh", "-c", "exit 3"], 3, None, "exit code 3"),
        (["sh", "-c", "kill -9 $$"], None, 9, "killed by signal 9 (SIGKILL)"),
        (python("raise ValueError('bad cell')"), 1, None, "exit code 1: ValueError: bad cell"),
        (["no-such-command-here"], 127, None, "no-such-command-here: command not found"),
        (["/etc/passwd"], 126, None, "/etc/passwd: can't be run: Permission denied"),
        ([], 127, None, "the job has no command"),
    ],
)
def test_a_failure_says_why(
    start: Start, command: Sequence[str], code: int | None, number: int | None, error: str
) -> None:
    job = start(command)
    done = job.wait_for()
    assert (done.status, done.exit_code, done.signal, done.error) == ("error", code, number, error)


def test_a_working_directory_is_used_or_its_absence_explained(start: Start, tmp_path: object) -> None:
    there = start(["pwd"], cwd=str(tmp_path))
    there.wait_for()
    assert there.lines("out") == [str(tmp_path)]
    assert start(["pwd"], cwd="/no/such/place").wait_for().error == (
        "the working directory /no/such/place is not there"
    )


def test_the_command_has_a_session_and_a_mark_of_its_own(start: Start) -> None:
    job = start(
        python(
            "import os; print(os.getsid(0) == os.getpid(), os.environ['GNJOBS_JOB_ID'],"
            "'GNJOBS_REPORT_FD' in os.environ)"
        )
    )
    job.wait_for()
    assert job.lines("out") == [f"True {job.id} False"]


def test_exit_codes_survive_a_starter_that_ignores_sigchld(make: Start) -> None:
    job = make(["sh", "-c", "sh -c 'exit 7'; exit $?"])
    job.supervise(preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert job.wait_for().exit_code == 7
    assert job.processes[0].wait(60) == 7


def test_a_blocked_and_ignored_signal_still_stops_the_job(make: Start) -> None:
    def hostile() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    job = make(["sleep", "600"])
    supervisor = job.supervise(preexec_fn=hostile)
    job.wait_for("running")
    supervisor.terminate()
    assert job.wait_for().status == "killed"


def test_structured_lines_are_stored_with_their_kind(start: Start) -> None:
    code = (
        f"import os; fd = int(os.environ['{ENV_LINES_FD}'])\n"
        "os.write(fd, b'fault {\"row\": 1}\\nnonsense\\nresult 5\\n')"
    )
    job = start(python(code))
    done = job.wait_for()
    assert job.lines("fault") == ['{"row": 1}']
    assert job.lines("result") == ["5"]
    assert job.lines("err") == ["nonsense"]
    assert (done.status, done.faults) == ("success", 1)


def test_a_second_supervisor_gives_up_in_one_line(start: Start) -> None:
    job = start(["sleep", "600"])
    job.wait_for("running")
    second = job.supervise()
    assert second.wait(60) == 1
    said = second.stderr.read().decode()
    assert "supervised already by pid" in said
    assert len(said.splitlines()) == 1
    assert job.read().status == "running"


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"GNJOBS_JOB_ID": "nobody"}, 3, "there is no job nobody"),
        ({"GNJOBS_JOB_ID": "a:b"}, 2, "is refused"),
        ({"GNJOBS_REDIS_URL": "nonsense://x"}, 2, "Redis URL must specify"),
    ],
)
def test_what_can_not_be_supervised_is_said_in_one_line(
    make: Start, change: dict[str, str], code: int, text: str
) -> None:
    job = make(["true"])
    command = [sys.executable, "-m", "gnjobs.supervisor"]
    done = subprocess.run(command, env=job.environment | change, capture_output=True, check=False, timeout=30)
    assert done.returncode == code
    assert text in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


def test_two_hundred_thousand_lines_are_all_there(start: Start) -> None:
    job = start(python("for i in range(200_000): print('line', i)"))
    job.wait_for()
    assert job.lines("out") == [f"line {i}" for i in range(200_000)]


def test_what_the_command_leaves_running_is_ended_and_named(start: Start) -> None:
    job = start(["sh", "-c", "sleep 600 & echo started"])
    done = job.wait_for()
    assert done.status == "success"
    assert "left running by the command and ended: pid" in done.error
    assert "sleep 600" in done.error
    assert job.lines("out") == ["started"]
    assert job.alive() == []


def test_children_without_an_end_are_lost_when_their_job_ends(start: Start, server: Server) -> None:
    job = start(python("import time; time.sleep(600)"))
    running = job.wait_for("running")
    client = server.client()
    names = {"pending": "never started", "running": "ended without a report", "success": ""}
    for status in names:
        output_key = KEYS.child_output(job.id, status)
        client.hset(KEYS.job(job.id), f"child:{status}", output_key)
        client.hset(KEYS.child(job.id, status), mapping={"status": status, "faults": 2})
    client.hset(KEYS.job(job.id), "child:foreign", "other:key")
    client.hset(KEYS.job(job.id), "children", 3)
    wait_for(lambda: job.read().pid)
    os.kill(job.read().pid, signal.SIGKILL)
    done = job.wait_for()
    assert {name: job.child(name).status for name in names} == {
        "pending": "lost",
        "running": "lost",
        "success": "success",
    }
    assert job.child("pending").error.startswith(names["pending"])
    assert job.child("running").error.startswith(names["running"])
    assert (done.faults, done.signal) == (6, 9)
    assert done.children_summary.counts == {"lost": 2, "success": 1}
    assert running.id == job.id


def test_a_beat_says_what_the_job_uses(start: Start, server: Server) -> None:
    job = start(python("import time; print('x'); x = bytearray(50_000_000); time.sleep(600)"))
    first = wait_for(lambda: (found := job.read()).heartbeat and found.rss and found)
    later = wait_for(lambda: (found := job.read()).heartbeat > first.heartbeat and found)
    assert later.processes == 1
    assert wait_for(lambda: (job.read().rss or 0) > 40_000_000)
    assert later.heartbeat_every == 5.0
    assert b'"processes"' in server.client().get(Keys().processes(job.id))


def test_a_removed_record_is_not_made_again(start: Start, server: Server) -> None:
    job = start(python("import time; print('x', flush=True); time.sleep(1); print('y')"))
    job.wait_for_line("x")
    server.client().delete(KEYS.job(job.id), KEYS.output(job.id))
    supervisor = job.processes[0]
    assert supervisor.wait(60) == 0
    assert b"record was removed" in supervisor.stderr.read()
    assert not server.client().exists(KEYS.job(job.id), KEYS.output(job.id))


def test_a_record_that_became_something_else_ends_its_supervisor(start: Start, server: Server) -> None:
    """Whoever writes records can do so; what stands there is somebody else's, and stays."""
    job = start(python("print('x', flush=True)\nwhile True: pass"))
    job.wait_for_line("x")
    server.client().set(KEYS.job(job.id), "string")
    supervisor = job.processes[0]
    psutil.Process(supervisor.pid).children()[0].kill()
    supervisor.wait(60)
    assert b"record was removed" in supervisor.stderr.read()
    assert server.client().get(KEYS.job(job.id)) == b"string"


def test_a_supervisor_may_have_many_files_open_and_its_command_as_many_as_before(start: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
    try:
        job = start(["sleep", "600"])
        pid = wait_for(lambda: job.read().pid)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    limits = [resource.prlimit(each, resource.RLIMIT_NOFILE)[0] for each in (job.processes[0].pid, pid)]
    assert limits == [min(hard, 8192), 600]


def test_limits_of_time_and_size_are_those_of_the_command_and_not_of_its_supervisor(start: Start) -> None:
    """They would end it after some hours, and the job would have none."""
    given = {resource.RLIMIT_CPU: 10_000, resource.RLIMIT_AS: 2**40, resource.RLIMIT_FSIZE: 2**30}
    before = {limit: resource.getrlimit(limit) for limit in given}
    try:
        for limit, soft in given.items():
            resource.setrlimit(limit, (soft, before[limit][1]))
        job = start(["sleep", "600"])
        pid = wait_for(lambda: job.read().pid)
    finally:
        for limit in given:
            resource.setrlimit(limit, before[limit])
    for limit, soft in given.items():
        assert resource.prlimit(pid, limit)[0] == soft
        assert resource.prlimit(job.processes[0].pid, limit)[0] in (resource.RLIM_INFINITY, before[limit][1])


@pytest.mark.parametrize("files", range(11, 18, 2))
def test_a_supervisor_without_room_for_its_files_ends_its_job(make: Start, files: int) -> None:
    job = make(["true"])
    command = ["prlimit", f"--nofile={files}", sys.executable, "-P", "-m", "gnjobs.supervisor"]
    done = subprocess.run(command, env=job.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    ended = job.read()
    assert (ended.status, done.returncode != 0) == ("error", True)
    assert (ended.error or "").endswith("Too many open files")
    assert b"Traceback" not in done.stderr


def test_the_supervisor_leaves_no_zombie_of_what_it_adopted(start: Start, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    start(["sh", "-c", '(sh -c \'echo $$ > "$0"\' "$0" &) ; sleep 600', str(told)])
    pid = int(wait_for(lambda: told.exists() and told.read_text().strip()))
    wait_for(lambda: not psutil.pid_exists(pid))
