"""What processes wait for, told of a job that has more of everything than can be looked at."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest

from gnjobs.processes import waits
from gnjobs.processes.activity import Wait
from gnjobs.processes.proc import process_start
from gnjobs.processes.seen import SeenProcess
from gnjobs.processes.waits import Waits
from tests.support.waiting import wait_for


@pytest.fixture
def reader() -> Iterator[SeenProcess]:
    """A process that waits for what its parent writes."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        wait_for(lambda: (Waits((SeenProcess(process.pid, 0),)).words(process.pid) or "").startswith("waits"))
        yield SeenProcess(process.pid, process_start(process.pid) or 0, idle_since=0.0)
        process.kill()


def test_the_other_end_of_a_pipe_is_named(reader: SeenProcess) -> None:
    told = Waits((SeenProcess(os.getpid(), 0, state="R"), reader)).told(100.0)
    assert told[1].waits == f"waits for data from a pipe to pid {os.getpid()}"
    assert told[1].waits_for == os.getpid()


def test_nothing_is_told_of_another_process_that_has_the_pid_by_now(reader: SeenProcess) -> None:
    before = msgspec.structs.replace(reader, started=reader.started - 1)
    assert Waits((before, reader)).told(100.0)[0].waits is None


def test_files_without_end_are_not_all_looked_at(
    reader: SeenProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "open_files", lambda _: ((number, "pipe:[1]") for number in count()))
    assert Waits((reader,)).told(100.0)[0].waits == "waits for data from a pipe"


def test_of_what_any_account_can_make_long_no_more_is_read_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As locks on files, which are all in one list."""
    monkeypatch.setattr(waits, "_MOST_LINES", 2)
    (tmp_path / "locks").write_text(3 * "1: POSIX ADVISORY WRITE 7 00:19:1 0 EOF\n")
    assert len(waits._words_in(str(tmp_path / "locks"))) == 2


def test_telling_ends_in_time(reader: SeenProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "_TELLING_SECONDS", 0.0)
    assert Waits((reader,)).told(100.0) == [reader]


# It waits for a list that ends within an entry by then: the memory behind it is gone.
POLLS_WHAT_IS_CUT = """
import ctypes, mmap, os, struct, threading
libc, page = ctypes.CDLL(None), mmap.PAGESIZE
void, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
libc.mmap.restype, libc.mmap.argtypes = void, [void, size, number, number, number, ctypes.c_long]
libc.munmap.argtypes, libc.poll.argtypes = [void, size], [void, ctypes.c_ulong, number]
of_its_own = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
end = libc.mmap(None, 2 * page, mmap.PROT_READ | mmap.PROT_WRITE, of_its_own, -1, 0) + page
pipe, _ = os.pipe()
ctypes.memmove(end - 12, 2 * struct.pack("=ihh", pipe, 1, 0), 16)
def cut():
    while not open("/proc/self/syscall").read().startswith(("7 ", "73 ")):
        pass
    libc.munmap(end, page)
    print("cut", flush=True)
threading.Thread(target=cut).start()
libc.poll(end - 12, 2, -1)
"""


def test_what_a_process_polls_may_end_anywhere() -> None:
    with subprocess.Popen([sys.executable, "-c", POLLS_WHAT_IS_CUT], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            assert Waits((SeenProcess(process.pid, 0),)).words(process.pid) == "waits for a pipe"
        finally:
            process.kill()


@pytest.mark.parametrize("name", [b"\xff", b"a pipe to pid 99999999999999999999", b"a pipe to pid 1"])
def test_a_file_may_have_any_name(tmp_path: Path, name: bytes) -> None:
    fifo = os.fsencode(tmp_path) + b"/" + name
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", 'exec cat <>"$0"', fifo]) as process:
        seen = SeenProcess(process.pid, process_start(process.pid) or 0, idle_since=0.0)
        told = wait_for(lambda: (found := Waits((seen,)).told(100.0)[0]).waits and found)
        process.kill()
    assert msgspec.json.encode(told)
    said = name.decode("ascii", "replace").replace("\ufffd", "?")
    assert told.waits == f"waits for data from {tmp_path}/{said}"
    assert told.waits_for is None


def test_lines_that_are_a_name_of_a_file_are_nothing_that_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel shows such names of a ring, and its descriptor may take the place of what was waited for."""
    lines = b"pos:\t0\ntfd:\ntfd: x events: 1\ntfd: 5 events: \xff\ntfd:        7 events:       19 data: 7\n"
    (tmp_path / "ring").write_bytes(lines)
    monkeypatch.setattr(waits, "_words_in", lambda _, read=waits._words_in: read(str(tmp_path / "ring")))
    assert list(waits.polled(1, Wait("epoll_wait", (4, 0, 1, 0), ""))) == [7]
