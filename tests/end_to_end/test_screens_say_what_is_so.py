"""What a person at the dashboard is told: behind dialogs, while Redis is away, and where she may not act."""

import signal
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.typed_packets import write_jobs
from tests.support.command import environment
from tests.support.servers import Server, running_server
from tests.support.stored_records import KEYS, write_child, write_running
from tests.support.terminal import Terminal, gnjobs
from tests.support.typists import ENTER, ESC
from tests.support.waiting import wait_for


def test_what_lies_behind_a_dialog_lives(server: Server) -> None:
    write_jobs(server)
    with Terminal(gnjobs(), 100, 30, environment(server.url)) as terminal:
        terminal.wait_for("3 running 2")
        terminal.send("K")
        terminal.wait_for("Kill one job")
        server.client().hset(KEYS.job("job-anna"), "status", "stopping")
        text = terminal.wait_for("□ stopping")
        assert "Kill one job" in text
        server.client().hset(KEYS.job("job-bert"), "status", "error")
        assert "Kill one job" in terminal.wait_for("5 failed 1")


def test_a_kill_while_redis_is_away_says_at_once_that_nothing_was_asked(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        write_jobs(server)
        with Terminal(gnjobs(), 100, 30, environment(server.url)) as terminal:
            terminal.wait_for("3 running 2")
            server.kill()
            terminal.wait_for("AWAY since")
            terminal.wait_for("as of ")
            terminal.send("K")
            terminal.wait_for("Kill one job")
            terminal.answer("\t\t" + ENTER)
            terminal.wait_for("not asked: Redis does not answer; nothing was signalled", limit=3.0)


def test_who_may_kill_nothing_is_offered_no_kill_and_refused_one(server: Server) -> None:
    write_jobs(server)
    with Terminal(gnjobs("--read-only"), 100, 30, environment(server.url)) as terminal:
        terminal.wait_for("check of bert")
        assert "K kill" not in terminal.wait_for("q quit")
        terminal.send("K")
        assert "Kill one job" not in terminal.wait_for("this session is read-only")
        terminal.send("?")
        assert "Kill this job" not in terminal.wait_for("Keys of this screen")


def test_a_filter_is_refused_whole_with_the_reason_beside_it(server: Server) -> None:
    write_jobs(server)
    with Terminal(gnjobs(), 100, 30, environment(server.url)) as terminal:
        terminal.wait_for("3 running 2")
        terminal.send("/age>2q")
        assert "age>2q" in terminal.wait_for("not '2q'").splitlines()[-1]
        terminal.send(ENTER)
        terminal.send("x")
        assert "age>2qx" in terminal.wait_for("2qx").splitlines()[-1]


def test_killing_what_has_ended_says_how_it_ended(server: Server) -> None:
    write_jobs(server)
    with Terminal(gnjobs(), 100, 30, environment(server.url)) as terminal:
        terminal.wait_for("3 running 2")
        terminal.wait_for("K kill")
        terminal.send("G")
        terminal.wait_for(lambda text: "> ✓ done" in text and "K kill" not in text)
        terminal.send("K")
        terminal.wait_for("nothing to kill: ran to its end")
        terminal.send(ENTER)
        terminal.wait_for(lambda text: "the job itself" in text and "K kill" not in text)


def test_killing_a_child_that_has_ended_says_how_it_ended(server: Server) -> None:
    job = write_running(server, "job-1", label="half done")
    write_child(server, job, "ended", status="killed", started=1, finished=3)
    write_child(server, job, "running")
    with Terminal(gnjobs(), 100, 30, environment(server.url)) as terminal:
        terminal.wait_for("half done")
        terminal.send(ENTER)
        terminal.wait_for("K kill")
        terminal.send("G")
        terminal.wait_for(lambda text: "> ■ killed" in text and "K kill" not in text)
        terminal.send("K")
        terminal.wait_for("nothing to kill: killed after 2 s")


def test_ctrl_z_suspends_and_what_was_written_meanwhile_is_gone_afterwards(server: Server) -> None:
    write_jobs(server)
    with Terminal(gnjobs(), 100, 30, environment(server.url)) as terminal:
        terminal.wait_for("check of anna")
        process = psutil.Process(terminal.pid)
        terminal.send("\x1a")
        wait_for(lambda: process.status() == psutil.STATUS_STOPPED)
        terminal.scribble("\x1b[2Jsomebody wrote this")
        assert "3 running 2" not in terminal.text
        process.send_signal(signal.SIGCONT)
        terminal.wait_for(
            lambda text: "somebody" not in text and "check of anna" in text and "q quit" in text
        )


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("keys", "sign"),
    [
        ("", "check of bert"),
        ("Gb", "it has ended: success"),
        (f"{ENTER}p", "processes"),
        (f"{ENTER}t", "timeline of its children"),
        (f"{ENTER}e", "0 faults"),
    ],
    ids=("jobs", "stacks", "processes", "timeline", "faults"),
)
def test_ctrl_r_sends_the_whole_screen_again(server: Server, keys: str, sign: str) -> None:
    write_jobs(server)
    with Terminal(gnjobs(), 100, 30, environment(server.url)) as terminal:
        terminal.wait_for("check of anna")
        terminal.send(keys)
        terminal.wait_for(sign)
        terminal.scribble("\x1b[9;1Hsomebody wrote this")
        terminal.send("\x12")
        terminal.wait_for(lambda text: "somebody" not in text and sign in text)


def is_cut_in_ascii(text: str, begin: str) -> bool:
    lines = [line.rstrip() for line in text.splitlines() if line.startswith(begin)]
    return text.isascii() and any(line.endswith("~") for line in lines)


def test_without_utf_8_every_dialog_is_ascii(server: Server) -> None:
    write_jobs(server)
    write_running(server, "long", label="long " * 40, command="very " * 40, message="said " * 40)
    with Terminal(
        gnjobs(), 100, 30, environment(server.url) | {"LC_ALL": "C", "PYTHONUTF8": "0"}
    ) as terminal:
        terminal.wait_for("check of anna")
        terminal.send("gjj")
        terminal.wait_for(lambda text: is_cut_in_ascii(text, "says"))
        terminal.send(ENTER)
        terminal.wait_for(lambda text: "the job itself" in text and is_cut_in_ascii(text, "command"))
        terminal.send(ESC)
        terminal.wait_for("check of anna")
        for key, sign in {
            "K": "Kill one job",
            "?": "Keys of this screen",
            "s": "Sort by",
            ":": "Search",
        }.items():
            terminal.send(key)
            terminal.wait_for(lambda text, sign=sign: sign in text and text.isascii())
            terminal.send(ESC)
            terminal.wait_for(lambda text, sign=sign: sign not in text)
