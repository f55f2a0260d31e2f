"""`gnjobs metrics`: numbers for Prometheus, printed, written for node_exporter, or served.

However many jobs there are, it reads the sizes of the indexes, the unfinished jobs, and the newest events.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from gnjobs.errors import GnjobsError, NotAllowed
from gnjobs.text import HOUR, safe_line
from gnjobs_tui.cli.exits import DONE, NO_CONNECTION
from gnjobs_tui.cli.session import Session, complain, with_session

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

    from gnjobs.store import JobStore

MOST_UNFINISHED: Final = 20_000
_MOST_LABELS: Final = 50
_LONGEST_LABEL: Final = 200
_MOST_EVENTS: Final = 2000
_OTHER: Final = "other"
_LOOK_SECONDS: Final = 5.0  # who scrapes waits for 10 s
_LOOPBACK: Final = "127.0.0.1"
# Everything that is told: its labels, and what it is.
METRICS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "gnjobs_up": ((), "1 where Redis answered, else 0; then nothing else is told."),
    "gnjobs_jobs": (("prefix",), "Jobs in the index, ended ones included."),
    "gnjobs_users": (("prefix",), "Users who have jobs."),
    "gnjobs_unfinished_jobs": (("prefix", "type", "state"), "Jobs that have not ended, by what lists show."),
    "gnjobs_longest_wait_seconds": (("prefix",), "How long the oldest waiting job has waited."),
    "gnjobs_longest_silence_seconds": (("prefix", "type"), "The longest silence of a running job."),
    "gnjobs_cpu_cores": (("prefix", "host"), "CPU used by jobs, in cores."),
    "gnjobs_memory_bytes": (("prefix", "host"), "Memory used by jobs."),
    "gnjobs_processes": (("prefix", "host"), "Processes of jobs."),
    "gnjobs_agent_heartbeat_age_seconds": (("prefix", "host"), "Time since the host's agent last beat."),
    "gnjobs_events_last_hour": (("prefix", "kind"), "Events of the last hour, such as ended, failed, killed, lost."),
}  # fmt: skip


class Values:
    """What was measured: a number for each metric and its labels; of many labels the rarest are one."""

    def __init__(self) -> None:
        self._found: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in METRICS}

    def put(self, name: str, value: float, *labels: str) -> None:
        """Set a number."""
        self._found[name][labels] = value

    def families(self) -> "Iterator[GaugeMetricFamily]":
        """All that is told, as the library writes it."""
        from prometheus_client.core import GaugeMetricFamily

        for name, (labels, about) in METRICS.items():
            family = GaugeMetricFamily(name, about, labels=labels)
            for values, number in sorted(self._found[name].items()):
                family.add_metric(values, number)
            if family.samples:
                yield family


class JobsCollector:
    """Reads everything anew whenever it is asked."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.is_up = False

    def collect(self) -> "Iterator[GaugeMetricFamily]":
        """What Redis says now; `gnjobs_up` is 0 where it does not answer."""
        import redis

        values = Values()
        try:
            self._measure(values)
            self.is_up = True
        except redis.RedisError:
            values, self.is_up = Values(), False
        values.put("gnjobs_up", float(self.is_up))
        return values.families()

    def _measure(self, values: Values) -> None:
        from gnjobs.records.connection import read_or_none

        for store in self._session.stores:
            prefix, now = store.keys.prefix, store.now()
            values.put("gnjobs_jobs", store.count(), prefix)
            values.put("gnjobs_users", read_or_none(store.client.zcard, store.keys.users) or 0, prefix)
            _agents(values, store, now)
            recent = [event for event in store.events.last(_MOST_EVENTS) if now - event.at < HOUR]
            for kind, count in _few(Counter(event.kind for event in recent)).items():
                values.put("gnjobs_events_last_hour", count, prefix, kind)
            values.put("gnjobs_longest_wait_seconds", 0.0, prefix)
        self._measure_unfinished(values)

    def _measure_unfinished(self, values: Values) -> None:
        from gnjobs.health.silence import job_silence
        from gnjobs.health.states import STATES, WAITING, display_state
        from gnjobs_tui.cli.matching import matching_jobs

        unfinished = matching_jobs(
            self._session, unfinished=True, indexed_only=True, look_seconds=_LOOK_SECONDS
        )
        found = list(islice(unfinished, MOST_UNFINISHED))
        now = self._session.store.now()
        types = _names(job.type or "" for _, job, _ in found)
        hosts = _names(job.host or "" for _, job, _ in found)
        sums: defaultdict[tuple[str, ...], float] = defaultdict(float)
        highest: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for store, job, health in found:
            prefix, kind, state = store.keys.prefix, types[job.type or ""], display_state(job, health)
            for each in STATES:
                if each.rank < 2:  # not those of ended jobs
                    sums["gnjobs_unfinished_jobs", prefix, kind, each.word.lower()] += each is state
            if state is WAITING and job.created:
                wait = ("gnjobs_longest_wait_seconds", prefix)
                highest[wait] = max(highest[wait], now - job.created)
            silent = ("gnjobs_longest_silence_seconds", prefix, kind)
            highest[silent] = max(highest[silent], job_silence(job) or 0.0)
            if job.host is None:
                continue
            host = (prefix, hosts[job.host])
            sums["gnjobs_cpu_cores", *host] += (job.cpu or 0.0) / 100
            sums["gnjobs_memory_bytes", *host] += job.rss or 0
            sums["gnjobs_processes", *host] += job.processes or 0
        for (name, *labels), number in (sums | highest).items():
            values.put(name, number, *labels)


