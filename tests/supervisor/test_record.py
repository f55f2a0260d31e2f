"""A supervisor's record over replies that are lost."""

import threading
from typing import Any

import pytest
import redis

from gnjobs.records.environment import ENV_LASTING
from gnjobs.records.keys import MIRROR_FIELD, Keys
from gnjobs.records.lasting import Step
from gnjobs.records.scripts import MoveOutcome
from gnjobs.records.statuses import RUNNING, SUCCESS
from gnjobs.supervisor import finish
from gnjobs.supervisor import reporter as reporting
from gnjobs.supervisor.children import ChildWatch, read_children
from gnjobs.supervisor.listed_faults import ListedFaults
from gnjobs.supervisor.measure import Measuring
from gnjobs.supervisor.record import RecordLink
from gnjobs.supervisor.reporter import Reporter
from tests.support.servers import Server

KEYS = Keys()


class LossyLink(RecordLink):
    """Loses the reply to the next change of status, which is made all the same."""

    loses_reply = False

    def _take(self, step: Step) -> tuple[MoveOutcome, str]:
        taken = super()._take(step)
        if self.loses_reply:
            self.loses_reply = False
            raise redis.ConnectionError("the reply is lost")
        return taken


@pytest.fixture
def link(server: Server) -> LossyLink:
    server.client().hset(KEYS.job("j"), mapping={"status": "pending", "command": "true"})
    made = LossyLink(server.url, KEYS, "j")
    made.read()
    assert made.claim({"lines": 0})[0] == "done"
    return made


def test_a_final_step_whose_reply_was_lost_keeps_its_fields(server: Server, link: LossyLink) -> None:
    link.loses_reply = True
    with pytest.raises(redis.ConnectionError):
        link.move({RUNNING}, SUCCESS, {"lines": 7})
    link.doubt()
    assert link.mend()
    assert link.move({RUNNING}, SUCCESS, {"lines": 7}) == ("done", SUCCESS)
    assert server.client().hget(KEYS.job("j"), "lines") == b"7"


def test_a_refused_step_leaves_the_fields_of_whoever_was_first(server: Server, link: LossyLink) -> None:
    client = server.client()
    client.hset(KEYS.job("j"), mapping={"status": "lost", "transition-token": "x", "error": "nobody reports"})
    assert link.move({RUNNING}, SUCCESS, {"error": "ours"}) == ("refused", "lost")
    link.doubt()
    assert link.mend()
    assert client.hmget(KEYS.job("j"), "status", "error") == [b"lost", b"nobody reports"]


def test_a_record_that_was_removed_is_not_mended(server: Server, link: LossyLink) -> None:
    server.client().delete(KEYS.job("j"))
    link.doubt()
    assert not link.mend()
    assert not server.client().exists(KEYS.job("j"))


def test_a_record_that_another_supervisor_has_claimed_since_is_left_to_it(server: Server) -> None:
    """The server forgot the claim, and the job was launched again before that was mended."""
    client, key = server.client(), KEYS.job("j")
    client.hset(key, mapping={"status": "pending", "command": "true"})
    link = RecordLink(server.url, KEYS, "j")
    link.read()
    link.claim({"mark": "ours", "supervisor-pid": 1})
    link.doubt()
    assert link.mend()
    client.hset(key, mapping={"mark": "theirs", "supervisor-pid": 2, "transition-token": "x"})
    link.doubt()
    assert not link.mend()
    assert client.hmget(key, "mark", "supervisor-pid") == [b"theirs", b"2"]


class Printed:
    last_write, lines = 0.0, 0


