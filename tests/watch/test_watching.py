"""Watching a real server: whatever changes there, whoever changes it, is told, and nothing that is gone stays."""

import subprocess
import sys
import threading
from itertools import islice

import redis

from gnjobs.processes.seen import Presence
from gnjobs.records.keys import Keys
from gnjobs.watch.loader import Loader
from gnjobs.watch.reading import make_sources
from gnjobs.watch.rows import Change
from gnjobs.watch.watcher import Watcher
from tests.support.mirror import KEYS, add_job, loaded_mirror, rows_in
from tests.support.population import populate
from tests.support.servers import Server
from tests.support.waiting import wait_for


def test_everything_is_loaded_the_unfinished_first(server: Server) -> None:
    client = server.client()
    for number in range(700):
        add_job(client, f"old-{number}", created=1000.0 + number)
    add_job(client, "at-work", status="running", created=1.0)
    add_job(client, "gn-uploader-job", indexed=False)
    client.hset("gn-uploader:jobs:at-work:children:c1", "status", "running")
    with loaded_mirror(server.url) as seen:
        assert seen.rows() == rows_in(client)
        assert len(seen.rows()) == 702
        first = next(change for change in seen.changes if change.rows)
        newest = [f"old-{number}" for number in range(699, 599, -1)]
        assert [row.id for row in first.rows] == ["at-work", *newest]
        assert [state.kind for state in seen.states] == ["connecting", "live"]


def test_the_indexes_tell_how_many_there_are_before_all_are_loaded(server: Server) -> None:
    client = server.client()
    for number in range(150):
        user = "mhall" if number % 3 == 0 else "tux"
        add_job(client, f"old-{number}", created=1000.0 + number, user_id=user)
        client.zadd(KEYS.users, {user: 1000.0 + number})
    with loaded_mirror(server.url) as seen:
        told = next(number for number, change in enumerate(seen.changes) if change.indexed is not None)
        assert seen.changes[told].indexed == {None: 150, "tux": 100, "mhall": 50}
        assert sum(len(change.rows) for change in seen.changes[:told]) == 100
    with loaded_mirror(server.url, users={"mhall"}) as seen:
        assert [change.indexed for change in seen.changes if change.indexed] == [{None: 50, "mhall": 50}]


def test_no_job_is_passed_over_while_others_are_removed(server: Server) -> None:
    populate(server, 6000)
    client = server.client()
    (source,) = make_sources(client, [KEYS.prefix])
    told = set[str]()
    for step, change in enumerate(Loader([source]).steps()):
        told.update(row.id for row in change.rows)
        if 2 <= step < 5:  # those that were read first, which moves all others
            gone = client.zrevrange(KEYS.jobs, 0, 899)
            client.zrem(KEYS.jobs, *gone)
            client.delete(*(KEYS.job(name.decode()) for name in gone))
    left = {name.decode() for name in client.zrange(KEYS.jobs, 0, -1)}
    assert len(left) == 6000 - 3 * 900
    assert told >= left


def test_members_that_are_no_ids_keep_nothing_from_being_read(server: Server) -> None:
    """As many as two pages share, where they share them."""
    with server.client() as client:
        client.zadd(
            KEYS.jobs, {f"{'!' if 1800 < rank < 2200 else 'job-'}{rank}": -rank for rank in range(4000)}
        )
        client.hset(KEYS.job("job-3999"), mapping={"status": "success", "created": 1})
        steps = Loader(make_sources(client, [KEYS.prefix])).steps()
        told = [row.id for change in islice(steps, 100) for row in change.rows]
    assert told == ["job-3999"]
    assert next(steps, None) is None


WITHOUT_HIREDIS = """
import sys
sys.modules["hiredis"] = None
import redis.utils
from tests.support.mirror import loaded_mirror
assert not redis.utils.HIREDIS_AVAILABLE
with loaded_mirror(sys.argv[1]) as seen:
    print(sorted(map(repr, seen.rows().values())))
"""


def test_without_hiredis_the_same_is_read(server: Server) -> None:
    client = server.client()
    add_job(client, "a", label=b"\xff\x9b", user_id="tux")
    add_job(client, "b", status="error", error="Traceback\nValueError: no")
    add_job(client, "c", status="running", heartbeat=1.0)
    client.set(KEYS.job("d"), "of another type")
    command = [sys.executable, "-c", WITHOUT_HIREDIS, server.url]
    read = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
    assert read.strip() == str(sorted(map(repr, rows_in(client).values())))


def test_what_a_foreign_client_writes_is_seen(server: Server) -> None:
    client = server.client()
    add_job(client, "a")
    with loaded_mirror(server.url) as seen:
        client.hset(KEYS.job("a"), "label", "new label")
        wait_for(lambda: (row := seen.row("a")) and row.label == "new label")
        add_job(client, "b", indexed=False, status="running")
        wait_for(lambda: "b" in seen)
        assert seen.rows() == rows_in(client)


