"""What is said on this host of the processes of a job whose supervisor is silent."""

import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import psutil
import pytest

from gnjobs.processes import presence, proc, table, traces
from gnjobs.processes.activity import read_state
from gnjobs.processes.host import account_name, boot_id, host_name, pid_namespace, user_id
from gnjobs.processes.presence import Looks, look, look_well
from gnjobs.processes.proc import process_start
from gnjobs.processes.seen import Presence, ProcessSnapshot, SeenProcess
from gnjobs.processes.table import UNREAD, Mark, Wanted, read_mark
from gnjobs.records.environment import ENV_JOB, digest_of_mark
from gnjobs.records.fields import Job
from tests.support.os_accounts import AS_NOBODY, needs_accounts, needs_hosts
from tests.support.supervised import python
from tests.support.waiting import wait_for

JOB = f"presence-job-{os.getpid()}"  # tests run in several processes at once
# With the word by which a supervisor is recognised in its command line.
FOREVER = [sys.executable, "-c", "import time; time.sleep(1000)", "gnjobs.supervisor"]


def job_here(**fields: Any) -> Job:
    here = {"status": "running", "host": host_name(), "boot_id": boot_id(), "pid_namespace": pid_namespace()}
    here["process_started"] = process_start(os.getpid())
    return Job(id=JOB, **(here | {"account": account_name(os.getuid())} | fields))


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """A process of the job that nobody supervises any more."""
    started = subprocess.Popen(FOREVER, env=os.environ | {ENV_JOB: JOB})
    wait_for(lambda: read_mark(started.pid) == Mark(JOB, None))
    yield started
    started.kill()
    started.wait()


def test_processes_that_carry_its_mark_run(process: "subprocess.Popen[bytes]") -> None:
    assert look(job_here()) == ("running", "1 process runs")


def test_for_what_a_snapshot_names_and_is_gone_nothing_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is so of every job whose host lost its supervisors, and a view of all processes takes long."""
    monkeypatch.setattr(presence, "ProcessView", None)
    gone = ProcessSnapshot(1.0, (SeenProcess(2**22, 1),))
    assert look_well(job_here(), lambda _: Presence("gone"), lambda: gone).kind == "gone"


def test_of_a_process_that_a_snapshot_names_with_many_starts_one_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A look at each of thousands took a list of forged records minutes."""
    reads: list[int] = []
    monkeypatch.setattr(presence, "process_start", lambda pid: reads.append(pid) or process_start(pid))
    names = [*((os.getpid(), started) for started in range(1, 1000)), *((2**22 + n, 1) for n in range(1000))]
    forged = ProcessSnapshot(1.0, tuple(SeenProcess(pid, started) for pid, started in names))
    assert look_well(job_here(), lambda _: Presence("gone"), lambda: forged).kind == "gone"
    assert reads == [os.getpid()]


