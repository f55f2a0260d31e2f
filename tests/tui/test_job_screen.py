"""A job's screen under Pilot: verdict, facts, result, parts, and what its keys act on."""

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from gnjobs.health.states import STATES
from gnjobs.processes.host import boot_id, host_name, pid_namespace
from gnjobs.processing.registry import register
from gnjobs.records.keys import CHILD_FIELD
from gnjobs.records.summaries import ChildrenSummary, SilentChild
from gnjobs_tui.screens.faults import FaultsScreen
from gnjobs_tui.screens.job import JobScreen
from gnjobs_tui.screens.job_facts import NAME_WIDTH, break_lines
from gnjobs_tui.screens.job_parts import _ORDER
from gnjobs_tui.screens.jobs import JobsScreen
from gnjobs_tui.screens.kill import KillScreen
from gnjobs_tui.screens.output import OutputScreen
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.dashboard import dashboard, screen_text, shows, until
from tests.support.hostile import FORBIDDEN, NUMBERS, TEXTS
from tests.support.servers import Server
from tests.support.stored_records import (
    KEYS,
    write_child,
    write_job,
    write_line,
    write_processes,
    write_running,
)

JOB = "3f2a91c0-1111"
HIGH_FAULT = {"file": "pheno_av.tsv", "row": 1204, "row_title": "BXD12", "column": 7, "column_title": "BXD32"}
HIGH_FAULT |= {"value": "12.3", "expected": "exactly 3 decimals"}


@asynccontextmanager
async def open_job(server: Server, size: tuple[int, int] = (100, 30)) -> AsyncIterator[Pilot[None]]:
    async with dashboard(server, size=size) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobScreen))
        await shows(pilot, "the job itself")
        yield pilot


@pytest.fixture
def stuck(server: Server) -> float:
    """A QC with one stuck child among others; returns when it started."""
    now = time.time()
    start = now - 41 * 60
    said = {"message": "7 of 12 files done", "percent": 62, "processes": 14, "rss": 2_100_000_000}
    said |= {"started": start, "command": "python3 -m scripts.qc /data/up/bxd-july.zip"}
    told = SilentChild(id="pheno_se.tsv", since=now - 23 * 60, idle_since=now - 3600, cpu=0.0)
    summary = ChildrenSummary(counts={"running": 2, "success": 3, "killed": 1}, quietest=told)
    said |= {"children_summary": msgspec.json.encode(summary)}
    write_running(server, JOB, label="QC average, July", user_id="jsmith", **said)
    write_child(
        server, JOB, "pheno_se.tsv", percent=62, done=744_000, total=1_200_000, unit="row",
        started=start, last_output=now - 23 * 60,
    )  # fmt: skip
    write_child(server, JOB, "pheno_num.tsv", percent=88, started=start, last_output=now)
    killed = {"status": "killed", "stop_by": "tux", "stop_reason": "runaway"}
    write_child(server, JOB, "phenocovar.tsv", started=start, finished=start + 240, **killed)
    write_child(server, JOB, "a-done.tsv", status="success", percent=100, started=start, finished=start + 540)
    write_child(server, JOB, "geno.tsv", status="success", faults=2, started=start, finished=start + 540)
    write_child(
        server, JOB, "pheno_av.tsv", status="success", faults=310, started=start, finished=start + 540
    )
    write_line(
        server,
        KEYS.child_output(JOB, "pheno_av.tsv"),
        310,
        "\n".join([json.dumps(HIGH_FAULT)] * 310),
        "fault",
    )
    write_line(
        server, KEYS.child_output(JOB, "geno.tsv"), 2, "\n".join(['{"row": 88, "value": ""}'] * 2), "fault"
    )
    write_processes(server, JOB, 2, child="pheno_se.tsv")
    return start


def places(screen: str, *names: str) -> list[int]:
    lines = screen.split("\n")
    return [
        next(place for place, line in enumerate(lines) if line[2:].lstrip().startswith(name))
        for name in names
    ]


