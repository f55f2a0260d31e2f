"""What the dashboard costs the line and the server, counted on a real terminal: bytes and commands, not times."""

from collections.abc import Iterator

import pytest

from gnjobs.records.keys import Keys
from tests.benchmarks.screen import DOWN, Screen, commands, cursor_place, flood
from tests.support.command import environment
from tests.support.population import finish_all, ordered_ids, populate
from tests.support.recording import Recording
from tests.support.servers import Server
from tests.support.terminal import gnjobs

JOBS = 400
# Below header, counts and heading, above the pane.
TABLE = slice(3, -5)
KEYS = Keys()


@pytest.fixture
def screen(server: Server) -> Iterator[Screen]:
    """The dashboard over some hundred jobs, at rest."""
    populate(server, JOBS)
    with (
        server.client() as client,
        Recording(gnjobs(), 160, 50, environment(server.url)) as terminal,
    ):
        terminal.wait_for(lambda text: f"all {JOBS}" in text and "loading" not in text)
        terminal.wait_until_quiet()
        yield Screen(terminal, client, server.url)


@pytest.mark.faults
def test_a_changed_row_costs_few_bytes_and_one_out_of_sight_none(screen: Screen) -> None:
    ids = ordered_ids(screen.client, JOBS)
    sizes = screen.bytes_each(lambda number: screen.client.hset(KEYS.job(ids[0]), "percent", number + 10), 5)
    assert max(sizes) <= 600
    before = screen.terminal.now()
    for job_id in ids[100:200]:
        screen.client.hset(KEYS.job(job_id), "label", "out of sight")
    screen.client.hset(KEYS.job(ids[0]), "label", "in sight")
    screen.terminal.seen_at("in sight", before)
    screen.terminal.wait_until_quiet()
    assert screen.terminal.now().bytes - before.bytes <= 600


@pytest.mark.faults
def test_steps_of_the_cursor_cost_few_bytes_also_when_the_key_is_held(screen: Screen) -> None:
    places = {job_id[:8]: place for place, job_id in enumerate(ordered_ids(screen.client, JOBS))}
    before = screen.terminal.now().bytes
    step = screen.bytes_each(lambda _: screen.terminal.send(DOWN), 5)
    assert max(step) <= 1000
    for place in range(6, 101):
        screen.terminal.send(DOWN)
        screen.terminal.wait_for(lambda _, place=place: cursor_place(screen.terminal, places) == place)
    assert screen.terminal.now().bytes - before <= 100 * 2000


DIALOG_BYTES = 3000
DIALOGS = {
    "K": "Kill one job",
    "?": "Keys of this screen",
    "s": "Sort by",
    ":": "Search for commands",
    "R": "To run it again",
}


@pytest.mark.faults
def test_a_dialog_costs_little_to_open_and_to_close(screen: Screen) -> None:
    for key, sign in DIALOGS.items():
        for pressed, is_open in ((key, True), ("\x1b", False)):
            before = screen.terminal.now()
            screen.terminal.send(pressed)
            screen.terminal.wait_for(lambda text, sign=sign, is_open=is_open: (sign in text) == is_open)
            screen.terminal.wait_until_quiet()
            assert screen.terminal.now().bytes - before.bytes <= DIALOG_BYTES, (key, pressed)


@pytest.mark.faults
def test_while_nothing_runs_nothing_is_asked_or_sent(screen: Screen) -> None:
    finish_all(screen.client)
    calls = -1
    while (
        now := commands(screen.client)
    ) != calls:  # what the ends of all jobs entail is not asked in one go
        calls = now
        screen.terminal.wait_until_quiet(1.0)
    before = screen.terminal.now()
    screen.terminal.wait_until_quiet(3.0)
    assert screen.terminal.now() == before
    # A PING, where its time has come.
    assert commands(screen.client) - calls <= 1


def test_a_burst_is_read_in_a_few_goes(screen: Screen) -> None:
    ids = ordered_ids(screen.client, JOBS)
    before, reads = screen.terminal.now(), screen.reads()
    pipe = screen.client.pipeline()  # a transaction, since else it takes as long as the machine is busy
    for number, job_id in enumerate(reversed(ids)):
        pipe.hset(KEYS.job(job_id), "label", f"burst {number}")
    pipe.execute()
    screen.terminal.seen_at(f"burst {JOBS - 1} ", before)
    # What is asked for 400 jobs, and so many records, takes 20 pieces of 16 KB at least.
    assert screen.reads() - reads <= JOBS // 8


@pytest.mark.faults
def test_every_key_is_shown_under_a_flood_and_the_end_of_it_is_right(screen: Screen) -> None:
    with flood(screen.url, 200, least=0):
        assert len(screen.key_presses(40)) == 40
    first, before = ordered_ids(screen.client, 1)[0], screen.terminal.now()
    screen.client.hset(KEYS.job(first), "label", "after the flood")
    screen.terminal.send("g")
    screen.terminal.seen_at("after the flood", before)
    screen.terminal.wait_until_quiet()
    places = {job_id[:8]: job_id for job_id in ordered_ids(screen.client, JOBS)}
    seen = {
        places[word]: line
        for line in screen.terminal.lines[TABLE]
        for word in line.split()[1:]
        if word in places
    }
    assert len(seen) >= 40
    for job_id, line in seen.items():
        status, percent = screen.client.hmget(KEYS.job(job_id), "status", "percent")
        assert f" {100 if status == b'success' else int(percent)}% " in line
