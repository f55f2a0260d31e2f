"""Running the real command line in a process of its own."""

import os
import subprocess
from collections.abc import Mapping

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