async def test_it_says_why_what_and_of_which_parts(server: Server, stuck: float) -> None:
    async with open_job(server) as pilot:
        first_fault = 'row 1204 "BXD12", column 7 (G) "BXD32": found "12.3", needs exactly 3 decimals  ×310'
        screen = await shows(
            pilot,
            "312 faults in 2 of 6 files so far",
            "! STUCK   pheno_se.tsv: pid 48000 (python3) asleep, idle since",
            "one of 6 children, silent and idle for 23 min (limit: 15 min), CPU 0.0 %",
            "running 41m since",
            "gn-web1 as www-data · 14 processes · 2.1 GB",
            "command   python3 -m scripts.qc /data/up/bxd-july.zip",
            f"  pheno_av.tsv  {first_fault}",
            "row 744 000 of 1 200 000",
            "by tux: runaway",
            "✓ done     a-done",
        )
        order = places(
            screen, "! STUCK    the job itself", "! STUCK    pheno_se", "● running  pheno_num",
            "■ killed   phenocovar", "▲ faults   geno", "✓ done     a-done",
        )  # fmt: skip
        assert order == sorted(order)


async def test_keys_act_on_the_row_of_the_cursor(server: Server, stuck: float) -> None:
    write_line(server, KEYS.output(JOB), 1, "printed by the job itself")
    write_line(server, KEYS.child_output(JOB, "pheno_se.tsv"), 1, "printed by the child")
    async with open_job(server) as pilot:
        await pilot.press("enter")
        await shows(pilot, "printed by the job itself")
        await pilot.press("escape", "down", "enter")
        await shows(pilot, "printed by the child")
        assert isinstance(pilot.app.screen, OutputScreen)
        await pilot.press("escape", "K")
        await until(pilot, lambda: isinstance(pilot.app.screen, KillScreen))
        screen = await shows(pilot, "2 processes end")
        assert "child   pheno_se.tsv (62%, silent 23 min)" in screen
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, JobScreen)


async def test_the_cursor_stays_on_its_child(server: Server, stuck: float) -> None:
    async with open_job(server) as pilot:
        await pilot.press("down", "down")
        table = pilot.app.screen.query_one(VirtualTable)
        assert table.cursor_key == "pheno_num.tsv"
        write_child(server, JOB, "another.tsv", started=stuck, last_output=stuck)
        server.client().hset(KEYS.child(JOB, "pheno_num.tsv"), "status", "success")
        await until(pilot, lambda: len(table._source) == 8, "the new child")
        await shows(pilot, "another.tsv")
        assert table.cursor_key == "pheno_num.tsv"
        assert table._source.key_at(table._cursor) == "pheno_num.tsv"


async def test_all_faults_and_back(server: Server, stuck: float) -> None:
    async with open_job(server) as pilot:
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, FaultsScreen))
        await shows(pilot, "312 faults")
        await until(pilot, lambda: re.search(r" 88 +empty cell *\n", screen_text(pilot)), "an empty cell")
        await pilot.press("G", "y")
        assert pilot.app.clipboard.startswith('pheno_av.tsv: row 1204 "BXD12", column 7 (G)')
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, JobScreen)


async def test_fields_of_others_are_readable(server: Server) -> None:
    write_running(server, JOB, speciesid="1", bundle="/tmp/b.zip", label="theirs")
    write_child(server, JOB, "part", linecount="12")
    async with open_job(server) as pilot:
        await pilot.press("x")
        await shows(pilot, "All fields")
        await pilot.press("end")
        screen = await shows(pilot, "/tmp/b.zip")
        assert "speciesid" in screen
        await pilot.press("escape", "down", "x")
        await shows(pilot, "linecount")


async def test_a_job_that_ended_says_how(server: Server) -> None:
    now = time.time()
    failed = {
        "status": "error",
        "started": now - 700,
        "finished": now - 100,
        "exit_code": 1,
        "host": "gn-web1",
    }
    write_job(server, JOB, label="failed", error="Traceback\nValueError: no such file", **failed)
    async with open_job(server) as pilot:
        screen = await shows(pilot, "✗ failed")
        assert "ValueError: no such file" in screen
        assert "ran 10 min since" in screen
        assert "exit code 1" in screen


