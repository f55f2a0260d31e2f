"""What a server's URL names to processes in namespaces of their own: the same server as to us, another, or either."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from gnjobs.processes import table
from gnjobs.processes.end import HeldProcess
from gnjobs.processes.find import processes_of
from gnjobs.processes.mounts import Mounts, names_the_same
from gnjobs.processes.seen import Found
from gnjobs.processes.table import LookSoFar, Wanted, read_mark
from gnjobs.records.environment import digest_of_mark
from gnjobs.text import place_of
from tests.support.supervised import marked, python
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may make namespaces")


@contextmanager
def apart(*options: str, **how: Any) -> Iterator[psutil.Popen]:
    """A process that sleeps in namespaces of its own."""
    with psutil.Popen(["unshare", *options, "sleep", "600"], **how) as process:
        try:
            wait_for(lambda: process.name() == "sleep")
            yield process
        finally:
            process.kill()


def marks_of(url: str) -> dict[str, str]:
    """An environment with the marks of a job of this server."""
    return os.environ | {"GNJOBS_JOB_ID": "j", "GNJOBS_PREFIX": "p", "GNJOBS_REDIS_URL": url}


def full_look(account: int) -> LookSoFar:
    """A look that has met as many namespaces of an account as it reads."""
    look = LookSoFar()
    look.mounts |= {(account, str(number), "/"): Mounts() for number in range(100)}
    return look


BINDING = ["sh", "-c", 'mount --bind d "a place" && exec "$0" "$@"']
MOUNTING = ["sh", "-c", 'mount -t tmpfs none d && touch d/s && exec "$0" "$@"']
# As systemd does it for what a unit may write to.
ON_ITSELF = ["sh", "-c", 'mount --bind d d && exec "$0" "$@"']
STACKED = ["sh", "-c", 'mount --bind d x && mount -t tmpfs none d && mount --bind x d && exec "$0" "$@"']
UNDER = 'mount --bind d d && mount -t tmpfs none "$PWD" && mkdir "$PWD/d" && touch "$PWD/d/s"'
HIDDEN = ["sh", "-c", f'{UNDER} && exec "$0" "$@"']
MOVING = ["sh", "-c", 'mount -t tmpfs none x && ln -s ../d x/l && exec "$0" "$@"']
PLACES = [
    ("redis://localhost/0", ["--net"], False),
    ("redis://127.0.0.2/0", ["--net"], False),
    ("redis://redis/0", ["--net"], None),
    ("redis+sentinel://localhost:26379,db1/gn/0", ["--net"], None),
    ("redis+sentinel://localhost:26379/gn/0", ["--net"], False),
    ("redis://localhost/0", ["--mount"], True),
    ("unix://{socket}", ["--net"], True),
    ("unix://{socket}", ["--mount"], True),
    ("unix://{socket}", ["--mount", *MOUNTING], False),
    ("unix://{socket}", ["--mount", *BINDING], True),
    ("unix://{socket}", ["--mount", *ON_ITSELF], True),
    ("unix://{socket}", ["--mount", *STACKED], True),
    ("unix://{socket}", ["--mount", *HIDDEN], False),
    ("unix://{spaced}", ["--mount", *BINDING], False),
    ("unix://{linked}", ["--mount"], True),
    ("unix://{linked}", ["--mount", *ON_ITSELF], True),
    ("unix://{linked}", ["--mount", *MOUNTING], False),
    ("unix://{linked}", ["--mount", *MOVING], None),
]


@pytest.mark.parametrize(("url", "options", "is_here"), PLACES)
def test_a_url_names_the_same_to_a_process_that_reaches_the_same(
    tmp_path: Path, url: str, options: list[str], is_here: bool | None
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "s").touch()
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "l").symlink_to(tmp_path / "d")
    (tmp_path / "a place").mkdir()
    url = url.format(socket=tmp_path / "d/s", linked=tmp_path / "x/l/s", spaced=f"{tmp_path}/a%20place/s")
    with apart(*options, env=marks_of(url), cwd=tmp_path) as process:
        mark = wait_for(lambda: marked(process.pid))
        assert (mark.place == place_of(url, "p")) == bool(is_here)
        assert names_the_same(process.pid, url) is is_here


IN_THE_DEEP = """
import os, subprocess, sys, time
subprocess.run(["mount", "-t", "tmpfs", "none", sys.argv[1]], check=True)
os.chdir(sys.argv[1])
for _ in range(30):
    os.mkdir("x" * 200)
    os.chdir("x" * 200)
