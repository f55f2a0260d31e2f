"""A Slurm cluster of its own for tests: munged, slurmctld and nodes with host names, stopped by their own pids.

Each node is a slurmd in namespaces of its own: of host names, so that jobs run on "other hosts", and of pids, so that
its end takes everything on it along, as that of a machine does.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.support.os_accounts import can_change_host
from tests.support.servers import free_port
from tests.support.waiting import wait_for

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "unshare")
NODES = ("n1", "n2")
# A first process of a node that waits for whatever is left to it, as an init does, and ends with its slurmd's restarts.
_INIT = 'hostname "$1" && shift && mount -t proc proc /proc && "$@" & while :; do wait; sleep 0.1; done'


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


def _program(name: str) -> str | None:
    return shutil.which(name, path=_path())


@cache
def why_no_slurm() -> str:
    """What is missing for a cluster; empty where it can be started."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"Slurm's tests need {', '.join(missing)} (Debian: slurmctld slurmd slurm-client munge)"
    if os.geteuid() != 0 or not can_change_host():
        return "Slurm's tests need root, who may make nodes out of namespaces"
    return ""


needs_slurm = pytest.mark.skipif(bool(why_no_slurm()), reason=why_no_slurm())

_CONFIGURATION = """\
ClusterName=gnjobs
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=100000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout={node_timeout}
KillWait={kill_wait}
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=hidden Nodes=ALL Hidden=YES State=UP
"""


class Cluster:
    """One controller and its nodes, in a directory of their own."""

    def __init__(self, place: Path, *, cpus: int = 8, node_timeout: int = 10, kill_wait: int = 20) -> None:
        self.place = place
        self.configuration = place / "slurm.conf"
        self.environment = {"SLURM_CONF": str(self.configuration), "PATH": _path()}
        self._cpus = cpus
        self._times = {"node_timeout": node_timeout, "kill_wait": kill_wait}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> "Cluster":
        """Start everything and wait until the nodes take jobs."""
        (self.place / "state").mkdir()
        ports = {name: free_port() for name in (*NODES, "controller")}
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={name} NodeAddr=127.0.0.1 Port={ports[name]} CPUs={self._cpus} "
            "RealMemory=16000 State=UNKNOWN"
            for name in NODES
        )
        text = _CONFIGURATION.format(place=self.place, port=ports["controller"], nodes=nodes, **self._times)
        self.configuration.write_text(text)
        self._start_munge()
        self.start_controller()
        for name in NODES:
            self.start_node(name)
        wait_for(self.is_ready, 60, "a cluster whose nodes are idle")
        return self

    def _start_munge(self) -> None:
        key = self.place / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))
        files = {"key-file": key, "socket": self.place / "munge.socket", "pid-file": self.place / "munge.pid"}
        files |= {"log-file": self.place / "munge.log", "seed-file": self.place / "munge.seed"}
        options = [f"--{name}={path}" for name, path in files.items()]
        self._start("munge", ["munged", "--foreground", "--force", *options])
        wait_for((self.place / "munge.socket").exists, 20, "munged's socket")

    def start_controller(self) -> None:
        """Start slurmctld, with the state of an earlier one."""
        self._start("controller", ["slurmctld", "-D", "-f", str(self.configuration)])

    def start_node(self, name: str) -> None:
        """Start a node, again after it was killed."""
        slurmd = ["slurmd", "-D", "-N", name, "-f", str(self.configuration)]
        spaces = ["unshare", "--uts", "--pid", "--fork", "--mount", "--kill-child"]
        self._start(name, [*spaces, "sh", "-c", _INIT, "sh", name, *slurmd])

    def _start(self, name: str, command: list[str]) -> None:
        program = _program(command[0]) or command[0]
        with (self.place / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                [program, *command[1:]],
                env={**self.environment, "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        """Whether all nodes are there and have nothing to do."""
        dead = [name for name, process in self._daemons.items() if process.poll() is not None]
        assert not dead, f"{dead[0]} has ended: {(self.place / f'{dead[0]}.out').read_text()[-800:]}"
        found = self.run("sinfo", "--noheader", "--Node", "--partition=main", "--format=%t", check=False)
        return found.split() == ["idle"] * len(NODES)

    def run(self, *command: str, check: bool = True, env: Mapping[str, str] | None = None) -> str:
        """Run one of Slurm's commands; returns what it printed."""
        environment = {**os.environ, **self.environment, **(env or {})}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{command[0]}: {done.stderr}"
        return done.stdout

    def kill_node(self, name: str) -> None:
        """Take a node away with everything that runs on it, as a power cut does."""
        self._end(self._daemons.pop(name))

    def slurmd_pid(self, name: str) -> int:
        """The pid, as it is seen from here, of a node's slurmd."""
        (init, *_) = self._children(self._daemons[name].pid)
        for child in self._children(init):
            if Path(f"/proc/{child}/comm").read_text().strip() == "slurmd":
                return child
        raise AssertionError(f"no slurmd on {name}")

    def restart_slurmd(self, name: str) -> None:
        """End a node's daemon alone, whose jobs go on without it, and start another one on the same node."""
        pid = self.slurmd_pid(name)
        (init, *_) = self._children(self._daemons[name].pid)
        os.kill(pid, signal.SIGKILL)
        slurmd = [_program("slurmd") or "slurmd", "-D", "-N", name, "-f", str(self.configuration)]
        inside = ["nsenter", f"--target={init}", "--uts", "--pid", "--mount", *slurmd]
        self._start(f"{name}-again", inside)

    @staticmethod
    def _children(pid: int) -> list[int]:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @staticmethod
    def _end(process: "subprocess.Popen[bytes]") -> None:
        """End a daemon; the first process of a node goes with the `unshare` that made it."""
        process.kill()
        process.wait()

    def stop_controller(self) -> None:
        """Let the controller save its state and end."""
        process = self._daemons.pop("controller")
        process.send_signal(signal.SIGTERM)
        process.wait(30)

    def stop(self) -> None:
        """End everything that was started."""
        for name in sorted(self._daemons, key=lambda name: name == "munge"):
            self._end(self._daemons[name])
        self._daemons.clear()


@contextlib.contextmanager
def running_cluster(**options: int) -> Iterator[Cluster]:
    """A cluster for the time of a with block."""
    with tempfile.TemporaryDirectory(prefix="gnjobs-slurm-") as place:
        os.chmod(place, 0o755)
        cluster = Cluster(Path(place), **options)
        try:
            yield cluster.start()
        finally:
            cluster.stop()
