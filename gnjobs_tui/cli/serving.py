"""Serves one text by HTTP to whoever asks, and lets nobody keep it from the others: any account may reach a port."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

from gnjobs.errors import ConfigError
from gnjobs_tui.cli.session import complain

_SECONDS: Final = 5.0
_LONGEST_REQUEST: Final = 8192
_MOST_ASKING: Final = 100
_KEPT_SECONDS: Final = 2.0
_HEAD: Final = (
    b"HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
)


def serve(tell: Callable[[], bytes], host: str, port: int) -> None:
    """Serve what `tell` returns until the process is ended; raises `ConfigError` where it can't listen there."""
    asyncio.run(_Answers(tell).serve(host, port))


class _Answers:
    """Answers every request alike, with what was told at most 2 s ago; of too many who ask the first is left out."""

    def __init__(self, tell: Callable[[], bytes]) -> None:
        self._tell = tell
        self._told = b""
        self._until = 0.0
        self._telling = asyncio.Lock()
        self._asking: dict[asyncio.StreamWriter, None] = {}

    async def serve(self, host: str, port: int) -> None:
        try:
            server = await asyncio.start_server(self._answer, host, port, limit=_LONGEST_REQUEST)
        except OSError as error:
            raise ConfigError(f"can't listen on {host}:{port}: {error.strerror}") from error
        asyncio.get_running_loop().set_exception_handler(_complain)
        complain(f"serving http://{host}:{server.sockets[0].getsockname()[1]}/metrics")
        await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._asking[writer] = None
        if len(self._asking) > _MOST_ASKING:
            next(iter(self._asking)).transport.abort()
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
                async with asyncio.timeout(_SECONDS):
                    await reader.readuntil(b"\r\n\r\n")
                told = await self._tell_lately()
                async with asyncio.timeout(_SECONDS):
                    await _send(writer, _HEAD % len(told) + told)
        finally:
            writer.transport.abort()
            del self._asking[writer]

    async def _tell_lately(self) -> bytes:
        async with self._telling:
            if time.monotonic() >= self._until:
                self._told = await asyncio.to_thread(self._tell)
                self._until = time.monotonic() + _KEPT_SECONDS
        return self._told


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send all of it, as far as the kernel takes it."""
    writer.transport.set_write_buffer_limits(0)
    writer.write(data)
    await writer.drain()


def _complain(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    complain(str(context.get("exception") or context["message"]))
