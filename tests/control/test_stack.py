"""Where a job's processes are in their code: a deadlock of Python, a C program, another account's process."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnjobs.control.looks import streams_of_who_answers
from gnjobs.processes import files
from gnjobs.processes.files import LOOKS
from gnjobs.processes.host import boot_id, host_name, pid_namespace
from gnjobs.processes.proc import process_start
from gnjobs.processes.seen import Found, SeenProcess
from gnjobs.processes.stack import stacks_of
from gnjobs.records import requests
from gnjobs.records.actor import Actor
from gnjobs.records.requests import ControlRequest
from gnjobs.store import JobStore
from tests.support.agents import agent_at_work
from tests.support.deadlock import DEADLOCK
from tests.support.os_accounts import AS_NOBODY, needs_accounts
from tests.support.servers import Server
from tests.support.stored_records import write_running
from tests.support.supervised import KEYS, supervised
from tests.support.terminal import gnjobs
from tests.support.waiting import wait_for


def test_a_deadlock_names_both_lines_whoever_looks(server: Server, tmp_path: Path) -> None:
    script = tmp_path / "deadlock.py"
    script.write_text(DEADLOCK)
    with supervised(server, [sys.executable, str(script)]) as job:
        job.wait_for_line("begins")
        command = gnjobs("stack", job.id, "--redis-url", server.url)

        def told() -> str:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        here = wait_for(lambda: found if "deadlock.py:6" in (found := told()) else None)
        assert "second (deadlock.py:10)" in here
        store = JobStore.from_url(server.url)
        stream = KEYS.admin_requests
        asked = requests.send_request(store.client, stream, ControlRequest("", "stack", job=job.id, by="tux"))
        answers = requests.read_answers(store.client, KEYS.answers(job.id), asked, lambda: float("inf"))
        answered = next(each for each in answers if each is not None)
        assert answered.final
        assert "first (deadlock.py:6)" in answered.text


def test_a_c_program_says_what_the_kernel_knows(server: Server) -> None:
    with supervised(server, ["sleep", "600"]) as job:
        wait_for(job.alive)
        command = gnjobs("stack", job.id, "--redis-url", server.url)
        said = wait_for(lambda: subprocess.run(command, capture_output=True, text=True).stdout or None)
        assert "no Python; it waits for its own timer" in said
        assert "in clock_nanosleep" in said


def test_a_job_that_has_ended_has_no_stack(server: Server) -> None:
    with supervised(server, ["true"]) as job:
        job.wait_for()
        done = subprocess.run(
            gnjobs("stack", job.id, "--redis-url", server.url), capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, "it has ended: success\n")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another account")
def test_another_accounts_process_says_why_not() -> None:
    code = (
        "import os; from gnjobs.processes.stack import stacks_of\n"
        "from gnjobs.processes.seen import Found, SeenProcess\n"
        "from gnjobs.processes.proc import process_start\n"
        "init = SeenProcess(1, process_start(1), account='root')\n"
        "os.setuid(65534); print(stacks_of(Found((init,))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert "it belongs to root, and nobody may not look into it" in done.stdout
    gone = Found((SeenProcess(2**22, 0, command="gone"),))
    assert stacks_of(gone) == "pid 4194304: it is gone"


SPY = """#!/bin/sh
id -u; id -g; id -G; grep CapEff /proc/self/status; echo ${GNJOBS_REDIS_URL:-no URL}
"""


@needs_accounts
def test_root_looks_with_the_rights_of_the_account_whose_process_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process chooses what stands at the paths that it names."""
    monkeypatch.setenv("GNJOBS_REDIS_URL", "redis://with-a-password")
    spy = tmp_path / "py-spy"
    spy.write_text(SPY)
    spy.chmod(0o755)
    tmp_path.chmod(0o700)
    monkeypatch.setattr("gnjobs.processes.stack._py_spy", lambda: str(spy))
    with subprocess.Popen(
        [*AS_NOBODY, sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = Found((SeenProcess(process.pid, process_start(process.pid) or 0, command="x"),))
        own = [str(number) for number in (65534, os.stat(f"/proc/{process.pid}").st_gid)]
        said = [line.strip() for line in stacks_of(found).splitlines()[1:]]
        process.kill()
    assert said == [*own, own[1], "CapEff:\t0000000000080000", "no URL"]


def test_nothing_is_told_of_another_process_that_has_the_pid_by_now() -> None:
    mine = process_start(os.getpid())
    assert mine is not None
    for started, is_told in ((mine, True), (mine - 1, False)):
        found = Found((SeenProcess(os.getpid(), started, command="x"),))
        for look in LOOKS.values():
            assert (look(found) != f"pid {os.getpid()}: it is gone") == is_told


def test_who_can_answer_is_asked_where_it_hears_who_asks(store: JobStore, server: Server) -> None:
    here = {"host": host_name(), "boot_id": boot_id(), "pid_namespace": pid_namespace()}
    write_running(server, "job-1", user_id="jsmith", supervisor_pid=2**22, supervisor_started=1, **here)
    job, jane, tux = store.get("job-1"), Actor("jane", "curator", ("jsmith",)), Actor.admin("tux")
    assert [streams_of_who_answers(store, job, actor) for actor in (jane, tux)] == [[], []]
    with agent_at_work(store):
        assert streams_of_who_answers(store, job, jane) == [KEYS.user_requests("jsmith")]
        assert streams_of_who_answers(store, job, tux) == [KEYS.host_control(host_name())]


def test_what_py_spy_prints_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = tmp_path / "py-spy"
    endless.write_text("#!/bin/sh\nexec yes\n")
    endless.chmod(0o755)
    monkeypatch.setattr("gnjobs.processes.stack._py_spy", lambda: str(endless))
    began, process = time.monotonic(), SeenProcess(os.getpid(), process_start(os.getpid()) or 0)
    assert "py-spy failed" in stacks_of(Found((process,)))
    assert time.monotonic() - began < 20


def test_files_are_told_of_whatever_the_kernel_says_below_of_what_the_process_chose(tmp_path: Path) -> None:
    """Of a ring it shows the names of files, which may hold lines of their own."""
    (tmp_path / "fd").mkdir()
    (tmp_path / "fdinfo").mkdir()
    (tmp_path / "ring").touch()
    (tmp_path / "fd" / "3").symlink_to(tmp_path / "ring")
    (tmp_path / "fdinfo" / "3").write_bytes(
        b"pos:\t0\nflags:\t02000002\nUserFiles: 1\n\xff\nflags: x\npos: x\n"
    )
    (told,) = files._file(str(tmp_path / "fd"), 3)
    assert told.split() == ["3", "read", "and", "write", "empty", str(tmp_path / "ring")]
