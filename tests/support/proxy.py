"""A loopback TCP proxy that delays replies and cuts connections: now, or after a number of bytes in one direction."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator


class Proxy:
    """Forwards connections to a port on loopback until it is told to cut them.

    New connections go to the port `target`, which may be changed. `requests_left` and `replies_left` are how many
    more bytes pass in that direction, over all connections, before the connection at work is cut; then they are None
    again, which is no limit. Replies come `delay` seconds late.
    """

    def __init__(self, port: int) -> None:
        self.requests_left: int | None = None
        self.replies_left: int | None = None
        self.delay = 0.0
        self.connections = 0
        self.cuts = 0
        self.target = port
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._is_closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Cut every connection now."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._drop(pair)

    def close(self) -> None:
        """Cut everything and take no more."""
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            for source, sink, limit in ((client, server, "requests_left"), (server, client, "replies_left")):
                threading.Thread(target=self._pump, args=(pair, source, sink, limit), daemon=True).start()

    def _pump(
        self,
        pair: tuple[socket.socket, socket.socket],
        source: socket.socket,
        sink: socket.socket,
        limit: str,
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                if limit == "replies_left":
                    self._wait()
                allowed = self._allowed(limit, len(chunk))
                sink.sendall(chunk[:allowed])
                if allowed < len(chunk):
                    self.cuts += 1
                    break
        self._drop(pair)

    def _wait(self) -> None:
        """Let a reply be late; it comes at once when the delay ends meanwhile."""
        came = time.monotonic()
        while (left := came + self.delay - time.monotonic()) > 0:
            time.sleep(min(left, 0.01))

    def _allowed(self, limit: str, size: int) -> int:
        """How many of these bytes may pass; fewer than asked means that the connection is to be cut."""
        with self._lock:
            left = getattr(self, limit)
            if left is None:
                return size
            setattr(self, limit, left - size if left >= size else None)
            return int(min(left, size))

    def _drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for side in pair:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()


@contextlib.contextmanager
def running_proxy(port: int) -> Iterator[Proxy]:
    """A proxy for the time of a with block."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
