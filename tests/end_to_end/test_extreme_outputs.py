"""Lines of 10 MB, a bar of a million carriage returns, and outputs that lie outside their job, in a real terminal."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnjobs import JobStore
from gnjobs.records.keys import Keys
from tests.support.command import environment, run
from tests.support.servers import Server
from tests.support.stored_records import write_child, write_line, write_running
from tests.support.terminal import Terminal, gnjobs, see

KEYS = Keys()
LONG = "x" * 10_000_000
BAR = """
import pathlib, sys, time
for n in range(1_000_000):
    if n == 500_000:
        sys.stdout.flush()
        while not pathlib.Path(sys.argv[1]).exists():
            time.sleep(0.01)
    sys.stdout.write(f"{n} of a million\\r")
print("done")
"""
ITSELF = "the job itself"
FOREIGN, OURS = "foreign", "ours"


def write_long(server: Server) -> None:
    """One line of 10 MB in a foreign list, and in each kind of entry and text that children of ours may have."""
    client = server.client()
    client.hset(KEYS.job(FOREIGN), mapping={"status": "running", "command": FOREIGN, "stderr": LONG})
    client.rpush(f"{KEYS.job(FOREIGN)}:geno:errors:f.tsv", LONG, "second")
    write_running(server, OURS, label=OURS)
    write_child(server, OURS, "line", message=LONG, partial_line=LONG)
    for child in ("fault", "stream"):
        write_child(server, OURS, child)
    write_line(server, KEYS.child_output(OURS, "line"), 1, LONG)
    fault = json.dumps({"file": LONG, "value": LONG})
    write_line(server, KEYS.child_output(OURS, "fault"), 1, fault, "fault")
    client.xadd(KEYS.child_output(OURS, "stream"), {"said": LONG})


def see_parts(terminal: Terminal, label: str, parts: int) -> None:
    """Open a job, its faults, and the output of each part but its own; each screen answers keys."""
    see(terminal, f"/{label}\r", f"/{label}")
    see(terminal, "\r", ITSELF, "result ")
    see(terminal, "e", "\n  File")
    see(terminal, "q", ITSELF, gone="\n  File")
    for _ in range(parts):
        terminal.send("j")
        see(terminal, "\r", "line 1 of", "xxxx")
        see(terminal, "w", "xxxx")
        see(terminal, "/zz\r", "no match for zz")
        see(terminal, "\x1b", "line 1 of", gone="no match")
        see(terminal, "q", ITSELF, gone="f follow")
    see(terminal, "q", f"/{label}", gone=ITSELF)
    see(terminal, "\x1b", "1 all 2", gone=f"/{label}")


@pytest.mark.faults
def test_lines_of_10_mb_are_shown_cut(server: Server) -> None:
    write_long(server)
    with Terminal(gnjobs(), 100, 24, environment(server.url)) as terminal:
        see(terminal, "", "1 all 2", "\n> ")
        see_parts(terminal, OURS, 3)
        see(terminal, f"/{FOREIGN}\r", f"/{FOREIGN}")
        see(terminal, "\r", ITSELF, "geno: f.tsv")
        terminal.send("j")
        see(terminal, "\r", "of 2", "second")
        see(terminal, "g", "1> xxxx")
        assert len(terminal.raw) < 1_000_000


@pytest.mark.faults
def test_a_line_of_10_mb_by_our_writer(server: Server) -> None:
    code = f"print('x' * {len(LONG)}); print('second')"
    job_id = run(server.url, "run", "--", sys.executable, "-c", code).stdout.split()[0]
    last = JobStore.from_url(server.url).output(job_id).extent().last
    with Terminal(gnjobs(), 100, 24, environment(server.url)) as terminal:
        see(terminal, "", "1 all 1", "\n> ")
        see(terminal, "\r", ITSELF, "result ")
        see(terminal, "\r", f"line {last} of {last}", "second", "xxxx")
        see(terminal, "g", f"line 1 of {last}", "1> xxxx")


@pytest.mark.faults
def test_a_bar_of_a_million_returns_is_one_line_that_changes(server: Server, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    command = gnjobs("run", "--label", "bar", "--", sys.executable, "-c", BAR, str(go_on))
    job = subprocess.Popen(command, env=environment(server.url), stdout=subprocess.DEVNULL)
    try:
        with Terminal(gnjobs(), 100, 24, environment(server.url)) as terminal:
            see(terminal, "", "1 all 1", "\n> ")
            see(terminal, "\r", ITSELF, "result ")
            see(terminal, "\r", "+  499999 of a million", "no line yet")
            assert sum("of a million" in line for line in terminal.lines) == 1
            go_on.touch()
            # What came in one piece with the end of the line is kept with it: how much is up to the pipe.
            see(terminal, "", "1> 99", "of a million␍", "line 1 of 1")
            assert sum("of a million" in line for line in terminal.lines) == 1
    finally:
        go_on.touch()
        assert job.wait(60) == 0


def test_an_output_outside_its_job_is_refused(server: Server) -> None:
    write_running(server, OURS, label=OURS)
    write_line(server, KEYS.output("another"), 1, "SECRET")
    client = server.client()
    client.set("elsewhere", "SECRET")
    lies = (
        KEYS.output("another"),
        KEYS.job("another"),
        KEYS.job(OURS),
        "elsewhere",
        "",
        f"{KEYS.job(OURS)}x:output",
    )
    for number, key in enumerate(lies):
        write_child(server, OURS, f"lie-{number}", started=time.time())
        client.hset(KEYS.job(OURS), f"child:lie-{number}", key)
    with Terminal(gnjobs(), 160, 24, environment(server.url)) as terminal:
        see(terminal, "", "1 all 1", "\n> ")
        see(terminal, "\r", ITSELF, "lie-0")
        for number in range(len(lies)):
            terminal.send("j")
            see(terminal, "\r", f"can't be read: the output of child lie-{number} lies outside its job")
            see(terminal, "q", ITSELF, gone="f follow")
        see(terminal, "e", "\n  File", "lies outside its job")
        assert b"SECRET" not in terminal.raw
    assert run(server.url, "show", OURS).returncode == 0
    said = run(server.url, "logs", OURS, "--child", "lie-0")
    assert (said.returncode, "lies outside its job" in said.stderr, said.stdout) == (3, True, "")
