"""What a writer makes of a stream that is not as it left it, step by step."""

import threading
from collections.abc import Iterator

import pytest

from gnjobs.errors import AnotherWriter
from gnjobs.outputs.connection import Group, OutputConnection, Refused
from gnjobs.outputs.delivery import OutputDelivery
from gnjobs.outputs.window import OutputWindow
from tests.support.outputs import KEY, texts
from tests.support.servers import Server


class Deliverer:
    """A writer without its thread, so that a test decides what comes when."""

    def __init__(self, url: str) -> None:
        self.window = OutputWindow(keep_bytes=10**6)
        self.connection = OutputConnection(url, KEY, expire=100)
        changed = threading.Condition()
        self.delivery = OutputDelivery(self.connection, KEY, self.window, changed, max_bytes=0)
        self.delivery.ensure_connected()

    def add(self, *lines: str) -> None:
        for line in lines:
            self.window.add("out", line.encode(), 1.0)
            self.window.close_batch()

    def reconnect(self) -> None:
        self.connection.close()
        self.delivery.ensure_connected()


@pytest.fixture
def deliverer(server: Server) -> Iterator[Deliverer]:
    deliverer = Deliverer(server.url)
    yield deliverer
    deliverer.connection.close()


def store_as_if_by_an_older_connection(server: Server, deliverer: Deliverer) -> None:
    """A server that hung may work off what a connection had sent after its writer gave that connection up."""
    older = OutputConnection(server.url, KEY, expire=100)
    older.open()
    window = deliverer.window
    list(older.store(iter([Group(window.group(), 0, window.acknowledged, True, None)])))
    older.close()


def test_our_own_lines_that_arrive_late_are_not_taken_for_somebody_elses(
    server: Server, deliverer: Deliverer
) -> None:
    deliverer.add("a", "b\nc")
    store_as_if_by_an_older_connection(server, deliverer)
    with pytest.raises(Refused):
        deliverer.delivery.deliver()
    assert deliverer.window.acknowledged == 0
    deliverer.reconnect()
    assert deliverer.window.acknowledged == 3
    deliverer.add("d")
    deliverer.delivery.deliver()
    assert texts(server) == ["a", "b", "c", "d"]


def test_an_id_that_is_not_new_counts_as_stored_only_if_the_line_is_ours(
    server: Server, deliverer: Deliverer
) -> None:
    deliverer.add("a")
    with server.client() as client:
        client.xadd(KEY, {"at": 1000, "kind": "out", "data": "A"}, id="1-0")
    with pytest.raises(Refused):
        deliverer.delivery.deliver()
    with pytest.raises(AnotherWriter):
        deliverer.reconnect()


def test_somebody_elses_lines_between_ours_are_noticed(server: Server, deliverer: Deliverer) -> None:
    deliverer.add("a")
    deliverer.delivery.deliver()
    with server.client() as client:
        client.xadd(KEY, {"at": 1000, "kind": "out", "data": "theirs"}, id="2-0")
    deliverer.add("b\nc")
    with pytest.raises(Refused):
        deliverer.delivery.deliver()
    with pytest.raises(AnotherWriter):
        deliverer.reconnect()


def test_a_server_that_ends_where_no_entry_of_ours_did(server: Server, deliverer: Deliverer) -> None:
    deliverer.add("a\nb\nc")
    deliverer.delivery.deliver()
    with server.client() as client:
        client.delete(KEY)
        client.xadd(KEY, {"at": 1000, "kind": "out", "data": "a\nb"}, id="2-0")
    with pytest.raises(AnotherWriter):
        deliverer.reconnect()


def test_the_last_id_counts_although_its_entry_was_trimmed(server: Server, deliverer: Deliverer) -> None:
    deliverer.add("a", "b")
    deliverer.delivery.deliver()
    with server.client() as client:
        client.xtrim(KEY, maxlen=0, approximate=False)
        deliverer.reconnect()
        assert deliverer.window.acknowledged == 2
        deliverer.add("c")
        deliverer.delivery.deliver()
        assert [entry_id for entry_id, _ in client.xrange(KEY)] == [b"3-0"]


def two_groups(deliverer: Deliverer) -> Iterator[Group]:
    deliverer.add("a", "b")
    first, second = deliverer.window.group()
    return iter([Group([first], 0, 0, True, None), Group([second], 0, 1, False, None)])


def test_a_group_is_carried_out_only_after_the_one_before_was_taken_in(
    server: Server, deliverer: Deliverer
) -> None:
    stored = deliverer.connection.store(two_groups(deliverer))
    next(stored)
    assert texts(server) == ["a"]
    next(stored)
    assert texts(server) == ["a", "b"]
    assert list(stored) == []
    assert deliverer.connection.is_open


def test_a_group_that_travels_behind_a_refused_one_is_never_stored(
    server: Server, deliverer: Deliverer
) -> None:
    groups = two_groups(deliverer)
    server.client().xadd(KEY, {"at": 1, "kind": "out", "data": "somebody else's"}, id="1-5")
    with pytest.raises(Refused):
        list(deliverer.connection.store(groups))
    assert not deliverer.connection.is_open
    assert server.client().xlen(KEY) == 1
