"""The steps of a kill, as they are told to whoever asked."""

import time
from collections.abc import Iterable
from typing import Literal

import msgspec

from gnjobs.values import Time

StepKind = Literal[
    "asked", "answered", "signalled", "gone", "killing", "verified", "left", "refused", "skipped", "written"
]


class KillStep(msgspec.Struct, frozen=True):
    """One step: `at` in unix seconds, `text` a sentence for a person.

    The last of a kill is `final`; there, `verified` says whether every process is known to be gone.
    """

    at: Time
    kind: StepKind
    text: str
    pids: tuple[int, ...] = ()
    verified: bool = False
    final: bool = False


def step(
    kind: StepKind, text: str, pids: Iterable[int] = (), *, verified: bool = False, final: bool = False
) -> KillStep:
    """Make a step of this moment."""
    return KillStep(time.time(), kind, text, tuple(pids), verified, final)


def pid_list(pids: Iterable[int]) -> str:
    """Pids for a person: the first ten, and how many more."""
    all_pids = list(pids)
    shown = ", ".join(str(pid) for pid in all_pids[:10])
    return shown + (f" and {len(all_pids) - 10} more" if len(all_pids) > 10 else "")
