"""Every kind of server that a URL may name, and what is said of those that can't be used."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from redis.sentinel import Sentinel

from gnjobs.outputs.writer import OutputWriter
from gnjobs.records.connection import connect
from gnjobs.records.servers import explain
from gnjobs.store import JobStore
from gnjobs.watch.rows import Change
from gnjobs.watch.watcher import Watcher
from tests.support.odd_server import REPLIES, odd_server
from tests.support.outputs import KEY
from tests.support.servers import BINARIES, Server, free_port, running_sentinels, running_server
from tests.support.waiting import wait_for

needs_tls = pytest.mark.skipif("redis" not in BINARIES, reason="the embedded server has no TLS")


def said(url: str) -> str:
    """What is said of a URL under which nothing can be read."""
    with pytest.raises((redis.RedisError, ValueError)) as raised, connect(url, reply_timeout=1.0) as client:
        client.ping()
    return str(raised.value) if isinstance(raised.value, ValueError) else explain(raised.value, url)


def check_all_connect(url: str) -> None:
    """A reader, a writer's raw connection and the change feed all get through."""
    store = JobStore.from_url(url)
    job = store.create(["true"], label="seen")
    assert store.get(job.id).label == "seen"
    writer = OutputWriter(url, KEY)
    writer.write("out", "a line")
    assert writer.close(10)
    assert store.client.xlen(KEY) == 1
    changes: list[Change] = []
    watcher = Watcher(url, changes.append)
    watcher.start()
    try:
        wait_for(lambda: any(row.id == job.id for change in changes for row in change.rows))
        kinds = [change.state.kind for change in changes if change.state]
        assert (kinds[0], kinds[-1]) == ("connecting", "live")
    finally:
        watcher.stop()
        store.client.close()


class Tls:
    """A server that speaks TLS alone and asks for a client's certificate, with an authority of its own."""

    def __init__(self, directory: Path) -> None:
        self.ca, self.pair, self.other = (directory / name for name in ("ca.pem", "pair.pem", "other.pem"))
        authority, another = trustme.CA(), trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        another.cert_pem.write_to_path(str(self.other))
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(self.pair))
        self.port = free_port()
        self.options = (
            *("--tls-port", str(self.port), "--tls-ca-cert-file", str(self.ca)),
            *("--tls-cert-file", str(self.pair), "--tls-key-file", str(self.pair)),
        )

    def url(self, ca: Path, *, certificate: bool = True) -> str:
        """The URL of a client that trusts an authority, with or without a certificate of its own."""
        own = f"&ssl_certfile={self.pair}&ssl_keyfile={self.pair}" if certificate else ""
        return f"rediss://127.0.0.1:{self.port}/0?ssl_ca_certs={ca}{own}"


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[Tls]:
    made = Tls(tmp_path)
    with running_server(tmp_path / "server", BINARIES["redis"], *made.options):
        yield made


@needs_tls
def test_tls_with_an_own_authority_and_a_client_certificate(tls: Tls, tmp_path: Path) -> None:
    check_all_connect(tls.url(tls.ca))
    where = f"127.0.0.1:{tls.port}"
    assert said(tls.url(tls.other)).startswith(
        f"the certificate of {where} is not to be trusted: self-signed"
    )
    assert said(tls.url(tls.ca, certificate=False)) == (
        f"{where} asks for a client's certificate: ?ssl_certfile=FILE&ssl_keyfile=FILE"
    )
    wrong_name = tls.url(tls.ca).replace("127.0.0.1", "localhost")
    assert "is not to be trusted: Hostname mismatch" in said(wrong_name)
    assert said(f"redis://{where}/0") == f"{where} speaks TLS: use rediss:// in place of redis://"
    missing = tmp_path / "missing.pem"
    assert said(tls.url(missing)) == f"CA file {missing} can't be read: no such file or directory"


@needs_tls
def test_the_master_that_sentinels_name_over_tls(tls: Tls, tmp_path: Path) -> None:
    port, settings = free_port(), tmp_path / "sentinel.conf"
    pairs = zip(tls.options[2::2], tls.options[3::2], strict=True)
    files = "\n".join(f"{name.removeprefix('--')} {value}" for name, value in pairs)
    settings.write_text(
        f"port 0\ntls-port {port}\nbind 127.0.0.1\n{files}\ntls-replication yes\n"
        f"sentinel monitor gn 127.0.0.1 {tls.port} 1\n"
    )
    with subprocess.Popen(
        [BINARIES["redis"], str(settings), "--sentinel"], stdout=subprocess.DEVNULL
    ) as sentinel:
        try:
            url = (
                tls.url(tls.ca)
                .replace("rediss://", "rediss+sentinel://")
                .replace(f":{tls.port}/0", f":{port}/gn/0")
            )
            wait_for(lambda: answers(url), 20)
            # Whatever TLS sends by itself, and whenever that comes.
            assert all(answers(url) for _ in range(10))
            check_all_connect(url)
        finally:
            sentinel.kill()


