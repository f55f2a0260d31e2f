"""What is no Redis and listens in its place: it answers each command with something else than was asked for."""

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle

HELLO = b"*4\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
REPLIES = (
    *(b":5\r\n", b"+OK\r\n", b"*0\r\n", b"$-1\r\n", b"-ERR no\r\n", b"$3\r\nabc\r\n", b"%1\r\n+a\r\n+b\r\n"),
    *(b":99999999999999999999999999\r\n", b"*3\r\n$4\r\nmode\r\n:1\r\n*1\r\n*0\r\n"),
    *(b"*2\r\n$3\r\nabc\r\n$1\r\n1\r\n", b"*4000000000\r\n"),
)


class OddServer:
    """Answers on a port of loopback; `given` counts how often it gave each reply."""

    def __init__(self, *, greets: bool, replies: Sequence[bytes] = REPLIES) -> None:
        self.given: Counter[bytes] = Counter()
        self._greets = greets
        self._replies = cycle(replies)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(link,), daemon=True).start()

    def _answer(self, link: socket.socket) -> None:
        with link, contextlib.suppress(OSError):
            while asked := link.recv(65536):
                reply = HELLO if self._greets and b"HELLO" in asked else next(self._replies)
                self.given[reply] += 1  # before anybody can have got it
                link.sendall(reply * (1 if reply == HELLO else max(1, asked.count(b"*"))))


@contextlib.contextmanager
def odd_server(*, greets: bool, replies: Sequence[bytes] = REPLIES) -> Iterator[OddServer]:
    """One for the time of a with block; one that `greets` says at first that it is a Redis."""
    server = OddServer(greets=greets, replies=replies)
    try:
        yield server
    finally:
        server.close()