def test_deletion_and_expiry_remove_rows(server: Server) -> None:
    client = server.client()
    add_job(client, "a")
    add_job(client, "b")
    add_job(client, "c")
    with loaded_mirror(server.url) as seen:
        client.delete(KEYS.job("a"))
        wait_for(lambda: "a" not in seen)
        client.pexpire(KEYS.job("b"), 30)
        wait_for(lambda: "b" not in seen)
        assert set(seen.rows()) == {"c"}


def test_a_flush_empties_and_what_comes_after_is_seen(server: Server) -> None:
    client = server.client()
    add_job(client, "a")
    with loaded_mirror(server.url) as seen:
        client.flushall()
        wait_for(lambda: "a" not in seen)
        add_job(client, "b")
        wait_for(lambda: "b" in seen)
        assert seen.rows() == rows_in(client)


def test_a_key_of_another_type_is_an_unknown_job_and_harms_no_other(server: Server) -> None:
    client = server.client()
    add_job(client, "a")
    client.set(KEYS.job("text"), "no hash")
    client.zadd(KEYS.jobs, {"text": 5.0, "gone": 6.0, "not an id": 7.0})
    client.set(KEYS.unfinished, "no index")
    with loaded_mirror(server.url) as seen:
        assert set(seen.rows()) == {"a", "text"}
        assert seen.rows()["text"].state == "unknown"
        assert [state.why for state in seen.states] == ["", ""]


def test_every_prefix_is_watched_and_rows_of_the_same_id_are_kept_apart(server: Server) -> None:
    client = server.client()
    other = Keys("gnqc")
    add_job(client, "same")
    add_job(client, "same", keys=other, label="other")
    add_job(client, "nested", keys=Keys("gnqc:jobs"))
    with loaded_mirror(server.url, prefixes=("gn-uploader", "gnqc", "gnqc:jobs")) as seen:
        assert seen.state == "live"
        rows = seen.rows()
        assert {"same", "gnqc:same", "gnqc:jobs:nested"} <= set(rows)
        assert (rows["gnqc:same"].id, rows["gnqc:same"].prefix, rows["gnqc:same"].label) == (
            "same",
            "gnqc",
            "other",
        )
        client.hset(other.job("same"), "label", "changed")
        wait_for(lambda: (row := seen.row("gnqc:same")) and row.label == "changed")
        assert seen.rows()["same"].label == "same"


def test_a_watcher_of_some_users_tells_nothing_of_others(server: Server) -> None:
    client = server.client()
    add_job(client, "hers", user_id="jsmith")
    add_job(client, "his", user_id="agunn", status="running")
    add_job(client, "uploaded", user_id="jsmith", indexed=False)
    client.hset(KEYS.job("alias"), mapping={"status": "success", "user_id": "jsmith"})
    with loaded_mirror(server.url, users={"jsmith"}) as seen:
        assert set(seen.rows()) == {"hers", "uploaded", "alias"}
        client.hset(KEYS.job("his"), "label", "still his")
        client.hset(KEYS.job("uploaded"), "user-id", "agunn")
        wait_for(lambda: "uploaded" not in seen)
        assert set(seen.rows()) == {"hers", "alias"}
        assert {row.user for change in seen.changes for row in change.rows} == {"jsmith"}


def test_changes_below_a_record_are_told_of_open_jobs_alone(server: Server) -> None:
    client = server.client()
    add_job(client, "a", status="running")
    add_job(client, "b", status="running")
    with loaded_mirror(server.url) as seen:
        seen.watcher.set_open({"a"})
        for job_id in ("b", "a"):
            client.xadd(KEYS.output(job_id), {"data": "x"})
            client.hset(KEYS.child(job_id, "c1"), "percent", 5)
            client.rpush(f"{KEYS.job(job_id)}:geno:errors:f.tsv", "{}")
            client.set(KEYS.processes(job_id), "{}")
        client.hset(KEYS.job("a"), "percent", 6)
        wait_for(lambda: seen.touched() == {("a", "c1"), ("a", ""), ("a", None)})


def test_what_is_never_shown_is_never_read(server: Server) -> None:
    client = server.client()
    add_job(client, "a", status="running")
    with loaded_mirror(server.url) as seen:
        before = client.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"]
        for _ in range(100):
            client.xadd(KEYS.output("a"), {"data": "x"})
            client.xadd(KEYS.child_output("a", "c1"), {"data": "x"})
        client.hset(KEYS.job("a"), "label", "last")
        wait_for(lambda: (row := seen.row("a")) and row.label == "last")
        assert client.info("commandstats")["cmdstat_hmget"]["calls"] == before + 1


def test_the_log_is_told_to_have_grown(server: Server) -> None:
    client = server.client()
    with loaded_mirror(server.url) as seen:
        client.xadd(KEYS.events, {"kind": "killed"})
        wait_for(lambda: seen.apply() or any(change.events for change in seen.changes))


