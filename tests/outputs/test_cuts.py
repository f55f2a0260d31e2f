"""Every line once and in order, wherever connections are cut."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnjobs.outputs.writer import OutputWriter
from tests.support.outputs import KEY, numbered, texts
from tests.support.proxy import Proxy, running_proxy
from tests.support.servers import Server


@pytest.fixture
def request_size(server: Server) -> int:
    """How many bytes a writer sends that stores the lines of the cutting tests in one go."""
    with running_proxy(server.port) as counting:
        counting.requests_left = 1_000_000
        write_two_groups(counting.url, "counted")
        assert counting.requests_left is not None
        return 1_000_000 - counting.requests_left


def write_two_groups(url: str, key: str) -> None:
    with OutputWriter(url, key) as writer:
        writer.write_many(numbered(1, 3))
        assert writer.flush(20)
        writer.write_many(numbered(4, 6), "err")
        assert writer.flush(20)


def test_a_cut_at_any_byte_of_what_is_sent(server: Server, proxy: Proxy, request_size: int) -> None:
    for position in range(0, request_size, 7):
        proxy.requests_left = position
        write_two_groups(proxy.url, f"k{position}")
        assert texts(server, f"k{position}") == numbered(1, 6)
    assert proxy.cuts > 50


def test_a_cut_at_any_byte_of_what_is_answered(server: Server, proxy: Proxy) -> None:
    """The lines had arrived, only the word of it was lost: they are not stored again."""
    position = 0
    while position == 0 or proxy.cuts:
        proxy.cuts = 0
        proxy.replies_left = position
        write_two_groups(proxy.url, f"k{position}")
        assert texts(server, f"k{position}") == numbered(1, 6)
        position += 17
    assert position > 500


ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 400)),
    st.tuples(st.just("errors"), st.integers(1, 3)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("cut"), st.just(0)),
    st.tuples(st.just("cut requests"), st.integers(0, 3000)),
    st.tuples(st.just("cut replies"), st.integers(0, 1500)),
    st.tuples(st.just("new writer"), st.just(0)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ACTIONS, min_size=1, max_size=12))
def test_every_line_once_and_in_order(
    shared_proxy: tuple[Server, Proxy], actions: list[tuple[str, int]]
) -> None:
    server, proxy = shared_proxy
    proxy.requests_left = proxy.replies_left = None
    with server.client() as client:
        client.delete(KEY)
    expected: list[str] = []
    writer = OutputWriter(proxy.url, KEY)
    for action, amount in actions:
        match action:
            case "write" | "errors":
                lines = numbered(len(expected) + 1, len(expected) + amount)
                writer.write_many(lines, "out" if action == "write" else "err")
                expected += lines
            case "flush":
                assert writer.flush(20)
            case "cut":
                proxy.cut()
            case "cut requests":
                proxy.requests_left = amount
            case "cut replies":
                proxy.replies_left = amount
            case "new writer":
                assert writer.close(20)
                writer = OutputWriter(proxy.url, KEY)
    assert writer.close(20)
    assert writer.error is None
    assert texts(server) == expected


@pytest.fixture(scope="module")
def shared_proxy(_shared_server: Server) -> Iterator[tuple[Server, Proxy]]:
    with running_proxy(_shared_server.port) as proxy:
        yield _shared_server, proxy
