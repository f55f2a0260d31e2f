"""What answers without end, or slowly, takes little memory, and nobody waits for it for long."""

import contextlib
import re
import resource
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
import redis
from redis.sentinel import MasterNotFoundError

from gnjobs.records.bounded import BoundedSocket, Slowness, TooLarge, TooSlow
from gnjobs.records.connection import connect
from gnjobs.records.servers import explain
from tests.support.servers import BINARIES, Server, running_server


def answer_with(listener: socket.socket, beginning: bytes, rest: bytes, times: int) -> None:
    """Answer whoever connects so, and count on nobody to read all of it."""
    link, _ = listener.accept()
    with link, contextlib.suppress(OSError):
        link.recv(1000)
        link.sendall(beginning)
        for _ in range(times):
            link.sendall(rest)


@pytest.mark.parametrize(
    ("url", "beginning", "rest"),
    [
        ("redis+sentinel://127.0.0.1:{}/gn/0", b"$2000000000\r\n", b"x" * 1000),
        ("redis://127.0.0.1:{}/0", b"*4000000\r\n", b"*0\r\n" * 250),  # 16 MB, which become 300 of lists
        ("redis://127.0.0.1:{}/0", b"*5000000\r\n", b"-\r\n" * 250),  # 15 MB, which become 1700 of errors
    ],
    ids=["long", "lists", "errors"],
)
def test_whatever_answers_at_a_url_takes_little_memory(
    url: str, beginning: bytes, rest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnjobs.records.bounded.LARGEST_REPLY", 16 * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = (listener, beginning, rest, 20_000)
        threading.Thread(target=answer_with, args=arguments, daemon=True).start()
        with (
            pytest.raises((TooLarge, MasterNotFoundError)),
            connect(url.format(listener.getsockname()[1]), retries=0) as client,
        ):
            client.ping()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def sleep_again_and_again(client: redis.Redis) -> None:
    for _ in range(3):
        client.execute_command("DEBUG", "SLEEP", "1.1")


def test_a_server_that_answers_slowly_is_not_waited_for_again_and_again(tmp_path: Path) -> None:
    """One who may run scripts can make each reply take seconds; who only looks then says so."""
    slowness = Slowness(2.0)
    with running_server(tmp_path, BINARIES["valkey"], "--enable-debug-command", "yes") as slow:
        with connect(slow.url, slowness=slowness) as client:
            client.xread({"none": "0"}, block=1100)  # which waits since it was asked to
            assert slowness._waited == 0.0
            with pytest.raises(TooSlow) as raised:
                sleep_again_and_again(client)
        said = f"127.0.0.1:{slow.port} answers too slowly: [0-9]+ s went by waiting for it"
        assert re.fullmatch(said, explain(raised.value, slow.url))


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:{}/0", "redis+sentinel://127.0.0.1:{}/gn/0"], ids=["server", "sentinel"]
)
def test_a_reply_that_trickles_in_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listened while the server was away keeps nobody who came then."""
    monkeypatch.setattr(BoundedSocket.__init__, "__defaults__", (None, 0.5))
    monkeypatch.setattr("gnjobs.records.servers._SENTINEL_SECONDS", 0.5)

    def trickle(listener: socket.socket) -> None:
        link, _ = listener.accept()
        with link, contextlib.suppress(OSError):
            while not over.wait(0.05):
                link.sendall(b"+")

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=trickle, args=(listener,), daemon=True).start()
        client = connect(url.format(listener.getsockname()[1]), retries=0)
        with client, pytest.raises((TooSlow, MasterNotFoundError)):
            client.ping()
        over.set()


def test_a_reply_that_does_not_come_is_waited_for_once(own_server: Server) -> None:
    own_server.send(signal.SIGSTOP)
    began = time.monotonic()
    client = connect(own_server.url, reply_timeout=2.0, slowness=Slowness(10.0))
    with client, pytest.raises(redis.TimeoutError):
        client.ping()
    assert time.monotonic() - began < 5.0  # and three times took six
