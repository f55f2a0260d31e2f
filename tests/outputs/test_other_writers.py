"""A writer whose output was removed, or is somebody else's too."""

import pytest
import redis

from gnjobs.errors import AnotherWriter, OutputRemoved
from gnjobs.outputs.writer import OutputWriter
from tests.support.outputs import KEY, stored_lines
from tests.support.servers import Server
from tests.support.waiting import wait_for


def test_a_removed_hash_is_not_made_again(server: Server, client: redis.Redis) -> None:
    with OutputWriter(server.url, KEY, hash_key="h") as writer:
        writer.partial("50 %")
        writer.write("a")
        assert writer.flush(10)
        wait_for(lambda: "cmdstat_eval" in client.info("commandstats"))
    assert not client.exists("h")


def test_what_became_something_else_keeps_no_line_waiting(server: Server, client: redis.Redis) -> None:
    client.set("h", "somebody else's")
    with OutputWriter(server.url, KEY, hash_key="h") as writer:
        writer.partial("50 %")
        writer.write("a")
        assert writer.flush(10)
    assert client.get("h") == b"somebody else's"


def test_a_removed_output_is_not_made_again(writer: OutputWriter, client: redis.Redis) -> None:
    writer.write("a")
    assert writer.flush(10)
    client.delete(KEY)
    writer.write("b")
    assert not writer.flush(10)
    assert isinstance(writer.error, OutputRemoved)
    writer.write("c")
    assert not writer.close(10)
    assert not client.exists(KEY)


def test_a_removed_output_is_not_made_again_on_a_new_connection(
    writer: OutputWriter, client: redis.Redis
) -> None:
    writer.write("a")
    assert writer.flush(10)
    client.delete(KEY)
    client.client_kill_filter(_type="normal", skipme=True)
    writer.write("b")
    assert not writer.flush(10)
    assert isinstance(writer.error, OutputRemoved)
    assert not client.exists(KEY)


@pytest.mark.parametrize("number", [2, 3, 500])
def test_another_writer_is_reported(writer: OutputWriter, client: redis.Redis, number: int) -> None:
    writer.write("a")
    assert writer.flush(10)
    client.xadd(KEY, {"at": 1, "kind": "out", "data": "theirs"}, id=f"{number}-0")
    writer.write("b\nc")
    assert not writer.flush(10)
    assert isinstance(writer.error, AnotherWriter)
    assert "\n" not in str(writer.error)


def test_another_writer_with_the_same_id_is_reported(writer: OutputWriter, client: redis.Redis) -> None:
    """The same number on the server is not taken for our own line unless it is exactly that."""
    writer.write("a")
    assert writer.flush(10)
    client.xadd(KEY, {"at": 1, "kind": "out", "data": "theirs"}, id="2-0")
    client.client_kill_filter(_type="normal", skipme=True)
    writer.write("ours")
    assert not writer.flush(10)
    assert isinstance(writer.error, AnotherWriter)
    assert stored_lines(client) == [b"a", b"theirs"]


@pytest.mark.parametrize("form", ["foreign stream", "list"])
def test_a_key_that_holds_something_else_is_left_alone(
    server: Server, client: redis.Redis, form: str
) -> None:
    if form == "list":
        client.rpush(KEY, "x")
    else:
        client.xadd(KEY, {"a": 1})
    before = client.dump(KEY)
    with OutputWriter(server.url, KEY) as writer:
        writer.write("a")
        assert not writer.flush(10)
        assert isinstance(writer.error, AnotherWriter)
    assert client.dump(KEY) == before
