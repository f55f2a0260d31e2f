"""Hostile text in every field, seen on every screen of a real terminal: no byte of it acts."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from gnjobs.records.events import record_event
from gnjobs.records.fields import read_job
from gnjobs.records.hooks import run_on_end
from gnjobs.records.keys import Keys
from gnjobs.records.reading import Records
from gnjobs_tui.cli import session
from gnjobs_tui.cli.main import cli
from tests.support.command import environment, run
from tests.support.hostile import TEXTS, harmless
from tests.support.servers import Server
from tests.support.stored_records import write_child, write_job, write_line, write_running
from tests.support.terminal import Terminal, gnjobs
from tests.support.waiting import wait_for

PLACES = (
    "label",
    "message",
    "error",
    "host",
    "account",
    "job_type",
    "command",
    "stop_by",
    "stop_reason",
    "cwd",
)
CHILD_PLACES = ("label", "message", "error", "unit", "stop_by", "stop_reason")
KEYS = Keys()
# Several at once, since each walk through all screens takes seconds.
NAMES = sorted(set(TEXTS) - {"long"})
GROUPS = [NAMES[start::4] for start in range(4)]
COMMANDS = ("ls", "show job-running", "log", "users", "logs job-running --child child")
IN_TURN = (
    "import sys\nfrom gnjobs_tui.cli.main import main\n"
    "for words in sys.argv[1:]:\n"
    "    sys.argv[1:] = words.split()\n"
    "    try: main()\n"
    "    except SystemExit as ended: assert ended.code == 0, words\n"
)


def raw(text: str) -> bytes:
    return text.encode(
        "utf-8", "surrogatepass" if any(0xD800 <= ord(c) < 0xDC80 for c in text) else "surrogateescape"
    )


def turned(fields: Iterable[str], texts: Sequence[str]) -> dict[str, bytes]:
    """All texts in every field, each time with another one first: what comes later may be cut."""
    return {
        field: b" ".join(map(raw, (*texts[(first := place % len(texts)) :], *texts[:first])))
        for place, field in enumerate(fields)
    }


def test_lines_for_programs_are_safe_where_a_person_sees_them(capsys: pytest.CaptureFixture[str]) -> None:
    session.print_fields("a\x1b]0;x\x07", None, "b\tc\n")
    assert capsys.readouterr().out == "a␛]0;x␇\t\tb\\tc\\n\n"


@pytest.fixture(params=GROUPS, ids=lambda names: names[0])
def text(request: pytest.FixtureRequest, server: Server) -> str:
    """Hostile texts, written into every field of a job, a child, an output and an event."""
    texts = [TEXTS[name] for name in request.param]
    hostile = " ".join(texts)
    fields = turned(PLACES, texts)
    write_running(server, "job-running", **fields, user_id="jsmith")
    write_job(server, "job-failed", **(fields | {"status": "error", "user_id": "jsmith"}))
    write_child(server, "job-running", "child", **turned(CHILD_PLACES, texts), started=1)
    server.client().hset(KEYS.job("job-running"), mapping={raw(hostile) or b"x": raw(hostile)})
    output = KEYS.child_output("job-running", "child")
    write_line(server, output, 1, hostile.replace("\n", " "))
    log = {"level": hostile, "logger": hostile, "message": hostile}
    fault = dict.fromkeys(("file", "row_title", "column_title", "value", "expected"), hostile)
    write_line(server, output, 2, json.dumps(log), "log")
    write_line(server, output, 3, json.dumps(fault), "fault")
    server.client().xadd(KEYS.events, turned(("kind", "text", "by", "label", "owner", "reason"), texts))
    return hostile


@pytest.mark.sampled
def test_no_screen_lets_it_act(server: Server, text: str) -> None:
    with Terminal(gnjobs(), 120, 36, environment(server.url)) as terminal:
        terminal.wait_for("1 all 2")
        walks = (
            ("L", "event log", "\x1b"),
            ("u", "Newest", "\x1b"),
            ("R", "To run it again", "\x1b"),
            ("GD", "Remove", "\x1b"),
            ("gK", "Cancel", "\x1b"),
            ("?", "Keys of this screen", "\x1b"),
        )
        for key, shows, back in walks:
            terminal.send(key)
            terminal.wait_for(shows)
            terminal.send(back)
            terminal.wait_for(lambda seen, shows=shows: shows not in seen and "1 all 2" in seen)
        terminal.send("g\r")
        terminal.wait_for("the job itself")
        terminal.send("e")
        terminal.wait_for(lambda seen: "\n  File" in seen and "\n> " in seen)
        terminal.send("\x1b")
        terminal.wait_for(lambda seen: "the job itself" in seen and "\n  File" not in seen)
        terminal.send("x")
        terminal.wait_for("All fields")
        terminal.send("\x1b")
        terminal.wait_for(lambda seen: "All fields" not in seen)
        terminal.send("j\r")
        terminal.wait_for("line 3 of 3")
        assert harmless(bytes(terminal.raw)) == []
        terminal.send("\x03")
        assert terminal.wait_closed() == 0


def test_into_a_pipe_goes_what_was_stored(server: Server, text: str) -> None:
    command = gnjobs("logs", "job-running", "--child", "child", "--from", "1")
    shown = subprocess.run(command, env=environment(server.url), capture_output=True).stdout
    assert shown.startswith(raw(text.replace("\n", " ")))
    for line in run(server.url, "ls", "--json").stdout.splitlines():
        assert json.loads(line)["id"].startswith("job-")
    rows = run(server.url, "show", "job-running", "--faults", "--csv").stdout
    assert not re.search(r"(^|,)[=@]", rows)


@pytest.mark.sampled
def test_no_command_lets_it_act_on_a_terminal(server: Server, text: str) -> None:
    command = [sys.executable, "-c", IN_TURN, *COMMANDS]
    with Terminal(command, 120, 36, environment(server.url)) as terminal:
        assert terminal.wait_closed() == 0, terminal.text
        assert harmless(bytes(terminal.raw)) == []


URL = "mysql://jane:s3cret@db1/x"


def test_passwords_leave_in_no_text(server: Server, tmp_path: Path) -> None:
    """Neither in a pipe nor as JSON, in events nor in what a hook is given."""
    fields = dict.fromkeys(PLACES, f"can't reach {URL} of it")
    write_running(server, "job-running", **fields, user_id="jsmith")
    write_job(server, "job-failed", **(fields | {"status": "error", "user_id": "jsmith"}))
    write_child(server, "job-running", "child", **dict.fromkeys(CHILD_PLACES, f"by {URL}"), started=1)
    client = server.client()
    event = {"kind": "killed", "text": URL, "by": "jane", "label": URL, "reason": f"since {URL}"}
    client.xadd(KEYS.events, event)
    commands = [
        f"{words}{how}" for words in ("ls", "show job-running", "log", "users") for how in ("", " --json")
    ]
    for words in (*commands, "ls --tsv", "metrics", "pulse", "kill job-failed"):
        done = CliRunner().invoke(cli, [*words.split(), "--redis-url", server.url])
        assert done.exit_code == 0, (words, done.output)
        assert done.stdout, words
        assert "s3cret" not in done.output, words
    record = read_job("job-failed", client.hgetall(KEYS.job("job-failed")))
    record_event(client, KEYS, "killed", record, text=URL, reason=URL)
    ((_, stored),) = client.xrevrange(KEYS.events, count=1)
    assert stored[b"reason"] == b"mysql://jane:***@db1/x"
    assert b"s3cret" not in b"".join(stored.values())
    seen = tmp_path / "seen"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNJOBS_ON_END", f"cp /dev/stdin {seen}")
        run_on_end(Records(client, KEYS, server.url), record, as_ourselves=True)
        told = wait_for(lambda: seen.exists() and seen.read_text().endswith("}") and seen.read_text())
    assert json.loads(told)["error"] == "can't reach mysql://jane:***@db1/x of it"
    assert "s3cret" not in told
    rerun = CliRunner().invoke(cli, ["rerun", "job-failed", "--redis-url", server.url])
    assert "s3cret" in rerun.stdout  # which is to be run
    with Terminal(gnjobs("rerun", "job-failed"), 120, 36, environment(server.url)) as terminal:
        assert terminal.wait_closed() == 0
        assert "read what *** stands for before you run it" in terminal.text
