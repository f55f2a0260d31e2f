"""Odd numbers and times in every numeric field, on every screen of a real terminal: all open, and keep answering."""

import json
from collections.abc import Iterator

import pytest

from gnjobs.records import values
from gnjobs.records.fields import CHILD_FIELDS, JOB_FIELDS
from gnjobs.records.keys import Keys
from gnjobs.records.summaries import children_summary
from tests.support.command import environment, invoke
from tests.support.hostile import NUMBERS
from tests.support.servers import Server
from tests.support.stored_records import write_child, write_line, write_running
from tests.support.terminal import Terminal, gnjobs, see

KEYS = Keys()
# The year 60000 in seconds and in milliseconds, and long before any calendar.
TIMES = ("1.83e12", "1830000000000000", "-1e14")
ODD = (*NUMBERS, *TIMES)
READERS = (
    values.number, values.integer, values.exit_code, values.seconds, values.difference, values.percentage,
)  # fmt: skip
# A walk through all screens takes a second: one for all numbers that every reader takes for the same.
WALKED = {tuple(read(odd) for read in READERS): place for place, odd in enumerate(ODD)}.values()
NO_NUMBERS = (values.text, children_summary)
JOB_NUMBERS = [name for name, field in JOB_FIELDS.items() if field.kind.read not in NO_NUMBERS]
CHILD_NUMBERS = [name for name, field in CHILD_FIELDS.items() if field.kind.read not in NO_NUMBERS]
SUMMARY = {
    name: {"id": "c", "state": "S", "pid": 7, "cpu": 0, "since": "ODD", "idle_since": "ODD"}
    for name in ("quietest", "idlest")
}
SNAPSHOT = {
    "at": "ODD",
    "processes": [{"pid": 7, "started": 1, "child": "c", "cpu": 0, "idle_since": "ODD"}],
}
ITSELF, FIELDS = "the job itself", "All fields"
BEATS = ("heartbeat", "heartbeat-every")


def label(place: int) -> str:
    return f"odd-{place:02}"


def with_odd(template: object, odd: str) -> str:
    """JSON with an odd number, which no encoder would write, in place of `ODD`."""
    return json.dumps(template).replace('"ODD"', odd)


def write_odd(server: Server, place: int, odd: str) -> None:
    """A job with a child, whose numbers are odd but for its beat, and one whose beat is odd, too."""
    client, job_id = server.client(), label(place)
    write_running(server, job_id, label=job_id, user_id=f"user-{place}")
    write_running(server, f"beat-{place:02}")
    client.hset(KEYS.job(f"beat-{place:02}"), mapping=dict.fromkeys(JOB_NUMBERS, odd))
    write_child(server, job_id, "c")
    client.hset(KEYS.child(job_id, "c"), mapping=dict.fromkeys(CHILD_NUMBERS, odd))
    client.hset(KEYS.job(job_id), mapping={name: odd for name in JOB_NUMBERS if name not in BEATS})
    client.hset(KEYS.job(job_id), "children-summary", with_odd(SUMMARY, odd))
    client.set(KEYS.processes(job_id), with_odd(SNAPSHOT, odd))
    output = KEYS.child_output(job_id, "c")
    write_line(server, output, 1, f"said by {job_id}")
    client.xadd(output, {"at": odd, "kind": "out", "data": "at an odd time"}, id="2-0")


def write_scores(server: Server) -> None:
    """Scores of indexes and ids of events are numbers, too."""
    client = server.client()
    for place, odd in enumerate((float("inf"), float("-inf"), *map(float, TIMES))):
        client.zadd(KEYS.users, {f"user-{place}": odd})
        client.zadd(KEYS.jobs, {label(place): odd})
        client.zadd(KEYS.unfinished, {label(place): odd})
    client.xadd(KEYS.events, {"kind": "ended", "text": "in the year 60000"}, id="1830000000000000-0")


@pytest.fixture
def odd(server: Server) -> Iterator[Server]:
    for place, number in enumerate(ODD):
        write_odd(server, place, number)
    write_scores(server)
    yield server
    server.client().flushall()


def see_job(terminal: Terminal) -> str:
    """Everything that shows numbers of the job under the cursor, and of its child; its label."""
    see(terminal, "\r", ITSELF, "no faults in 1 file")
    see(terminal, "x", FIELDS)
    see(terminal, "q", ITSELF, gone=FIELDS)
    see(terminal, "jx", FIELDS)
    see(terminal, "q", ITSELF, gone=FIELDS)
    see(terminal, "K", "Kill one child", "processes unknown")
    see(terminal, "\x1b", ITSELF, gone="Cancel")
    see(terminal, "\r", "said by", "at an odd time", "line 2 of 2")
    see(terminal, "tg", "written")
    name = terminal.lines[0].split()[2]
    see(terminal, "q", ITSELF, gone="f follow")
    see(terminal, "q", "1 all", gone=ITSELF)
    return name


@pytest.mark.faults
def test_every_screen_shows_them(odd: Server) -> None:
    with Terminal(gnjobs(), 120, 24, environment(odd.url)) as terminal:
        see(terminal, "", f"1 all {2 * len(ODD)}")
        see(terminal, "u", "user-0")
        see(terminal, "q", "1 all")
        see(terminal, "L", "in the year 60000")
        see(terminal, "q", "1 all")
        for job_id in map(label, WALKED):
            see(terminal, f"/{job_id}\r", f"/{job_id}", "\n> ")
            assert see_job(terminal) == job_id
            see(terminal, "\x1b", "1 all", gone=f"/{job_id}")
        see(terminal, "g" + "j" * 2 * len(ODD) + "?", "Keys of this screen")
        terminal.send("\x03")
        assert terminal.wait_closed() == 0


@pytest.mark.parametrize("command", ["ls", "users", "log"])
def test_every_list_of_the_command_line_shows_them(odd: Server, command: str) -> None:
    with Terminal(gnjobs(command), 120, 60, environment(odd.url)) as terminal:
        assert terminal.wait_closed() == 0


def test_every_job_is_shown_by_the_command_line(odd: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    for place in range(len(ODD)):
        for job_id in (label(place), f"beat-{place:02}"):
            assert job_id in invoke(odd, "show", job_id)
            assert job_id in invoke(odd, "show", job_id, "--json")
