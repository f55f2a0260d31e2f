"""Lines and events as the command line gives them: into a pipe, while they come, and behind what was read."""

import json
import subprocess
import sys

from gnjobs.store import JobStore
from tests.support.command import environment, run
from tests.support.servers import Server
from tests.support.supervised import KEYS
from tests.support.terminal import gnjobs


def detached(server: Server, *command: str) -> str:
    """The id of a job that runs this."""
    return run(server.url, "run", "--detach", "--", *command).stdout.strip()


def test_logs_gives_into_a_pipe_what_was_stored(server: Server) -> None:
    hostile = "\x1b]52;c;aGk=\x07 \u202e[red]x[/x] \x9b"
    job_id = run(
        server.url, "run", "--", sys.executable, "-c", f"print({hostile!r}); print('second'); print('third')"
    ).stdout.split()[0]
    assert run(server.url, "logs", job_id).stdout == f"{hostile}\nsecond\nthird\n"
    assert run(server.url, "logs", job_id, "-n", "1").stdout == "third\n"
    assert run(server.url, "logs", job_id, "--from", "2").stdout == "second\nthird\n"
    as_json = [json.loads(line) for line in run(server.url, "logs", job_id, "--json").stdout.splitlines()]
    assert [(line["number"], line["kind"]) for line in as_json] == [(1, "out"), (2, "out"), (3, "out")]


def test_logs_follows_until_the_end(server: Server) -> None:
    job_id = detached(server, "sh", "-c", "echo first; sleep 1; echo last")
    assert run(server.url, "logs", "-f", job_id).stdout == "first\nlast\n"


def test_logs_gives_each_line_into_a_pipe_as_it_comes(server: Server) -> None:
    job_id = detached(server, "sh", "-c", "echo first; sleep 600")
    line = gnjobs("logs", "-f", job_id, "--redis-url", server.url)
    with subprocess.Popen(line, stdout=subprocess.PIPE) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b"first\n"
        run(server.url, "kill", job_id, "--grace", "0")
        following.kill()


def test_log_prints_while_it_reads(server: Server) -> None:
    """Whoever writes may write any number of events."""

    def reads() -> int:
        return int(client.info("commandstats").get("cmdstat_xrange", {}).get("calls", 0))

    with server.client() as client:
        with client.pipeline(transaction=False) as pipe:
            for _ in range(50_000):
                pipe.xadd(KEYS.events, {"kind": "ended", "text": "x" * 100})
            pipe.execute()
        before, line = reads(), gnjobs("log", "--json", "--redis-url", server.url)
        with subprocess.Popen(line, stdout=subprocess.PIPE, env=environment(server.url)) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            process.stdout.close()
            process.wait(60)
        assert reads() - before < 25


def test_log_follows_what_happens_and_goes_on_behind_an_event(server: Server) -> None:
    def following(*options: str) -> "subprocess.Popen[bytes]":
        line = gnjobs("log", "-f", "--json", *options, "--redis-url", server.url)
        return subprocess.Popen(line, stdout=subprocess.PIPE, env=environment(server.url))

    run(server.url, "run", "--", "true")
    (before, *_) = reversed(list(JobStore.from_url(server.url).events()))
    with following("--after", before.id) as process:
        assert process.stdout is not None
        job_id = run(server.url, "run", "--", "false").stdout.strip()
        event = json.loads(process.stdout.readline())
        assert (event["job"], event["kind"], event["text"]) == (job_id, "failed", "failed: exit code 1")
        assert event["id"] > before.id
        process.terminate()
    with following("--since", "1h") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["id"] <= before.id
        process.terminate()
    assert run(server.url, "log", "-f", "--after", "$").returncode == 2
