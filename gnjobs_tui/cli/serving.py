"""Serves one text by HTTP to everybody, and lets nobody keep it from the others: any account may reach a port."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from gnjobs.errors import ConfigError
from gnjobs_tui.cli.session import complain

_SECONDS: Final = 5.0
_LONGEST_REQUEST: Final = 8192
_MOST: Final = 300
_KEPT_SECONDS: Final = 2.0
_Tasks = dict[asyncio.Task[Any], None]
_HEAD: Final = (
    b"HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
)


def serve(tell: Callable[[], bytes], host: str, port: int) -> None:
    """Serve what `tell` returns until the process is ended; raises `ConfigError` where it can't listen there."""
    asyncio.run(_Answers(tell).serve(host, port))


class _Answers:
    """Answers every request alike, with what was told at most 2 s ago.

    Of too many the first is left out: of those who have not asked yet, and of those who have and wait for the answer.
    """

    def __init__(self, tell: Callable[[], bytes]) -> None:
        self._tell = tell
        self._telling: asyncio.Task[bytes] | None = None
        self._until = 0.0
        self._silent: _Tasks = {}
        self._asking: _Tasks = {}

    async def serve(self, host: str, port: int) -> None:
        try:
            server = await asyncio.start_server(self._answer, host, port, limit=_LONGEST_REQUEST)
        except OSError as error:
            raise ConfigError(f"can't listen on {host}:{port}: {error.strerror}") from error
        asyncio.get_running_loop().set_exception_handler(_complain)
        complain(f"serving http://{host}:{server.sockets[0].getsockname()[1]}/metrics")
        await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
                with _one_of(self._silent):
                    async with asyncio.timeout(_SECONDS):
                        await reader.readuntil(b"\r\n\r\n")
                with _one_of(self._asking):
                    told = await self._tell_lately()
                    async with asyncio.timeout(_SECONDS):
                        await _send(writer, _HEAD % len(told) + told)
        finally:
            writer.transport.abort()

    async def _tell_lately(self) -> bytes:
        if self._telling is None or (self._telling.done() and time.monotonic() >= self._until):
            self._telling = asyncio.create_task(self._measure())
        return await asyncio.shield(self._telling)

    async def _measure(self) -> bytes:
        told = await asyncio.to_thread(self._tell)
        self._until = time.monotonic() + _KEPT_SECONDS
        return told


@contextlib.contextmanager
def _one_of(tasks: _Tasks) -> Iterator[None]:
    """Have this task be one of some meanwhile; of too many, the first ends."""
    task = asyncio.current_task()
    assert task is not None
    tasks[task] = None
    if len(tasks) > _MOST:
        first = next(iter(tasks))
        del tasks[first]
        first.cancel()
    try:
        yield
    finally:
        tasks.pop(task, None)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send all of it, as far as the kernel takes it."""
    writer.transport.set_write_buffer_limits(0)
    writer.write(data)
    await writer.drain()


def _complain(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    complain(str(context.get("exception") or context["message"]))
