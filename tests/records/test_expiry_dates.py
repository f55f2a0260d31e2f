"""When gn-uploader's jobs began, worked out from their expiry."""

import time

import msgspec
import pytest

from gnjobs.health.assess import assess
from gnjobs.health.verdict import STUCK
from gnjobs.records.fields import run_seconds
from gnjobs.records.layouts import UPLOADER, Layout
from gnjobs.store import JobStore
from tests.support.mirror import mirror
from tests.support.servers import Server
from tests.support.uploader_double.web import EXPIRY, JOBS_PREFIX, create_job

AGO = 7200


def expiring(seconds: float) -> Layout:
    return msgspec.structs.replace(UPLOADER, expires_after=seconds)


def aged(server: Server, status: str, **extra: str) -> str:
    """A job that gn-uploader made two hours ago."""
    job_id = create_job(server.client(), ["true"], "qc", status=status, **extra)
    server.client().expire(f"{JOBS_PREFIX}:{job_id}", EXPIRY - AGO)
    return job_id


@pytest.mark.parametrize("status", ["running", "success", "error"])
def test_the_start_is_told_where_the_lifetime_is_known(server: Server, status: str) -> None:
    job_id = aged(server, status)
    job = JobStore.from_url(server.url, layout=expiring(EXPIRY)).get(job_id)
    assert job.began == pytest.approx(time.time() - AGO, abs=5)
    assert job.created is None
    assert job.is_foreign
    assert JobStore.from_url(server.url).get(job_id).began is None


def test_lists_are_ordered_by_it(server: Server) -> None:
    older, newer = aged(server, "success"), create_job(server.client(), ["true"], "qc", status="success")
    with mirror(server.url, layouts={"gn-uploader": expiring(EXPIRY)}) as seen:
        seen.wait_until_loaded()
        rows = seen.rows()
        assert rows[older].started == pytest.approx(time.time() - AGO, abs=5)
        assert rows[older].created < rows[newer].created
        assert run_seconds(rows[older], time.time()) is None


def test_one_that_nobody_started_is_stuck(server: Server) -> None:
    store = JobStore.from_url(server.url, layout=expiring(EXPIRY))
    job = store.get(aged(server, "pending"))
    health = assess(job, now=store.now())
    assert health.verdict == STUCK
    assert "waiting to be started for 2 h" in health.evidence[0]
    assert job.began is None


def test_nothing_is_said_of_what_lives_longer_or_for_ever(server: Server) -> None:
    job_id = create_job(server.client(), ["true"], "qc", status="running")
    assert JobStore.from_url(server.url, layout=expiring(60)).get(job_id).began is None
    server.client().persist(f"{JOBS_PREFIX}:{job_id}")
    assert JobStore.from_url(server.url, layout=expiring(EXPIRY)).get(job_id).began is None


def test_what_is_recorded_wins(server: Server) -> None:
    job_id = aged(server, "running", created="5", started="6")
    assert JobStore.from_url(server.url, layout=expiring(EXPIRY)).get(job_id).began == 6
