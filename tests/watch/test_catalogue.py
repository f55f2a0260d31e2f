"""What a catalogue shows and counts: its order, verdicts that come with time, sweeps, and lists that fill."""

import random

import pytest

from gnjobs.health.states import GROUP_DONE
from gnjobs.records.fields import Job
from gnjobs.watch.filters import parse_filter
from gnjobs.watch.listing import ROWS_A_STEP, SORT_COLUMNS, Sort
from gnjobs.watch.rows import Change, row_of
from tests.support.catalogues import finish, job, make, shown


def test_troubled_first_then_unfinished_then_newest() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(n) for n in range(3)])
    catalogue.put([job(3, "running", heartbeat=999.0), job(4, "running", heartbeat=10.0), job(5)])
    assert shown(catalogue.listing()) == ["j4", "j3", "j5", "j2", "j1", "j0"]
    assert catalogue.counts() == {"all": 6, "trouble": 1, "running": 1, "waiting": 0, "failed": 0, "done": 4}


def test_all_are_counted_before_all_are_loaded() -> None:
    catalogue, _, _ = make()
    catalogue.apply(Change(rows=(job(1), job(2, "running", user="mhall")), progress=0.0))
    catalogue.apply(Change(indexed={None: 1000, "tux": 900, "mhall": 100}))
    assert (catalogue.counts()["all"], catalogue.counts()["done"]) == (1000, 1)
    assert catalogue.counts({"tux", "nobody"})["all"] == 900
    assert catalogue.user_counts()["mhall"]["all"] == 100
    # What is loaded in the end is what there is: an index may name jobs whose records are gone.
    catalogue.apply(Change(progress=1.0))
    assert catalogue.counts()["all"] == 2
    assert catalogue.counts({"tux"})["all"] == 1


def test_what_is_read_anew_is_counted_as_it_is() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(1)])
    catalogue.apply(Change(sweep="begin", progress=0.0))
    catalogue.apply(Change(indexed={None: 1000}))
    assert catalogue.counts()["all"] == 1


def test_time_alone_makes_a_verdict_and_judges_only_those_that_are_due() -> None:
    catalogue, judge, clock = make()
    catalogue.put([job(n, "running", heartbeat=990.0 + n) for n in range(5)])
    listing = catalogue.listing()
    assert catalogue.next_due() == 1090.0
    judged, version = judge.judged, listing.version
    clock.now = 1091.5
    assert catalogue.expire() == 2
    assert judge.judged - judged == 2
    assert listing.version > version
    assert [row.state for row in listing.visible(0, 3)] == ["STUCK", "STUCK", "running"]
    assert catalogue.next_due() == 1092.0


def test_a_beat_puts_off_what_was_due() -> None:
    catalogue, judge, clock = make()
    for beat in range(1000):
        catalogue.put([job(1, "running", heartbeat=1000.0 + beat)])
    assert catalogue.next_due() == 1100.0
    clock.now = 1101.0
    assert catalogue.expire() == 0
    assert catalogue.next_due() == 2099.0
    catalogue.put([job(1, "success")])
    clock.now = 3000.0
    assert (catalogue.expire(), judge.forgotten) == (0, ["j1"])


def test_what_was_seen_of_processes_changes_verdicts() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(1, "running", heartbeat=1000.0)])
    catalogue.apply(Change(presences={"j1": "gone", "j2": "gone"}))
    assert [row.state for row in catalogue.unfinished()] == ["DEAD"]


def test_a_sweep_removes_what_was_not_told_again() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(n) for n in range(10)])
    catalogue.apply(Change(sweep="begin"))
    catalogue.apply(Change(rows=tuple(job(n) for n in range(0, 10, 2))))
    catalogue.apply(Change(sweep="end"))
    catalogue.apply(Change(rows=(job(11),)))
    assert len(catalogue) == 11
    finish(catalogue)
    assert shown(catalogue.listing()) == ["j11", "j8", "j6", "j4", "j2", "j0"]


def test_a_row_that_is_read_again_unchanged_is_no_news() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(n) for n in range(3)])
    first, version = catalogue.get("j1"), catalogue.version
    catalogue.apply(Change(sweep="begin", rows=tuple(job(n) for n in range(3))))
    catalogue.apply(Change(sweep="end"))
    finish(catalogue)
    assert catalogue.get("j1") is first
    assert catalogue.version == version
    assert len(catalogue) == 3


