"""Ways to break a server under running jobs, each with the way to heal it."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import redis

from tests.end_to_end.lost_seconds import cut_journal
from tests.servers import Server
from tests.waiting import wait_for

FORGOTTEN_BYTES = 20_000
LASTING = ("--appendonly", "yes", "--appendfsync", "everysec", "--aof-load-truncated", "yes")


class Fault(NamedTuple):
    """A fault by name; `inject` breaks the server, and what it returns heals it."""

    name: str
    inject: Callable[[Server], Callable[[], None]]

    def __str__(self) -> str:
        return self.name


def _crash(server: Server) -> Callable[[], None]:
    server.kill()
    return lambda: _discard(server.start())


def _hang(server: Server) -> Callable[[], None]:
    server.send(signal.SIGSTOP)
    return lambda: server.send(signal.SIGCONT)


def _forget(server: Server) -> Callable[[], None]:
    """Lose the last writes that were acknowledged but not on disk yet."""
    server.kill()
    for journal in Path(server.directory).glob("appendonlydir/*.incr.aof"):
        size = journal.stat().st_size
        with journal.open("r+b") as file:
            file.truncate(max(0, size - min(FORGOTTEN_BYTES, size // 3)))
    return lambda: _discard(server.start())


def _read_only(server: Server) -> Callable[[], None]:
    """As after a failover: the server is a replica now, of a master that is not there."""
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")
    return lambda: _command(server, "REPLICAOF", "NO", "ONE")


def _full(server: Server) -> Callable[[], None]:
    _command(server, "CONFIG", "SET", "maxmemory", "1")
    return lambda: _command(server, "CONFIG", "SET", "maxmemory", "0")


def _disconnect(server: Server) -> Callable[[], None]:
    _command(server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    return lambda: None


def _lose_second(server: Server) -> Callable[[], None]:
    """Lose all that came in the last second, exactly; the journal has time stamps."""
    server.kill()
    cut_journal(server.directory, 1.0)
    return lambda: _discard(server.start())


def _load(server: Server) -> Callable[[], None]:
    """Come back slowly: for a while every command is answered with LOADING."""
    with server.client(socket_timeout=20.0) as client, contextlib.suppress(redis.RedisError):
        client.mset({f"ballast:{number}": "x" * 1000 for number in range(30)})
        client.bgrewriteaof()
        wait_for(lambda: not client.info("persistence")["aof_rewrite_in_progress"], 20)
    server.kill()
    usual = server.options
    server.options = (
        *(*usual, "--key-load-delay", "30000"),
        *("--loading-process-events-interval-bytes", "1024"),
    )
    starting = threading.Thread(target=server.start)
    starting.start()

    def heal() -> None:
        starting.join()
        server.options = usual

    return heal


def _cannot_save(server: Server) -> Callable[[], None]:
    """MISCONF: the snapshot can't be written, since a directory stands in its place."""
    (server.directory / "dump.rdb").mkdir(exist_ok=True)
    with server.client(socket_timeout=5.0) as client:
        client.config_set("save", "3600 1")
        client.bgsave()
        wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 20)
    return lambda: _command(server, "CONFIG", "SET", "save", "")


def _command(server: Server, *words: str) -> None:
    with server.client() as client:
        client.execute_command(*words)


def _discard(_: object) -> None:
    return


FAULTS = (
    Fault("crash", _crash),
    Fault("hang", _hang),
    Fault("forgets", _forget),
    Fault("read-only", _read_only),
    Fault("full", _full),
    Fault("disconnects", _disconnect),
    Fault("cannot save", _cannot_save),
)
# Those that need time stamps in the journal (`STAMPED`), or more time than a test has.
MORE_FAULTS = (*FAULTS, Fault("loses a second", _lose_second), Fault("loads", _load))


@contextlib.contextmanager
def broken(server: Server, fault: Fault) -> Iterator[None]:
    """A broken server for the time of a with block."""
    heal = fault.inject(server)
    try:
        yield
    finally:
        heal()
        with contextlib.suppress(redis.RedisError):
            server.wait_until_ready()