def test_for_what_a_snapshot_names_and_lives_one_look_is_enough_for_many_jobs(
    process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody who writes jobs can have each of thousands name what is always there."""
    views: list[table.ProcessView] = []

    def view() -> table.ProcessView:
        views.append(table.ProcessView())
        return views[-1]

    monkeypatch.setattr(presence, "ProcessView", view)
    monkeypatch.setattr(presence, "_VIEW_SECONDS", 60.0)
    monkeypatch.setattr(presence, "_again", Looks())
    lives = ProcessSnapshot(1.0, (SeenProcess(process.pid, process_start(process.pid)),))
    for _ in range(3):
        assert look_well(job_here(), lambda _: Presence("gone"), lambda: lives).kind == "running"
    assert len(views) == 1


def test_without_the_token_a_mark_counts_for_the_jobs_own_account_alone(
    process: "subprocess.Popen[bytes]",
) -> None:
    assert look(job_here(mark="of-its-claim")).kind == "running"
    assert look(job_here(mark="of-its-claim", account="nobody")).kind == "gone"
    assert look(job_here(account="nobody")).kind == "gone"
    started = process_start(process.pid)
    forged = job_here(
        mark="of-its-claim", account="nobody", supervisor_pid=process.pid, supervisor_started=started
    )
    assert look(forged).kind == "gone"


def test_a_process_with_another_claims_token_is_of_another_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "owners_of", lambda _: (1000, 1000, 1000, 1000))
    wanted = Wanted("j", "t", "here", uid=1000)
    assert wanted.covers(1, Mark("j", None, "t", place="here"))
    assert wanted.covers(1, Mark("j", None, place="here"))
    assert not wanted.covers(1, Mark("j", None, "u", place="here"))
    assert not wanted._replace(uid=None).covers(1, Mark("j", None, place="here"))
    monkeypatch.setattr(table, "owners_of", lambda _: (1000, 1001, 1000, 1000))  # it runs what is setuid
    assert not wanted.covers(1, Mark("j", None, place="here"))
    assert wanted.covers(1, Mark("j", None, "t", place="here"))


def test_millions_of_empty_variables_are_read_at_the_pace_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    block = b"GNJOBS_JOB_ID=j\0X=\0GNJOBS_URL=no" + bytes(8_000_000) + b"GNJOBS_MARK=t\0XGNJOBS_CHILD_ID=c\0"
    monkeypatch.setattr(table, "read_environment", lambda *_: block)
    began = time.thread_time()
    assert read_mark(1) == Mark("j", None, digest_of_mark("t"))
    assert time.thread_time() - began < 1.0  # a split takes seconds
    monkeypatch.setattr(table, "read_environment", lambda *_: b"A=GNJOBS_JOB_ID=x\0GNJOBS_CHILD_ID=c")
    assert read_mark(1) == Mark(None, "c")


BLANK: dict[str, tuple[Callable[[str], bytes], bool]] = {
    "about to run another program": (lambda *_: b"", True),
    "without an environment": (lambda path, _: b"sleep" if path.endswith("cmdline") else b"", False),
    "with a huge environment": (lambda *_: bytes(table._LONGEST_ENVIRONMENT), True),
}


@pytest.mark.parametrize("kind", BLANK)
def test_what_lives_and_shows_nothing_may_be_any_jobs(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    shown, is_unread = BLANK[kind]
    monkeypatch.setattr(proc, "_read_or_nothing", shown)
    mark = read_mark(os.getpid())
    assert mark is not None
    assert (mark == UNREAD) == is_unread
    monkeypatch.undo()
    assert read_mark(2**22 + 1) == Mark(None, None)  # what is gone shows nothing either


def test_what_shows_nothing_for_a_moment_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program that is just beginning, of which there is always one on a busy host."""
    said: defaultdict[int, Iterator[Mark]] = defaultdict(lambda: iter((UNREAD, Mark("j", None))))
    monkeypatch.setattr(table, "read_mark", lambda pid, _: next(said[pid]))
    assert set(table.ProcessView().marks.values()) == {Mark("j", None)}


def test_the_newest_process_is_read_though_no_list_shows_it_any_more(
    process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that forks and ends at once has another pid before the list that named it has been read."""
    monkeypatch.setattr(table, "list_pids", list)
    monkeypatch.setattr(table, "newest_pid", lambda: process.pid)
    assert table.ProcessView().marks == {process.pid: Mark(JOB, None)}
    with ThreadPoolExecutor() as pool:
        monkeypatch.setattr(table, "newest_pid", lambda: pool.submit(threading.get_native_id).result())
        assert table.ProcessView().marks == {}


def test_what_has_begun_while_much_was_read_is_read_too(
    process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process that changes much of its memory makes a look last for seconds."""
    lists = iter([[1], [1, process.pid], [1, process.pid]])
    monkeypatch.setattr(table, "list_pids", lambda: next(lists))
    monkeypatch.setattr(table, "newest_pid", lambda: 1)
    monkeypatch.setattr(table, "_MOST_SECONDS", 0.0)
    assert table.ProcessView().marks[process.pid] == Mark(JOB, None)


def test_a_look_ends_however_quickly_processes_come_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pids = count(2**22 + 1)
    monkeypatch.setattr(table, "list_pids", lambda: [next(pids) for _ in range(10)])
    monkeypatch.setattr(table, "read_entry", lambda _: time.sleep(0.02))
    monkeypatch.setattr(table, "ancestors_and_self", frozenset)
    began = time.monotonic()
    table.ProcessView()
    assert time.monotonic() - began < 5.0  # fifty rounds would take 10 s


def test_a_mark_of_megabytes_costs_some_kilobytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any account can have as many processes with one as it likes."""
    block = b"GNJOBS_JOB_ID=" + "\U0001f600".encode() * 2_000_000
    monkeypatch.setattr(table, "read_environment", lambda *_: block)
    mark = read_mark(1)
    assert mark is not None
    assert len(mark.job or "") == 1024


@pytest.mark.parametrize("most", [0, table._MOST_LONG])
def test_of_what_is_too_long_its_beginning_is_enough_where_that_has_all_of_the_mark(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    marks = [b"GNJOBS_MARK=t", b"GNJOBS_JOB_ID=j", b"GNJOBS_REDIS_URL=redis://h", b"GNJOBS_PREFIX=p"]
    long = b"X=" + 10_000_000 * b"x"
    blocks = [b"\0".join(each) for each in ([*marks, long], [*marks[:3], long, marks[3]])]
    monkeypatch.setattr(table, "_MOST_LONG", most)
    for block, is_read in zip(blocks, (True, False), strict=True):
        monkeypatch.setattr(table, "read_environment", lambda _, length, block=block: block[:length])
        assert (read_mark(1) == UNREAD) != is_read


def test_of_one_accounts_long_environments_no_more_is_read_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Processes may share one, so that it costs nobody but who looks."""
    long = {ENV_JOB: "long"} | {f"X{number}": 100_000 * "x" for number in range(10)}
    many = ["sh", "-c", "for n in 1 2 3 4 5; do sleep 600 & done; wait"]
    with psutil.Popen(many, env=os.environ | long) as leader:
        try:
            wait_for(lambda: len([each for each in leader.children() if each.name() == "sleep"]) == 5)
            pids = [each.pid for each in leader.children()]
            so_far = table.LookSoFar()
            assert {read_mark(pid, so_far) for pid in pids} == {Mark("long", None)}
            monkeypatch.setattr(table, "_MOST_LONG", 3_000_000)
            so_far = table.LookSoFar()
            marks = [read_mark(pid, so_far) for pid in pids]
            assert marks == 3 * [Mark("long", None)] + 2 * [UNREAD]
            assert read_mark(os.getpid(), so_far) == read_mark(os.getpid())
        finally:
            for each in (*leader.children(), leader):
                each.kill()


def test_a_supervisor_that_is_runnable_and_does_not_report_is_late() -> None:
    spins = [sys.executable, "-c", "while True: pass", "gnjobs.supervisor"]
    with subprocess.Popen(spins, env=os.environ | {ENV_JOB: JOB}) as started:
        try:
            job = job_here(supervisor_pid=started.pid, supervisor_started=process_start(started.pid))
            assert wait_for(lambda: look(job) if look(job).kind == "late" else None) == (
                "late",
                f"supervisor {started.pid} waits for a processor",
            )
        finally:
            started.kill()


def test_without_any_it_is_gone() -> None:
    assert look(job_here()).kind == "gone"
    assert look(job_here(pid=os.getpid(), process_started=1, supervisor_pid=1)).kind == "gone"


def test_a_new_session_whose_leader_has_the_pid_of_one_that_is_gone_is_not_the_jobs() -> None:
    with subprocess.Popen(FOREVER, start_new_session=True) as leader:
        try:
            started = wait_for(lambda: process_start(leader.pid))
            seen = {"pid": leader.pid, "supervisor_started": started - 5}
            assert look(job_here(**seen, process_started=started - 1)).kind == "gone"
            assert look(job_here(**seen, process_started=started)).kind == "running"
            assert look(job_here(**seen, process_started=None)).kind == "running"
        finally:
            leader.kill()


def test_another_host_boot_or_namespace() -> None:
    assert look(job_here(host="elsewhere")) == (
        "elsewhere",
        "its processes on elsewhere cannot be seen from here",
    )
    assert look(job_here(boot_id="an earlier one", heartbeat=1.0)).kind == "restarted"
    assert look(job_here(boot_id="another's", heartbeat=time.time())) == (
        "elsewhere",
        f"it runs on another machine that is called {host_name()}",
    )
    assert look(job_here(pid_namespace="pid:[1]")).kind == "elsewhere"
    assert look(Job(id=JOB)).kind == "elsewhere"


def test_a_system_that_shows_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "shows_our_processes", lambda: False)
    assert look(job_here()) == ("elsewhere", "this system does not show its processes")


@needs_hosts
@pytest.mark.parametrize(
    "code", ["ProcessView()", "run_agent(STORE)", "next(kill_job(STORE, 'j', actor=Actor.admin('tux')))"]
)
def test_where_proc_shows_others_under_our_pids_nothing_is_looked_for(code: str) -> None:
    """They would be taken for the job's, and what has these pids here be signalled."""
    imports = (
        "from gnjobs.processes.table import ProcessView\nfrom gnjobs.store import JobStore\n"
        "from gnjobs.control.agent import run_agent\nfrom gnjobs.control.kill import kill_job\n"
        "from gnjobs.records.actor import Actor\nSTORE = JobStore.from_url('unix:///nowhere')\n"
    )
    elsewhere = ["unshare", "--pid", "--fork", sys.executable, "-P"]
    done = subprocess.run([*elsewhere, "-c", imports + code], capture_output=True, text=True)
    assert "NoProcesses: /proc does not show the processes of this pid namespace" in done.stderr
    done = subprocess.run([*elsewhere, "-m", "gnjobs.supervisor"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        "/proc shows another pid namespace than ours, and kills would strike others\n",
    )


def test_nothing_descends_from_what_had_the_pid_of_its_parent_before() -> None:
    """A process may end, and another one get its pid and have children, while a look reads the rest."""
    with subprocess.Popen(["sh", "-c", "sleep 1000; true"]) as parent:
        (child,) = wait_for(psutil.Process(parent.pid).children)
        seen = table.ProcessView().table
        before = seen[parent.pid]._replace(started=seen[parent.pid].started - 1)
        assert list(table.descendants(seen, [parent.pid])) == [(child.pid, parent.pid)]
        assert list(table.descendants(seen | {parent.pid: before}, [parent.pid])) == []
        earlier = seen | {child.pid: seen[child.pid]._replace(parent=os.getpid())}
        below = dict(table.descendants(earlier, [os.getpid()]))
        assert parent.pid in below
        assert child.pid not in below
        child.kill()
        parent.kill()


def test_what_has_ended_since_it_was_read_was_below_its_parent_unless_it_is_older() -> None:
    """Of a chain that forks and ends all the time, each process has ended by then."""
    with subprocess.Popen(["sleep", "1000"]) as child:
        seen = table.read_entry(child.pid)
        child.kill()
    parent = table.read_entry(os.getpid())
    assert seen is not None
    assert parent is not None
    both = {parent.pid: parent, child.pid: seen}
    assert list(table.descendants(both, [parent.pid])) == [(child.pid, parent.pid)]
    older = seen._replace(started=parent.started - 1)
    assert list(table.descendants(both | {child.pid: older}, [parent.pid])) == []


def test_an_empty_command_line_is_no_sign_of_the_kernels_own() -> None:
    with subprocess.Popen([""], executable=sys.executable, stdin=subprocess.PIPE) as process:
        assert traces.may_be_of(process.pid, None, account_name(os.getuid()))


@needs_accounts
@pytest.mark.skipif(
    subprocess.run(["unshare", "-U", "true"], capture_output=True).returncode != 0,
    reason="no user namespace may be made here",
)
@pytest.mark.parametrize(
    ("begin", "account", "may_be"),
    [
        ([], "bin", False),
        (["unshare", "-U", "--map-root-user"], "bin", True),
        (["unshare", "-U", "--map-user=1"], "bin", True),
        (["unshare", "-U", "--map-user=1"], "daemon", False),
    ],
    ids=["outside", "to root of one", "to another account", "to the account itself"],
)
def test_what_is_outside_of_a_user_namespace_may_be_of_accounts_that_are(
    begin: list[str], account: str, may_be: bool
) -> None:
    """As in a container that shows the processes of its host, and in a unit with PrivateUsers=yes."""
    code = "import sys; from gnjobs.processes.traces import may_be_of\n"
    code += "print(may_be_of(int(sys.argv[1]), None, sys.argv[2]))"
    with subprocess.Popen([*AS_NOBODY[:4], "sleep", "1000"]) as process:
        wait_for(lambda: psutil.Process(process.pid).name() == "sleep")
        told = subprocess.check_output([*begin, *python(code, str(process.pid), account)], text=True)
        process.kill()
    assert told == f"{may_be}\n"


def test_nobody_has_the_mark_of_a_younger_process() -> None:
    """That has the pid of the parent that was read before."""
    view = table.ProcessView()
    own, above = view.table[os.getpid()], view.table[os.getppid()]
    assert list(view.lineage(own.pid))[:2] == [own.pid, above.pid]
    view.table[above.pid] = above._replace(started=own.started + 1)
    assert list(view.lineage(own.pid)) == [own.pid]


def test_what_cannot_be_inspected_counts_as_running(
    process: "subprocess.Popen[bytes]", conceal: Callable[..., None]
) -> None:
    """As a curator sees it whose account may not read the environment of www-data's processes."""
    conceal(process.pid)
    started = process_start(process.pid)
    job = job_here(pid=process.pid, process_started=started)
    assert look(job).kind == "hidden"
    assert f"process {process.pid} of {account_name(os.getuid())} runs" in look(job).words
    assert look(job_here(account=None)).kind == "hidden"
    assert look(job_here(account="nobody")).kind == "gone"
    assert started is not None
    assert look(job_here(process_started=started + 1)).kind == "gone"


@pytest.mark.parametrize(("account", "kind"), [("root", "gone"), ("nobody", "hidden"), (None, "hidden")])
def test_what_shows_nothing_to_who_may_look_is_of_no_other_accounts_job(
    process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch, account: str | None, kind: str
) -> None:
    """Nor of a job of root's: any account can have such a process."""
    nobody = user_id("nobody")
    assert nobody is not None
    view = table.ProcessView()
    view.marks[process.pid] = UNREAD
    monkeypatch.setattr(traces, "owners_of", lambda _: (nobody,) * 4)
    assert look(job_here(account=account), view).kind == kind


def test_a_frozen_supervisor_of_which_nothing_can_be_read_is_there(
    process: "subprocess.Popen[bytes]", conceal: Callable[..., None]
) -> None:
    conceal(process.pid)
    job = job_here(supervisor_pid=process.pid, supervisor_started=process_start(process.pid), account="other")
    wait_for(lambda: read_state(process.pid) != "R")
    assert look(job) == ("running", f"supervisor {process.pid} is there and does not report")


def test_a_bystander_whom_a_record_calls_its_supervisor_keeps_no_job_running() -> None:
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        forged = job_here(supervisor_pid=bystander.pid, supervisor_started=process_start(bystander.pid))
        assert look(forged).kind == "gone"
        bystander.kill()


def test_a_process_that_proc_conceals_counts_as_running(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_permitted(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr("os.kill", not_permitted)
    assert look(job_here(pid=2**22 + 1, process_started=1)).kind == "hidden"
    assert look(job_here(pid=os.getpid(), process_started=1)).kind == "gone"


def test_no_pid_that_a_record_holds_is_a_problem() -> None:
    assert look(job_here(pid=2**63, supervisor_pid=2**40, process_started=1)).kind == "gone"
