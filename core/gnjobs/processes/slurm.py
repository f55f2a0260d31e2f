"""What runs on a Slurm cluster, by Slurm's own commands: submitting, looking, cancelling; nothing passes a shell.

Each command is asked for named columns or one value, which are the same in all of Slurm's versions.
"""

import contextlib
import math
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from gnjobs.errors import GnjobsError
from gnjobs.records import values
from gnjobs.text import duration_words, last_line

# Words of Slurm's for a job's state.
WAITING: Final = frozenset("PENDING REQUEUED REQUEUE_HOLD REQUEUE_FED SPECIAL_EXIT RESV_DEL_HOLD".split())
_ENDED: Final = frozenset(
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED TIMEOUT".split()
)
_OF_A_PERSON: Final = ("SQUEUE_", "SCANCEL_")
_SECONDS: Final = 30.0
_MOST_NAMED: Final = 500
_COLUMNS: Final = {
    "id": ("JobID", 24),
    "state": ("State", 24),
    "reason": ("Reason", 200),
    "nodes": ("NodeList", 200),
    "limit": ("TimeLimit", 24),
    "memory": ("MinMemory", 24),
    "cpus": ("NumCPUs", 12),
    "restarts": ("RestartCnt", 12),
    "preempted": ("PreemptTime", 24),
    "exit": ("exit_code", 12),
    "name": ("Name", 200),
    "comment": ("Comment", 120),
    "account": ("UserName", 64),
    "array": ("ArrayJobID", 24),
}
_SIZES: Final = {"": 2**20, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)[cn]?", re.ASCII)
_CLOCK: Final = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", re.ASCII)
_NUMBER: Final = re.compile(r"[1-9]\d{0,9}", re.ASCII)
_PRIVATE: Final = re.compile(r"^PrivateData\s*=(.*)$", re.MULTILINE)
_HIGHEST: Final = 2**32 - 3  # what is above says "none" or "all" to Slurm


# What Slurm's commands say where its controller did not answer them.
_UNHEARD: Final = re.compile("timed out|unable to contact|zero bytes", re.IGNORECASE)


class SlurmError(GnjobsError):
    """A command of Slurm's that is not there, gives no answer, or refuses; one line."""


class NoAnswer(SlurmError):
    """Slurm did not answer in time: what was asked for may have been done all the same."""


class NoSlurm(SlurmError):
    """This host has no such command."""


class _NotKnown(SlurmError):
    """Slurm knows none of the jobs that were asked for, or does not accept one of their numbers."""


class Placed(msgspec.Struct, frozen=True):
    """A job as Slurm knows it: `state` and `reason` in its own words, `limit` in seconds, `memory` in bytes a node.

    `restarts` counts how often it was requeued, `signal` is what ended its script. None where there is no limit. Of an
    array, `array` is what can be cancelled; else it is the `id`.
    """

    id: str
    state: str
    reason: str = ""
    nodes: str = ""
    limit: float | None = None
    memory: int | None = None
    restarts: int = 0
    preempted: bool = False
    signal: int = 0
    name: str = ""
    comment: str = ""
    account: str = ""
    array: str = ""

    @property
    def waits(self) -> bool:
        """Whether it waits to be started, for the first time or again."""
        return self.state in WAITING

    @property
    def has_ended(self) -> bool:
        """Whether it is over, on its nodes, too, as far as Slurm knows."""
        return self.state in _ENDED

    @property
    def how_it_ends(self) -> str:
        """Why Slurm ends it or has ended it, in words; empty where it does not say so."""
        # Of several nodes it is not said which one failed, nor while they are being cleared.
        is_one = self.nodes and self.has_ended and not set("[,") & set(self.nodes)
        where = f" of {self.nodes}" if is_one else ""
        if self.reason == "TimeLimit" or self.state == "TIMEOUT":
            return f"time limit {duration_words(self.limit)}" if self.limit else "time limit"
        if self.state == "OUT_OF_MEMORY" or self.reason == "OutOfMemory":
            return f"out of memory{f', limit {size_words(self.memory)}' if self.memory else ''}"
        if self.state in ("NODE_FAIL", "BOOT_FAIL") or self.reason in ("NodeDown", "NodeFail"):
            return f"node failure{where}"
        if self.state == "PREEMPTED" or self.preempted:
            return "preempted"
        if self.state == "DEADLINE" or self.reason == "DeadLine":
            return "its deadline can't be met"
        return "cancelled in Slurm" if self.state in ("CANCELLED", "REVOKED") else ""


def size_words(size: int) -> str:
    """A size of memory as Slurm's users say it: `16G`, `512M`."""
    for sign in "TG":
        if size >= _SIZES[sign] and size % _SIZES[sign] == 0:
            return f"{size // _SIZES[sign]}{sign}"
    return f"{size // _SIZES['M']}M"


def submit(script: str, options: Sequence[str], environment: Mapping[str, str]) -> str:
    """Submit a script, whose environment this is, and return the id of its job; raises `SlurmError`."""
    said = _run(["sbatch", "--parsable", *options], environment=environment, given=script)
    found = said.strip().partition(";")[0]
    if not _is_number(found):
        raise SlurmError(f"sbatch: {found!r:.80} is not a job id")
    return found


def _is_number(text: str) -> bool:
    """Whether this may be the number of a job, spelt as Slurm spells it."""
    return _NUMBER.fullmatch(text) is not None and int(text) <= _HIGHEST


