"""Jobs that an agent starts: what its configuration allows, where, as whom, and nothing else."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gnjobs.control import starts as starting
from gnjobs.control.starts import start_for_agent
from gnjobs.errors import LaunchError
from gnjobs.processes.host import host_name
from gnjobs.records.actor import AgentStarts
from gnjobs.store import JobStore
from gnjobs.supervisor import launch as launching
from gnjobs.supervisor.launch import launch
from gnjobs.supervisor.setup import digest_of
from tests.support.agents import agent_at_work
from tests.support.os_accounts import AS_NOBODY, needs_accounts
from tests.support.supervised import KEYS
from tests.support.waiting import wait_for


def test_a_job_is_started_only_where_the_configuration_allows_its_command(store: JobStore) -> None:
    job = store.create(["touch", "/tmp/of-an-agent"])
    refused = pytest.raises(LaunchError, match="its configuration allows no command with this beginning")
    with agent_at_work(store), refused:
        launch(job, via="agent", store=store)
    assert store.get(job.id).status == "pending"


TRUE_HERE = AgentStarts(directories=(os.getcwd(),), commands=("true",), url="redis://localhost/0")


def test_nothing_is_started_in_a_directory_that_a_record_chose(store: JobStore) -> None:
    """`python3 -m scripts.qc` runs whatever the directory holds."""
    job = store.create(["true"], cwd="/tmp")
    with pytest.raises(LaunchError, match="in this directory"):
        start_for_agent(job, store, {"nobody": TRUE_HERE}, digest_of(job))


@pytest.mark.parametrize("user", ["a\0b", "a:b", "\ud800"])
def test_nothing_is_started_for_what_is_no_user_id(store: JobStore, user: str) -> None:
    job = msgspec.structs.replace(store.create(["true"]), user=user)
    with pytest.raises(LaunchError, match="which is not a user id"):
        start_for_agent(job, store, {"nobody": TRUE_HERE}, digest_of(job))


def test_nothing_is_started_with_a_url_that_the_agent_may_not_read(store: JobStore) -> None:
    starts = {"nobody": msgspec.structs.replace(TRUE_HERE, url=None, problem="it is no file")}
    job = store.create(["true"])
    with pytest.raises(
        LaunchError, match=r"can't read the url-file of \[agent-starts\.nobody\]: it is no file"
    ):
        start_for_agent(job, store, starts, digest_of(job))


def test_nothing_is_started_as_root_whatever_is_asked_and_allowed(store: JobStore) -> None:
    job = store.create(["true"])
    with pytest.raises(LaunchError, match="nothing is run as root"):
        start_for_agent(job, store, {"root": TRUE_HERE}, digest_of(job))
    with pytest.raises(LaunchError, match="there is no account"):
        start_for_agent(job, store, {"no-such-account": TRUE_HERE}, digest_of(job))
    assert store.get(job.id).status == "pending"


@pytest.mark.parametrize(
    "changed", [{"command": "true more"}, {"cwd": os.getcwd()}, {"user-id": "mallory"}, {"job-type": "qc"}]
)
def test_nothing_is_started_that_its_record_says_only_since_it_was_asked_for(
    store: JobStore, changed: dict[str, str]
) -> None:
    job = store.create(["true"], user_id="jane")
    store.client.hset(KEYS.job(job.id), mapping=changed)
    with agent_at_work(store), pytest.raises(LaunchError, match="says something other than what was asked"):
        launch(job, via="agent", store=store)
    assert store.get(job.id).launched is None


AGENT = (
    "import os, sys; from gnjobs.control.agent import run_agent; from gnjobs.store import JobStore\n"
    "from gnjobs.records import accounts\n"
    "accounts._without_capabilities = tuple\n"  # an interpreter in root's home takes one to begin
    "from gnjobs.records.actor import AgentStarts\n"
    "starts = AgentStarts(directories=(os.getcwd(),), commands=('sh -c',), url=sys.argv[1] + '?socket_timeout=4')\n"
    "run_agent(JobStore.from_url(sys.argv[1]), starts={'nobody': starts})"
)


SESSION = """
import ctypes, os, subprocess
from gnjobs.records.accounts import as_account
keyctl, add_key = (250, 248) if os.uname().machine == "x86_64" else (219, 217)
call = ctypes.CDLL(None).syscall
assert call(keyctl, 1, b"of-a-login") > 0, "a session's keyring, as a login has it"
assert call(add_key, b"user", b"of-root", b"secret", 6, ctypes.c_int(-3)) > 0
look = ["grep", "-c", "of-root", "/proc/keys"]
for begin in (lambda: ("setpriv", "--reuid=65534")), (lambda: as_account("nobody").words):
    print(subprocess.run([*begin(), *look], capture_output=True, text=True, cwd="/").stdout.strip())
"""


@pytest.mark.skipif(
    os.getuid() != 0 or os.uname().machine not in ("x86_64", "aarch64") or not Path("/proc/keys").exists(),
    reason="needs root and a kernel that keeps keys",
)
def test_who_is_started_as_another_account_has_none_of_roots_keys() -> None:
    done = subprocess.run([sys.executable, "-c", SESSION], capture_output=True, text=True)
    if "AssertionError" in done.stderr:
        pytest.skip("this container may keep no keys")
    assert done.stdout.split() == ["1", "0"], done.stderr


IDS = """
import subprocess, sys
from gnjobs.processes.stack import _as_account_of
from gnjobs.records.accounts import as_account
for words in as_account("nobody").words, _as_account_of(int(sys.argv[1])):
    print(subprocess.run([*words, "sh", "-c", "id -u; id -g"], capture_output=True, text=True, cwd="/").stdout)
