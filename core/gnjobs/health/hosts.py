"""What is known of each host: whether its agent answers, how busy it is, and how its jobs are."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from gnjobs.health.assess import beat_overdue_after
from gnjobs.records.fields import Job
from gnjobs.records.hosts import AGENT_BEAT_SECONDS, AgentBeat, HostLoad
from gnjobs.records.statuses import RUNNING, STOPPING
from gnjobs.text import clock_text, plural, size_text

ANSWERS: Final = "answers"
NO_AGENT: Final = "no agent"
_SCARCE: Final = 0.05


class HostHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One host: its agent's last sign (unix seconds; None without one), and its jobs at work.

    `silent` counts those whose supervisors do not beat; `cpu` (% of one core) and `rss` (bytes) are of all its jobs.
    """

    host: str
    beat: float | None = None
    answers: bool = False
    load: HostLoad | None = None
    running: int = 0
    silent: int = 0
    processes: int = 0
    cpu: float = 0.0
    rss: int = 0

    @property
    def is_troubled(self) -> bool:
        """Whether somebody should look: jobs that are silent, or an agent that is."""
        return self.silent > 0 or (self.beat is not None and not self.answers)

    def agent_words(self, now: float) -> str:
        """How its agent is."""
        if self.answers:
            return ANSWERS
        return NO_AGENT if self.beat is None else f"silent since {clock_text(self.beat, now)}"

    def trouble_words(self, now: float) -> Iterator[str]:
        """What somebody should look at: its agent or jobs are silent, or it has more to do than it can."""
        if self.beat is not None and not self.answers:
            yield f"agent {self.agent_words(now)}"
        if self.silent:
            unseen = " and no agent" if self.beat is None else ""
            yield f"{self.silent} of {plural(self.running, 'job')} silent{unseen}"
        found = self.load if self.answers else None
        if found is not None and found.cores and found.load > found.cores:
            yield f"load {self.load_words}"
        if found is not None and found.memory and found.free < _SCARCE * found.memory:
            yield f"memory {self.memory_words}"

    @property
    def load_words(self) -> str:
        """How busy its processors are, as its agent said last; empty where none answers."""
        found = self.load if self.answers else None
        return "" if found is None else f"{found.load:.1f} of {found.cores} cores"

    @property
    def memory_words(self) -> str:
        """How much of its memory is in use, as its agent said last."""
        found = self.load if self.answers else None
        if found is None or not found.memory:
            return ""
        return f"{size_text(max(0, found.memory - found.free))} of {size_text(found.memory)}"


def judge_hosts(beats: Iterable[AgentBeat], jobs: Iterable[Job], now: float) -> list[HostHealth]:
    """Every host with an agent or a job at work, the troubled first; `now` is the server's time.

    Of several beats of a host, such as those under several prefixes, the newest counts.
    """
    by_host: defaultdict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.host and job.status in (RUNNING, STOPPING):
            by_host[job.host].append(job)
    agents = {beat.host: beat for beat in sorted(beats, key=lambda beat: beat.at)}
    found = [_judge(host, agents.get(host), by_host.get(host, []), now) for host in {*agents, *by_host}]
    return sorted(found, key=lambda host: (not host.is_troubled, host.host))


def _judge(host: str, agent: AgentBeat | None, jobs: list[Job], now: float) -> HostHealth:
    return HostHealth(
        host=host,
        beat=agent.at if agent is not None else None,
        answers=agent is not None and now - agent.at < AGENT_BEAT_SECONDS,
        load=agent.load if agent is not None else None,
        running=len(jobs),
        silent=sum(
            job.heartbeat is not None and now - job.heartbeat > beat_overdue_after(job) for job in jobs
        ),
        processes=sum(job.processes or 0 for job in jobs),
        cpu=sum(job.cpu or 0.0 for job in jobs),
        rss=sum(job.rss or 0 for job in jobs),
    )
