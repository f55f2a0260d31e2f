"""The demo's jobs do what they say: the quality check finds every fault and no other, the insert inserts everything."""

import csv
import io
import sqlite3
import sys
from pathlib import Path

from gnjobs import JobStore
from gnjobs_tui.demo.files import STRAINS, kind_of, write_file
from tests.end_to_end.command import run
from tests.servers import Server

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
    assert status.report.headline == "3 000 of 3 000 rows inserted"
    assert status.job.percent == 100


def test_files_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("a_se.tsv", "b_se.tsv"):
        write_file(tmp_path / name, 500, seed=7)
    assert (tmp_path / "a_se.tsv").read_bytes() == (tmp_path / "b_se.tsv").read_bytes()
    assert kind_of(tmp_path / "a_se.tsv").name == "standard error"
