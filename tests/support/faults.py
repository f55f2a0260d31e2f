"""Ways to break a server under running jobs, each with the way to heal it."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import redis

from tests.support.servers import Server
from tests.support.waiting import wait_for

FORGOTTEN_BYTES = 20_000
# Of one journal alone the end can be cut off; a rewrite would begin another.
LASTING = ("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")


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


def _unable_to_save(server: Server) -> Callable[[], None]:
    """Writes are refused with MISCONF, since a snapshot could not be saved."""
    in_the_way = Path(server.directory) / "dump.rdb"
    in_the_way.unlink(missing_ok=True)
    in_the_way.mkdir()
    _command(server, "CONFIG", "SET", "save", "3600 1")
    _command(server, "CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
    with server.client() as client:
        _save_and_fail(client)

    def heal() -> None:
        _command(server, "CONFIG", "SET", "save", "")
        in_the_way.rmdir()

    return heal


def _save_and_fail(client: redis.Redis) -> None:
    def has_failed() -> bool:
        with contextlib.suppress(redis.ResponseError):  # the journal may be being rewritten at this moment
            client.bgsave(schedule=True)
        return bool(client.info("persistence")["rdb_last_bgsave_status"] == "err")

    wait_for(has_failed, what="a snapshot that could not be saved")


def _load(server: Server) -> Callable[[], None]:
    """It answers LOADING for a while after a restart."""
    server.kill()
    before = server.options
    server.options = (*before, "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    server.launch()
    server.options = before

    return server.restart


def _disconnect(server: Server) -> Callable[[], None]:
    _command(server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    return lambda: None


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
    Fault("unable-to-save", _unable_to_save),
    Fault("loading", _load),
    Fault("disconnects", _disconnect),
)


@contextlib.contextmanager
def broken(server: Server, fault: Fault) -> Iterator[None]:
    """A broken server for the time of a with block."""
    heal = fault.inject(server)
    try:
        yield
    finally:
        heal()
        with contextlib.suppress(redis.RedisError):
            server.wait_until_ready(60)