os.chroot(".")
print("ready", flush=True)
time.sleep(600)
"""


def test_what_is_too_deep_or_not_on_a_mount_to_be_compared_may_have_the_same(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/s"
    program = ["unshare", "--mount", *python(IN_THE_DEEP, str(tmp_path))]
    with psutil.Popen(program, stdout=subprocess.PIPE) as deep:
        assert deep.stdout.readline() == b"ready\n"
        told = names_the_same(deep.pid, url)
        deep.kill()
    assert told is None
    with apart("--mount") as process:
        links = (os.readlink(f"/proc/{process.pid}/{name}") for name in ("ns/mnt", "root"))
        # As in a chroot that is no mount point, with /proc in it.
        known = {(os.getuid(), *links): Mounts(b"1", {b"1 /proc": b"2 0:5 /"})}
        assert names_the_same(process.pid, url, known) is None


def test_a_url_that_our_locale_can_not_spell_ends_no_look() -> None:
    """Any account can have a process with any URL in its environment."""
    code = "import sys; from gnjobs.processes.mounts import names_the_same\n"
    code += "print(names_the_same(int(sys.argv[1]), 'unix:///\\u20ac/s'))"
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with apart("--mount") as process:
        asking = python(code, str(process.pid))
        done = subprocess.run(asking, env=os.environ | locale, capture_output=True)
    assert done.stdout == b"True\n", done.stderr


def test_what_a_namespace_has_mounted_is_read_once_a_look_however_many_live_there(tmp_path: Path) -> None:
    """Anybody may make a namespace with thousands of mounts, and thousands of processes in it."""
    url = f"unix://{tmp_path}/s"
    many = ["unshare", "--mount", "sh", "-c", "for n in 1 2 3 4 5; do sleep 600 & done; wait"]
    with psutil.Popen(many, env=marks_of(url)) as leader:
        try:
            wait_for(lambda: len([each for each in leader.children() if each.name() == "sleep"]) == 5)
            so_far = LookSoFar()
            marks = [read_mark(each.pid, so_far) for each in leader.children()]
            assert len(so_far.mounts) == 2  # theirs and ours
            assert {mark and mark.place for mark in marks} == {place_of(url, "p")}
            for account in (os.getuid(), os.getuid() + 1):  # what another account has counts for that alone
                mark = read_mark(leader.children()[0].pid, full_look(account))
                assert mark is not None
                is_unread = (mark.place or "").startswith("an unread namespace's")
                assert is_unread == (account == os.getuid())
                # It may be here: it is named, and not signalled for that.
                wanted = Wanted("j", "t", place_of(url, "p"))
                assert (wanted.is_claimed_by(mark), wanted.matches(mark)) == (True, not is_unread)
        finally:
            for each in leader.children():
                each.kill()
            leader.kill()


def test_what_bears_the_token_is_ended_however_many_namespaces_its_account_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"unix://{tmp_path}/s"
    wanted = Wanted("j", digest_of_mark("t"), place_of(url, "p"))
    with apart("--mount", env=marks_of(url) | {"GNJOBS_MARK": "t"}) as process:
        mark = wait_for(lambda: marked(process.pid))
        with monkeypatch.context() as patch:
            patch.setattr(table, "LookSoFar", lambda: full_look(os.getuid()))
            seen = read_mark(process.pid)
            found = processes_of(wanted)
            assert not processes_of(wanted._replace(token="another"))
        assert seen is not None
        assert seen.may_be_elsewhere
        assert found.marks == {process.pid: mark}
        # One that descends from the job is so as well.
        for marks_seen in (found.marks, {process.pid: seen}):
            held = HeldProcess.hold(found.processes[0], Found(marks=marks_seen))
            assert held is not None
            os.close(held.pidfd)
