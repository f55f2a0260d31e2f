"""The list of jobs that the demo starts, with their users and labels."""

import sys
from pathlib import Path
from typing import NamedTuple

from gnjobs import Job, JobStore, launch
from gnjobs_tui.demo.files import ROWS, write_file

STUCK_AFTER = 20.0
STUCK_LABEL = "QC std error, July"


class Planned(NamedTuple):
    """A job to be started, on this host or as if on another."""

    module: str
    arguments: tuple[str, ...]
    job_type: str
    user: str
    label: str
    stuck_after: float | None = None
    host: str | None = None


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
    checked = _paths(files, "pheno_av.tsv", "pheno_se.tsv", "geno_av.tsv", "covar_se.tsv")
    slow = _paths(files, "geno.tsv", "phenocovar.tsv", "pheno_num.tsv", "pheno_se.tsv")
    insert = (checked[0], str(directory / "genenetwork.db"), f"{900 * min(1.0, size * 5):.0f}")
    return [
        Planned("endless", slow, "qc", "jsmith", STUCK_LABEL, STUCK_AFTER),
        Planned("failing", (), "insert", "mhall", "insert pheno CC"),
        Planned("stubborn", (), "generic", "tux", "QC runaway test"),
        Planned("crashing", (), "generic", "agunn", "map geno HS-rats"),
        Planned("insert", insert, "insert", "agunn", "insert geno HS-rats"),
        Planned("chatty", ("3600",), "generic", "mhall", "list markers CC"),
        Planned("qc", checked, "qc", "jsmith", "QC average, July"),
    ]


def _paths(files: dict[str, Path], *names: str) -> tuple[str, ...]:
    return tuple(str(files[name]) for name in names)


def create(store: JobStore, planned: Planned) -> Job:
    """Create a job, which waits to be started."""
    return store.create(
        [sys.executable, "-P", "-m", f"gnjobs_tui.demo.jobs.{planned.module}", *planned.arguments],
        job_type=planned.job_type,
        user_id=planned.user,
        label=planned.label,
        stuck_after=planned.stuck_after,
    )


def start(store: JobStore, job: Job) -> Job:
    """Launch a job, and return at once."""
    launch(job, store=store)
    return job


def start_all(store: JobStore, directory: Path, files: dict[str, Path], *, size: float) -> list[Job]:
    """Create the jobs, which check these files, and launch them; returns at once after that."""
    return [start(store, create(store, each)) for each in plan(directory, files, size)]
