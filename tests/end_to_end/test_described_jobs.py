"""The command line over jobs of other programs: lists, outputs that lie elsewhere, waiting, removing, describing."""

import json
import sys
from pathlib import Path

import pytest

from gnjobs.store import JobStore
from tests.support import genenetwork_double as double
from tests.support.command import run
from tests.support.servers import Server
from tests.support.stored_records import KEYS
from tests.support.uploader_double.web import create_job

ALL = ("--prefix", "gn2", "--prefix", "cmd", "--prefix", "GN_AUTH::JOBS")
LONG = "x" * 3_000_000


def test_outputs_come_as_they_were_stored_and_are_found_where_they_lie(server: Server) -> None:
    job_id = double.gn2_ended(server.client(), 0, f"{LONG}\nend\n")
    assert run(server.url, "logs", job_id, *ALL).stdout == f"{LONG}\nend\n"
    failed = double.gn2_ended(server.client(), 1, "", "boom: no such trait\n")
    said = run(server.url, "logs", failed, *ALL)
    assert (said.returncode, said.stdout) == (0, "")
    assert (
        "own output is empty; try --child field/stderr (1 line); its error: boom: no such trait"
        in said.stderr
    )
    for name in ("field/stderr", "stderr"):
        assert run(server.url, "logs", failed, "--child", name, *ALL).stdout == "boom: no such trait\n"


def test_what_has_ended_is_waited_for_and_removed_in_any_words(server: Server) -> None:
    client = server.client()
    done, failed = double.gn2_ended(client, 0), double.gn3_command(client, "false", status="error")
    waited = run(server.url, "wait", done, failed, *ALL)
    assert (waited.returncode, len(waited.stdout.splitlines())) == (1, 2)
    odd = double.gn2_job(client, ["true"], status="blorp")
    timed = run(server.url, "wait", odd, "--timeout", "1s", *ALL)
    assert "is 'blorp', which means nothing here" in timed.stderr
    assert run(server.url, "rm", done, failed, *ALL).returncode == 0
    assert not client.exists(f"gn2:jobs:{done}", f"cmd::{failed}")


def test_faults_that_nobody_counted_are_no_zero(server: Server) -> None:
    client = server.client()
    job_id = create_job(client, ["true"], "qc-rqtl2-bundle", status="success")
    client.rpush(f"{KEYS.job(job_id)}:geno:errors:f.tsv", '{"message": "odd"}')
    assert run(server.url, "ls").stdout.rstrip("\n").split("\t")[-1] == "?"
    assert json.loads(run(server.url, "ls", "--json").stdout)["faults"] is None
    assert run(server.url, "ls", "--filter", "faults=0").stdout == ""
    assert json.loads(run(server.url, "show", job_id, "--json").stdout)["faults"] == 1


def test_describe_says_what_it_understood(server: Server) -> None:
    double.gn3_command(server.client(), "true", "jane@uthsc.edu", odd="1")
    said = run(server.url, "describe", "--prefix", "cmd")
    assert said.returncode == 0
    for line in (
        "1 at cmd::<id>, among 1 keys",
        "queued → pending  (1)",
        "odd → kept and shown, not understood  (1)",
    ):
        assert line in said.stdout
    assert json.loads(run(server.url, "describe", "--prefix", "cmd", "--json").stdout)["owned"] == 1
    assert run(server.url, "describe", "--prefix", "nobody").returncode == 1


def test_describe_shows_a_curator_nothing_of_others(server: Server, tmp_path: Path) -> None:
    double.gn3_command(server.client(), "true", "jane@uthsc.edu", odd="1")
    (config := tmp_path / "config.toml").write_text('role = "curator"\n')
    said = run(server.url, "--config", str(config), "describe", "--prefix", "cmd")
    assert (said.returncode, said.stdout) == (4, "")
    assert "is a curator" in said.stderr


def test_new_jobs_are_made_where_gnjobs_layout_is(server: Server) -> None:
    made = run(server.url, "run", "--prefix", "cmd", "--prefix", "gn2", "--", "true")
    assert made.returncode == 0, made.stderr
    assert JobStore.from_url(server.url, "gn2").get(made.stdout.split()[0]).status == "success"
    refused = run(server.url, "run", "--prefix", "cmd", "--", "true")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("user", ["jane+qc@uthsc.edu", "jsmith"])
def test_an_address_is_a_users_id(server: Server, user: str) -> None:
    assert run(server.url, "run", "--user", user, "--", "true").returncode == 0
    assert run(server.url, "ls", "--user", user).stdout.count("\n") == 1
    assert user in run(server.url, "users").stdout


def test_a_blank_in_a_users_id_is_refused_in_one_line(server: Server) -> None:
    refused = run(server.url, "run", "--user", "jane smith", "--", "true")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_a_job_brings_fields_and_variables_of_its_own(server: Server, store: JobStore) -> None:
    from gnjobs.errors import InvalidJob
    from gnjobs.supervisor.launch import run_and_wait

    code = "import os; print(os.environ['SPECIES'])"
    job = store.create([sys.executable, "-c", code], fields={"speciesid": "1"}, env={"SPECIES": "mouse"})
    assert run_and_wait(job, store, echo=False) == 0
    assert [line.text for line in store.output(job.id).read(1, 9)] == ["mouse"]
    assert store.get(job.id).raw["speciesid"] == "1"
    assert "env SPECIES=mouse" in store.rerun_line(job.id)
    for wrong in ({"fields": {"status": "success"}}, {"env": {"GNJOBS_JOB_ID": "x"}}, {"env": {"A": "\0"}}):
        with pytest.raises(InvalidJob):
            store.create(["true"], **wrong)
