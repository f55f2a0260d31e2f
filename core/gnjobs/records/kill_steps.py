"""The steps of a kill, as they are told to whoever asked."""

import time
from collections.abc import Iterable
from typing import Literal

import msgspec

from gnjobs.records.values import Seconds

StepKind = Literal[
    "asked", "answered", "signalled", "gone", "killing", "verified", "left", "refused", "skipped", "written"
]


class KillStep(msgspec.Struct, frozen=True):
    """One step: `at` in unix seconds, `text` a sentence for a person.

    The last of a kill is `final`; there, `verified` says whether every process is known to be gone.
    """

    at: Seconds
    kind: StepKind
    text: str
    pids: tuple[int, ...] = ()
    verified: bool = False
    final: bool = False


def step(
    kind: StepKind, text: str, pids: Iterable[int] = (), *, verified: bool = False, final: bool = False
) -> KillStep:
    """Make a step of this moment; what can't be encoded in its text is replaced."""
    encodable = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return KillStep(time.time(), kind, encodable, tuple(pids), verified, final)


def pid_list(pids: Iterable[int]) -> str:
    """Pids for a person: the first ten, and how many more."""
    all_pids = list(pids)
    shown = ", ".join(str(pid) for pid in all_pids[:10])
    return shown + (f" and {len(all_pids) - 10} more" if len(all_pids) > 10 else "")
