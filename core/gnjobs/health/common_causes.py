"""What many troubled jobs have in common, said once."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from gnjobs.health.verdicts import NO_BEAT, Health
from gnjobs.records.fields import Job
from gnjobs.text import MINUTE, clock_text

SILENT_TOGETHER: Final = 3
_TOGETHER_SECONDS: Final = 2 * MINUTE


def common_causes(judged: Iterable[tuple[Job, Health]], now: float | None = None) -> list[str]:
    """Say which jobs of one host have supervisors that fell silent together; `now` in unix seconds."""
    beats: dict[str, list[float]] = defaultdict(list)
    for job, health in judged:
        if job.host and job.heartbeat and NO_BEAT in " ".join(health.evidence[:1]):
            beats[job.host].append(job.heartbeat)
    return [
        f"{len(together)} jobs on {host} silent since {clock_text(together[0], now or together[-1])}"
        for host, found in sorted(beats.items())
        for together in _together(sorted(found))
        if len(together) >= SILENT_TOGETHER
    ]


def _together(beats: list[float]) -> Iterator[list[float]]:
    """Groups of beats, in order, none of which is long after the one before."""
    group: list[float] = []
    for beat in beats:
        if group and beat - group[-1] > _TOGETHER_SECONDS:
            yield group
            group = []
        group.append(beat)
    if group:
        yield group
