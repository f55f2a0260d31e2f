"""The words of a verdict (`ok`, `quiet`, `stuck`, `dead`), its evidence, and the configured limits.

How silence becomes a verdict is decided in `silence`.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gnjobs.records.fields import Job
from gnjobs.text import MINUTE

OK: Final = "ok"
QUIET: Final = "quiet"
STUCK: Final = "stuck"
DEAD: Final = "dead"
NO_BEAT: Final = "no heartbeat for"
_SEVERITY: Final = (OK, QUIET, STUCK, DEAD)


class Health(msgspec.Struct, frozen=True):
    """A verdict (`ok`, `quiet`, `stuck`, `dead`) and the sentences that support it, the weightiest first."""

    verdict: str = OK
    evidence: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True):
    """When silence is a verdict; seconds, `stuck_by_type` by job type. A job's own `stuck-after` counts first."""

    quiet_after: float = 5 * MINUTE
    stuck_after: float = 15 * MINUTE
    pending_after: float = MINUTE
    stuck_by_type: Mapping[str, float] = {}

    def stuck(self, job: Job) -> float:
        """Seconds of silence after which this job is stuck."""
        return job.stuck_after or self.stuck_by_type.get(job.type or "", self.stuck_after)

    def quiet(self, job: Job) -> float:
        """Seconds of silence after which this job is quiet."""
        return min(self.quiet_after, self.stuck(job))


def worst_of(found: Iterable[Health]) -> Health:
    """The worst of some verdicts, the first of several that are as bad; `ok` without any."""
    return max(found, key=lambda health: _SEVERITY.index(health.verdict), default=Health())
