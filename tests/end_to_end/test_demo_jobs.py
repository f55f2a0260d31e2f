"""The demo's jobs do what they say: the quality check finds every fault and no other, the insert inserts everything."""

import contextlib
import csv
import io
import sqlite3
import sys
from pathlib import Path

import pytest

from gnjobs import Job, JobStore, Line
from gnjobs.records.statuses import FINAL_STATUSES
from gnjobs_tui.demo.files import STANDARD_ERROR, STRAINS, kind_of, write_file
from gnjobs_tui.demo.history import write_history
from gnjobs_tui.demo.jobs.chatty import LINES_A_SECOND
from gnjobs_tui.demo.jobs.qc import row_faults
from gnjobs_tui.demo.workload import STUCK_AFTER, STUCK_LABEL, make_files, start_all
from tests.support.command import run
from tests.support.servers import Server
from tests.support.waiting import wait_for

ROWS = 3000
NAMES = ("pheno_av.tsv", "pheno_se.tsv", "geno_av.tsv", "covar_se.tsv")


def plain_check(path: Path) -> set[tuple[str, int, int, str]]:
    """Check a file in one process and without any of the demo's code; a fault is file, row, column and value."""
    decimals, is_exact = (6, False) if "_se" in path.name else (3, True)
    found = set()
    for row, line in enumerate(path.read_text().split("\n")[:-1], start=1):
        for column, cell in enumerate(line.split("\t"), start=1):
            if column == 1:
                continue
            if row == 1:
                good = cell in STRAINS
            else:
                whole, point, fraction = cell.lstrip("-").partition(".")
                is_number = whole.isdigit() and (fraction.isdigit() if point else True)
                good = is_number and (len(fraction) == decimals if is_exact else len(fraction) >= decimals)
            if not good:
                found.add((path.name, row, column, cell))
    return found


@pytest.mark.faults
def test_the_quality_check_finds_every_fault_and_no_other(server: Server, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in NAMES]
    for seed, path in enumerate(paths):
        write_file(path, ROWS, seed=seed, bad_header=path.name.startswith("geno"))
    command = [sys.executable, "-m", "gnjobs_tui.demo.jobs.qc", *map(str, paths)]
    job_id = run(server.url, "run", "--type", "qc", "--", *command).stdout.split()[0]
    rows = csv.DictReader(io.StringIO(run(server.url, "show", job_id, "--faults", "--csv").stdout))
    reported = {
        (row["file"], int(row["row"]), int(row["column"]), row["value"].removeprefix("'")) for row in rows
    }
    expected = set().union(*(plain_check(path) for path in paths))
    assert len(expected) > 400
    assert reported == expected
    status = JobStore.from_url(server.url).status(job_id)
    assert status.job.faults == len(expected)
    assert status.report.headline == f"{len(expected)} faults in 4 files"
    assert {child.status for child in status.children} == {"success"}


def test_the_insert_inserts_every_cell(server: Server, tmp_path: Path) -> None:
    path, database = tmp_path / "pheno_av.tsv", tmp_path / "genenetwork.db"
    write_file(path, ROWS, seed=1)
    command = [sys.executable, "-m", "gnjobs_tui.demo.jobs.insert", str(path), str(database), "1"]
    job_id = run(server.url, "run", "--type", "insert", "--", *command).stdout.split()[0]
    with sqlite3.connect(database) as connection:
        count = connection.execute("SELECT count(*) FROM PublishData").fetchone()[0]
    assert count == ROWS * len(STRAINS)
    status = JobStore.from_url(server.url).status(job_id)
    assert status.report.headline == "3000 of 3000 rows inserted"
    assert status.job.percent == 100


def run_job(store: JobStore, module: str, *arguments: str) -> Job:
    """Run one of the demo's jobs to its end."""
    command = [sys.executable, "-m", f"gnjobs_tui.demo.jobs.{module}", *arguments]
    return store.get(run(store.url, "run", "--", *command).stdout.split()[0])


def test_every_kind_of_fault_is_in_the_files(tmp_path: Path) -> None:
    for name in ("a_av.tsv", "a_se.tsv"):
        write_file(tmp_path / name, ROWS, seed=3, bad_header=True)
        cells = {cell for _, row, _, cell in plain_check(tmp_path / name) if row > 1}
        assert cells == {"", "x", ".512", "12.3", "1,5", "NA"}
        assert (name, 1, 4, "BDX6") in plain_check(tmp_path / name)


