"""One command for many names on a real server: the replies are those of one command after the other."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from gnjobs.records.connection import connect, is_wrong_type
from gnjobs.records.keys import ids_among
from gnjobs.records.pipeline import Pipeline
from tests.support.servers import Server


def test_replies_are_in_the_order_of_the_names_whatever_their_length(server: Server) -> None:
    client = server.client()
    names = [f"{number:x}" * (1 + number % 3) for number in range(1500)]
    for name in names[::2]:
        client.hset(f"p:{name}", mapping={"one": name, "zwölf": "x" * (len(name) * 997)})
    client.set("p:text", "no hash")
    replies = Pipeline(connect(server.url), ["HMGET"], "p:", ["one", "zwölf", "gone"]).read([*names, "text"])
    *found, refused = replies
    assert found == [client.hmget(f"p:{name}", ["one", "zwölf", "gone"]) for name in names]
    assert is_wrong_type(refused)


def test_what_follows_the_name_may_be_nothing(server: Server) -> None:
    client = server.client()
    client.zadd("index", {"a": 1.5, "bcd": 2})
    assert Pipeline(connect(server.url), ["ZSCORE", "index"]).read(["a", "x", "bcd"]) == [b"1.5", None, b"2"]
    assert Pipeline(connect(server.url), ["ZSCORE", "index"]).read([]) == []


def test_a_connection_that_was_given_up_half_way_is_not_used_again(server: Server) -> None:
    client = connect(server.url, max_connections=1)
    client.set("k1", "1")
    portions = Pipeline(client, ["GET"], "k").portions(["1"] * 1200)
    assert next(portions) == [b"1"] * 100
    portions.close()
    assert client.get("k1") == b"1"


@contextmanager
def _answering(reply: bytes) -> Iterator[str]:
    """A server that answers the first command so and then closes the connection."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        thread.join()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", redis.exceptions.BusyLoadingError),
        (b"$100\r\nhalf", redis.ConnectionError),
        (b"", redis.ConnectionError),
    ],
)
def test_what_is_wrong_with_the_connection_is_raised(reply: bytes, error: type[Exception]) -> None:
    with (
        _answering(reply) as url,
        redis.Redis.from_url(url, driver_info=None, retry=None, protocol=2) as client,
        pytest.raises(error),
    ):
        Pipeline(client, ["GET"]).read(["a"])


def test_names_that_may_be_ids_are_found_among_many() -> None:
    good = [b"a", b"job-1", b"b" * 128]
    assert ids_among(good) == [name.decode() for name in good]
    assert ids_among([]) == []
    for bad in (b"", b"-a", b"a:b", b"a\nb", b"b" * 129, b"output", b"\xff", b"a\n"):
        assert ids_among([*good, bad, b"z"]) == [*(name.decode() for name in good), "z"], bad
