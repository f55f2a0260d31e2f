"""`gnjobs pulse`: findings in sentences, as lines and as JSON, each as the dashboard's page has them."""

import json
import time

from gnjobs.records.hosts import HostLoad, write_beat
from tests.support.command import environment, run
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_job, write_running
from tests.support.terminal import Terminal, gnjobs

HOUR, DAY = 3600.0, 86400.0
ABOUT = ["failing", "queue", "speed", "hosts"]


def write_trouble(server: Server) -> None:
    """Two calm weeks, then a day on which each job failed, one waits, and a supervisor is silent without an agent."""
    now = time.time()
    for number in range(30):
        at = now - DAY * (1.2 + number / 3)
        write_job(server, f"old-{number}", created=at, started=at + 4, finished=at + 604)
    for number in range(9):
        at = now - 3 * HOUR - number
        write_job(server, f"new-{number}", created=at, started=at + 4, finished=at + 604, status="error")
    write_job(server, "waits", created=now - 1200, status="pending")
    write_running(server, "silent", host="web1", heartbeat=now - HOUR, heartbeat_every=2)
    write_running(server, "runs", host="web1")
    write_beat(server.client(), KEYS, "db1", HostLoad(at=now, cores=2, load=9.5, memory=100, free=90))


def test_trouble_is_told_in_sentences_for_persons_and_programs(server: Server) -> None:
    write_trouble(server)
    said = run(server.url, "pulse")
    lines = [line.split("\t") for line in said.stdout.splitlines()]
    assert (said.returncode, said.stderr) == (0, "")
    assert [(about, how) for about, how, _ in lines] == [(about, "trouble") for about in ABOUT[:2]] + [
        ("speed", "ok"), ("hosts", "trouble")
    ]  # fmt: skip
    sentences = {about: text for about, _, text in lines}
    assert sentences["failing"].startswith("9 of 9 jobs failed in the last 24 h, 100 %; 0 % before")
    assert "1 job waits, the longest for 20 min" in sentences["queue"]
    assert sentences["hosts"] == "web1: 1 of 2 jobs silent and no agent; db1: load 9.5 of 2 cores"

    told = json.loads(run(server.url, "pulse", "--json").stdout)
    assert {each["about"]: each["text"] for each in told["findings"]} == sentences
    assert {host["host"]: (host["silent"], host["beat"] is None) for host in told["hosts"]} == {
        "web1": (1, True),
        "db1": (0, False),
    }
    assert sum(day["created"] for day in told["days"]) == 42
    assert [kind["name"] for kind in told["types"]] == ["qc"]


def test_on_a_terminal_trouble_is_marked_and_without_jobs_all_is_calm(server: Server) -> None:
    calm = run(server.url, "pulse").stdout.splitlines()
    assert [line.split("\t")[:2] for line in calm] == [[about, "ok"] for about in ABOUT]
    write_trouble(server)
    with Terminal(gnjobs("pulse"), env=environment(server.url)) as terminal:
        assert terminal.wait_closed() == 0
        terminal.wait_read()
        assert "! failing" in terminal.text
        assert "9 of 9 jobs failed in the last 24 h" in terminal.text
        assert "! speed" not in terminal.text
