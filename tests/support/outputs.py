"""Lines of outputs, to be written and read back."""

import redis

from gnjobs.outputs.lines import Hole, Line
from gnjobs.outputs.reader import OutputReader
from tests.support.servers import Server

KEY = "k"


def read_back(server: Server, key: str = KEY) -> list[Line | Hole]:
    with server.client() as client:
        return list(OutputReader(client, key).iterate())


def texts(server: Server, key: str = KEY) -> list[str]:
    return [
        item.text if isinstance(item, Line) else f"{item.first} to {item.last} missing"
        for item in read_back(server, key)
    ]


def numbered(first: int, last: int) -> list[str]:
    return [f"line {number}" for number in range(first, last + 1)]


def add(client: redis.Redis, last: int, *texts: str, kind: str = "out") -> None:
    client.xadd(KEY, {"at": 1700000000000, "kind": kind, "data": "\n".join(texts)}, id=f"{last}-0")


def shown(found: list[Line | Hole]) -> list[object]:
    return [(item.number, item.text) if isinstance(item, Line) else (item.first, item.last) for item in found]


def stored_lines(client: redis.Redis, key: str = KEY) -> list[bytes]:
    return [line for _, fields in client.xrange(key) for line in fields[b"data"].split(b"\n")]
