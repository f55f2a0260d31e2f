"""Several hosts, each with its own network, host name, pids and mounts: agents, jobs started there, a death."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnjobs.store import JobStore
from tests.support.command import environment, run
from tests.support.os_accounts import needs_accounts, needs_hosts
from tests.support.servers import BINARIES, Server, running_server
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
# A cable to the server's host is all the network there is.
_BOOT = (
    """
until ip link set eth0 up 2>/dev/null; do sleep 0.05; done
ip addr add "$1/32" dev eth0; ip route add "$2" dev eth0; shift 2
"""
    + _MOUNT
    + '"$@" & while :; do wait; sleep 0.1; done'
)
# Of the network that is set aside for tests of devices; each host has the address that its number makes.
_NETWORK = "198.18.77"


def ip(*words: str) -> int:
    """Change this host's network; returns the exit code."""
    return subprocess.run(["ip", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def can_make_networks() -> bool:
    """Whether a network namespace with a cable may be made here."""
    if shutil.which("ip") is None or ip("link", "add", "gnjobs-try", "type", "veth") != 0:
        return False
    ip("link", "del", "gnjobs-try")
    return subprocess.run(["unshare", "--net", "true"]).returncode == 0


@contextlib.contextmanager
def host(number: int, etc: Path, server: Server) -> Iterator["subprocess.Popen[bytes]"]:
    """A host with an agent, db1 or db2 by its number; its end takes everything on it along."""
    spaces = ["unshare", "--net", "--uts", "--pid", "--fork", "--mount", "--kill-child"]
    cable, address = f"gnjobs-db{number}", f"{_NETWORK}.{10 + number}"
    booted = ["sh", "-c", _BOOT, "sh", address, f"{_NETWORK}.1", f"db{number}", str(etc), sys.base_prefix]
    machine = subprocess.Popen([*spaces, *booted, *gnjobs("agent")], env=environment(server.url))
    try:
        wait_for(lambda: os.readlink(f"/proc/{machine.pid}/ns/net") != os.readlink("/proc/self/ns/net"), 30)
        assert (
            ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(machine.pid)) == 0
        )
        assert ip("link", "set", cable, "up") == 0
        assert ip("route", "add", address, "dev", cable) == 0
        yield machine
    finally:
        machine.kill()
        machine.wait()
        ip("link", "del", cable)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that other hosts can reach."""
    place = f"{_NETWORK}.1"
    reached = ("--bind", "127.0.0.1", place, "--protected-mode", "no")
    try:
        assert ip("addr", "add", f"{place}/32", "dev", "lo") == 0
        with running_server(tmp_path / "server", BINARIES["valkey"], *reached) as running:
            running.url = f"redis://{place}:{running.port}/0"
            yield running
    finally:
        ip("addr", "del", f"{place}/32", "dev", "lo")


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
@pytest.mark.skipif(not can_make_networks(), reason="no network may be made here")
def test_jobs_run_on_the_host_that_is_asked_for_and_a_dead_host_is_seen(
    server: Server, store: JobStore, etc: Path
) -> None:
    with host(1, etc, server), host(2, etc, server) as second:
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
