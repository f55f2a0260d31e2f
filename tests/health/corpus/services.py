"""What jobs of the corpus talk to, outside of any job: a slow HTTP server, an SSH server, a database."""

import contextlib
import http.server
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.support.servers import free_port
from tests.support.waiting import wait_for

CPU_GROUPS = Path("/sys/fs/cgroup/cpu")
_START_SECONDS = 60.0
_DRIP_SECONDS = 0.5


class _Slow(http.server.BaseHTTPRequestHandler):
    """`/drip` sends some bytes every half second, `/stall` a few and no more, `/never` nothing; others answer."""

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):
            self._answer()

    def _answer(self) -> None:
        if self.path == "/never":
            time.sleep(3600)
        self.send_response(200)
        self.send_header("Content-Length", "2" if self.path == "/" else "1000000000")
        self.end_headers()
        self.wfile.write(b"ok")
        while self.path == "/drip":
            self.wfile.write(b"x" * 100)
            time.sleep(_DRIP_SECONDS)
        if self.path == "/stall":
            time.sleep(3600)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def web_server() -> Iterator[dict[str, str]]:
    """The slow HTTP server, as jobs are told of it by the environment."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"CORPUS_HTTP": f"http://127.0.0.1:{server.server_port}"}
        server.shutdown()


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A server as our child; what it has started ends with it."""
    process = subprocess.Popen(command, stdin=-3, stdout=-3, stderr=-3)
    try:
        yield process
    finally:
        for each in (*psutil.Process(process.pid).children(recursive=True), process):
            with contextlib.suppress(psutil.Error):
                each.kill()
        process.wait()


@contextlib.contextmanager
def _ssh(directory: Path) -> Iterator[dict[str, str]]:
    sshd, port = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin"), free_port()
    if sshd is None or shutil.which("ssh") is None:
        yield {}
        return
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    settings = {
        "ListenAddress": "127.0.0.1", "HostKey": directory / "host", "AuthorizedKeysFile": directory / "user.pub",
        "StrictModes": "no", "UsePAM": "no", "PidFile": "none", "MaxStartups": "100",
    }  # fmt: skip
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    client = ["ssh", "-F", "none", "-p", str(port), "-i", str(directory / "user"), "-o", "LogLevel=ERROR"]
    client += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]

    def answers() -> bool:
        return subprocess.run([*client, "127.0.0.1", "true"], capture_output=True).returncode == 0

    with _running([sshd, "-D", "-f", "/dev/null", "-p", str(port), *options]):
        wait_for(answers, _START_SECONDS, "an SSH server")
        yield {"CORPUS_SSH": " ".join(client)}


@contextlib.contextmanager
def _database(directory: Path) -> Iterator[dict[str, str]]:
    server = shutil.which("mariadbd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    install = shutil.which("mariadb-install-db")
    if server is None or install is None or shutil.which("mariadb") is None:
        yield {}
        return
    data, user = directory / "data", ["--user=root"] if os.getuid() == 0 else []
    made = [f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db", *user]
    subprocess.run([install, "--no-defaults", *made], check=True, capture_output=True)
    client = ["mariadb", "--no-defaults", "-uroot", f"--socket={directory / 'sql'}"]
    options = [f"--datadir={data}", f"--socket={directory / 'sql'}", "--skip-networking", *user]

    def answers() -> bool:
        made = "create database jobs; create table jobs.cells (x int)"
        return subprocess.run([*client, "-e", made], capture_output=True).returncode == 0

    with _running([server, "--no-defaults", "--local-infile=1", *options]):
        wait_for(answers, _START_SECONDS, "a database")
        yield {"CORPUS_SQL": " ".join([*client, "--local-infile=1", "jobs"])}


@contextlib.contextmanager
def services(directory: Path) -> Iterator[frozenset[str]]:
    """Start what can be started here, tell jobs of it by the environment, and give the names of these variables."""
    with web_server() as http_server, _ssh(directory) as ssh, _database(directory) as database:
        told = {**http_server, **ssh, **database}
        os.environ.update(told)
        try:
            yield frozenset(told)
        finally:
            for name in told:
                del os.environ[name]
            for group in CPU_GROUPS.glob("corpus*"):
                with contextlib.suppress(OSError):
                    group.rmdir()
