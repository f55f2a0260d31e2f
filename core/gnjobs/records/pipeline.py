"""One command for many names, nearly as fast as the wire: put together in one go, and its replies parsed in one go."""

from collections.abc import Iterator, Sequence
from itertools import chain, groupby, islice, zip_longest
from typing import Any, Final

import redis
from redis.connection import DefaultParser
from redis.exceptions import InvalidResponse

from gnjobs.records.bounded import TooLarge, read_hashes
from gnjobs.records.keys import Keys

try:
    import hiredis
except ImportError:  # then redis-py parses
    hiredis = None  # type: ignore[assignment]

_ASKED_AT_ONCE: Final = 400
_ASKED_FIRST: Final = 100
_READ_AT_ONCE: Final = 500
_READ_SIZE: Final = 128 * 1024
_MORE: Final = object()


class Pipeline:
    """Sends `before… NAME after…` for many names, over connections of a client's pool.

    Each name follows a prefix that all share. Names are ASCII, as ids are, and have been checked.
    """

    def __init__(
        self, client: redis.Redis, before: Sequence[str], prefix: str = "", after: Sequence[str] = ()
    ) -> None:
        self._pool: Any = client.connection_pool
        self._before = f"*{len(before) + 1 + len(after)}\r\n{''.join(map(_bulk, before))}"
        self._prefix = prefix
        self._after = f"\r\n{''.join(map(_bulk, after))}"

    def read(self, names: Sequence[str]) -> list[Any]:
        """The reply to each command, or the `ResponseError` with which the server refused it."""
        return [reply for portion in self.portions(names) for reply in portion]

    def portions(self, names: Sequence[str]) -> Iterator[list[Any]]:
        """What `read` gives, a few hundred names at a time: the server is at the next ones while these are looked at.

        Raises what the connection raises.
        """
        if not names:
            return
        # The first is short, so that the server soon works on one while we look at another.
        starts = (0, *range(_ASKED_FIRST, len(names), _ASKED_AT_ONCE))
        portions = [names[start:stop] for start, stop in zip_longest(starts, starts[1:])]
        connection = self._pool.get_connection()
        try:
            replies = _Replies(connection)
            self._send(connection, portions[0])
            for portion, following in zip_longest(portions, portions[1:]):
                if following is not None:
                    self._send(connection, following)
                yield replies.read(len(portion))
        except BaseException:
            # What was asked for and not read would be taken for the next answer.
            connection.disconnect()
            raise
        finally:
            self._pool.release(connection)

    def _send(self, connection: Any, names: Sequence[str]) -> None:
        connection.send_packed_command([self._commands(names)], check_health=False)

    def _commands(self, names: Sequence[str]) -> bytes:
        """All commands; between names of one length stands the same, so that they are joined by it."""
        joined = []
        for length, run in groupby(names, len):
            begin = f"{self._before}${len(_encoded(self._prefix)) + length}\r\n{self._prefix}"
            joined.append(f"{begin}{(self._after + begin).join(run)}{self._after}")
        return _encoded("".join(joined))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _bulk(text: str) -> str:
    return f"${len(_encoded(text))}\r\n{text}\r\n"


class _Replies:
    """Reads replies from a connection of redis-py's, nothing of which has been received yet.

    redis-py takes as long for each reply as hiredis takes to parse it.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._buffer = bytearray(_READ_SIZE)
        has_socket = hasattr(connection._sock, "recv_into")
        self._reader: Any = (
            has_socket
            and hiredis
            and hiredis.Reader(
                protocolError=InvalidResponse,
                replyError=DefaultParser.parse_error,
                notEnoughData=_MORE,
            )
        )

    def read(self, count: int) -> list[Any]:
        """So many replies, errors of commands among them; raises errors of the connection."""
        if not self._reader:
            return [self._read_slowly() for _ in range(count)]
        replies: list[Any] = []
        while True:
            replies += islice(iter(self._reader.gets, _MORE), count - len(replies))
            if len(replies) == count:
                break
            self._receive()
        for error in (reply for reply in replies if isinstance(reply, redis.ConnectionError)):
            raise error  # the server is still reading its data from disk, say
        return replies

    def _receive(self) -> None:
        try:
            size = self._connection._sock.recv_into(self._buffer)
        except TimeoutError as error:
            raise redis.TimeoutError("no answer in time") from error
        except OSError as error:
            raise redis.ConnectionError(str(error)) from error
        if not size:
            raise redis.ConnectionError("the server closed the connection")
        self._reader.feed(self._buffer, 0, size)

    def _read_slowly(self) -> Any:
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            return error


def scan_ahead(client: redis.Redis, pattern: str | None, count: int) -> Iterator[list[bytes]]:
    """The keys that match, some at a time: the server looks for the next ones while these are looked at.

    Raises what the connection raises.
    """
    options = ["COUNT", count] if pattern is None else ["MATCH", pattern, "COUNT", count]
    pool: Any = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_command("SCAN", 0, *options)
        while True:
            cursor, names = connection.read_response()
            if int(cursor) == 0:
                break
            connection.send_command("SCAN", cursor, *options)
            yield names
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)
    yield names


class RecordPipeline:
    """Reads the same fields of many jobs' records by HMGET."""

    def __init__(self, client: redis.Redis, keys: Keys, fields: Sequence[str]) -> None:
        self._client = client
        self._keys = keys
        self._fields = fields
        self._pipeline = Pipeline(client, ["HMGET"], keys.jobs_namespace, fields)

    def read(self, job_ids: Sequence[str]) -> list[Any]:
        """The values of each job's fields in order, or the `ResponseError` with which the server refused.

        The ids have been checked. Raises what the connection raises. All replies are in memory at once: a few hundred
        ids are a good number.
        """
        return list(chain.from_iterable(self.portions(job_ids)))

    def portions(self, job_ids: Sequence[str]) -> Iterator[list[Any]]:
        """What `read` gives, a few hundred jobs at a time."""
        done = 0
        try:
            for replies in self._pipeline.portions(job_ids):
                done += len(replies)
                yield replies
        except TooLarge:
            for start in range(done, len(job_ids), _READ_AT_ONCE):
                names = [self._keys.job(job_id) for job_id in job_ids[start : start + _READ_AT_ONCE]]
                yield read_hashes(self._client, names, self._fields)