def test_a_row_of_another_length_is_one_fault_and_not_an_error() -> None:
    found = list(row_faults(7, ["r", "1.000000", "x", "y"], ["id", "BXD1", "BXD2"], STANDARD_ERROR))
    assert [(fault["row"], fault["value"], fault["expected"]) for fault in found] == [
        (7, "4 columns", "3 columns")
    ]


def test_the_failing_job_leaves_its_traceback(store: JobStore) -> None:
    job = run_job(store, "failing")
    assert job.status == "error"
    lines = [line.text for line in store.output(job.id).tail(50) if isinstance(line, Line)]
    assert "Traceback (most recent call last):" in lines
    assert lines[-1] == "KeyError: 'axolotl'"


@pytest.mark.faults
def test_the_crashing_job_has_one_child_that_a_signal_ended(store: JobStore) -> None:
    job = run_job(store, "crashing")
    assert job.status == "error"
    found = {child.label: (child.status, child.signal) for child in store.all_children(job.id)}
    assert found == {"chr 1": ("success", None), "chr 2": ("success", None), "chr X": ("error", 9)}


def test_the_chatty_job_prints_a_lot(store: JobStore) -> None:
    job = run_job(store, "chatty", "1")
    assert job.status == "success"
    assert store.output(job.id).extent().last == LINES_A_SECOND + 1


@pytest.mark.faults
def test_the_workload_runs_for_several_users_and_its_stubborn_job_needs_force(
    store: JobStore, tmp_path: Path
) -> None:
    files = make_files(tmp_path, 0.002)
    jobs = {job.label: job for job in start_all(store, tmp_path, files, size=0.002)}
    try:
        assert {job.user for job in jobs.values()} == {"jsmith", "agunn", "mhall", "tux"}
        stuck = jobs[STUCK_LABEL]
        assert (stuck.user, stuck.stuck_after) == ("jsmith", STUCK_AFTER)
        done = wait_for(lambda: has_ended(store, jobs["QC average, July"]))
        assert done.status == "success"
        assert done.faults
        wait_for(lambda: is_silent(store, stuck), what="the child that hangs, and siblings that go on")
        stubborn = jobs["QC runaway test"]
        wait_for(lambda: store.output(stubborn.id).extent().last >= 1)
        killed = run(store.url, "kill", stubborn.id, "--grace", "0.5", "--reason", "runaway")
        assert killed.returncode == 0, killed.stdout + killed.stderr
        assert "KILL to" in killed.stdout
        assert store.get(stubborn.id).status == "killed"
    finally:
        for job in jobs.values():
            with contextlib.suppress(AssertionError):
                run(store.url, "kill", job.id, "--force")


def has_ended(store: JobStore, job: Job) -> Job | None:
    found = store.get(job.id)
    return found if found.status in FINAL_STATUSES else None


def is_silent(store: JobStore, job: Job) -> bool:
    """Whether the child that hangs has got to where it waits, and the others are further."""
    found = {child.label: child for child in store.all_children(job.id)}
    hanging = found.pop("pheno_se.tsv", None)
    if hanging is None or hanging.percent is None:
        return False
    others = [child.percent or 0.0 for child in found.values()]
    return (
        hanging.status == "running"
        and hanging.last_output is not None
        and min(others) > hanging.percent > 11.5
    )


def test_the_history_reads_as_supervisors_would_have_left_it(store: JobStore) -> None:
    write_history(store, 60)
    jobs = [store.get(job.id) for job in store.page(count=100).jobs]
    assert len(jobs) == 60
    assert all(job.is_final and not job.unreadable and not job.raw.keys() - {"jobid"} for job in jobs)
    assert all((job.created or 0) < (job.started or 0) < (job.finished or 0) < store.now() for job in jobs)
    faulty = next(job for job in jobs if job.faults)
    status = store.status(faulty.id)
    assert status.report.headline.startswith(f"{faulty.faults} fault")
    assert sum(child.faults or 0 for child in status.children) == faulty.faults
    events = list(store.events())
    assert {event.job for event in events} == {job.id for job in jobs}
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_files_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("a_se.tsv", "b_se.tsv"):
        write_file(tmp_path / name, 500, seed=7)
    assert (tmp_path / "a_se.tsv").read_bytes() == (tmp_path / "b_se.tsv").read_bytes()
    assert kind_of(tmp_path / "a_se.tsv").name == "standard error"
