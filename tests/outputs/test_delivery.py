"""What a writer makes of a stream that is not as it left it, step by step."""

import threading
from collections.abc import Iterator

import pytest

from gnjobs.errors import AnotherWriter
from gnjobs.outputs.connection import OutputConnection, Refused
from gnjobs.outputs.delivery import OutputDelivery
from gnjobs.outputs.window import OutputWindow
from tests.support.outputs import KEY, texts
from tests.support.servers import Server


class Deliverer:
    """A writer without its thread, so that a test decides what comes when."""

    def __init__(self, url: str) -> None:
        self.window = OutputWindow(keep_bytes=10**6)
        self.connection = OutputConnection(url, KEY)
        changed = threading.Condition()
        self.delivery = OutputDelivery(self.connection, KEY, self.window, changed, max_bytes=0, expire=100)
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
    older = OutputConnection(server.url, KEY)
    older.open()
    window = deliverer.window
    older.store(window.group(), 0, window.acknowledged, create=True, keep_from=None, expire=100)
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
