"""What children of tests do: functions of a module, since a spawned process imports them."""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from gnjobs import JobStore, ThisChild, current_job


def square(item: int, child: ThisChild) -> int:
    child.progress(item, 10, unit="rows")
    child.print(f"squaring {item}")
    return item * item


def say_marks(item: str, child: ThisChild) -> dict[str, object]:
    environ = Path("/proc/self/environ").read_bytes().split(b"\0")
    marks = [entry.decode() for entry in environ if entry.startswith(b"GNJOBS_")]
    return {"marks": sorted(marks), "pid": os.getpid(), "session": os.getsid(0), "parent": os.getppid()}


def end_as_told(item: str, child: ThisChild) -> str:
    if item == "raise":
        raise ValueError("cell 7 is no cell")
    if item == "raise half a character":
        raise ValueError("cell \ud800 is no cell")
    if item == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "exit":
        os._exit(7)
    if item == "sys.exit":
        sys.exit(3)
    if item == "sys.exit well":
        sys.exit()
    return item


def kill_another(item: str, child: ThisChild) -> str:
    """Mark a child that waits as a kill does."""
    store = JobStore.from_url(child.url)
    store.client.hset(store.keys.child(child.job_id, item), "status", "killed")
    return item


def fork_and_crash(item: str, child: ThisChild) -> NoReturn:
    """Leave a grandchild that holds every descriptor, say its pid, and die."""
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
        os._exit(0)
    Path(item).write_text(str(pid))
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def hold_a_place(item: str, child: ThisChild) -> int:
    """Say how many are at work at once: each holds a file in the directory while it works."""
    place = Path(item) / child.id
    place.touch()
    deadline = time.monotonic() + 0.3
    most = 0
    while time.monotonic() < deadline and most < 2:
        most = max(most, len(list(Path(item).iterdir())))
        time.sleep(0.01)
    place.unlink()
    return most


def fail_or_wait(item: tuple[str, str], child: ThisChild) -> None:
    """One fails as soon as the other is at work; that one would wait for ever."""
    what, path = item
    if what == "wait":
        Path(path).touch()
        threading.Event().wait()
    while not Path(path).exists():
        time.sleep(0.01)
    raise ValueError("the first one failed")


def have_children(item: int, child: ThisChild) -> list[object]:
    return [getattr(each, "value", each) for each in child.run_children(square, [item, item + 1])]


def return_a_lock(item: int, child: ThisChild) -> object:
    return threading.Lock()


def give_much(item: int, child: ThisChild) -> str:
    return "x" * item


def write_much(item: int, child: ThisChild) -> None:
    """Write so many lines of 10 kB."""
    for _ in range(item):
        child.print("x" * 10_000)


class BrokenItem:
    """An item that can be pickled, and not be made again."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return int, ("no number",)


def wait_for_ever(item: str, child: ThisChild) -> None:
    threading.Event().wait()


def speak_as_the_job(item: int, child: ThisChild) -> None:
    with current_job() as job:
        job.fault({"row": item})
        job.log("as the job")


def print_and_log(item: int, child: ThisChild) -> None:
    with child.capture():
        print("printed", item)
        print("to stderr", file=sys.stderr)
        logging.getLogger("gn.qc").info("logged %d", item)


def count_states(item: int, child: ThisChild) -> int:
    """How many children have a thread that sends what they say."""
    return sum(thread.name.startswith("output ") for thread in threading.enumerate())