def answers(url: str) -> bool:
    try:
        with connect(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def test_a_plain_port_that_is_asked_in_tls(server: Server) -> None:
    where = f"127.0.0.1:{server.port}"
    assert said(f"rediss://{where}/0") == f"{where} does not speak TLS: use redis:// in place of rediss://"


@pytest.mark.parametrize("binary", sorted(BINARIES))
def test_a_socket_a_database_and_an_acl_user(tmp_path: Path, binary: str) -> None:
    path = tmp_path / "s"
    with running_server(tmp_path / "server", BINARIES[binary], "--unixsocket", str(path)) as server:
        check_all_connect(f"unix://{path}?db=2")
        server.client().flushall()
        server.client().acl_setuser("tux", enabled=True, passwords="+p@ss/w:rd", keys=["*"], channels=["*"],
                                    categories=["+@all"])  # fmt: skip
        check_all_connect(f"redis://tux:p%40ss%2Fw%3Ard@127.0.0.1:{server.port}/3")
        check_all_connect(f"unix://tux:p%40ss%2Fw%3Ard@{path}?db=4")
        refused = "Redis refused the login: wrong user or password"
        assert said(f"redis://tux:wrong@127.0.0.1:{server.port}/0") == refused
        server.client().config_set("requirepass", "secret")
        assert said(server.url) == "Redis refused the login: it asks for a password"


@pytest.mark.sampled
@pytest.mark.parametrize("binary", sorted(BINARIES))
def test_the_master_that_sentinels_name(tmp_path: Path, binary: str) -> None:
    with running_sentinels(tmp_path, BINARIES[binary]) as sentinels:
        check_all_connect(sentinels.url)
        host = f"127.0.0.1:{sentinels.ports[0]}"
        assert said(f"redis://{host}/0") == (
            f"{host} is a Sentinel: use redis+sentinel://{host}/NAME-OF-THE-MASTER/0"
        )
        other = f"redis+sentinel://{host}/other/0"
        assert said(other) == f"no Sentinel names a master for other (Sentinels {host})"
        with running_server(tmp_path / "other", BINARIES[binary]) as none:
            assert answers(sentinels.url.replace("//", f"//127.0.0.1:{none.port},"))
        for reply in (*REPLIES, b"HTTP/1.1 400 Bad Request\r\n\r\n"):
            with odd_server(greets=False, replies=[reply]) as odd:
                assert answers(sentinels.url.replace("//", f"//127.0.0.1:{odd.port},")), reply
                assert odd.given
    assert said("redis+sentinel://db1:26379").startswith("a Sentinel URL is redis+sentinel://")


@pytest.mark.parametrize("binary", sorted(BINARIES))
def test_a_cluster_of_several_nodes_is_refused_and_one_that_is_alone_is_not(
    tmp_path: Path, binary: str
) -> None:
    enabled = ("--cluster-enabled", "yes", "--cluster-port")
    ports = [free_port(), free_port()]
    with (
        running_server(tmp_path / "a", BINARIES[binary], *enabled, str(ports[0])) as first,
        running_server(tmp_path / "b", BINARIES[binary], *enabled, str(ports[1])) as second,
    ):
        first.client().execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        wait_for(lambda: first.client().execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        check_all_connect(first.url)
        first.client().execute_command("CLUSTER DELSLOTSRANGE", 8192, 16383)
        second.client().execute_command("CLUSTER ADDSLOTSRANGE", 8192, 16383)
        first.client().execute_command("CLUSTER MEET", "127.0.0.1", second.port, ports[1])
        wait_for(lambda: first.client().execute_command("CLUSTER INFO")["cluster_size"] == "2")
        assert said(first.url) == (
            f"127.0.0.1:{first.port} is one node of a Redis Cluster of several, which gnjobs can't use"
        )


def test_a_master_on_localhost_is_looked_for_there_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sentinel, "discover_master", lambda *_: ("localhost", 6379))
    pool: Any = connect("redis+sentinel://db1/gn/0").connection_pool
    assert pool.get_master_address() == ("127.0.0.1", 6379)


PING = "import sys; from gnjobs.records.connection import connect; connect(sys.argv[1], retries=0).ping()"


@pytest.mark.sampled
@pytest.mark.skipif(
    os.getuid() != 0 or not socket.has_ipv6, reason="only root may give a process names of hosts"
)
@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel"])
def test_nobody_who_listens_on_ipv6_is_taken_for_the_server_on_localhost(
    server: Server, tmp_path: Path, scheme: str
) -> None:
    """Any account may listen there where the server does not, and most hosts give that address first."""
    names = tmp_path / "hosts"
    names.write_text("127.0.0.1 localhost\n::1 localhost\n")
    url = f"{scheme}://tux:secret@localhost:{server.port}/{'gn/' * (scheme == 'redis+sentinel')}0"
    server.client().acl_setuser("tux", enabled=True, passwords="+secret", commands=["+hello", "+ping"])
    script = f'mount --bind {names} /etc/hosts && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c", PING, url]
    with socket.create_server(("::1", server.port), family=socket.AF_INET6) as listener:
        pinged = subprocess.run(command, stderr=subprocess.PIPE, timeout=60)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert (pinged.returncode == 0) == (scheme == "redis"), pinged.stderr


@pytest.mark.parametrize("sign", "/?#")
@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix", "redis+sentinel"])
def test_a_password_that_ends_what_stands_before_the_host_is_not_told(scheme: str, sign: str) -> None:
    for url in (
        f"{scheme}://gn:hunter2{sign}SECRET@db1:6379/gn/0",
        f"{scheme}://gn:12{sign}SECRET@/run/x.sock",
    ):
        with pytest.raises(ValueError, match="must be written as %2F, %3F and %23") as refused:
            connect(url)
        assert "hunter2" not in str(refused.value)
        assert "SECRET" not in str(refused.value)


def test_a_password_without_a_host_is_not_told() -> None:
    for url in ("redis://gn:hunter2", "redis+sentinel://gn:hunter2/gn/0"):
        with pytest.raises(ValueError, match=r"^the port is a number such as 6379, 65535 at most$"):
            connect(url)


@pytest.mark.parametrize("password", ["℀SECRET", "[SECRET]", "[SECRET"])
@pytest.mark.parametrize("scheme", ["redis", "unix", "redis+sentinel"])
def test_a_password_whose_signs_make_no_url_is_not_told(scheme: str, password: str) -> None:
    with pytest.raises(ValueError, match="write odd signs in user or password as %XX") as refused:
        connect(f"{scheme}://gn:{password}@db1:6379/gn/0")
    assert "SECRET" not in str(refused.value)


def test_what_is_not_there_and_what_is_no_redis(tmp_path: Path) -> None:
    port = free_port()
    assert said(f"redis://127.0.0.1:{port}/0") == f"can't reach 127.0.0.1:{port}: connection refused"
    assert said(f"unix://{tmp_path}/none") == f"can't reach {tmp_path}/none: no such socket"
    assert said("redis://none.invalid/0") == "can't reach none.invalid:6379: unknown host name"
    for greeting in (b"SSH-2.0-OpenSSH_9.2\r\n", b"+OK\r\n"):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=_greet, args=(listener, greeting), daemon=True).start()
            port = listener.getsockname()[1]
            assert said(f"redis://127.0.0.1:{port}/0") == f"127.0.0.1:{port} is not a Redis server"


def _greet(listener: socket.socket, greeting: bytes) -> None:
    with suppress(OSError):  # until it is closed
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(greeting)
                connection.recv(1024)


def test_a_dashboard_is_never_live_before_it_could_read(tmp_path: Path) -> None:
    with running_server(tmp_path / "server") as own:
        user = {"enabled": True, "passwords": "+secret", "keys": ["other:*"], "categories": ["+@all"]}
        own.client().acl_setuser("tux", **user)
        changes: list[Change] = []
        watcher = Watcher(own.url.replace("//", "//tux:secret@"), changes.append)
        watcher.start()
        try:
            wait_for(lambda: len(changes) > 1)
        finally:
            watcher.stop()
        states = [change.state for change in changes if change.state]
        assert [state.kind for state in states] == ["connecting", "away"]
        assert states[-1].why.startswith("Redis does not allow it: ")
        assert {denied["count"] for denied in own.client().acl_log()} == {1}, "it is asked again and again"
