"""What each role does works with just the rules that `gnjobs acl` prints, and what it must not do is refused."""

import os
import signal
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from gnjobs.control.agent_lock import Holder
from gnjobs.control.kill import kill_job
from gnjobs.errors import LaunchError
from gnjobs.processes.host import host_name, own_account
from gnjobs.records.acl import AclRole, acl_rules
from gnjobs.records.actor import Actor
from gnjobs.records.events import renew_log
from gnjobs.records.layouts import UPLOADER
from gnjobs.store import JobStore, launch_uploader_job
from gnjobs_tui.cli.main import cli
from tests.support.access import Guarded
from tests.support.agents import agent_at_work
from tests.support.command import environment, run
from tests.support.mirror import loaded_mirror
from tests.support.os_accounts import needs_hosts, on_other_host
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, python
from tests.support.terminal import Terminal, gnjobs
from tests.support.uploader_double.web import JOBS_PREFIX, create_job
from tests.support.waiting import wait_for

TUX = Actor.admin("tux")
SLEEP = python("import time; print('ready', flush=True); time.sleep(1000)")
PARENT = """
import sys
from gnjobs import ChildOutput, current_job
from tests.support.child_functions import end_as_told, square
with current_job() as job:
    job.run_children(square, [1, 2], max_workers=2)
    job.run_children(end_as_told, ["raise", "segfault"])
    job.run_children(square, [3], kind="thread")
    with ChildOutput(job.allocate_children(["by hand"])[0]) as child:
        child.fault({"row": 1, "value": "x", "expected": "a number"})
        child.log("slow")
"""

PARENT_OF_THREADS = """
from gnjobs import ChildOutput, current_job
from tests.support.child_functions import end_as_told
with current_job() as job:
    job.run_children(end_as_told, ["raise"], kind="thread")
    with ChildOutput(job.allocate_children(["by hand"])[0]) as child:
        child.fault({"row": 1, "value": "x", "expected": "a number"})
"""


def do(url: str, *arguments: str) -> Result:
    """Run a command of the command line in this process."""
    return CliRunner().invoke(cli, [*arguments, "--redis-url", url])


def check_nothing_was_refused(guarded: Guarded) -> None:
    assert guarded.refused() == set()


def check_no_less_would_do(guarded: Guarded, role: AclRole, but: Collection[str] = ()) -> None:
    """Every command of the role was called since the last look."""
    rules = acl_rules(role, [KEYS], ["u"]).replace(")", "").split()
    commands = {rule.removeprefix("+") for rule in rules if rule.startswith("+")}
    assert commands - guarded.used() <= set(but)


@pytest.fixture
def sleeper(guarded: Guarded) -> Iterator[SupervisedJob]:
    """A job of jsmith, under a supervisor with a writer's rules."""
    job = supervise(guarded, SLEEP)
    yield job
    job.end()


def supervise(guarded: Guarded, command: list[str]) -> SupervisedJob:
    job = SupervisedJob(guarded.server, command, user_id="jsmith")
    job.url = guarded.as_role("writer")
    job.supervise()
    job.wait_for_line("ready")
    wait_for(lambda: job.read().pid)
    return job


@pytest.fixture
def filled(guarded: Guarded) -> dict[str, str]:
    """Jobs that have ended or wait, of today's uploader too: their ids."""
    store = JobStore.from_url(guarded.server.url)
    pending = store.create(["true"], user_id="jsmith", label="waiting")
    uploaded = create_job(guarded.admin, ["true"], "qc", stdout="words")
    guarded.admin.rpush(f"{KEYS.job(uploaded)}:geno:errors:a.tsv", "wrong")
    guarded.admin.set(f"{KEYS.job(uploaded)}:geno:logs:a.tsv", "words")
    command = python(PARENT_OF_THREADS)
    with_children = SupervisedJob(guarded.server, command, user_id="jsmith", label="parent")
    with_children.supervise()
    with_children.wait_for()
    with_children.end()
    return {"pending": pending.id, "uploaded": uploaded, "parent": with_children.id}


def look_at_everything(url: str, filled: dict[str, str]) -> None:
    """What every reader does: commands, and the change feed."""
    for arguments in (("ls",), ("ls", "--json"), ("ls", "--filter", "state:failed"), ("users",), ("log",)):
        assert do(url, *arguments).exit_code == 0
    for job_id in filled.values():
        for arguments in (
            ("show",),
            ("show", "--json"),
            ("show", "--faults"),
            ("logs",),
            ("logs", "-n", "5"),
        ):
            assert do(url, arguments[0], job_id, *arguments[1:]).exit_code == 0, arguments
        assert do(url, "rerun", job_id).exit_code == 0
    assert do(url, "show", filled["parent"][:8]).exit_code == 0
    assert do(url, "wait", filled["parent"]).exit_code == 0
    assert do(url, "logs", "-f", filled["parent"]).exit_code == 0
    with loaded_mirror(
        url, layouts={KEYS.prefix: msgspec.structs.replace(UPLOADER, expires_after=1e6)}
    ) as mirror:
        assert set(filled.values()) <= {row.id for row in mirror.rows().values()}
        assert mirror.state == "live"