"""


@needs_accounts
def test_an_account_whose_numbers_are_names_of_others_is_none_of_these(tmp_path: Path) -> None:
    """Accounts may be called by numbers, as students are."""
    nobody = pwd.getpwnam("nobody")
    for name, line in ("passwd", f"{nobody.pw_uid}:x:1:1::/:/bin/sh\n"), ("group", f"{nobody.pw_gid}:x:1:\n"):
        (tmp_path / name).write_text(Path("/etc", name).read_text() + line)
    script = "mount --bind passwd /etc/passwd && mount --bind group /etc/group"
    elsewhere = ["unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh"]
    with subprocess.Popen(
        [*AS_NOBODY, "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        command = [*elsewhere, sys.executable, "-c", IDS, str(process.pid)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        process.kill()
    assert done.stdout.split() == 2 * [str(nobody.pw_uid), str(nobody.pw_gid)], done.stderr


@needs_accounts
def test_an_account_has_the_groups_of_its_name_and_not_those_of_another_name_of_its_number(
    tmp_path: Path,
) -> None:
    nobody = pwd.getpwnam("nobody")
    lines = {
        "passwd": f"twin:x:{nobody.pw_uid}:4001::/:/bin/sh\n",
        "group": "g:x:4002:nobody\nh:x:4003:twin\n",
    }
    for name, line in lines.items():
        (tmp_path / name).write_text(Path("/etc", name).read_text() + line)
    script = "mount --bind passwd /etc/passwd && mount --bind group /etc/group"
    code = "import subprocess; from gnjobs.records.accounts import as_account\n"
    code += "subprocess.run([*as_account('twin').words, 'id', '-G'], cwd='/')"
    command = ["unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["4001", "4003"], done.stderr


OF_A_UNIT = "-all,+kill,+dac_read_search,+setuid,+setgid"
CAPABILITIES = """
import subprocess
from gnjobs.records.accounts import as_account, as_we_are
from gnjobs.records.hooks import _begin
for begin in as_we_are, lambda: _begin(None, as_ourselves=False), lambda: as_account("daemon"):
    subprocess.run([*begin().words, "sh", "-c", "id -un; grep -E 'Cap(Inh|Eff|Amb)' /proc/self/status"], cwd="/")
"""


@needs_accounts
def test_nobody_has_the_capabilities_of_an_agent_that_starts_what_is_theirs() -> None:
    """As a unit may give them to one that is not root."""
    of_a_unit = [*AS_NOBODY[:-2], f"--inh-caps={OF_A_UNIT}", f"--ambient-caps={OF_A_UNIT}"]
    done = subprocess.run([*of_a_unit, sys.executable, "-c", CAPABILITIES], capture_output=True, text=True)
    none = ["CapInh:", 16 * "0", "CapEff:", 16 * "0", "CapAmb:", 16 * "0"]
    assert done.stdout.split() == ["nobody", *none, "nobody", *none, "daemon", *none], done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another account")
def test_a_directory_is_entered_by_the_account_alone(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its place may stand a link by now, to where the account may not go, and an agent that is root may."""
    monkeypatch.setattr(
        launching, "supervisor_command", lambda: ["sh", "-c", "echo $PWD $GNJOBS_DIRECTORY >&2"]
    )
    job = store.create(["true"])
    starts = {"nobody": AgentStarts(directories=("/root/of-root",), commands=("true",), url=store.url)}
    with pytest.raises(LaunchError, match=r"could not be started: / /root/of-root$"):
        start_for_agent(job, store, starts, digest_of(job))


@needs_accounts
def test_what_an_account_stops_before_it_begins_is_waited_for_no_longer_than_any(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stopped = tmp_path / "setpriv"
    stopped.write_text("#!/bin/sh\nkill -STOP $$\n")
    stopped.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(starting, "_STARTING_SECONDS", 0.5)
    job = store.create(["true"])
    with pytest.raises(LaunchError, match="it ended at once"):
        start_for_agent(job, store, {"nobody": TRUE_HERE}, digest_of(job))


@needs_accounts
def test_an_allowed_job_is_started_as_the_agents_own_account(store: JobStore) -> None:
    job = store.create(["sh", "-c", "id -un; echo $GNJOBS_REDIS_URL; pwd"])
    with subprocess.Popen([*AS_NOBODY, sys.executable, "-c", AGENT, store.url]) as process:
        try:
            wait_for(lambda: store.client.zscore(KEYS.hosts, host_name()))
            launch(job, via="agent", store=store)
            wait_for(lambda: store.get(job.id).is_final)
        finally:
            process.terminate()
    assert [line.text for line in store.output(job.id).read(1, 10)] == [
        "nobody",
        f"{store.url}?socket_timeout=4",
        os.getcwd(),
    ]
    assert store.get(job.id).account == "nobody"