def _agents(values: Values, store: "JobStore", now: float) -> None:
    from gnjobs.records.hosts import read_beats

    for beat in read_beats(store.client, store.keys)[:_MOST_LABELS]:
        age = max(0.0, now - beat.at)
        values.put("gnjobs_agent_heartbeat_age_seconds", age, store.keys.prefix, beat.host)


def _label(text: str) -> str:
    """Other people's text as a label; what looks the same then is counted as the same."""
    return safe_line(text)[:_LONGEST_LABEL]


def _names(found: Iterator[str]) -> dict[str, str]:
    """The label of each name, or `other` for the rarest of many."""
    counted = Counter(found)
    common = {name for name, _ in counted.most_common(_MOST_LABELS)}
    return {name: _label(name) if name in common else _OTHER for name in counted}


def _few(counts: Counter[str]) -> Counter[str]:
    names = _names(counts.elements())
    few: Counter[str] = Counter()
    for name, count in counts.items():
        few[names[name]] += count
    return few


class Address(click.ParamType[tuple[str, int]]):
    """`ADDR:PORT` or a port, which means the loopback interface."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Read it, or fail with one line."""
        host, _, port = str(value).rpartition(":")
        if not (port.isascii() and port.isdecimal() and int(port) < 2**16):
            self.fail(f"{value!r:.80} is not an address such as 9101, :9101 or 127.0.0.1:9101", param, ctx)
        return host.strip("[]") or _LOOPBACK, int(port)


@click.command()
@click.option("--output", metavar="FILE", type=click.Path(dir_okay=False),
              help="Write FILE, in one step, for node_exporter's textfile collector (FILE.prom).")  # fmt: skip
@click.option(
    "--listen", metavar="[ADDR:]PORT", type=Address(), help="Serve them; by default on 127.0.0.1 only."
)
@with_session
def metrics(session: Session, output: str | None, listen: tuple[str, int] | None) -> int:
    """Print numbers about all jobs in Prometheus' text format.

    However many jobs there are, it reads only the unfinished ones, the sizes of the indexes and the newest events.
    Needs pip install 'gnjobs[metrics]'.
    """
    if output and listen:
        raise click.UsageError("--output and --listen exclude each other")
    try:
        import prometheus_client
    except ImportError:
        raise GnjobsError("this needs prometheus-client: pip install 'gnjobs[metrics]'") from None
    if session.actor.own_users is not None:
        raise NotAllowed(f"{session.actor.name} is a curator, and these numbers are about everybody's jobs")
    registry = prometheus_client.CollectorRegistry()
    collector = JobsCollector(session)
    registry.register(collector)
    if listen is not None:
        from gnjobs_tui.cli.serving import serve

        serve(partial(prometheus_client.generate_latest, registry), *listen)
        return DONE
    if output:
        try:
            prometheus_client.write_to_textfile(output, registry)
        except OSError as error:
            raise GnjobsError(f"can't write {output}: {error.strerror}") from error
    else:
        click.echo(prometheus_client.generate_latest(registry), nl=False)
    if not collector.is_up:
        complain("Redis did not answer")
    return DONE if collector.is_up else NO_CONNECTION
