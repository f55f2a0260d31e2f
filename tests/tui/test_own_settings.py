"""What a person sets for herself: columns, keys and filters with names; and words behind the palette's commands."""

from pathlib import Path

import pytest

from gnjobs.errors import ConfigError
from gnjobs.records.actor import Actor
from gnjobs_tui.app import GnjobsApp
from gnjobs_tui.config import Config, load_config
from gnjobs_tui.screens.jobs import JobsScreen
from gnjobs_tui.screens.kill import KillScreen
from gnjobs_tui.screens.output import OutputScreen
from tests.support.command import run
from tests.support.dashboard import dashboard, screen_text, shows, until
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_line, write_running


def write_two(server: Server) -> None:
    for number, user in enumerate(("agunn", "jsmith")):
        write_running(server, f"job-{number}", label=f"job {number}", user_id=user, rss=5_000_000)


def settings(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


async def test_columns_keys_and_filters_are_those_of_the_configuration(
    server: Server, tmp_path: Path
) -> None:
    write_two(server)
    text = (
        'columns = ["label", "memory", "state"]\n[keys]\n"rows.kill" = ["ctrl+k", "X"]\n"jobs.filter" = "?"\n'
    )
    path = settings(tmp_path, text + '"screen.help" = "f1"\n[filters]\nmine = "user:jsmith"\n')
    config = load_config(path).overridden(url=server.url)
    async with dashboard(server, config=config, size=(80, 24)) as pilot:
        screen = await shows(pilot, "  Label", "Memory", "State", "ctrl+k kill", "? filter", "f1 help")
        assert "User" not in screen.split("\n")[2]
        await pilot.press("K")
        await pilot.pause()
        assert isinstance(pilot.app.screen, JobsScreen)
        await pilot.press("X")
        await until(pilot, lambda: isinstance(pilot.app.screen, KillScreen))
        await pilot.press("escape", "colon", *"filter mi")
        await shows(pilot, "filter mine")
        await pilot.press("enter")
        await until(pilot, lambda: "job 0" not in screen_text(pilot) and "/user:jsmith" in screen_text(pilot))
        await pilot.press("?")
        await shows(pilot, "/ user:jsmith")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('columns = ["label", "colour"]', "columns: there is no column 'colour'; known are state, label"),
        ('[keys]\n"jobs.fly" = "f"', "keys.jobs.fly: there is no such command; known are app.palette"),
        ('[keys]\n"jobs.filter" = "two words"', "keys.jobs.filter: 'two words' is not a key"),
        ('[keys]\n"rows.kill" = "L"', "keys: L would stand for both rows.kill and screen.log; change one"),
        ('[keys]\n"table.sort" = "j"', "keys: j would stand for both table.down and table.sort; change one"),
        ('[keys]\n"table.sort" = "F"\n"jobs.hosts" = "F"', "both jobs.hosts and table.sort"),
        ('[keys]\n"text.copy" = "?,q"', "keys: q would stand for both text.close and text.copy"),
        ('[filters]\nmine = "state:odd"', "filters.mine: no state begins with 'odd'"),
        ('[filters]\nmine = "re:("', "filters.mine: not a regular expression"),
        ("[filters]\nmine = 3", "filters.mine must be text"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_that_names_the_setting(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        GnjobsApp(load_config(settings(tmp_path, text)), Actor.admin("tux"))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_key_is_chosen_for_all_screens_that_have_it(server: Server) -> None:
    write_two(server)
    config = Config(url=server.url, keys={"table.sort": "F", "rows.stacks": "B"})
    async with dashboard(server, config=config, size=(100, 60)) as pilot:
        await pilot.press("F")
        await shows(pilot, "Sort by")
        await pilot.press("escape", "enter", "F")
        await shows(pilot, "Sort by")
        await pilot.press("escape")
        assert "B stacks" in await shows(pilot, "the job itself")


async def test_commands_of_the_palette_take_a_word(server: Server) -> None:
    write_two(server)
    write_line(server, KEYS.output("job-1"), 3, "one\ntwo\nthree")
    async with dashboard(server, config=Config(url=server.url)) as pilot:
        await pilot.press("colon", *"user js")
        await shows(pilot, "user jsmith")
        await pilot.press("down", "enter")
        await until(
            pilot, lambda: isinstance(pilot.app.screen, JobsScreen) and pilot.app.screen.user == "jsmith"
        )
        await pilot.press("enter", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, OutputScreen))
        await pilot.press("colon", *"search two")
        await shows(pilot, "search two")
        await pilot.press("down", "enter")
        await shows(pilot, "2> two", "/two")
        await pilot.press("escape", "escape", "escape", "escape", "colon", *"sort la")
        await shows(pilot, "sort label")
        await pilot.press("down", "enter")
        await shows(pilot, "by label")


def test_the_command_says_it_before_it_draws(server: Server, tmp_path: Path) -> None:
    path = settings(tmp_path, '[filters]\nmine = "silent>x"')
    done = run(server.url, "--config", str(path), "ls")
    assert (done.returncode, done.stdout) == (2, "")
    assert "filters.mine" in done.stderr
    assert done.stderr.count("\n") == 1
