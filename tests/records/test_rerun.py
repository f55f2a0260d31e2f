"""The line that runs a job again, as a shell and the command line take it."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from gnjobs.errors import GnjobsError
from gnjobs.records.fields import Job
from gnjobs.records.lifecycle import rerun_line, shell_word
from tests.support.hostile import TEXTS

SHELLS = [shell for name in ("bash", "dash") if (shell := shutil.which(name))]
ODD = [
    text for text in TEXTS.values() if "\x00" not in text and not any("\ud800" <= c < "\udc80" for c in text)
]


def shell_words(shell: str, line: str, place: Path) -> list[str]:
    """The words that a shell makes of a line, with a `gnjobs` that only says them."""
    double = place / "gnjobs"
    double.write_text("#!/bin/sh\nprintf '%s\\0' gnjobs \"$@\"\n")
    double.chmod(0o755)
    path = {"PATH": f"{place}:{os.environ['PATH']}"}
    done = subprocess.run([shell, "-c", line], env=path, capture_output=True, timeout=20, check=True)
    return [word.decode("utf-8", "surrogateescape") for word in done.stdout.split(b"\0")[:-1]]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_gives_back_every_word_whatever_it_holds(shell: str, tmp_path: Path) -> None:
    command = ["echo", *ODD, "-x", "", "~", "!!", "a\\b'c\n"]
    job = Job(id="j", command=shlex.join(command), label=ODD[0], type="-t", keep=604800, stuck_after=0.5)
    words = shell_words(shell, rerun_line(job), tmp_path)
    options = ["--type", "-t", "--label", ODD[0], "--keep", "604800s", "--stuck-after", "0.5s", "--"]
    assert words == ["gnjobs", "run", *options, *command]


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_in_the_line_acts_on_a_terminal(name: str) -> None:
    line = rerun_line(
        Job(id="j", command=shlex.join(["echo", TEXTS[name]]), label=TEXTS[name], cwd=TEXTS[name])
    )
    assert not [c for c in line if not c.isprintable()], name
    line.encode()


def test_it_goes_where_the_job_ran_and_names_what_is_not_usual() -> None:
    job = Job(id="j", command="true", cwd="/data/up load", user="jsmith")
    assert rerun_line(job) == "cd '/data/up load' && gnjobs run --user jsmith -- true"
    assert rerun_line(job, "gnqc").endswith("gnjobs run --prefix gnqc --user jsmith -- true")
    assert rerun_line(Job(id="j", command="true", cwd="-")) == "cd ./- && gnjobs run -- true"


def test_what_the_command_line_would_refuse_is_left_out() -> None:
    job = Job(id="j", command="true", user="not an id", keep=1e18, stuck_after=0)
    assert rerun_line(job) == "gnjobs run -- true"


def test_a_command_that_cannot_be_split_is_one_word() -> None:
    assert rerun_line(Job(id="j", command="it's")) == "gnjobs run -- 'it'\"'\"'s'"


def test_without_a_command_there_is_no_line() -> None:
    with pytest.raises(GnjobsError, match="holds no command"):
        rerun_line(Job(id="j"))


def test_plain_words_stay_plain() -> None:
    assert shell_word("é 漢字") == "'é 漢字'"
    assert shell_word("a\x1bb") == "$'a\\x1bb'"
