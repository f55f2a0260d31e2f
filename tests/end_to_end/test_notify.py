"""A job's end reaches its owner: `gnjobs notify` as the configuration's `on-end`, with a web hook on this host."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO, TextIOWrapper
from pathlib import Path
from unittest.mock import patch

import pytest

from gnjobs_tui.cli.notify import notify as command
from tests.support.command import environment, run
from tests.support.servers import Server, free_port
from tests.support.terminal import gnjobs
from tests.support.waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:apprise")  # it imports what Python drops

Posts = dict[str, dict[str, str]]


class Hook(HTTPServer):
    """Takes what is posted, by its path."""

    def __init__(self) -> None:
        self.posts: Posts = {}
        super().__init__(("127.0.0.1", 0), HookHandler)


class HookHandler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.posts[self.path] = body
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def told(tmp_path: Path, *lines: str) -> Path:
    """A file that says whom to tell."""
    file = tmp_path / "notify"
    file.touch(0o600)
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def test_the_owner_and_whoever_wants_to_hear_of_all_jobs_are_told(
    server: Server, hook: Hook, tmp_path: Path
) -> None:
    url = f"json://127.0.0.1:{hook.server_port}"
    file = told(tmp_path, f"jsmith={url}/owner", f"agunn={url}/other", f"always={url}/all")
    config = tmp_path / "config.toml"
    on_end = [sys.executable, "-m", "gnjobs_tui", "notify", str(file)]
    config.write_text(f"on-end = {json.dumps(on_end)}\n")
    options = ("--config", str(config), "--user", "jsmith", "--label", "QC\x1b, July")
    job_id = run(server.url, "run", *options, "--", "sh", "-c", "exit 3").stdout.strip()
    wait_for(lambda: len(hook.posts) == 2, 60, "both to be told")
    assert set(hook.posts) == {"/owner", "/all"}
    said = hook.posts["/owner"]
    assert (said["title"], said["type"]) == ("QC␛, July: failed", "failure")
    first, ran, how = said["message"].splitlines()
    assert (first, how) == ("exit code 3", f"gnjobs show {job_id}")
    assert ran.startswith("ran ")


def notify(file: Path, job: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Give a job to the command as `on-end` does."""
    return subprocess.run(
        gnjobs("notify", *options, str(file)), input=job, env=environment(""), capture_output=True, text=True
    )


def test_what_goes_wrong_is_one_line(hook: Hook, tmp_path: Path) -> None:
    success = '{"id": "a", "status": "success", "user": "jsmith", "faults": 312}'
    away = notify(told(tmp_path, f"always=json://127.0.0.1:{free_port()}/all"), success)
    assert (away.returncode, away.stderr.count("\n")) == (1, 1)
    assert away.stderr.startswith("gnjobs: not everybody was told: ")
    nobody = notify(told(tmp_path, "hello"), success)
    assert (nobody.returncode, "names nobody to tell" in nobody.stderr) == (2, True)
    file = told(tmp_path, f"agunn=json://127.0.0.1:{hook.server_port}/agunn")
    assert notify(file, success).returncode == 0, "nobody wants to hear of jsmith's jobs"
    broken = notify(file, "[1")
    assert (broken.returncode, "is not a job" in broken.stderr) == (2, True)
    file.chmod(0o644)
    refused = notify(file, success)
    assert (refused.returncode, "chmod o-r" in refused.stderr) == (2, True)
    assert not hook.posts


def notify_here(file: Path, **job: str) -> None:
    """The same in this process."""
    given = TextIOWrapper(BytesIO(json.dumps({"id": "a", "status": "error"} | job).encode()))
    with patch("sys.stdin", given):
        assert command.main([str(file)], standalone_mode=False) == 0


@pytest.mark.sampled
@pytest.mark.parametrize("user", ["all", "ALL", "always", "agunn,jsmith", "agunn jsmith", "0:agunn"])
def test_an_owner_whose_name_means_several_reaches_none_of_them(
    hook: Hook, tmp_path: Path, user: str
) -> None:
    url = f"json://127.0.0.1:{hook.server_port}"
    notify_here(told(tmp_path, f"agunn={url}/agunn", f"jsmith={url}/jsmith"), user=user)
    assert not hook.posts


def test_the_message_is_plain_text_where_html_is_sent(hook: Hook, tmp_path: Path) -> None:
    file = told(tmp_path, f"agunn=json://127.0.0.1:{hook.server_port}/agunn?format=html")
    notify_here(file, user="agunn", error="<img src=x>")
    message = hook.posts["/agunn"]["message"]
    assert ("<img" in message, "&lt;img" in message) == (False, True)


def test_of_successes_nobody_is_told_where_failures_are_all_that_counts(hook: Hook, tmp_path: Path) -> None:
    file = told(tmp_path, f"always=json://127.0.0.1:{hook.server_port}/all")
    assert notify(file, '{"id": "a", "status": "success"}', "--failures").returncode == 0
    assert not hook.posts
    killed = '{"id": "a", "status": "killed", "stop_by": "tux", "stop_reason": "runaway"}'
    assert notify(file, killed, "--failures").returncode == 0
    assert hook.posts["/all"]["message"] == "killed by tux: runaway\ngnjobs show a"
