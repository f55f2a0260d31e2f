"""Supervisors whom another supervisor or the server turns away: what they say, and how seldom they ask again."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, supervised
from tests.support.waiting import wait_for

HOSTILE = "\x1b]0;owned\x07\x9b31m"


def test_nothing_from_a_record_acts_where_a_supervisor_says_why_it_gave_up(server: Server) -> None:
    job = SupervisedJob(server, ["true"])
    job.client.hset(
        KEYS.job(job.id), mapping={"status": "running", "supervisor-pid": 1, "host": HOSTILE.encode()}
    )
    try:
        said = job.supervise().communicate(timeout=60)[1]
        assert b"is supervised already by pid 1 on" in said
        assert not set(b"\x1b\x07\x9b") & set(said.replace("␛".encode(), b""))
    finally:
        job.end()


def spoil_words(job: SupervisedJob) -> None:
    words = {"success": {"a": {}, "b": None, "old": "well"}, "running": "x"}
    job.client.hset(KEYS.job(job.id), "old-words", json.dumps(words))


def spoil_child(job: SupervisedJob) -> None:
    record, child = KEYS.job(job.id), KEYS.child(job.id, "c")
    job.client.hset(record, mapping={"children": "many", "child:c": child.encode() + b"\xff", "child:d": "x"})
    job.client.hset(child, mapping={"status": "success", "old-words": "[]", "label": b"\xff"})


SPOILT: dict[str, Callable[[SupervisedJob], object]] = {
    "words": spoil_words,
    "child": spoil_child,
    "output too large": lambda job: job.client.xadd(
        KEYS.output(job.id), {"x": b"x" * (80 << 20)}, id="1000-0"
    ),
    "output": lambda job: job.client.set(KEYS.output(job.id), "x"),
    "processes": lambda job: spoil(job, KEYS.processes(job.id), is_list=True),
    "answers": lambda job: job.client.set(KEYS.answers(job.id), "x"),
    "index of unfinished": lambda job: spoil(job, KEYS.unfinished),
    "index": lambda job: spoil(job, KEYS.jobs),
    "events": lambda job: spoil(job, KEYS.events),
}


def spoil(job: SupervisedJob, key: str, *, is_list: bool = False) -> None:
    with job.client.pipeline() as pipe:
        pipe.delete(key)
        (pipe.rpush if is_list else pipe.set)(key, "x")
        pipe.execute()


@pytest.mark.sampled
@pytest.mark.parametrize("how", SPOILT)
def test_no_key_that_somebody_spoilt_keeps_a_supervisor_from_its_end(
    own_server: Server, how: str, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    command = ["sh", "-c", f"until [ -e {go} ]; do sleep 0.1; done"]
    with supervised(own_server, command, mirror_output="stdout stderr") as job:
        wait_for(lambda: job.read().pid)
        SPOILT[how](job)
        go.touch()
        assert job.processes[0].wait(60) == 0
        assert job.read().status == "success"


@pytest.mark.faults
def test_a_supervisor_whose_user_was_deleted_asks_seldom_and_goes_on_when_it_is_back(
    own_server: Server,
) -> None:
    admin = own_server.client()

    def add_user() -> None:
        admin.execute_command("ACL SETUSER tux on >secret ~* &* +@all")

    def denied() -> int:
        return sum(int(entry["count"]) for entry in admin.acl_log() if entry["reason"] == "auth")

    add_user()
    job = SupervisedJob(own_server, ["sh", "-c", "while :; do date; sleep 0.1; done"])
    job.url = own_server.url.replace("//", "//tux:secret@")
    try:
        job.supervise()
        wait_for(lambda: len(job.lines()) > 3)
        admin.execute_command("ACL DELUSER tux")
        wait_for(lambda: denied() >= 2, 60)
        settled = denied()
        time.sleep(8.0)  # there is nothing to wait for where nothing is to happen
        assert denied() - settled <= 4  # the connections that notice last: beats, requests, answers, output
        add_user()
        wait_for(lambda: job.read().heartbeat and time.time() - job.read().heartbeat < 3, 60)
        job.processes[0].terminate()
        assert job.wait_for("killed", limit=60)
    finally:
        job.end()
