"""The list of jobs that the demo starts, with their users and labels."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gnjobs import Job, JobStore, launch
from gnjobs_tui.demo.files import ROWS, write_file

STUCK_AFTER = 20.0
STUCK_LABEL = "QC std error, July"


class Planned(NamedTuple):
    """A job to be started."""

    module: str
    arguments: Sequence[str]
    job_type: str
    user: str
    label: str
    stuck_after: float | None = None


def make_files(directory: Path, size: float) -> dict[str, Path]:
    """Make the four files of the quality check, and three small ones that are never checked to their end."""
    rows = max(100, int(ROWS * size))
    files = {}
    for seed, name in enumerate(("pheno_av.tsv", "pheno_se.tsv", "geno_av.tsv", "covar_se.tsv"), start=1):
        files[name] = directory / name
        write_file(files[name], rows, seed=seed, bad_header=name == "geno_av.tsv")
    for name in ("pheno_num.tsv", "phenocovar.tsv", "geno.tsv"):
        files[name] = directory / name
        write_file(files[name], 1000, seed=9, faults=0)
    return files


def plan(directory: Path, files: dict[str, Path], size: float) -> list[Planned]:
    """All jobs of the demo, the oldest first."""
    checked = [str(files[name]) for name in ("pheno_av.tsv", "pheno_se.tsv", "geno_av.tsv", "covar_se.tsv")]
    slow = [str(files[name]) for name in ("geno.tsv", "phenocovar.tsv", "pheno_num.tsv", "pheno_se.tsv")]
    insert = [checked[0], str(directory / "genenetwork.db"), f"{90 * min(1.0, size * 5):.0f}"]
    return [
        Planned("endless", slow, "qc", "jsmith", STUCK_LABEL, STUCK_AFTER),
        Planned("failing", [], "insert", "mhall", "insert pheno CC"),
        Planned("stubborn", [], "generic", "tux", "QC runaway test"),
        Planned("crashing", [], "generic", "agunn", "map geno HS-rats"),
        Planned("insert", insert, "insert", "agunn", "insert geno HS-rats"),
        Planned("chatty", ["120"], "generic", "mhall", "list markers CC"),
        Planned("qc", checked, "qc", "jsmith", "QC average, July"),
    ]


def start_all(store: JobStore, directory: Path, *, size: float = 1.0) -> list[Job]:
    """Make the files, create the jobs, and launch them; returns at once after that."""
    started = []
    for planned in plan(directory, make_files(directory, size), size):
        job = store.create(
            [sys.executable, "-P", "-m", f"gnjobs_tui.demo.jobs.{planned.module}", *planned.arguments],
            job_type=planned.job_type,
            user_id=planned.user,
            label=planned.label,
            stuck_after=planned.stuck_after,
        )
        launch(job, store=store)
        started.append(job)
    return started