@pytest.mark.parametrize("own_server", ["valkey"], indirect=True)
def test_a_server_that_took_the_end_is_not_waited_for_for_ever(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setenv(ENV_LASTING, "0.05")
    own_server.client().hset(KEYS.job("j"), mapping={"status": "pending", "command": "true"})
    link = RecordLink(own_server.url, KEYS, "j")
    link.read()
    link.claim({})
    is_over = threading.Event()
    reporter = Reporter(
        link,
        ChildWatch(KEYS, "j"),
        Measuring(lambda _: ()),
        Printed(),
        lambda: 0,
        listed=ListedFaults(own_server.url, link),
        on_removed=is_over.set,
        on_lasting=is_over.set,
    )

    def work() -> None:
        link.move({RUNNING}, SUCCESS, {})
        own_server.kill()

    reporter.start()
    reporter.finish(work)
    assert is_over.wait(60)


def test_a_child_whose_kill_was_forgotten_half_way_is_killed_again(server: Server, link: LossyLink) -> None:
    client, key = server.client(), KEYS.child("j", "c")
    watch = ChildWatch(KEYS, "j")
    client.hset(KEYS.job("j"), "child:c", KEYS.child_output("j", "c"))
    client.hset(key, mapping={"status": "killed", "stop-by": "tux", "signal": "15", "label": "a"})
    read_children(link, watch)
    client.delete(key)
    client.hset(key, mapping={"status": "stopping", "label": "a"})
    watch.doubt()
    read_children(link, watch)
    assert client.hmget(key, "status", "stop-by", "signal") == [b"killed", b"tux", b"15"]


def test_a_child_that_ended_after_its_hash_was_forgotten_may_fail_as_before(
    server: Server, link: LossyLink
) -> None:
    """What it says of its end makes its hash anew, without what stood there when it was made."""
    client, key = server.client(), KEYS.child("j", "c")
    watch = ChildWatch(KEYS, "j")
    client.hset(KEYS.job("j"), "child:c", KEYS.child_output("j", "c"))
    client.hset(key, mapping={"status": "running", "label": "a", "may-fail": "1"})
    read_children(link, watch)
    client.delete(key)
    client.hset(key, "status", "error")
    read_children(link, watch)
    assert watch.failure_note() is None
    assert client.hmget(key, "status", "label", "may-fail") == [b"error", b"a", b"1"]


@pytest.fixture
def mirrored(server: Server) -> RecordLink:
    """Another program's job, of which one line was printed."""
    record = {"status": "pending", "command": "true", MIRROR_FIELD: "stdout stderr"}
    server.client().hset(KEYS.job("j"), mapping=record)
    add_line(server.client(), 1)
    made = RecordLink(server.url, KEYS, "j")
    made.read()
    made.claim({})
    return made


def add_line(client: redis.Redis, number: int) -> None:
    client.xadd(KEYS.output("j"), {"at": 1, "kind": "out", "data": "printed"}, id=f"{number}-0")


class Overtaken(redis.Redis):
    """Has somebody add a line to the output each time that it reads some; not for ever, for a test's sake."""

    lines = 1

    def xrange(self, *arguments: Any, **options: Any) -> Any:
        found = super().xrange(*arguments, **options)
        if self.lines < 100:
            self.lines += 1
            add_line(self, self.lines)
        return found


def test_whoever_goes_on_adding_lines_keeps_no_supervisor_from_its_end(
    server: Server, mirrored: RecordLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish, "connect", Overtaken.from_url)
    finish.mirror_output(mirrored)
    assert 1 <= server.client().hget(KEYS.job("j"), "stdout").count(b"printed") < 5


def test_an_output_that_takes_too_long_to_read_is_copied_as_far_as_it_was_read(
    server: Server, mirrored: RecordLink, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One whose entries are each of millions of lines takes minutes, and anybody who writes jobs may add them."""
    finish.mirror_output(mirrored)
    assert server.client().hget(KEYS.job("j"), "stdout") == b"printed\n"
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(finish, "MIRROR_SECONDS", -1.0)
    finish.mirror_output(mirrored)
    assert server.client().hget(KEYS.job("j"), "stdout") == b""
    assert "before line 1 alone is copied" in capsys.readouterr().err
