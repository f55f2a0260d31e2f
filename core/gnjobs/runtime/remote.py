"""A child that Slurm places: a step of its job on any of its nodes, by `srun`; outside of Slurm a job of its own.

`srun` is the child's process here. It leads to a relay on the node (`python -m gnjobs.runtime.remote`), which starts
the child there as it would be started here, and passes on what it says. Function, item and result go through Slurm's
own channel, never through Redis: nothing that is found there is ever unpickled. When that channel breaks, the relay
ends the child.
"""

import contextlib
import multiprocessing.process
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing import connection, spawn
from types import ModuleType, SimpleNamespace
from typing import Any, Final

from gnjobs.processes.find import processes_of
from gnjobs.processes.table import Wanted
from gnjobs.records.environment import ENV_JOB, ENV_LINES_FD, ENV_MARK, ENV_SLURM_JOB, digest_of_mark
from gnjobs.runtime.process import ChildProcess, MakeChild, Pipe, Started, terminate_all
from gnjobs.supervisor.measure import Measuring

ALIVE: Final = "alive"
_ENDED: Final = "ended"
_LOOK_SECONDS: Final = 10.0
_RELAY: Final = ("-P", "-m", "gnjobs.runtime.remote")
_HOW: Final = frozenset(
    {"sys_path", "sys_argv", "dir", "orig_dir", "init_main_from_name", "init_main_from_path"}
)
_SIGNALLED: Final = 128
_MOST_JOBS: Final = 100
_NODES: Final = re.compile(r"(\d+)(?:\(x(\d+)\))?", re.ASCII)


def workers_in_slurm() -> int:
    """How many children may be at work: one for each processor that Slurm gave the job, outside of it a hundred."""
    if ENV_SLURM_JOB not in os.environ:
        return _MOST_JOBS
    return sum(_cpus_by_node()) or 1