async def test_a_job_that_was_removed_is_said_to_be_gone(server: Server, stuck: float) -> None:
    async with open_job(server) as pilot:
        server.client().delete(KEYS.job(JOB))
        screen = await shows(
            pilot, "GONE   removed or expired; what stands below was read before", "pheno_se.tsv"
        )
        assert "STUCK   1 of" not in screen
        assert isinstance(pilot.app.screen, JobScreen)


class Broken:
    """A processor that raises."""

    def feed(self, *_: object) -> None:
        raise RuntimeError("no idea")

    def report(self, *_: object) -> None: ...


async def test_a_processor_that_fails_leaves_the_rest(server: Server) -> None:
    register("broken", Broken)
    write_running(server, JOB, label="odd", job_type="broken")
    write_line(server, KEYS.output(JOB), 1, "one")
    async with open_job(server) as pilot:
        screen = await shows(pilot, "its processor failed: RuntimeError: no idea")
        assert "the job itself" in screen


@pytest.mark.parametrize("size", [(160, 50), (80, 24), (60, 12)])
async def test_sizes(server: Server, stuck: float, size: tuple[int, int]) -> None:
    async with open_job(server, size) as pilot:
        screen = await shows(pilot, "312 faults")
        assert "pheno_se.tsv" in screen
        assert all(len(line) <= size[0] for line in screen.split("\n"))
        if size == (80, 24):
            assert "(limit: 15 min)" in screen
            assert "esc back" in screen


async def test_many_children_are_there_before_their_outputs_are_read(server: Server) -> None:
    write_running(server, JOB, label="many")
    client = server.client()
    pipe = client.pipeline(transaction=False)
    for number in range(5000):
        pipe.hset(KEYS.job(JOB), f"{CHILD_FIELD}c-{number}", KEYS.child_output(JOB, f"c-{number}"))
        pipe.hset(KEYS.child(JOB, f"c-{number}"), mapping={"status": "pending", "label": f"file {number}"})
    pipe.hset(KEYS.child(JOB, "c-4321"), mapping={"status": "error", "error": "this one"})
    pipe.hset(KEYS.child(JOB, "c-1234"), mapping={"status": "running", "message": "at work"})
    pipe.execute()
    async with open_job(server) as pilot:
        screen = await shows(pilot, "file 1234")
        assert len(pilot.app.screen.query_one(VirtualTable)._source) == 5001
        assert "at work" in screen
        assert places(screen, "● running  file 1234") < places(screen, "· waiting  file 0")
        await pilot.press("G")
        await shows(pilot, "this one")


async def test_hostile_records_are_shown_and_do_nothing(server: Server) -> None:
    texts = {name: text.encode("utf-8", "replace").decode() for name, text in TEXTS.items()}
    for number, (name, text) in enumerate(texts.items()):
        odd = NUMBERS[number % len(NUMBERS)]
        write_child(
            server, JOB, f"c-{number}", label=text, message=text, percent=odd, started=odd, faults=odd
        )
        write_line(server, KEYS.child_output(JOB, f"c-{number}"), 1, text.replace("\n", " "))
        server.client().hset(KEYS.job(JOB), f"field {name}", text)
    evil = texts["markup click"] + texts["osc 52 sets the clipboard"]
    write_running(
        server, JOB, label=evil, user_id="jsmith", message=evil, command=evil, host=evil, account=evil
    )
    async with open_job(server, (140, 80)) as pilot:
        for keys in (["x"], ["escape", "down", "x"], ["escape", "K"], ["escape", "e"], ["escape", "enter"]):
            await pilot.press(*keys)
            await pilot.pause()
            assert not any(sequence in screen_text(pilot) for sequence in FORBIDDEN)
        assert pilot.app.clipboard == ""


def test_every_state_has_its_place_among_parts() -> None:
    assert {state.word for state in STATES} == set(_ORDER)


