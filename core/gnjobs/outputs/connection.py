"""The one raw connection of a writer: it never reconnects by itself and never sends anything twice."""

from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple

import redis
from redis.connection import PythonRespSerializer

from gnjobs.errors import OutputRemoved
from gnjobs.outputs.lines import ENTRY_FIELDS, entry_number
from gnjobs.outputs.window import Batch
from gnjobs.records.connection import connect, is_wrong_type

Command = tuple[str | bytes | int, ...]

_AT, _KIND, _DATA = ENTRY_FIELDS
_REPLY_TIMEOUT = 5.0
_LARGE = 6000


class StreamState(NamedTuple):
    """What the server says of a stream: the last id it gave (None: no such key) and which server it is."""

    last_id: bytes | None
    run_id: bytes | None
    is_stream: bool = True


class Group(NamedTuple):
    """Batches that are stored together, or not at all.

    `base` is added to their numbers, `after` is the last number stored before them; `create`: the stream is not there
    yet. `keep_from` is the oldest line that is to stay.
    """

    batches: Sequence[Batch]
    base: int
    after: int
    create: bool
    keep_from: int | None

    @property
    def ids(self) -> list[bytes]:
        """The ids of its entries."""
        return [b"%d-0" % (self.base + batch.last) for batch in self.batches]


class Refused(Exception):
    """The server answered with an error or something unexpected; the connection must be closed."""


class _OneConnection(redis.ConnectionPool):
    """A pool that only hands out the connection its owner opened; it never opens or repairs one."""

    opened: Any = None

    def get_connection(self, *_: Any, **__: Any) -> Any:
        """The connection that is open."""
        if self.opened is None:
            raise redis.ConnectionError("the connection was closed")
        return self.opened

    def release(self, connection: Any) -> None:
        """Do nothing: the owner keeps the connection."""


class OutputConnection:
    """One connection at a time, to one stream; after an error the next is opened, and asks for the state.

    `client` sends other commands over it, and fails while none is open. A stream that is made here expires after
    `expire` seconds.
    """

    def __init__(self, url: str, key: str, expire: int) -> None:
        made: Any = connect(url, retries=0, reply_timeout=_REPLY_TIMEOUT).connection_pool
        # Large values stay as they are until all commands of a group are joined; hiredis would copy them once more.
        packer = PythonRespSerializer(_LARGE, made.get_encoder().encode)
        self._pool = _OneConnection(made.connection_class, **made.connection_kwargs, command_packer=packer)
        self._key = key
        self._expire = expire
        self.client = redis.Redis(connection_pool=self._pool)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that has shown no fault."""
        return self._pool.opened is not None

    def open(self) -> StreamState:
        """Connect anew and ask what the server has."""
        self.close()
        connection: Any = self._pool.connection_class(**self._pool.connection_kwargs)
        connection.connect()
        self._pool.opened = connection
        info, server = self._exchange([("XINFO", "STREAM", self._key), ("INFO", "server")])
        if is_wrong_type(info):
            return StreamState(None, _run_id(server), is_stream=False)
        return StreamState(_last_id(info), _run_id(server))

    def close(self) -> None:
        """Close the connection; when called from another thread, this ends a pending read."""
        connection, self._pool.opened = self._pool.opened, None
        if connection is not None:
            connection.disconnect()

    def looks_alive(self) -> bool:
        """Whether the server has neither closed the connection nor sent anything unasked."""
        return not self._pool.get_connection().can_read(0)

    def entries(self, after: int, count: int) -> Any:
        """The first entries whose ids follow a line number."""
        (reply,) = self._exchange([("XRANGE", self._key, f"{after}-1", "+", "COUNT", count)])
        return _good(reply)

    def memory(self) -> int:
        """How many bytes the stream takes on the server; 0 where that can't be asked."""
        (reply,) = self._exchange([("MEMORY", "USAGE", self._key)])
        return reply if isinstance(reply, int) else 0

    def first_number(self) -> int:
        """The number of the oldest entry; 1 where there is none."""
        (reply,) = self._exchange([("XRANGE", self._key, "-", "+", "COUNT", 1)])
        found = _good(reply)
        return (entry_number(found[0][0]) if found else None) or 1

    def store(self, groups: Iterator[Group]) -> Generator[Group]:
        """Store groups in turn, each in one transaction, and yield each once every reply to it was good.

        The commands of the next one travel meanwhile, but its `EXEC` is sent only then. Raises `OutputRemoved` where
        the stream is gone, and `Refused` where anything else is not as it should be, entries that follow `after`
        included: somebody else's, or our own from a connection that was given up. A run that does not come to its
        end closes the connection.
        """
        group = next(groups, None)
        unsent = commands = self._transaction(group)
        try:
            while group is not None:
                following = next(groups, None)
                coming = self._transaction(following)
                replies = self._exchange([*unsent, ("EXEC",), *coming], len(commands) + 1)
                self._check_stored(group, replies)
                yield group
                group, commands, unsent = following, coming, []
        except BaseException:
            self.close()
            raise

    def _transaction(self, group: Group | None) -> list[Command]:
        """The commands that store a group, up to its `EXEC`."""
        if group is None:
            return []
        commands: list[Command] = [("MULTI",), ("XRANGE", self._key, f"{group.after}-1", "+", "COUNT", 1)]
        for batch, entry_id in zip(group.batches, group.ids, strict=True):
            is_first = batch is group.batches[0]
            make: Command = () if group.create and is_first else ("NOMKSTREAM",)
            trim: Command = ("MINID", "~", group.keep_from) if group.keep_from and is_first else ()
            fields: Command = (_AT, batch.at, _KIND, batch.kind.encode(), _DATA, batch.data)
            commands.append(("XADD", self._key, *make, *trim, entry_id, *fields))
        if group.create:
            commands.append(("EXPIRE", self._key, self._expire))
        return commands

    def _check_stored(self, group: Group, replies: list[Any]) -> None:
        following, *ids = _results(replies)
        if following:
            raise Refused("entries that were not expected follow the last one that was stored")
        if None in ids:
            raise OutputRemoved(f"{self._key} was removed; nothing more is stored")
        if ids[: len(group.batches)] != group.ids:
            raise Refused(f"XADD was answered with {ids!r:.200}")

    def _exchange(self, commands: Sequence[Command], replies: int | None = None) -> list[Any]:
        """Send commands and read so many replies, by default all of theirs."""
        connection = self._pool.get_connection()
        connection.send_packed_command([b"".join(connection.pack_commands(commands))], check_health=False)
        return [_read(connection) for _ in range(len(commands) if replies is None else replies)]


def _read(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _good(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise Refused(str(reply))
    return reply


def _results(replies: list[Any]) -> list[Any]:
    for reply in replies:
        _good(reply)
    results = replies[-1]
    if not isinstance(results, list):
        raise Refused(f"EXEC was answered with {results!r:.100}")
    for result in results:
        _good(result)
    return results


def _last_id(info: Any) -> bytes | None:
    if isinstance(info, redis.ResponseError) and "no such key" in str(info):
        return None
    pairs = _good(info)
    found = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return bytes(found[b"last-generated-id"])


def _run_id(server: Any) -> bytes | None:
    """Which run of the server answers; None where the connection's user may not ask."""
    if isinstance(server, Exception):
        return None
    for line in server.splitlines():
        if line.startswith(b"run_id:"):
            return bytes(line[7:])
    return None