def see_the_dashboard(url: str) -> None:
    with Terminal(gnjobs(), 120, 40, environment(url)) as terminal:
        terminal.wait_for("live")
        for keys, shown in (
            ("/parent\r", "> ✗ failed"),
            ("\r", "by hand"),
            ("e", "a number"),
            ("q", "by hand"),
        ):
            terminal.send(keys)
            terminal.wait_for(shown)


def test_a_viewer_reads_everything_and_changes_nothing(guarded: Guarded, filled: dict[str, str]) -> None:
    url = guarded.as_role("viewer")
    guarded.used()
    look_at_everything(url, filled)
    see_the_dashboard(url)
    check_nothing_was_refused(guarded)
    # For what is idle, what runs, and agents.
    check_no_less_would_do(guarded, "viewer", but={"ping", "xread", "get"})
    said = run(url, "kill", filled["pending"])
    assert said.returncode == 1
    assert "Redis did not take the status: " in said.stdout
    for arguments in (("rm", filled["parent"]), ("run", "--", "true")):
        done = run(url, *arguments)
        assert done.returncode == 4, done.stderr
        assert "Redis does not allow it" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_rule_for_another_database_opens_that_one(own_server: Server) -> None:
    urls = [own_server.url.removesuffix("0") + number for number in "34"]
    rule = do(urls[0], "acl", "viewer").stdout.split()
    with own_server.client() as admin:
        admin.execute_command(*rule, ">secret")
    codes = [do(url.replace("//", "//gnjobs-viewer:secret@"), "ls").exit_code for url in urls]
    assert codes == [0, 1]