async def test_a_job_below_another_goes_on_when_that_is_closed(server: Server, stuck: float) -> None:
    async with open_job(server) as pilot:
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobsScreen))
        await shows(pilot, "QC average, July")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobScreen))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobScreen))
        write_child(server, JOB, "pheno_num.tsv", percent=88, message="news of this child")
        await shows(pilot, "news of this child")


@pytest.mark.parametrize("size", [(160, 50), (80, 24)], ids=str)
async def test_all_fields_take_the_room_there_is_and_scroll_to_their_end(
    server: Server, size: tuple[int, int]
) -> None:
    more = {f"zz{number}": f"value {number}" for number in range(60)}
    write_running(server, "job-1", label="many fields", **more)
    async with dashboard(server, size=size) as pilot:
        await pilot.press("enter")
        await shows(pilot, "the job itself")
        await pilot.press("x")
        text = await shows(pilot, "All fields", "esc close")
        assert sum("│" in line for line in text.splitlines()) >= size[1] - 2
        assert "value 59" not in text
        await pilot.press("end")
        await shows(pilot, "value 59", "esc close")
        await pilot.press("home")
        await shows(pilot, "many fields")


def test_reasons_without_room_give_way_to_a_mark_between_words() -> None:
    reasons = "pid 12 waits for a lock · silent and idle for 7 min · supervisor heard 1 s ago"
    assert break_lines(reasons, 30, 3) == [
        "pid 12 waits for a lock",
        "silent and idle for 7 min",
        "supervisor heard 1 s ago",
    ]
    assert break_lines(reasons, 30, 2) == ["pid 12 waits for a lock", "silent and idle for 7 min …"]
    assert break_lines(reasons, 24, 2) == ["pid 12 waits for a lock", "silent and idle for 7 …"]
    assert break_lines("", 30, 2) == []


def test_lines_of_wide_characters_are_no_wider_than_there_is_room() -> None:
    text = "日本語の説明 " * 10 + "長" * 50
    found = break_lines(text, 30, 20)
    assert all(20 < cell_len(line) <= 30 for line in found[:-1])
    assert "".join(found).replace(" ", "") == text.replace(" ", "")
    assert break_lines("長い", 1, 5) == ["長", "い"]


async def test_long_values_hang_below_their_beginning(server: Server) -> None:
    write_running(server, "job-1", message="word " * 60 + "\nanother line", **{"x" * 25: "y" * 200})
    for size in ((160, 50), (100, 50), (80, 50)):
        async with dashboard(server, size=size) as pilot:
            await pilot.press("enter", "x")
            text = await shows(pilot, "All fields", "another line", "esc close")
            frame = next(line.index("│") for line in text.splitlines() if "All fields" in line)
            inside = [line[frame + 2 :] for line in text.splitlines() if line[frame : frame + 1] == "│"]
            more = [line for line in inside if line.strip().startswith(("word word", "another"))]
            assert len(more) > 2
            assert all(line.index(line.split()[0]) == NAME_WIDTH for line in more[1:])
            assert "".join(inside).count("y") >= 200


async def test_what_the_processes_of_a_dead_job_used_is_not_said_to_be_used(server: Server) -> None:
    used = {"cpu": 73, "rss": 2_100_000_000, "processes": 14}
    gone = {"host": host_name(), "boot_id": boot_id(), "pid_namespace": pid_namespace()}
    gone |= {"heartbeat": time.time() - 600, "heartbeat-every": 3}
    write_running(server, JOB, label="QC average, July", **used, **gone)
    write_processes(server, JOB, 2)
    async with dashboard(server, size=(160, 30)) as pilot:
        listed = await shows(pilot, "! DEAD")
        await pilot.press("enter")
        opened = await shows(pilot, "! DEAD", "the job itself", "running 1m since")
        told = [line[:6].strip() for line in opened.splitlines()]
        assert told[told.index("comman") + 1] == "result"
        for screen in (listed, opened):
            assert not [
                said
                for said in ("73%", "2.1 GB", "14 processes", "CPU ")
                if said in screen.replace("CPU Silent", "")
            ]
