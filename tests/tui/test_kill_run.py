"""Kills from the dialog against real supervisors, and what stays of them."""

import asyncio
import time

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from gnjobs.processes.seen import ProcessSnapshot
from gnjobs.records.actor import Actor
from gnjobs.records.requests import KillStep
from gnjobs.store import JobStore
from gnjobs_tui.screens.kill import KillScreen
from gnjobs_tui.screens.kill_run import KillRun, what_ends
from gnjobs_tui.screens.log import LogScreen
from gnjobs_tui.screens.target import Target
from gnjobs_tui.style import Cell
from gnjobs_tui.typeahead import LEAST_READING
from tests.support.dashboard import dashboard, says, screen_text, shows, until
from tests.support.servers import Server
from tests.support.stored_records import write_child, write_processes, write_running
from tests.support.supervised import python, supervised

STUBBORN = python(
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)


async def press_kill(pilot: Pilot[None]) -> None:
    await pilot.press("K")
    await until(pilot, lambda: isinstance(pilot.app.screen, KillScreen))
    await pilot.pause(LEAST_READING)  # who answers sooner has not read the question
    await pilot.press("tab", *"hangs", "tab", "enter")


async def press_kill_now(pilot: Pilot[None]) -> None:
    await shows(pilot, "TERM to")
    await until(
        pilot, lambda: not pilot.app.screen.query_one("#kill").has_class("-active"), "the button's rest"
    )
    await pilot.press("tab", "enter")


async def test_a_stubborn_job_is_killed_now_and_verified(server: Server) -> None:
    with supervised(server, STUBBORN, label="stubborn") as job:
        job.wait_for_line("ready")
        async with dashboard(server) as pilot:
            await press_kill(pilot)
            await shows(pilot, "KILL now")
            await press_kill_now(pilot)
            # Where the first kill is done by then, nothing is left to be hurried.
            done = ('written "killed by tux"', "it has already ended: killed")
            await until(pilot, lambda: any(text in screen_text(pilot) for text in done), "the end")
            screen = await shows(pilot, "Close")
            assert "KILL now" not in screen
            assert not job.alive()
            record = job.read()
            assert (record.status, record.stop_by, record.stop_reason) == ("killed", "tux", "hangs")
            await pilot.press("enter")
            await shows(pilot, "■ killed")


async def test_results_can_be_read_again_from_the_log(server: Server) -> None:
    write_running(server, "job-1", label="far away", supervisor_pid=1)
    async with dashboard(server) as pilot:
        await press_kill(pilot)
        await shows(pilot, "no agent runs there")
        await pilot.press("escape", "L")
        await until(pilot, lambda: isinstance(pilot.app.screen, LogScreen))
        await pilot.press("r")
        screen = await shows(pilot, "Kill one job: job-1  far away, asked as tux, hangs")
        assert "no agent runs there" in screen


@pytest.mark.parametrize("keys", [(), ("K",)], ids=("alone", "another dialog in front"))
async def test_closing_while_it_runs_says_the_end(server: Server, keys: tuple[str, ...]) -> None:
    with supervised(server, STUBBORN, label="stubborn") as job:
        job.wait_for_line("ready")
        async with dashboard(server) as pilot:
            await press_kill(pilot)
            await shows(pilot, "TERM to")
            await pilot.press("escape")
            assert not isinstance(pilot.app.screen, KillScreen)
            await pilot.press(*keys)
            assert isinstance(pilot.app.screen, KillScreen) is bool(keys)
            for process in job.alive():
                process.kill()
            await says(pilot, '"killed by tux"')


async def test_a_pools_worker_is_warned_of_and_the_job_offered(server: Server) -> None:
    server.client().hset(
        "gn-uploader:jobs:theirs", mapping={"jobid": "theirs", "status": "running", "label": "pool"}
    )
    async with dashboard(server) as pilot:
        pilot.app.push_screen(
            KillScreen([Target("gn-uploader", "theirs", "pool", child="geno/errors/f.tsv")])
        )
        await shows(pilot, "its parent will wait for it for ever;", "Kill one child")
        await pilot.press("j")
        await shows(pilot, "Kill one job")
        await shows(pilot, "processes unknown")


async def test_what_ends_is_told_of_the_target_whichever_is_read_last(server: Server) -> None:
    write_running(server, "job-1", label="both")
    write_child(server, "job-1", "c")
    write_processes(server, "job-1", 2, child="c")
    async with dashboard(server) as pilot:
        child = Target("gn-uploader", "job-1", "both", child="c")
        dialog = KillScreen([child])
        pilot.app.push_screen(dialog)
        await shows(pilot, "2 processes end; the children still at work go on.")
        await pilot.press("j")
        await shows(pilot, "Kill one job", "2 processes end. ")
        dialog.post_message(KillScreen.Looked(child, [["late news of the child"]]))
        was_taken = asyncio.Event()
        dialog.call_later(was_taken.set)
        await was_taken.wait()
        assert "2 processes end. " in str(dialog.query_one("#processes", Static).content)


