"""The list of jobs under Pilot: counts, filter, cursor, marks, roles."""

import time

import msgspec
import pytest
from textual.widgets import Static

from gnjobs.records.actor import Actor
from gnjobs.records.layouts import UPLOADER
from gnjobs.watch.filters import quoted
from gnjobs_tui.app import GnjobsApp
from gnjobs_tui.config import Config
from gnjobs_tui.keys import key_event
from gnjobs_tui.screens.base import clock_seconds
from gnjobs_tui.screens.jobs import JobsScreen
from gnjobs_tui.typeahead import LEAST_READING
from gnjobs_tui.widgets.filter_bar import FilterBar
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.dashboard import dashboard, says, screen_text, shows, until
from tests.support.servers import Server, free_port
from tests.support.stored_records import KEYS, write_job, write_running


def cursor(pilot) -> str:
    return pilot.app.screen.query_one(VirtualTable).cursor_key


def help_text(pilot) -> str:
    return "".join(str(static.content) for static in pilot.app.screen.query(Static))


async def test_counts_are_filters(server: Server) -> None:
    write_job(server, "good-1", label="good one")
    write_job(server, "bad-1", label="bad one", status="error", error="it broke")
    write_running(server, "run-1", label="running one")
    async with dashboard(server) as pilot:
        await shows(pilot, "1 all 3   2 trouble 0   3 running 1   4 waiting 0   5 failed 1   6 done 1")
        await pilot.press("5")
        await until(pilot, lambda: "good one" not in screen_text(pilot))
        await shows(pilot, "bad one")
        await shows(pilot, "says    it broke")
        await pilot.press("1")
        await shows(pilot, "good one")


async def test_the_cursor_stays_on_its_job_whatever_arrives(server: Server) -> None:
    for number in range(5):
        write_job(server, f"job-{number}", label=f"label {number}", created=1000 + number)
    async with dashboard(server) as pilot:
        await pilot.press("j", "j", "space")
        at, marks = cursor(pilot), set(pilot.app.screen.query_one(VirtualTable).marks)
        for number in range(5, 40):
            write_job(server, f"job-{number}", label=f"label {number}", created=1000 + number)
        await shows(pilot, "1 all 40")
        assert cursor(pilot) == at
        assert pilot.app.screen.query_one(VirtualTable).marks == marks
        await until(
            pilot,
            lambda: any(
                line.startswith("> ") and "label 1" in line for line in screen_text(pilot).splitlines()
            ),
        )


async def test_a_change_by_anybody_is_seen_and_so_is_its_end(server: Server) -> None:
    write_job(server, "job-1", label="before")
    async with dashboard(server) as pilot:
        await shows(pilot, "before")
        server.client().hset(KEYS.job("job-1"), "label", "afterwards")
        await shows(pilot, "afterwards")
        server.client().pexpire(KEYS.job("job-1"), 1)
        await shows(pilot, "1 all 0")


async def test_filter_as_it_is_typed_and_what_is_wrong_with_it(server: Server) -> None:
    write_job(server, "job-1", label="pheno file", user_id="jsmith")
    write_job(server, "job-2", label="geno file", user_id="agunn")
    async with dashboard(server) as pilot:
        await pilot.press("slash", *"user:jsmith")
        await until(pilot, lambda: "geno file" not in screen_text(pilot).replace("pheno file", ""))
        await pilot.press("enter")
        await until(pilot, lambda: not pilot.app.screen.query_one(FilterBar).is_open)
        await pilot.press("escape")
        await shows(pilot, "geno file")
        await pilot.press("slash", *"age>soon")
        await shows(pilot, "soon")


async def test_what_is_wrong_with_a_filter_is_cut_with_a_mark(server: Server) -> None:
    write_job(server, "job-1")
    async with dashboard(server, size=(80, 24)) as pilot:
        await pilot.press("slash", *"foo:x")
        screen = await shows(pilot, "unknown key foo: (known: ")
        assert screen.rstrip().endswith("…")


