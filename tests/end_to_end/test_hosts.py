"""Several hosts, each in namespaces of its own for host names, pids and mounts: agents, jobs started there, a death."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnjobs.store import JobStore
from tests.support.command import environment, run
from tests.support.os_accounts import needs_accounts, needs_hosts
from tests.support.servers import Server
from tests.support.terminal import gnjobs
from tests.support.waiting import wait_for

# What only root writes, and what agents there read: put over /etc/gnjobs, in the host's own mounts alone.
SYSTEM = """\
[roles]
admin = ["root"]
[agent-starts.nobody]
directories = ["%s"]
commands = ["sleep"]
url = "%s"
"""
# Python may lie in a home that nobody else may enter: there it can be entered, and holds nothing but Python.
_MOUNT = """
hostname "$1"; mount -t proc proc /proc; mount --bind "$2" /etc
mount --bind "$3" /mnt; mount -t tmpfs -o mode=755 none /root; mkdir -p "$3"; mount --bind /mnt "$3"; shift 3
"""
_BOOT = _MOUNT + '"$@" & while :; do wait; sleep 0.1; done'


@contextlib.contextmanager
def host(name: str, etc: Path, server: Server) -> Iterator["subprocess.Popen[bytes]"]:
    """A host with an agent; its end takes everything on it along."""
    spaces = ["unshare", "--uts", "--pid", "--fork", "--mount", "--kill-child", "sh", "-c", _BOOT, "sh"]
    machine = subprocess.Popen(
        [*spaces, name, str(etc), sys.base_prefix, *gnjobs("agent")], env=environment(server.url)
    )
    try:
        yield machine
    finally:
        machine.kill()
        machine.wait()


@pytest.fixture
def etc(tmp_path: Path, server: Server) -> Path:
    """A copy of what agents need of /etc, with our configuration."""
    place = tmp_path / "etc"
    (place / "gnjobs").mkdir(parents=True)
    (place / "gnjobs" / "config.toml").write_text(SYSTEM % (os.getcwd(), server.url))
    for name in ("passwd", "group", "nsswitch.conf", "hosts"):
        if (found := Path("/etc") / name).exists():
            (place / name).write_bytes(found.read_bytes())
    tmp_path.chmod(0o755)
    return place


def listed(server: Server) -> dict[str, dict[str, object]]:
    """What `gnjobs hosts` says of each."""
    said = run(server.url, "hosts", "--json").stdout
    return {str(found["host"]): found for found in map(json.loads, said.splitlines())}


@pytest.mark.faults
@needs_hosts
@needs_accounts
def test_jobs_run_on_the_host_that_is_asked_for_and_a_dead_host_is_seen(
    server: Server, store: JobStore, etc: Path
) -> None:
    with host("db1", etc, server), host("db2", etc, server) as second:
        wait_for(lambda: {"db1", "db2"} <= set(listed(server)), 60, "both agents")
        for name in ("db1", "db2"):
            started = run(
                server.url, "run", "--host", name, "--detach", "--id", f"on-{name}", "--", "sleep", "600"
            )
            assert started.returncode == 0, started.stderr
            wait_for(lambda name=name: store.get(f"on-{name}").pid, 60, f"a process on {name}")
            assert (store.get(f"on-{name}").host, store.get(f"on-{name}").account) == (name, "nobody")
        refused = run(server.url, "run", "--host", "db1", "--detach", "--", "sh", "-c", "true")
        assert refused.returncode == 1
        assert "starts no such job" in refused.stderr
        found = listed(server)
        assert {found[name]["agent"] for name in ("db1", "db2")} == {"answers"}
        assert [(found[name]["running"], found[name]["silent"]) for name in ("db1", "db2")] == [
            (1, 0),
            (1, 0),
        ]
        assert found["db1"]["load"]["cores"] > 0
        second.kill()
        second.wait()
        wait_for(lambda: listed(server)["db2"]["silent"] == 1, 60, "a silent job")
        assert run(server.url, "kill", "on-db1").returncode == 0
        assert store.get("on-db1").status == "killed"
