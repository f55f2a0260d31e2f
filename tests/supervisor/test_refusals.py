"""Supervisors whom another supervisor or the server turns away: what they say, and how seldom they ask again."""

import time

import pytest

from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob
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
