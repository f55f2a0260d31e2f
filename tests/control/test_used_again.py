"""A job's id that is used again while somebody acts on the job that had it: the later one is left alone."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from gnjobs.control.kill import _Kill, kill_job
from gnjobs.control.orphans import Rounds
from gnjobs.errors import NoSuchJob
from gnjobs.processes.host import host_name
from gnjobs.processes.table import ProcessView
from gnjobs.records.actor import Actor
from gnjobs.records.fields import Job
from gnjobs.records.lifecycle import remove_job
from gnjobs.records.requests import KillStep
from gnjobs.store import JobStore
from tests.support.servers import Server
from tests.support.stored_records import write_running
from tests.support.supervised import KEYS, supervised
from tests.support.waiting import wait_for

TUX = Actor.admin("tux")


def use_again(store: JobStore, status: str = "pending") -> None:
    """Put another job in the place of `nightly`, beating elsewhere if it runs."""
    before = store.now()
    store.client.delete(KEYS.job("nightly"))
    wait_for(lambda: store.now() > before + 0.001)
    store.create(["true"], job_id="nightly")
    store.client.hset(
        KEYS.job("nightly"), mapping={"status": status, "host": "elsewhere", "heartbeat": before}
    )


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_kill_that_waited_for_an_answer_is_of_no_later_job(
    server: Server, store: JobStore, status: str
) -> None:
    write_running(server, "nightly", host="elsewhere")
    steps = kill_job(store, "nightly", actor=TUX, supervisor_timeout=0.1)
    assert next(steps).kind == "asked"
    use_again(store, status)
    with pytest.raises(NoSuchJob, match="another job has the id nightly by now"):
        list(steps)
    assert store.get("nightly").status == status


def _kill(store: JobStore, seen: Job) -> Iterator[KillStep]:
    return kill_job(store, seen.id, actor=TUX, created=seen.created)


def _remove(store: JobStore, seen: Job) -> Iterator[KillStep]:
    yield from ()
    store.remove(seen.id, TUX, created=seen.created)


@pytest.mark.parametrize(("act", "status"), [(_kill, "pending"), (_remove, "success")])
def test_who_has_seen_a_job_acts_on_no_other(store: JobStore, act: object, status: str) -> None:
    seen = store.create(["true"], job_id="nightly")
    use_again(store, status)
    assert callable(act)
    with pytest.raises(NoSuchJob):
        list(act(store, seen))
    assert store.get("nightly").status == status


def test_an_agent_calls_no_job_lost_by_what_it_saw_of_an_earlier_one(server: Server, store: JobStore) -> None:
    """Whatever was asked of the kernel and of the server since the round began."""
    write_running(server, "nightly", host=host_name(), heartbeat=store.now() - 300)
    rounds, seen = Rounds(store, lambda _: None), store.get("nightly")
    use_again(store, "running")
    assert not rounds._conclude(seen, store.now(), ProcessView())
    assert store.get("nightly").status == "running"


def test_an_agent_calls_no_waiting_job_lost_by_what_it_saw_of_an_earlier_one(store: JobStore) -> None:
    seen = store.create(["true"], job_id="nightly")
    use_again(store)
    assert not Rounds(store, lambda _: None)._conclude(seen, store.now(), ProcessView())
    assert store.get("nightly").status == "pending"


def test_who_removes_a_job_that_somebody_else_has_removed_leaves_a_later_one_whole(store: JobStore) -> None:
    """Two may remove the same at once, and whoever made it makes it again."""
    seen = store.create(["true"], job_id="nightly")
    use_again(store, "running")
    store.client.xadd(KEYS.output("nightly"), {"data": "a line"}, id="1-0")
    remove_job(store.client, KEYS, seen)
    assert store.client.exists(KEYS.job("nightly"), KEYS.output("nightly")) == 2
    assert [job.id for job in store.page().jobs] == ["nightly"]
    remove_job(store.client, KEYS, store.get("nightly"))
    assert not store.client.exists(KEYS.job("nightly"), KEYS.output("nightly"))


def test_a_kill_asks_nothing_of_a_later_jobs_supervisor(server: Server, store: JobStore) -> None:
    """The later one may have been launched while the earlier was being killed."""
    with supervised(server, ["sleep", "600"], created="1700000000.000002") as later:
        later.wait_for("running")
        wait_for(later.alive)
        earlier = replace(
            store.get(later.id), run="1700000000.000001", status="killed", supervisor_pid=None, mark=None
        )
        last = list(_Kill(store, earlier, None, TUX, "", 0.0, False, False).steps(5.0))[-1]
        assert (last.kind, last.verified) == ("left", False)
        assert not store.client.exists(KEYS.admin_requests)
        assert later.read().status == "running"