async def test_a_list_that_was_opened_by_a_filter_keeps_it(server: Server) -> None:
    for job, label, host in (
        ("1", "pheno here", "db1"),
        ("2", "geno here", "db1"),
        ("3", "pheno off", "web1"),
    ):
        write_job(server, job, label=label, host=host)
    async with dashboard(server) as pilot:
        await shows(pilot, "pheno off")
        pilot.app.open_jobs(f"host:{quoted('db1')}")
        await until(pilot, lambda: "pheno off" not in screen_text(pilot), "the jobs of the host")
        await pilot.press("slash", *" pheno", "enter")
        await until(pilot, lambda: "geno here" not in screen_text(pilot), "fewer of them")
        assert "pheno off" not in await shows(pilot, "pheno here", '/host:"db1"$ pheno')
        await pilot.press("escape")
        assert "pheno off" not in await shows(pilot, "geno here", "pheno here")
        await pilot.press("slash", *" more", "escape", "escape")
        await shows(pilot, "pheno off")


async def test_a_list_that_was_opened_by_a_filter_says_what_is_wrong_with_it(server: Server) -> None:
    write_job(server, "job-1", label="of no host")
    async with dashboard(server) as pilot:
        pilot.app.open_jobs(f"host:{quoted('nowhere')}")
        assert "esc clears" not in await shows(pilot, 'no job matches host:"nowhere"')
        pilot.app.open_jobs("host:" + quoted('"'))
        await says(pilot, "host: needs a value")


async def test_of_a_user_without_jobs_that_is_said(server: Server) -> None:
    async with dashboard(server, user="jsmit") as pilot:
        await shows(pilot, "jsmit has no jobs")


async def test_80_columns_show_at_least_15_jobs(server: Server) -> None:
    for number in range(30):
        write_job(server, f"job-{number}", label=f"label {number}", user_id="jsmith")
    async with dashboard(server, size=(80, 24)) as pilot:
        screen = await shows(pilot, "label 15")
        assert sum("label" in line for line in screen.splitlines()) >= 15
        heading = next(line for line in screen.splitlines() if "Label" in line)
        assert heading.split() == ["State", "Label", "User", "%", "Silent", "Run"]


async def test_a_curator_sees_her_own_jobs_and_what_they_say(server: Server) -> None:
    write_job(server, "job-1", label="hers", user_id="jsmith", faults=312)
    write_job(server, "job-2", label="somebody else's", user_id="agunn")
    jane = Actor("jane", "curator", ("jsmith",))
    async with dashboard(server, actor=jane) as pilot:
        screen = await shows(pilot, "312 faults")
        assert "Says" in screen
        assert "somebody" not in screen
        assert "1 all 1" in screen


async def test_marking_all_and_owner_and_users(server: Server) -> None:
    for number in range(3):
        write_running(
            server, f"job-{number}", label=f"label {number}", user_id="jsmith" if number else "agunn"
        )
    async with dashboard(server) as pilot:
        await pilot.press("a")
        await shows(pilot, "3 marked")
        await pilot.press("escape", "u")
        await shows(pilot, "users")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobsScreen) and pilot.app.screen.user)
        await pilot.press("escape", "escape", "o")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobsScreen) and pilot.app.screen.user)


async def test_who_removes_is_told_of_marked_jobs_that_the_filter_hides(server: Server) -> None:
    for number in range(3):
        write_job(server, f"job-{number}", label=f"label {number}")
    async with dashboard(server) as pilot:
        await pilot.press("a", "D")
        assert "hides" not in await shows(pilot, "Remove 3 jobs with all their outputs?")
        await pilot.press("escape", "slash", *"1", "enter")
        await until(pilot, lambda: "label 0" not in screen_text(pilot), "one job alone")
        await pilot.press("D")
        screen = await shows(pilot, "Remove 3 jobs")
        assert "The filter hides 2 of the marked jobs." in " ".join(screen.replace("│", " ").split())