async def test_the_list_scrolls_by_keys(server: Server) -> None:
    write_running(server, "job-1", label="many")
    write_child(server, "job-1", "c")
    write_processes(server, "job-1", 40)
    async with dashboard(server, size=(80, 24)) as pilot:
        await pilot.press("K")
        await shows(pilot, "48000")
        assert "48030" not in screen_text(pilot)
        await pilot.press(*["pagedown"] * 6)
        await shows(pilot, "48039", "Kill: TERM, after 10 s KILL")


def run_with(steps: list[KillStep]) -> KillRun:
    run = KillRun([Target("P", "j", "label")], Actor.admin("tux"), "why", lambda _: pytest.fail("no store"))
    run.steps[0] = steps
    return run


def test_what_killed_is_the_result_whatever_a_hurried_request_was_told() -> None:
    gone = KillStep(1.0, "written", "2 of 2 gone", verified=True, final=True)
    late = KillStep(2.0, "skipped", "it has already ended: killed", verified=True, final=True)
    failed = KillStep(3.0, "left", "not killed", final=True)
    assert run_with([gone, late]).summary() == "label: 2 of 2 gone"
    assert run_with([failed, gone]).succeeded
    assert not run_with([failed]).succeeded
    assert "2 of 2 gone" in run_with([gone]).text()


@pytest.mark.parametrize("since", [0.0, 60.0])
def test_a_job_that_got_the_id_of_one_that_was_shown_is_not_killed(store: JobStore, since: float) -> None:
    job = store.create(["true"])
    shown = Target(store.keys.prefix, job.id, "label", created=(job.created or 0.0) - since)
    run = KillRun([shown], Actor.admin("tux"), "", lambda _: store)
    run.run(lambda: None)
    assert (run.succeeded, store.get(job.id).status) == ((False, "pending") if since else (True, "killed"))


def test_what_has_ended_is_not_hurried() -> None:
    run = run_with([KillStep(1.0, "written", "gone", verified=True, final=True)])
    run.run(lambda: None, force=True)
    assert len(run.steps[0]) == 1


@pytest.mark.parametrize("is_foreign", [False, True])
async def test_of_processes_that_were_not_seen_lately_all_that_is_known_can_be_read(
    server: Server, is_foreign: bool
) -> None:
    old = ProcessSnapshot(at=time.time() - 3600, processes=())
    said = what_ends(Target("P", "j", "l"), None if is_foreign else old, time.time(), is_foreign)
    write_running(server, "job-1")
    async with dashboard(server, size=(80, 24)) as pilot:
        target = Target("gn-uploader", "job-1", "QC")
        dialog = KillScreen([target])
        pilot.app.push_screen(dialog)
        await shows(pilot, "Kill one job")
        dialog.post_message(KillScreen.Looked(target, said))
        await shows(pilot, "processes unknown", "its command line" if is_foreign else "will be killed")


def test_a_kill_that_a_full_server_did_not_take_says_so(server: Server, store: JobStore) -> None:
    write_running(server, "job-1")
    run = KillRun([Target("gn-uploader", "job-1", "QC")], Actor.admin("tux"), "", lambda _: store)
    server.client().config_set("maxmemory", 1)
    try:
        run.run(lambda: None)
    finally:
        server.client().config_set("maxmemory", 0)
    why = "Redis refuses writes: its memory is full (OOM)"
    assert [step.text for step in run.steps[0]] == [f"not asked: {why}; nothing was signalled"]


def test_steps_stand_as_they_came_whatever_clocks_say_and_once_each() -> None:
    run = KillRun([Target("p", "job-1", "QC")], Actor.admin("tux"), "", lambda _: pytest.fail("not asked"))
    answered = [
        KillStep(at, kind, text)  # the host's clock is behind
        for at, kind, text in ((30.0, "asked", "asked as tux"), (20.0, "answered", "supervisor 7 answers"))
    ]
    run.steps[0] = [*answered, *answered, KillStep(21.0, "signalled", "TERM to 8")]
    told = [[part.text if isinstance(part, Cell) else part for part in parts] for parts in run.step_lines()]
    assert ["".join(parts).split("  ", 1)[-1].strip() for parts in told] == [
        "asked as tux",
        "supervisor 7 answers",
        "TERM to 8",
    ]
