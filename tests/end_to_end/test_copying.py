"""What `y` copies: in tmux it is in tmux's buffer, and only there it is said to be copied."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import environment
from tests.support.servers import Server
from tests.support.stored_records import write_running
from tests.support.terminal import Terminal, gnjobs, see

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")


@contextlib.contextmanager
def tmux(socket: Path) -> Iterator[list[str]]:
    """The command of a tmux that nobody else uses, and that is ended."""
    command = ["tmux", "-S", str(socket), "-f", "/dev/null"]
    try:
        yield command
    finally:
        subprocess.run([*command, "kill-server"], capture_output=True, check=False)


def test_in_tmux_what_is_copied_can_be_pasted(server: Server, tmp_path: Path) -> None:
    write_running(server, "job-1", label="the one")
    env = environment(server.url, TERM="xterm-256color", LC_ALL="C.UTF-8")
    with (
        tmux(tmp_path / "tmux") as command,
        Terminal([*command, "new-session", *gnjobs()], env=env) as terminal,
    ):
        terminal.wait_for("the one")
        see(terminal, "y", "copied job-1 into tmux's buffer")
        shown = subprocess.run([*command, "show-buffer"], capture_output=True, text=True, check=True)
        assert shown.stdout == "job-1"


def test_elsewhere_it_is_said_where_it_went(server: Server) -> None:
    write_running(server, "job-1", label="the one")
    with Terminal(gnjobs(), env=environment(server.url)) as terminal:
        terminal.wait_for("the one")
        see(terminal, "y", "sent job-1 to the terminal's clipboard")
        assert "copied" not in terminal.text
        assert b"\x1b]52;c;am9iLTE=" in terminal.raw
