"""Running the command line: in this process, with the environment and the streams of one of its own."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO
from unittest.mock import patch

import pytest

from gnjobs.errors import GnjobsError
from gnjobs.records.environment import ENV_LASTING
from gnjobs_tui.cli.main import cli, main
from tests.support.servers import Server

KEPT = ("PATH", "HOME", "VIRTUAL_ENV", "LC_ALL", "LANG", ENV_LASTING)


def environment(url: str, **more: str) -> dict[str, str]:
    """An environment with the server's URL and nothing of the tests'."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {"GNJOBS_REDIS_URL": url, "XDG_CONFIG_HOME": "/nonexistent"} | more


def run(url: str, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `gnjobs` with arguments until it ends; what it starts writes to the same two files."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        with _streams(out, errors), patch.dict(os.environ, environment(url) | dict(env or {}), clear=True):
            code = _exit_code(arguments)
        return subprocess.CompletedProcess(arguments, code, _said(out), _said(errors))


@contextlib.contextmanager
def _streams(out: IO[bytes], errors: IO[bytes]) -> Iterator[None]:
    with (
        _descriptor(1, out),
        _descriptor(2, errors),
        open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False) as stdout,
        open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False) as stderr,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        yield


@contextlib.contextmanager
def _descriptor(number: int, file: IO[bytes]) -> Iterator[None]:
    before = os.dup(number)
    os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        os.dup2(before, number)
        os.close(before)


def _exit_code(arguments: tuple[str, ...]) -> int:
    with patch.object(sys, "argv", ["gnjobs", *arguments]), pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def _said(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "surrogateescape")


def invoke(server: Server, *arguments: str) -> str:
    """Run a command as `main` does, but let what Redis refuses be raised; returns what it printed."""
    with tempfile.TemporaryFile() as out:
        with _streams(out, out), contextlib.suppress(GnjobsError):
            cli.main([*arguments, "--redis-url", server.url], standalone_mode=False)
        return _said(out)
