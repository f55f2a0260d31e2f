"""What the watcher's thread tells: batches that never change once they are made, to be applied to a catalogue."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from gnjobs.watch.rows import JobRow

FeedKind = Literal["connecting", "live", "polling", "away"]
Sweep = Literal["", "begin", "end"]


class FeedState(msgspec.Struct, frozen=True):
    """How changes arrive: `why` says in one (untrusted) line why they are polled for or don't come, `since` when.

    `refuses_writes`: nobody can tell the server anything at present.
    """

    kind: FeedKind
    why: str = ""
    since: float = 0.0
    refuses_writes: bool = False

    @property
    def hears_beats(self) -> bool:
        """Whether a supervisor's beat would be heard of."""
        return self.kind != "away" and not self.refuses_writes


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """News of one moment; most fields are empty in most of them.

    `touched` names the records (child None) and children that changed in Redis, by the row's key; `events` says that
    the log grew; `progress` runs from 0 to 1 while everything is loaded. Between the sweeps `begin` and `end` every
    job is told anew, so a row that was not is gone. `presences` answers what was asked by `Watcher.look_at`.
    """

    rows: tuple[JobRow, ...] = ()
    removed: tuple[str, ...] = ()
    touched: frozenset[tuple[str, str | None]] = frozenset()
    events: bool = False
    state: FeedState | None = None
    progress: float | None = None
    sweep: Sweep = ""
    presences: Mapping[str, Any] = {}
