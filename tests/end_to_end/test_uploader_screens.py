"""gn-uploader's jobs in a real terminal: several prefixes on one screen, and the kill of one worker of a Pool."""

import json
from pathlib import Path

import pytest

from gnjobs.control.kill import kill_job
from gnjobs.records.actor import Actor
from gnjobs.records.keys import Keys
from gnjobs.store import JobStore
from tests.support.command import environment, run
from tests.support.servers import Server
from tests.support.terminal import Terminal, gnjobs
from tests.support.uploader_double.web import create_qc, start_worker
from tests.support.waiting import wait_for

SAME_ID = "11111111-2222-4333-8444-555555555555"
PREFIXES = ("gn-uploader", "gnqc")
GLOBAL = [word for prefix in PREFIXES for word in ("--prefix", prefix)]


@pytest.fixture
def twins(server: Server) -> None:
    """Two jobs with the same id, one under each prefix."""
    for prefix in PREFIXES:
        keys = Keys(prefix)
        fields = {"status": "success", "label": f"a job of {prefix}", "stdout": f"printed under {prefix}\n"}
        server.client().hset(keys.job(SAME_ID), mapping=fields)


def test_jobs_of_two_prefixes_with_the_same_id_are_two_rows(server: Server, twins: None) -> None:
    with Terminal(gnjobs(*GLOBAL), 120, 30, environment(server.url)) as terminal:
        terminal.wait_for(lambda text: all(f"a job of {prefix}" in text for prefix in PREFIXES))
        for key in "gG":
            terminal.send(key)
            rows = [line for line in terminal.text.split("\n") if "a job of" in line]
            label = f"a job of {next(each for each in PREFIXES if f'of {each} ' in rows['gG'.index(key)])}"
            terminal.wait_for(
                lambda text, label=label: any(x[:1] == ">" and label in x for x in text.split("\n"))
            )
            terminal.send("\r")
            terminal.wait_for("the job itself")
            terminal.send("\r")
            terminal.wait_for(label.replace("a job of", "printed under"))
            terminal.send("\x1b")
            terminal.wait_for("the job itself")
            terminal.send("\x1b")
            terminal.wait_for("1 all 2")


def test_the_command_line_lists_both_and_asks_which_is_meant(server: Server, twins: None) -> None:
    listed = [json.loads(line) for line in run(server.url, "ls", "--json", *GLOBAL).stdout.splitlines()]
    assert sorted(job["label"] for job in listed) == ["a job of gn-uploader", "a job of gnqc"]
    assert {job["id"] for job in listed} == {SAME_ID}
    ambiguous = run(server.url, "logs", SAME_ID, *GLOBAL)
    assert ambiguous.returncode == 2
    assert "--prefix" in ambiguous.stderr
    for prefix in PREFIXES:
        shown = run(server.url, "logs", SAME_ID, "--prefix", prefix)
        assert shown.stdout == f"printed under {prefix}\n"


def test_the_dialog_warns_of_a_pool_and_offers_the_job(server: Server, tmp_path: Path) -> None:
    for name in ("pheno.tsv", "geno.tsv"):
        (tmp_path / name).write_text("id\tBXD1\n" + "r\t1\n" * 10)
    paths = [tmp_path / "pheno.tsv", tmp_path / "geno.tsv"]
    job_id = create_qc(server.client(), server.url, paths, seconds=1000)
    worker = start_worker(server.url, job_id, tmp_path / "stderr.log")
    store = JobStore.from_url(server.url)
    try:
        wait_for(lambda: len(store.all_children(job_id)) >= 4, what="the Pool's files")
        with Terminal(gnjobs(), 120, 36, environment(server.url)) as terminal:
            terminal.wait_for("● running")
            terminal.send("\r")
            terminal.wait_for("geno: geno.tsv")
            terminal.send("jK")
            terminal.wait_for("its parent will wait for it for ever")
            terminal.send("j")
            terminal.wait_for(lambda text: "Kill one job" in text and "for ever" not in text)
            assert worker.poll() is None
            terminal.answer("\t\t\r")
            terminal.wait_for("verified")
        assert worker.wait(60)
        assert store.get(job_id).status == "killed"
    finally:
        if worker.poll() is None:
            list(kill_job(store, job_id, actor=Actor.admin("tux"), force=True))
            worker.wait(60)
