"""Every command on jobs and indexes whose keys are of the wrong type: each says something, none fails on Redis."""

import json

import pytest

from tests.support.command import invoke
from tests.support.servers import Server
from tests.support.wrong_types import (
    CHILD,
    GROUPS,
    INDEXES,
    TYPES,
    USER,
    job_with,
    job_with_all,
    shifted_types,
)

OF_ALL = (
    ("ls",),
    ("ls", "--json"),
    ("ls", "--user", USER),
    ("users",),
    ("users", "--json"),
    ("log",),
    ("log", "--json"),
)
OF_ONE = (
    ("show", "{}"),
    ("show", "{}", "--json"),
    ("show", "{}", "--faults"),
    ("show", "{}", "--faults", "--csv"),
    ("logs", "{}"),
    ("logs", "{}", "--json", "-n", "5"),
    ("logs", "{}", "--child", CHILD),
    ("logs", "{}", "--child", "geno/errors/f.tsv"),
    ("rerun", "{}"),
    ("kill", "{}", "--grace", "0", "--no-wait"),
    ("kill", "{}", "--child", CHILD, "--grace", "0", "--no-wait"),
    ("rm", "{}"),
)


def check_every_command(server: Server, job_id: str) -> None:
    """Run them all, and look for the job among all jobs."""
    for command in OF_ALL:
        invoke(server, *command)
    for command in OF_ONE:
        invoke(server, *(word.format(job_id) for word in command))
    assert job_id in [json.loads(line)["id"] for line in invoke(server, "ls", "--json").splitlines()]


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")


@pytest.mark.sampled
@pytest.mark.parametrize("shift", range(len(TYPES)))
@pytest.mark.parametrize("key_names", GROUPS.values(), ids=GROUPS)
def test_a_job_with_keys_of_other_types(server: Server, key_names: list[str], shift: int) -> None:
    job_id = job_with_all(server.client(), "job-1", shifted_types(key_names, shift))
    check_every_command(server, job_id)
    assert json.loads(invoke(server, "show", job_id, "--json"))["id"] == job_id


@pytest.mark.parametrize("shift", range(len(TYPES)))
def test_indexes_of_other_types(server: Server, shift: int) -> None:
    client = server.client()
    job_id = job_with(client, "processes", "string")
    for index, type_name in shifted_types(list(INDEXES), shift).items():
        client.delete(INDEXES[index])
        TYPES[type_name](client, INDEXES[index])
    check_every_command(server, job_id)