def test_a_writer_runs_jobs_with_children(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNJOBS_ON_END", f"sh -c 'cat > {tmp_path}/told'")
    job = SupervisedJob(guarded.server, python(PARENT), user_id="jsmith", label="parent")
    job.url = guarded.as_role("writer")
    guarded.used()
    try:
        job.supervise().wait(60)
        # Of an output that grew long, a record that was removed, requests, and what Slurm starts again; of lists
        # that the job's code fills; of outputs that old readers find in the record.
        rare = {"type", "memory|usage", "del", "xread", "xrevrange", "hdel", "llen", "dbsize", "scan"}
        check_no_less_would_do(guarded, "writer", but=rare)
        assert job.read().status == "error"  # two of its children failed
        assert '"label":"parent"' in (tmp_path / "told").read_text()
        check_nothing_was_refused(guarded)
    finally:
        job.end()


@pytest.fixture
def as_jsmith(tmp_path: Path) -> tuple[str, str]:
    """The option by which whoever runs this is a curator of jsmith's jobs."""
    own = tmp_path / "config.toml"
    own.write_text(f"[users]\n{own_account()} = 'jsmith'\n")
    return "--config", str(own)


@pytest.mark.parametrize("role", ["curator", "admin", "web"])
def test_who_may_kill_does_so_through_the_supervisor(
    guarded: Guarded, sleeper: SupervisedJob, role: AclRole, as_jsmith: tuple[str, str]
) -> None:
    url = guarded.as_role(role, "jsmith")
    options = () if role == "admin" else as_jsmith
    done = run(url, "kill", sleeper.id, "--reason", "runaway", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sleeper.read().status == "killed"
    check_nothing_was_refused(guarded)


def test_a_curator_who_ends_an_orphan_is_told_that_its_end_can_not_be_written(
    guarded: Guarded, sleeper: SupervisedJob, as_jsmith: tuple[str, str]
) -> None:
    url = guarded.as_role("curator", "jsmith")
    sleeper.processes[0].kill()
    sleeper.processes[0].wait()
    done = run(url, "kill", sleeper.id, "--grace", "1", *as_jsmith)
    assert done.returncode == 1, done.stdout
    assert "Redis did not take the status: " in done.stdout
    assert sleeper.alive() == []


@needs_hosts
def test_a_curator_elsewhere_is_answered_by_the_agent_where_the_supervisor_is_dead(
    guarded: Guarded, sleeper: SupervisedJob, as_jsmith: tuple[str, str]
) -> None:
    url = guarded.as_role("curator", "jsmith")
    sleeper.processes[0].kill()
    sleeper.processes[0].wait()
    guarded.admin.hset(KEYS.job(sleeper.id), "heartbeat", 1)
    with agent_at_work(JobStore.from_url(guarded.as_role("agent")), guarded.admin):
        kill = gnjobs("kill", sleeper.id, "--redis-url", url, "--grace", "1", *as_jsmith)
        done = subprocess.run(on_other_host(*kill), capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sleeper.alive() == []
    assert sleeper.read().stop_by == f"jsmith ({own_account()})"
    check_nothing_was_refused(guarded)


def test_an_admin_kills_what_nobody_answers_for(
    guarded: Guarded, sleeper: SupervisedJob, filled: dict[str, str]
) -> None:
    url = guarded.as_role("admin")
    sleeper.processes[0].kill()
    sleeper.processes[0].wait()
    guarded.used()
    assert run(url, "kill", sleeper.id, "--grace", "1").returncode == 0
    assert run(url, "kill", filled["pending"]).returncode == 0
    assert "it is marked as killed" in run(url, "kill", filled["uploaded"]).stdout
    assert run(url, "rm", filled["parent"]).returncode == 0
    check_nothing_was_refused(guarded)


def test_the_code_of_a_stored_job_gets_a_writers_url(guarded: Guarded) -> None:
    """With the application's it could ask in the name of any user."""
    job_id = create_job(guarded.admin, ["sh", "-c", "echo $GNJOBS_REDIS_URL"], "demo")
    web, writer = guarded.as_role("web"), guarded.as_role("writer")
    launch_uploader_job(web, JOBS_PREFIX, job_id, writer_url=writer)
    record = KEYS.job(job_id)
    assert wait_for(lambda: guarded.admin.hget(record, "stdout")) == f"{writer}\n".encode()
    check_nothing_was_refused(guarded)


def test_an_agent_is_asked_to_start_a_stored_job_by_the_application_itself(guarded: Guarded) -> None:
    """A writer may not ask it."""
    job_id = create_job(guarded.admin, ["true"], "demo")
    web, writer = guarded.as_role("web"), guarded.as_role("writer")
    agent = JobStore.from_url(guarded.as_role("agent"))
    answered = pytest.raises(LaunchError, match="its configuration allows no command with this beginning")
    with agent_at_work(agent, guarded.admin), answered:
        launch_uploader_job(web, JOBS_PREFIX, job_id, "agent", writer_url=writer)
    check_nothing_was_refused(guarded)


def test_a_web_application_starts_jobs_and_removes_them(guarded: Guarded, filled: dict[str, str]) -> None:
    url = guarded.as_role("web")
    look_at_everything(url, filled)
    done = run(url, "run", "--user", "jsmith", "--", "true")
    assert done.returncode == 0, done.stderr
    assert run(url, "rm", done.stdout.split()[0]).returncode == 0
    check_nothing_was_refused(guarded)


def test_an_agent_kills_a_job_whose_supervisor_is_frozen(guarded: Guarded, sleeper: SupervisedJob) -> None:
    sleeper.processes[0].send_signal(signal.SIGSTOP)
    agent = JobStore.from_url(guarded.as_role("agent"))
    steps = list(kill_job(agent, sleeper.id, actor=TUX, grace=1.0, supervisor_timeout=0.5, as_agent=True))
    assert steps[-1].verified, steps
    assert sleeper.read().status == "killed"
    assert sleeper.alive() == []
    check_nothing_was_refused(guarded)


@pytest.mark.faults
def test_an_agent_begins_a_log_anew_whose_last_entry_is_of_the_future_and_too_large(guarded: Guarded) -> None:
    fill = "redis.call('xadd', KEYS[1], '18446744073709551615-1', 'text', string.rep('x', 83886080))"
    guarded.admin.eval(fill, 1, KEYS.events)
    assert renew_log(JobStore.from_url(guarded.as_role("agent")).client, KEYS)
    assert not guarded.admin.exists(KEYS.events)
    check_nothing_was_refused(guarded)


def test_what_a_writer_may_not_read_in_place_of_an_output_keeps_no_job_from_its_end(guarded: Guarded) -> None:
    job = SupervisedJob(guarded.server, SLEEP, user_id="jsmith", mirror_output="stdout stderr")
    job.url = guarded.as_role("writer")
    job.supervise()
    job.wait_for_line("ready")
    guarded.admin.unlink(KEYS.output(job.id))
    guarded.admin.set(KEYS.output(job.id), "x")
    os.kill(wait_for(lambda: job.read().pid), signal.SIGKILL)
    assert job.wait_for().status == "error"
    job.end()


def test_an_agent_does_all_its_work(guarded: Guarded, sleeper: SupervisedJob) -> None:
    url = guarded.as_role("agent")
    lost = supervise(guarded, SLEEP)
    for job in (sleeper, lost):
        job.processes[0].kill()
        job.processes[0].wait()
    os.kill(lost.read().pid, signal.SIGKILL)
    guarded.admin.hset(KEYS.job(lost.id), "heartbeat", 1)
    guarded.used()
    another = Holder("another", 1, boot="another")  # which is waited for, since it can't be looked at
    guarded.admin.set(KEYS.host_agent(host_name()), msgspec.json.encode(another), px=5000)
    with subprocess.Popen(gnjobs("agent", "--redis-url", url)) as agent:
        lost.wait_for("lost")
        steps = list(kill_job(JobStore.from_url(guarded.as_role("admin")), sleeper.id, actor=TUX, grace=1))
        assert steps[-1].verified, steps
        agent.terminate()
    assert agent.returncode == 0
    # For requests, Slurm, ended logs, ends of other programs' jobs.
    check_no_less_would_do(guarded, "agent", but={"xread", "xrange", "xrevrange", "hdel", "rename", "hsetnx"})
    check_nothing_was_refused(guarded)
    lost.end()