def _cpus_by_node() -> list[int]:
    """The processors on each node, which Slurm writes as `8(x2),4`."""
    found = _NODES.findall(os.environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
    return [int(cpus) for cpus, times in found for _ in range(int(times or 1))]


def srun_command(options: Sequence[str]) -> list[str]:
    """The command that runs a relay: one task with a processor and its share of the memory, or as `options` say."""
    words = ["srun", "--quiet", "--unbuffered", "--nodes=1", "--ntasks=1", "--kill-on-bad-exit=1"]
    if ENV_SLURM_JOB in os.environ:
        words.append("--exact")
        memory, cpus = os.environ.get("SLURM_MEM_PER_NODE", ""), _cpus_by_node()
        if memory.isdecimal() and cpus and not any(option.startswith("--mem") for option in options):
            words.append(f"--mem-per-cpu={max(1, int(memory) // max(cpus))}")
    return [*words, *options, sys.executable, *_RELAY]


class _Srun:
    """`srun` as the process of a child."""

    def __init__(self, options: Sequence[str]) -> None:
        # What Slurm set for the job's own task is not what it shall ask for: memory is named by node and by processor.
        # A descriptor means nothing on another node.
        left_out = ("SLURM_MEM_PER_", ENV_LINES_FD)
        outer = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        self._process = subprocess.Popen(
            srun_command(options),
            env=outer,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.pipe = _TwoWays(os.dup(self._process.stdout.fileno()), os.dup(self._process.stdin.fileno()))
        self._process.stdout.close()
        self._process.stdin.close()
        self.pid = self._process.pid
        self.sentinel = os.pidfd_open(self.pid)

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def join(self) -> None:
        self._process.wait()

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


class _TwoWays:
    """Messages over two descriptors, one for each way."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads = connection.Connection(reads, writable=False)
        self._writes = connection.Connection(writes, readable=False)

    def fileno(self) -> int:
        return self._reads.fileno()

    def poll(self) -> bool:
        return self._reads.poll()

    def recv(self) -> Any:
        return self._reads.recv()

    def recv_bytes(self) -> bytes:
        return self._reads.recv_bytes()

    def send_bytes(self, message: bytes, /) -> None:
        self._writes.send_bytes(message)

    def close(self) -> None:
        self._reads.close()
        self._writes.close()


class SlurmChild(ChildProcess):
    """One child that Slurm places, as `ChildProcess` has one that runs here."""

    options: Sequence[str] = ()
    is_elsewhere = True
    _code: int | None = None

    @classmethod
    def _start(cls, make_child: MakeChild, key: str, child_id: str, url: str) -> tuple[Started, Pipe]:
        process = _Srun(cls.options)
        how = {name: value for name, value in spawn.get_preparation_data(child_id).items() if name in _HOW}
        with contextlib.suppress(BrokenPipeError):
            process.pipe.send_bytes(pickle.dumps((how, make_child, key, child_id, url)))
        return process, process.pipe

    def _take(self, message: Any) -> None:
        match message:
            case "alive":
                return
            case ("ended", int(code)):
                self._code = code
            case _:
                super()._take(message)
                self._is_open = True  # for how it ends

    @property
    def exit_code(self) -> int:
        """How the child's process ended on its node; where that is not known, how `srun` did."""
        if self._code is not None:
            return self._code
        code = super().exit_code
        return _SIGNALLED - code if _SIGNALLED < code < 2 * _SIGNALLED else code

    @property
    def is_ended_from_outside(self) -> bool:  # type: ignore[override]
        """Whether it was ended from outside: by Slurm, or by a kill of its `srun`."""
        return self._code is None and self.exit_code < 0

    @property
    def how_it_ended(self) -> str:
        """How it ended, in words."""
        if self._code is not None:
            return super().how_it_ended
        how = f"signal {-self.exit_code}" if self.exit_code < 0 else f"exit code {self.exit_code}"
        return f"ended by Slurm, or with its node: {how}"


def child_in_slurm(options: Sequence[str]) -> type[SlurmChild]:
    """Children that are placed with these options of `srun`."""
    return type("SlurmChild", (SlurmChild,), {"options": tuple(options)})


class _Relayed(ChildProcess):
    """The child on its node; what it says is passed on as it is."""

    def __init__(self, pipe: _TwoWays, *arguments: Any) -> None:
        self._onward = pipe
        super().__init__(*arguments)

    def _hear(self) -> None:
        try:
            self._onward.send_bytes(self._pipe.recv_bytes())  # type: ignore[attr-defined]
        except (EOFError, OSError):
            self._is_open = False


def relay(pipe: _TwoWays) -> int:
    """Run one child on this node until it ends or nobody listens any more; returns an exit code."""
    how, make_child, key, child_id, url = pickle.loads(pipe.recv_bytes())
    _stand_in_for(how)
    child = _Relayed(pipe, make_child, key, child_id, pipe.recv_bytes(), pipe.recv_bytes(), url)
    mark = os.environ.get(ENV_MARK)
    wanted = Wanted(os.environ.get(ENV_JOB, ""), mark and digest_of_mark(mark), uid=os.getuid())
    measure = Measuring(lambda view: processes_of(wanted, child_id, view=view).processes)
    idle_since, due = None, time.monotonic() + _LOOK_SECONDS
    while not child.has_ended():
        handles = [*child.handles, pipe.fileno()]
        ready = connection.wait(handles, max(0.0, due - time.monotonic()))
        if pipe.fileno() in ready:  # nothing more is ever sent: whoever started it is gone
            terminate_all([child])
            return 1
        if time.monotonic() >= due:
            due = time.monotonic() + _LOOK_SECONDS
            found = measure(time.time()).family
            since = found.activity(found.processes).idle_since
            if since != idle_since:  # so that it counts there as at work, too
                idle_since = since
                pipe.send_bytes(pickle.dumps(ALIVE))
    pipe.send_bytes(pickle.dumps((_ENDED, child.exit_code)))
    return 0


def _stand_in_for(how: dict[str, Any]) -> None:
    """Start children as the process that is described would: from its main module, its path and its directory."""
    sys.path[:] = how.get("sys_path", sys.path)
    sys.argv[:] = how.get("sys_argv", sys.argv)
    with contextlib.suppress(OSError):
        os.chdir(how.get("dir", "."))
    multiprocessing.process.ORIGINAL_DIR = how.get("orig_dir")  # type: ignore[attr-defined]
    main = ModuleType("__main__")
    if "init_main_from_name" in how:
        main.__spec__ = SimpleNamespace(name=how["init_main_from_name"])  # type: ignore[assignment]
    elif "init_main_from_path" in how:
        main.__file__ = how["init_main_from_path"]
    sys.modules["__main__"] = main


def main() -> int:
    """Be the relay; what it and the child print goes where `srun` sends errors, into the job's own output."""
    pipe = _TwoWays(os.dup(0), os.dup(1))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        return relay(pipe)
    return 1


if __name__ == "__main__":
    sys.exit(main())