def look_up(ids: Iterable[str], *, until: float = math.inf) -> dict[str, Placed | None]:
    """What Slurm knows of jobs by their numbers: None for one that it has forgotten, or can't have.

    After `until` (monotonic) no further question is asked: what remains is left out. Raises `SlurmError`.
    """
    wanted = list(dict.fromkeys(ids))
    found: dict[str, Placed | None] = {each: None for each in wanted if not _is_number(each)}
    wanted = [each for each in wanted if each not in found]
    lists = [wanted[start : start + _MOST_NAMED] for start in range(0, len(wanted), _MOST_NAMED)]
    while lists:
        asked = lists.pop()
        try:
            said = {placed.id: placed for placed in _look_up(f"--jobs={','.join(asked)}")}
            found |= {each: said.get(each) for each in asked}
        except _NotKnown:
            if len(asked) == 1:
                found[asked[0]] = None
            else:  # for one number that it refuses, squeue says nothing of all others
                lists += [asked[: len(asked) // 2], asked[len(asked) // 2 :]]
        if time.monotonic() > until:
            break
    return found


def look_up_names(names: Iterable[str], seconds: float = 0.0) -> list[Placed]:
    """All that Slurm has under any of these names, in one question for hundreds; raises `SlurmError`."""
    wanted = list(dict.fromkeys(names))
    found: list[Placed] = []
    for start in range(0, len(wanted), _MOST_NAMED):
        some = wanted[start : start + _MOST_NAMED]
        found += _look_up(f"--name={','.join(some)}", seconds)
    exactly = set(wanted)  # small letters and capitals are the same to Slurm
    return [placed for placed in found if placed.name in exactly]


def _look_up(which: str, seconds: float = 0.0) -> Iterator[Placed]:
    # Which no job's name or comment can hold, as no argument shows it.
    separator = f"|{secrets.token_hex(16)}|"
    columns = ",".join(f"{column}:{width}{separator}" for column, width in _COLUMNS.values())
    command = ["squeue", "--noheader", "--all", "--states=all", which]
    try:
        said = _run(command, environment={**_ours(), "SQUEUE_FORMAT2": columns}, seconds=seconds)
    except SlurmError as problem:
        if "Invalid job id" in str(problem):
            raise _NotKnown(str(problem)) from problem
        raise
    return _read(said.split(separator))


def _read(found: Sequence[str]) -> Iterator[Placed]:
    for start in range(0, len(found) - len(_COLUMNS) + 1, len(_COLUMNS)):
        cells = dict(zip(_COLUMNS, map(str.strip, found[start:]), strict=False))
        if _is_number(cells["id"]):
            yield Placed(
                id=cells["id"],
                state=cells["state"],
                reason="" if cells["reason"] == "None" else cells["reason"],
                nodes=cells["nodes"],
                limit=read_limit(cells["limit"]),
                memory=read_memory(cells["memory"], values.integer(cells["cpus"]) or 1),
                restarts=values.integer(cells["restarts"]) or 0,
                preempted=cells["preempted"] not in ("N/A", "None", ""),
                signal=(values.integer(cells["exit"]) or 0) & 0x7F,
                name=cells["name"],
                comment=cells["comment"],
                account=cells["account"],
                array=cells["array"] if _is_number(cells["array"]) else cells["id"],
            )


def read_limit(text: str) -> float | None:
    """Read a limit of time, `[days-][hours:]minutes:seconds`; None for anything else."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(days * 86400 + hours * 3600 + minutes * 60 + seconds) or None


def read_memory(text: str, cpus: int) -> int | None:
    """Read a limit of memory, of a node or (`c`) of each of its processors, as bytes; None for anything else."""
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    size = float(found.group(1)) * _SIZES[found.group(2)]
    return int(size * (cpus if text.endswith("c") else 1)) or None


def cancel(slurm_job: str) -> None:
    """Have Slurm end a job; raises `SlurmError`."""
    if not _is_number(slurm_job):
        raise SlurmError(f"{slurm_job!r:.80} is not a job id of Slurm's")
    _run(["scancel", slurm_job], environment=_ours())


def shows_jobs_of_others() -> bool:
    """Whether Slurm tells this account of all jobs: many clusters show an account its own ones alone.

    Slurm's operators see all the same, and nothing says who they are; root does, and is told so. Raises `SlurmError`.
    """
    if os.geteuid() == 0:
        return True
    with contextlib.suppress(NoSlurm):
        private = _PRIVATE.search(_run(["scontrol", "show", "config"], environment=_ours()))
        return private is None or {"jobs", "all"}.isdisjoint(private.group(1).strip().lower().split(","))
    return True


def _ours() -> dict[str, str]:
    """The environment without a person's own settings for Slurm's commands, which could hide jobs."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OF_A_PERSON)}


def _run(
    command: list[str],
    *,
    environment: Mapping[str, str],
    given: str = "",
    seconds: float = 0.0,
) -> str:
    seconds = seconds or _SECONDS
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        raise NoSlurm(f"{command[0]} is not there: this host has no Slurm") from None
    except OSError as problem:
        raise SlurmError(f"{command[0]} can't be run: {problem.strerror}") from problem
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{command[0]}: Slurm gave no answer within {seconds:.0f} s") from None
    if done.returncode:
        why = re.sub(r"^\w+: (error: )?", "", last_line(done.stderr)) or f"exit code {done.returncode}"
        raise (NoAnswer if _UNHEARD.search(why) else SlurmError)(f"{command[0]}: {why}")
    return done.stdout