def test_a_second_sweep_forgets_the_first() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(n) for n in range(3)])
    catalogue.apply(Change(sweep="begin", rows=(job(0),)))
    catalogue.apply(Change(sweep="begin"))
    catalogue.apply(Change(sweep="end", rows=(job(1),)))
    finish(catalogue)
    assert shown(catalogue.listing()) == ["j1"]


def test_a_list_is_right_from_its_top_while_it_fills() -> None:
    catalogue, _, _ = make()
    number = 3 * ROWS_A_STEP
    catalogue.put([job(n, percent=float(n % 2)) for n in range(number)])
    listing = catalogue.listing(filter=parse_filter("percent=1"))
    assert (len(listing), listing.ready) == (0, False)
    listing.fill_step()
    assert listing.row_at(0).key == f"j{number - 1}"
    assert (len(listing), listing.ready) == (ROWS_A_STEP // 2, False)
    catalogue.put([job(number - 1, percent=0.0), job(1, percent=0.0)])
    finish(catalogue)
    assert listing.ready
    assert shown(listing) == [f"j{n}" for n in range(number - 3, 1, -2)]


def test_a_row_that_changes_where_the_filling_stands_is_neither_lost_nor_doubled() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(n, user=None, type=None) for n in range(2 * ROWS_A_STEP)])
    listing = catalogue.listing(filter=parse_filter("job"))
    listing.fill_step()
    last = listing.row_at(len(listing) - 1).key
    number = int(last[1:])
    for label in ("a job", "z job"):
        catalogue.put([job(number, label=label, user="mhall", type="qc")])
        assert len(listing) == ROWS_A_STEP
    finish(catalogue)
    assert len(shown(listing)) == len(set(shown(listing))) == 2 * ROWS_A_STEP


def test_a_filter_by_age_is_renewed_as_time_passes() -> None:
    catalogue, _, clock = make()
    catalogue.put([job(1, created=900.0), job(2, created=990.0)])
    listing = catalogue.listing(filter=parse_filter("age<2m"))
    finish(catalogue)
    assert shown(listing) == ["j2", "j1"]
    due = catalogue.next_due()
    assert due is not None
    clock.now = due + 20
    catalogue.expire()
    assert shown(listing) == ["j2", "j1"]
    finish(catalogue)
    assert shown(listing) == ["j2"]


def test_closed_lists_are_kept_no_more() -> None:
    catalogue, _, _ = make()
    listing = catalogue.listing(group=GROUP_DONE)
    catalogue.close(listing)
    finish(catalogue)
    catalogue.put([job(1)])
    assert (len(listing), listing.version) == (0, 0)


def test_positions_outside_are_empty_or_errors() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(n) for n in range(3)])
    listing = catalogue.listing()
    assert listing.visible(2, 10) == [catalogue.get("j0")]
    assert listing.visible(5, 10) == listing.visible(-3, 0) == []
    assert listing.index_of("nothing") is None
    assert list(listing.keys()) == ["j2", "j1", "j0"]
    for index in (-1, 3):
        with pytest.raises(IndexError):
            listing.row_at(index)


def test_users_come_with_their_counts_and_newest_job() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(1), job(2, "error"), job(3, user=None)])
    assert set(catalogue.user_counts()) == {"tux", ""}
    assert catalogue.user_counts()["tux"]["failed"] == 1
    assert (catalogue.newest_of("tux"), catalogue.newest_of("nobody")) == (2.0, 0.0)
    catalogue.remove(["j1", "j2", "j3"])
    assert (len(catalogue), dict(catalogue.user_counts()), catalogue.counts()["all"]) == (0, {}, 0)


def test_every_column_sorts_rows_of_which_nothing_is_known() -> None:
    catalogue, _, _ = make()
    catalogue.put([row_of(Job(id=f"x{n}")) for n in range(3)])
    catalogue.put([job(n, random.choice(["running", "success"]), heartbeat=5.0) for n in range(3)])
    for column in SORT_COLUMNS:
        for descending in (False, True):
            listing = catalogue.listing(sort=Sort(column, descending))
            finish(catalogue)
            assert len(set(shown(listing))) == 6
