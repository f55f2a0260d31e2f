"""Running the real command line in a process of its own."""

import contextlib
import io
import os
import subprocess
from collections.abc import Mapping

from gnjobs.errors import GnjobsError
from gnjobs_tui.cli.main import cli
from tests.support.servers import Server
from tests.support.terminal import gnjobs

KEPT = ("PATH", "HOME", "VIRTUAL_ENV", "LC_ALL", "LANG")


def environment(url: str, **more: str) -> dict[str, str]:
    """An environment with the server's URL and nothing of the tests'."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {"GNJOBS_REDIS_URL": url, "XDG_CONFIG_HOME": "/nonexistent"} | more


def run(
    url: str, *arguments: str, env: Mapping[str, str] | None = None, limit: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run `gnjobs` with arguments until it ends."""
    return subprocess.run(
        gnjobs(*arguments),
        env=environment(url) | dict(env or {}),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=limit,
    )


def invoke(server: Server, *arguments: str) -> str:
    """Run a command in this process, as `main` does, but let what Redis refuses be raised."""
    printed = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogateescape", write_through=True)
    with contextlib.redirect_stdout(printed), contextlib.suppress(GnjobsError):
        cli.main([*arguments, "--redis-url", server.url], standalone_mode=False)
    printed.seek(0)
    return printed.read()