async def test_help_and_palette_name_the_keys(server: Server) -> None:
    async with dashboard(server) as pilot:
        await pilot.press("question_mark")
        await shows(pilot, "Keys of this screen")
        assert "Kill this job" in help_text(pilot)
        await pilot.press("escape", "colon", *"sort by")
        await shows(pilot, "Sort by a column")


async def test_a_running_job_far_from_its_limit_is_running(server: Server) -> None:
    write_running(server, "job-1", label="works", last_output=time.time())
    async with dashboard(server) as pilot:
        await shows(pilot, "● running")


async def test_at_80_columns_all_reasons_for_trouble_are_read(server: Server) -> None:
    now = time.time()
    job_id = write_running(
        server,
        "job-1",
        label="QC",
        cpu=0,
        stuck_after=20,
        last_output=now - 3 * 3600,
        idle_since=now - 3 * 3600,
    )
    server.client().hset(KEYS.job(job_id), "message", "checking files")
    async with dashboard(server, size=(80, 24)) as pilot:
        screen = await shows(pilot, "STUCK")
        await pilot.press("g")
        screen = await shows(pilot, "why")
        assert "silent and idle for 3 h" in screen
        assert "heard" in screen


async def test_help_begins_with_what_this_screen_does(server: Server) -> None:
    write_job(server, "job-1")
    async with dashboard(server, size=(80, 45)) as pilot:
        await pilot.press("question_mark")
        await shows(pilot, "Keys of this screen")
        keys = help_text(pilot)
        places = [keys.index(words) for words in ("One row up", "Event log", "Kill this job")]
        assert places == sorted(places)


async def test_a_narrow_terminal_shows_the_columns_that_matter(server: Server) -> None:
    write_running(server, "job-1", label="a job", user_id="jsmith")
    async with dashboard(server, size=(80, 24)) as pilot:
        screen = await shows(pilot, "Silent")
        heading = next(line for line in screen.splitlines() if "Label" in line)
        assert all(word in heading for word in ("State", "Label", "User", "%", "Silent", "Run"))


async def test_a_job_whose_beginning_is_estimated_is_removed(server: Server) -> None:
    layout = msgspec.structs.replace(UPLOADER, expires_after=86_400.0)
    server.client().hset(KEYS.job("theirs"), mapping={"status": "success", "label": "theirs"})
    server.client().expire(KEYS.job("theirs"), 3600)
    config = Config(url=server.url, layouts={KEYS.prefix: layout})
    async with dashboard(server, config=config) as pilot:
        row = pilot.app.jobs.catalogue.get("theirs")
        assert (row.created > 0, row.recorded) == (True, None)
        await pilot.press("D")
        await shows(pilot, "Remove")
        await pilot.pause(LEAST_READING)
        await pilot.press("tab", "enter")
        await until(pilot, lambda: not server.client().exists(KEYS.job("theirs")), "its removal")


@pytest.mark.parametrize(
    ("key", "name", "untrue"),
    [
        ("", "", "looking"),
        ("u", "users", "no user"),
        ("h", "hosts", "reading"),
        ("p", "pulse", "no job"),
        ("L", "event log", "reading"),
    ],
)
async def test_of_a_server_that_was_never_reached_no_screen_says_more_than_why(
    key: str, name: str, untrue: str
) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    app = GnjobsApp(Config(url=url, has_url=False), Actor.admin("tux"))
    async with app.run_test(size=(96, 24)) as pilot:
        await until(pilot, lambda: app.feed.kind == "away")
        for each in key:
            app.post_message(key_event(each).set_sender(app))
        why = f"can't reach {url[8:-2]}: connection refused"
        header = (
            f"gnjobs › {name} " if name else f"gnjobs   AWAY since {clock_seconds(app.feed.since)}: {why} "
        )
        text = await shows(pilot, header, f"  {why}; GNJOBS_REDIS_URL is not set")
        assert untrue not in text
        app.typed.stop()
        app.jobs.stop()
