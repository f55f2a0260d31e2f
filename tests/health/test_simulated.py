"""Verdicts on a fleet in simulated time: who is healthy is never accused, who is not is named within a minute."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gnjobs.supervisor.measure import LastSign
from gnjobs.watch.rows import FeedState
from tests.support.fleet import START, Dashboard, Host, SimulatedJob

MINUTE = 60.0
HOUR = 3600.0
LIMIT = 15 * MINUTE
EACH = 20
LIVE, AWAY = FeedState("live"), FeedState("away")
REFUSING = FeedState("live", "Redis refuses writes", refuses_writes=True)


def every(seconds: float) -> Callable[[float], bool]:
    return lambda age: age % seconds < 5.0


def jobs_of(kind: str, **how: object) -> list[SimulatedJob]:
    host = how.pop("host", None) or Host(kind)
    return [SimulatedJob(f"{kind}-{number}", host, **how) for number in range(EACH)]  # type: ignore[arg-type]


def healthy_jobs() -> list[SimulatedJob]:
    """Nine kinds; the tenth, on a suspended laptop, has a dashboard of its own."""
    late = Host("late", late=lambda age: 9.0 if age % 60 < 30 else 0.0)
    return [
        *jobs_of("computing", uses=lambda age: (98.0, START + age)),
        *jobs_of("disk", uses=lambda age: (0.2, START + age - age % 40)),
        *jobs_of("slow", prints=every(14 * MINUTE)),
        *jobs_of("bursty", prints=lambda age: age % (13 * MINUTE) < 30),
        *jobs_of("paused", prints=lambda age: not 20 * MINUTE < age < 27 * MINUTE and age % 30 < 5),
        *jobs_of("jumped", prints=every(3 * MINUTE), host=Host("jumped")),
        *jobs_of("threads", prints=every(10 * MINUTE), quietest=lambda age: (START + age - age % 600, 0.0)),
        *jobs_of("late", prints=every(2 * MINUTE), host=late),
        *jobs_of("agent", prints=every(MINUTE), pending_for=55.0),
    ]


def feed(age: float) -> FeedState:
    """Redis is away for ten minutes, and later refuses writes for ten."""
    if 25 * MINUTE <= age < 35 * MINUTE:
        return AWAY
    return REFUSING if 40 * MINUTE + 5 <= age < 50 * MINUTE else LIVE


@pytest.mark.faults
def test_who_is_healthy_is_never_accused() -> None:
    jobs = healthy_jobs()
    assert len(jobs) == 9 * EACH
    dashboard = Dashboard(jobs)
    clock = next(job.host for job in jobs if job.host.name == "jumped")
    for until, wall in ((10 * MINUTE, 0.0), (20 * MINUTE, 2 * HOUR), (55 * MINUTE, -5 * HOUR), (HOUR, 0.0)):
        clock.wall = wall
        dashboard.run(until, feed=feed)
    assert len(dashboard.catalogue) == 9 * EACH
    assert dashboard.troubled == {}


def test_a_laptop_that_slept_accuses_nobody() -> None:
    laptop = Host("laptop")
    dashboard = Dashboard(jobs_of("laptop", prints=every(4 * MINUTE), host=laptop))
    dashboard.run(21 * MINUTE)
    laptop.slept = dashboard.slept = 8 * HOUR
    dashboard.age += 8 * HOUR
    dashboard.run(dashboard.age + 30 * MINUTE)
    assert len(dashboard.catalogue) == EACH
    assert dashboard.troubled == {}


def test_who_is_stuck_or_dead_is_named_within_a_minute_of_its_limit() -> None:
    fault = 10 * MINUTE
    always = every(MINUTE)

    def until_fault(age: float) -> bool:
        return age < fault

    def until_then(age: float) -> tuple[float, float]:
        return 0.0, START + min(age, fault)

    limits = {
        "silent": (
            SimulatedJob("silent", Host("a"), prints=until_fault, uses=until_then),
            fault + LIMIT,
            "STUCK",
        ),
        "hung-disk": (
            SimulatedJob("hung-disk", Host("b"), prints=lambda age: age < fault / 2, uses=until_then),
            fault + LIMIT,
            "STUCK",
        ),
        "child": (
            SimulatedJob(
                "child", Host("c"), prints=always, quietest=lambda age: (START + min(age, fault), 0.0)
            ),
            fault + LIMIT,
            "STUCK",
        ),
        "own-limit": (
            SimulatedJob(
                "own-limit", Host("d"), prints=until_fault, uses=until_then, fields={"stuck_after": 120.0}
            ),
            fault + 120,
            "STUCK",
        ),
        "dead": (
            SimulatedJob("dead", Host("e"), always, supervisor_ends_at=fault, processes_end_at=fault),
            fault + 15,
            "DEAD",
        ),
        "orphan": (SimulatedJob("orphan", Host("f"), always, supervisor_ends_at=fault), fault + 15, "STUCK"),
        "waiting": (SimulatedJob("waiting", Host("g"), pending_for=HOUR), MINUTE, "STUCK"),
    }
    jobs, expected = [], {}
    for kind, (model, limit, state) in limits.items():
        for number in range(8):
            job = replace(model, id=f"{kind}-{number}", _sign=LastSign())
            jobs.append(job)
            expected[job.id] = (limit, state)
    assert len(jobs) > 50
    dashboard = Dashboard(jobs)
    dashboard.run(fault + LIMIT + 2 * MINUTE)
    delays = {}
    for job_id, (limit, state) in expected.items():
        assert job_id in dashboard.troubled, f"{job_id} was never named"
        named_at, health = dashboard.troubled[job_id]
        delays[job_id] = named_at - limit
        row = dashboard.catalogue.get(job_id)
        assert row is not None
        assert row.state == state, (job_id, health)
    assert all(-5.0 <= delay <= 60.0 for delay in delays.values()), delays