def test_many_changes_at_once_are_read_in_few_pipelines_and_told_in_bounded_batches(server: Server) -> None:
    client = server.client()
    with loaded_mirror(server.url) as seen:
        pipe = client.pipeline()
        for number in range(1200):
            pipe.hset(KEYS.job(f"j{number}"), mapping={"status": "running", "label": "x"})
        pipe.execute()
        wait_for(lambda: len(seen.rows()) == 1200)
        assert max(len(change.rows) for change in seen.changes) <= 500


def test_processes_are_looked_for_when_a_supervisor_is_silent(server: Server) -> None:
    client = server.client()
    add_job(client, "a", status="running", started=5.0, heartbeat=10.0, host="here")
    with loaded_mirror(server.url, look=lambda job: Presence("gone", job.id)) as seen:
        wait_for(lambda: (row := seen.row("a")) and row.state == "DEAD")


def test_the_servers_clock_is_known(server: Server) -> None:
    client = server.client()
    with loaded_mirror(server.url) as seen:
        seconds, microseconds = client.time()
        assert abs(seen.watcher.now() - (seconds + microseconds / 1e6)) < 0.5


def test_reading_anew_finds_what_was_there_before(server: Server) -> None:
    client = server.client()
    add_job(client, "a")
    with loaded_mirror(server.url) as seen:
        seen.changes.clear()
        seen.watcher.refresh()
        wait_for(lambda: seen.apply() or any(change.sweep == "end" for change in seen.changes))
        assert seen.rows() == rows_in(client)


def test_stopping_ends_the_thread_whether_or_not_it_was_ever_started() -> None:
    told: list[Change] = []
    Watcher("redis://127.0.0.1:1/0", told.append).stop()
    watcher = Watcher("redis://127.0.0.1:1/0", told.append)
    watcher.start()
    wait_for(lambda: any(change.state and change.state.kind == "away" for change in told))
    watcher.stop()
    wait_for(lambda: "gnjobs-watcher" not in {thread.name for thread in threading.enumerate()})
    assert told[0].state is not None
    assert told[0].state.kind == "connecting"


def test_a_url_that_cannot_be_used_is_said() -> None:
    told: list[Change] = []
    watcher = Watcher("nonsense", told.append)
    watcher.start()
    wait_for(lambda: len(told) == 2)
    watcher.stop()
    assert told[1].state is not None
    assert told[1].state.kind == "away"
    assert "\n" not in told[1].state.why


def test_where_tracking_is_refused_it_polls_and_says_so(own_server: Server) -> None:
    admin = own_server.client()
    admin.acl_setuser(
        "viewer",
        enabled=True,
        passwords=["+secret"],
        keys=["*"],
        channels=["*"],
        commands=["+@all", "-client|tracking"],
    )
    add_job(admin, "a", status="running")
    add_job(admin, "seen-on-screen")
    url = own_server.url.replace("redis://", "redis://viewer:secret@")
    with loaded_mirror(url) as seen:
        assert seen.state == "polling"
        assert "permission" in seen.states[-1].why.lower()
        seen.watcher.set_visible(["seen-on-screen"])
        admin.hset(KEYS.job("a"), "label", "changed")
        admin.delete(KEYS.job("seen-on-screen"))
        add_job(admin, "new", created=1800000000.0)
        wait_for(lambda: (row := seen.row("a")) and row.label == "changed")
        wait_for(lambda: "new" in seen and "seen-on-screen" not in seen)


def test_an_old_server_that_knows_no_tracking_is_polled(own_server: Server) -> None:
    own_server.kill()
    own_server.options = ("--rename-command", "CLIENT", "")
    admin = own_server.start().client()
    add_job(admin, "a", status="running")
    with loaded_mirror(own_server.url) as seen:
        assert seen.state == "polling"
        assert "unknown command" in seen.states[-1].why.lower()
        admin.hset(KEYS.job("a"), "label", "changed")
        wait_for(lambda: (row := seen.row("a")) and row.label == "changed")


def test_what_the_acl_hides_is_said(own_server: Server) -> None:
    admin = own_server.client()
    add_job(admin, "a")
    admin.acl_setuser(
        "viewer", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", "-scan"]
    )
    with loaded_mirror(own_server.url.replace("redis://", "redis://viewer:x@")) as seen:
        assert seen.state == "live"
        assert "scan" in seen.states[-1].why
        assert set(seen.rows()) == {"a"}


def test_only_read_commands_are_sent(own_server: Server) -> None:
    client: redis.Redis = own_server.client()
    for number in range(20):
        add_job(client, f"j{number}", user_id="tux")
    client.config_resetstat()
    with loaded_mirror(own_server.url):
        pass
    used = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    allowed = {
        "hmget",
        "zrevrange",
        "zcard",
        "scan",
        "dbsize",
        "time",
        "subscribe",
        "select",
        "ping",
        "info",
        "hello",
    }
    assert {name for name in used if not name.startswith(("client", "config"))} <= allowed
