"""The kill dialog: harmless by default, whole on a small terminal, honest about results."""

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from gnjobs.processes.seen import ProcessSnapshot, SeenProcess
from gnjobs.records.actor import Actor
from gnjobs_tui.screens.kill import KillScreen
from gnjobs_tui.screens.kill_run import KillRun, target_lines, title_of, what_ends
from gnjobs_tui.screens.target import Target
from gnjobs_tui.style import lines
from tests.support.dashboard import dashboard, says, screen_text, shows, until
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_processes, write_running


def requests(server: Server, job_id: str) -> list[dict[bytes, bytes]]:
    return [
        fields
        for _, fields in server.client().xrange(KEYS.admin_requests)
        if fields.get(b"job") == job_id.encode()
    ]


async def open_dialog(pilot: Pilot[None]) -> str:
    await pilot.press("K")
    await until(pilot, lambda: isinstance(pilot.app.screen, KillScreen))
    return await shows(pilot, "Cancel")


async def test_both_buttons_are_visible_with_40_processes_at_80x24(server: Server) -> None:
    write_running(server, "job-1", label="many processes", user_id="jsmith")
    write_processes(server, "job-1", 40)
    async with dashboard(server, size=(80, 24)) as pilot:
        await open_dialog(pilot)
        screen = await shows(pilot, "40 processes end")
        assert "Cancel" in screen
        assert "Kill: TERM, after 10 s KILL" in screen
        assert "many processes" in screen
        assert "on gn-web1, run as www-data" in screen


async def test_no_label_makes_lines_of_its_own_in_what_is_asked(server: Server) -> None:
    label = f"named{' ' * 200}owner   alice      on gn-web1, run as alice"
    write_running(server, "job-1", label=label, user_id="jsmith")
    async with dashboard(server, size=(100, 30)) as pilot:
        await open_dialog(pilot)
        screen = await shows(pilot, "named", "│ owner   jsmith")
        assert "│ owner   alice" not in screen
        await pilot.press("escape")
        server.client().hset(KEYS.job("job-1"), mapping={"status": "success", "finished": 1})
        await until(pilot, lambda: "6 done 1" in screen_text(pilot))
        await pilot.press("D")
        screen = await shows(pilot, "Remove named", "all its outputs?")
        assert "alice" not in screen


async def test_enter_on_opening_and_enter_in_why_kill_nothing(server: Server) -> None:
    write_running(server, "job-1", label="spared")
    async with dashboard(server) as pilot:
        await open_dialog(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(pilot.app.screen, KillScreen))
        await open_dialog(pilot)
        await pilot.press("tab", *"because", "enter")
        assert isinstance(pilot.app.screen, KillScreen)
        await pilot.press("escape")
        assert requests(server, "job-1") == []


async def test_a_job_of_another_host_is_told_where_to_kill_it(server: Server) -> None:
    write_running(server, "job-1", label="far away")
    async with dashboard(server) as pilot:
        await open_dialog(pilot)
        await pilot.press("tab", *"why not", "tab", "enter")
        screen = await shows(pilot, "no agent runs there")
        assert "gnjobs kill job-1" in screen
        assert [request[b"by"] for request in requests(server, "job-1")] == [b"tux"]


async def test_marked_jobs_need_their_number_typed(server: Server) -> None:
    for number in range(3):
        write_running(server, f"job-{number}", label=f"label {number}", supervisor_pid=1)
    async with dashboard(server) as pilot:
        await pilot.press("a")
        screen = await open_dialog(pilot)
        assert "Kill 3 jobs" in screen
        await pilot.press("tab", "tab", "tab", "enter")
        await says(pilot, "nothing is killed: type 3 to kill 3 jobs")
        assert not any(requests(server, f"job-{number}") for number in range(3))
        await until(pilot, lambda: not pilot.app.screen.query_one("#kill").has_class("-active"), "its rest")
        await pilot.press(*"3", "tab", "enter")
        await until(pilot, lambda: all(requests(server, f"job-{number}") for number in range(3)))
        await until(pilot, lambda: screen_text(pilot).count("no agent runs there") == 3)


async def test_marked_jobs_stand_in_the_order_of_the_list(server: Server) -> None:
    for number in range(3):
        write_running(server, f"job-{number}", label=f"label {number}", supervisor_pid=1, created=number)
    async with dashboard(server) as pilot:
        await shows(pilot, "1 all 3")
        await pilot.press("a")
        await open_dialog(pilot)
        told = str(pilot.app.screen.query_one("#processes", Static).content)
        assert told.index("label 2") < told.index("label 1") < told.index("label 0")


async def test_a_viewer_is_refused_with_the_reason(server: Server) -> None:
    write_running(server, "job-1", label="watched")
    async with dashboard(server, actor=Actor("guest", "viewer")) as pilot:
        await pilot.press("K")
        assert "Kill one job" not in await shows(pilot, "guest is a viewer, who can't kill")
        assert requests(server, "job-1") == []


@pytest.mark.parametrize(
    ("targets", "title", "words"),
    [
        ([Target("P", "j", "label")], "Kill one job", "job j label owner nobody"),
        ([Target("P", "j", "a      on b")], "Kill one job", "job j a on b owner nobody"),
        ([Target("P", "j", "label", child="c")], "Kill one child", "child c of job j label owner nobody"),
        ([Target("P", "j", "label"), Target("P", "k", "label")], "Kill 2 jobs", "j label k label"),
    ],
)
def test_the_title_and_what_is_said_of_the_targets(targets: list[Target], title: str, words: str) -> None:
    assert title_of(targets) == title
    assert lines(target_lines(targets)).plain.split() == words.split()


def test_a_run_is_over_when_each_has_its_final_step() -> None:
    def no_store(_: Target) -> object:
        raise OSError("no connection")

    told = []
    run = KillRun([Target("P", "j", "label")], Actor.admin("tux"), "", no_store)
    run.run(lambda: told.append(True))
    assert run.is_over
    assert not run.succeeded
    assert run.summary() == "label: not asked: no connection; nothing was signalled"
    assert told


@pytest.mark.parametrize(
    ("command", "child", "shown"),
    [
        ("/opt/venv/bin/python3 -m scripts.qc f.zip", None, "python3 -m scripts.qc f.zip"),
        ("/usr/bin/python3 -c from multiprocessing.spawn import", "geno.tsv", "python3, at work on geno.tsv"),
        ("gzip -dc pheno.gz", "pheno", "gzip -dc pheno.gz"),
        ("", None, ""),
    ],
)
def test_a_process_is_named_by_what_it_does(command: str, child: str | None, shown: str) -> None:
    snapshot = ProcessSnapshot(0.0, (SeenProcess(7, 1, child, command=command),))
    target = Target("P", "job-1", "label", child)
    assert what_ends(target, snapshot, 0.0, is_foreign=False)[1] == [f"  7 S       {shown}"]
