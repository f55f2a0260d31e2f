"""What Slurm's commands print, read; and what is made of it."""

from pathlib import Path

import pytest

from gnjobs.errors import LaunchError
from gnjobs.processes.slurm import (
    NoAnswer,
    Placed,
    SlurmError,
    cancel,
    look_up,
    look_up_names,
    read_limit,
    read_memory,
    submit,
)
from gnjobs.supervisor.slurm import check_options
from tests.support.fake_slurm import SEPARATED, FakeSlurm


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10:00", 600),
        ("8:00:00", 28800),
        ("1-00:00:30", 86430),
        ("0:00", None),
        ("UNLIMITED", None),
        ("", None),
        ("x:1", None),
    ],
)
def test_limits_of_time_are_read(text: str, seconds: float | None) -> None:
    assert read_limit(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16G", 16 * 2**30),
        ("200M", 200 * 2**20),
        ("1.50G", 1610612736),
        ("100Mc", 400 * 2**20),
        ("0", None),
        ("lots", None),
    ],
)
def test_limits_of_memory_are_read(text: str, size: int | None) -> None:
    assert read_memory(text, 4) == size


@pytest.mark.parametrize(
    ("placed", "words"),
    [
        (Placed("1", "TIMEOUT", limit=28800.0), "time limit 8 h"),
        (Placed("1", "COMPLETING", "TimeLimit", limit=60.0), "time limit 1 min"),
        (Placed("1", "OUT_OF_MEMORY", memory=16 * 2**30), "out of memory, limit 16G"),
        (Placed("1", "NODE_FAIL", nodes="n2"), "node failure of n2"),
        (Placed("1", "PREEMPTED"), "preempted"),
        (Placed("1", "CANCELLED"), "cancelled in Slurm"),
        (Placed("1", "FAILED", "NonZeroExitCode"), ""),
    ],
)
def test_an_end_by_slurm_is_told_in_words(placed: Placed, words: str) -> None:
    assert placed.how_it_ends == words


def fake(directory: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """A command of Slurm's that does this."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


def test_jobs_are_read_and_what_names_and_comments_hold_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = "x\n99|CANCELLED|None|n1|1:00|1M|1|0|N/A|0|gnjobs-x|gnjobs:1|jane|"
    rows = [
        ("17", "PENDING", "QOSMax", "", "8:00:00", "16G", "4", "0", "N/A", "0", "gnjobs-x", "gnjobs:1 x", "jo", "17"),
        ("18", "RUNNING", "None", "n1", "1:00", "1M", "1", "0", "N/A", "0", forged, forged, "mallory", "16"),
        ("1;2", "RUNNING", "a", "b", "c", "d", "1", "0", "N/A", "0", "n", "c", "a", "1"),
    ]  # fmt: skip
    (tmp_path / "rows").write_text("".join("§".join([*row, "\n"]) for row in rows))
    fake(tmp_path, monkeypatch, "squeue", f"{SEPARATED} <{tmp_path}/rows")
    found = look_up(["17", "18", "99"])
    assert [number for number, placed in found.items() if placed] == ["17", "18"]
    assert found == found | {
        "17": Placed(
            "17",
            "PENDING",
            "QOSMax",
            "",
            28800.0,
            16 * 2**30,
            name="gnjobs-x",
            comment="gnjobs:1 x",
            account="jo",
            array="17",
        )
    }


def test_jobs_that_slurm_has_forgotten_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(
        tmp_path, monkeypatch, "squeue", "echo >&2 'slurm_load_jobs error: Invalid job id specified'; exit 1"
    )
    assert look_up(["17"]) == {"17": None}


def test_one_number_that_slurm_refuses_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = FakeSlurm(tmp_path)
    monkeypatch.setenv("PATH", slurm.path)
    for number in range(1, 9):
        slurm.write(str(number), name="gnjobs-x", comment="c", state="PENDING", account="jane")
    asked = [*map(str, range(1, 9)), "3000000000"]
    found = look_up(asked)
    assert [number for number, placed in found.items() if placed is None] == ["3000000000"]
    assert sorted(found) == sorted(asked)
    slurm.questions()
    assert look_up(asked, until=0.0) == {}  # the time was over before the refused list was asked by halves
    assert len(slurm.questions()) == 1


def test_hundreds_of_names_are_one_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = FakeSlurm(tmp_path)
    monkeypatch.setenv("PATH", slurm.path)
    for number, name in enumerate(["gnjobs-7", "gnjobs-7", "gnjobs-500", "other"], 1):
        slurm.write(str(number), name=name, comment="c", state="PENDING", account="jane")
    found = look_up_names(f"gnjobs-{number}" for number in range(400))
    assert [placed.id for placed in found] == ["1", "2"]
    assert len(slurm.questions()) == 1


def test_what_is_no_id_never_reaches_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "squeue", f"touch {tmp_path}/ran")
    fake(tmp_path, monkeypatch, "scancel", f"touch {tmp_path}/ran")
    none = ["--me", "1,2", "17;ls", "017", "0", "4294967294", "999999999999"]
    assert look_up(none) == dict.fromkeys(none)
    for text in ("--me", "-u root", "17 18", ""):
        with pytest.raises(SlurmError):
            cancel(text)
    assert not (tmp_path / "ran").exists()


def test_a_host_without_slurm_a_refusal_and_silence_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match=r"^sbatch is not there: this host has no Slurm$"):
        submit("#!/bin/sh\n", [], {"PATH": str(tmp_path)})
    fake(tmp_path, monkeypatch, "sbatch", "echo >&2 'sbatch: error: Batch job submission failed: no'; exit 1")
    with pytest.raises(SlurmError, match=r"^sbatch: Batch job submission failed: no$"):
        submit("#!/bin/sh\n", [], {"PATH": f"{tmp_path}:/bin"})
    monkeypatch.setattr("gnjobs.processes.slurm._SECONDS", 0.1)
    for silent in ("exec sleep 5", "echo >&2 'sbatch: error: Unable to contact slurm controller'; exit 1"):
        fake(tmp_path, monkeypatch, "sbatch", silent)
        with pytest.raises(NoAnswer):
            submit("#!/bin/sh\n", [], {"PATH": f"{tmp_path}:/bin"})


@pytest.mark.parametrize(
    "option",
    "--array=1-3 -a1-3 --arr=1 --wrap=true job.sh -- - -W -Ha0-2 -HW --clusters=other --clus=other -Mother".split(),
)
def test_options_that_one_job_can_not_have_are_refused(option: str) -> None:
    with pytest.raises(LaunchError):
        check_options([option])


def test_other_options_are_taken() -> None:
    taken = "--mem=16G -N2 --time=8:00:00 --wait-all-nodes=1 -w --account=x -H --cluster-constraint=x"
    check_options(taken.split())
