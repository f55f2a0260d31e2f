"""The names in Redis: built, parsed back, checked."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gnjobs.errors import InvalidName
from gnjobs.records.acl import acl_rules
from gnjobs.records.keys import (
    RESERVED_IDS,
    JobKey,
    Keys,
    check_prefix,
    child_id_of_output,
    child_ids,
    is_id,
    new_job_id,
)
from gnjobs.records.layouts import Layout

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True).filter(
    lambda text: text not in RESERVED_IDS
)
KEYS = Keys("gn-uploader")


def test_names_are_those_of_the_design() -> None:
    keys = Keys("P")
    assert (keys.jobs, keys.unfinished, keys.users, keys.hosts, keys.events) == (
        "P:jobs",
        "P:unfinished",
        "P:users",
        "P:hosts",
        "P:events",
    )
    assert keys.job("j") == "P:jobs:j"
    assert keys.output("j") == "P:jobs:j:output"
    assert keys.processes("j") == "P:jobs:j:processes"
    assert keys.control("j") == "P:jobs:j:control"
    assert keys.child("j", "c") == "P:jobs:j:children:c"
    assert keys.child_output("j", "c") == "P:jobs:j:children:c:output"
    assert keys.user_jobs("u") == "P:users:u:jobs"
    assert keys.host_control("h") == "P:hosts:h:control"
    assert keys.host_starts("h") == "P:hosts:h:starts"
    assert keys.user_requests("u") == "P:users:u:requests"
    assert keys.admin_requests == "P:admins:requests"
    assert keys.answers("j") == "P:jobs:j:answers"


@given(IDS, IDS)
def test_what_is_built_is_parsed_back(job_id: str, child_id: str) -> None:
    assert KEYS.parse(KEYS.job(job_id)) == JobKey("record", job_id)
    assert KEYS.parse(KEYS.output(job_id)) == JobKey("output", job_id)
    assert KEYS.parse(KEYS.processes(job_id)) == JobKey("processes", job_id)
    assert KEYS.parse(KEYS.control(job_id)) == JobKey("control", job_id)
    assert KEYS.parse(KEYS.answers(job_id)) == JobKey("answers", job_id)
    assert KEYS.parse(KEYS.child(job_id, child_id)) == JobKey("child", job_id, child_id)
    assert KEYS.parse(KEYS.child_output(job_id, child_id)) == JobKey("child-output", job_id, child_id)
    assert child_id_of_output(KEYS.child_output(job_id, child_id))[1:] == (job_id, child_id)
    assert KEYS.owns(job_id, KEYS.child_output(job_id, child_id))


@given(st.text(max_size=200))
def test_an_id_is_accepted_only_if_it_reaches_no_other_key(text: str) -> None:
    if is_id(text):
        assert not set(text) & set(":*?[]\\/ \n\0")
        assert text.isascii()
    else:
        with pytest.raises(InvalidName) as refused:
            KEYS.job(text)
        assert "\n" not in str(refused.value)


@given(st.text(max_size=60))
def test_parsing_never_raises_and_never_leaves_the_prefix(text: str) -> None:
    parsed = KEYS.parse(KEYS.jobs_namespace + text)
    assert parsed is None or is_id(parsed.job_id)
    assume(not text.startswith("gn-uploader:jobs:"))
    assert KEYS.parse(text) is None


@pytest.mark.parametrize(
    "text", ["", ":", "a*", "a b", "../x", "output", "control", "children", "processes", "a\n", "é", "-a"]
)
def test_ids_that_are_refused(text: str) -> None:
    assert not is_id(text)


def test_a_key_of_another_job_is_not_owned() -> None:
    assert not KEYS.owns("job", KEYS.output("job2"))
    assert not KEYS.owns("job", KEYS.job("job"))
    assert not KEYS.owns("job", "other:jobs:job:output")


def test_foreign_keys_inside_a_job_are_told_apart() -> None:
    assert KEYS.parse("gn-uploader:jobs:j:pheno:errors:a b:c.txt") == JobKey("foreign", "j")
    assert KEYS.parse("gn-uploader:jobs:j:") == JobKey("foreign", "j")
    assert KEYS.parse("gn-uploader:jobs:") is None
    assert KEYS.parse("gn-uploader:jobs") is None


@given(st.lists(st.text(max_size=140), max_size=30))
def test_child_ids_are_valid_unique_and_in_order(labels: list[str]) -> None:
    made = child_ids(labels)
    assert len(made) == len(labels) == len(set(made))
    assert all(is_id(child_id) for child_id in made)
    assert not set(child_ids(labels, taken=made)) & set(made)


def test_child_ids_are_readable() -> None:
    assert child_ids(["pheno se.tsv", "pheno se.tsv", "/data/ü/geno.tsv", "", "output"]) == [
        "pheno-se.tsv",
        "pheno-se.tsv-2",
        "data-geno.tsv",
        "child",
        "output-2",
    ]


def test_many_equal_labels_take_no_longer_than_different_ones() -> None:
    assert child_ids(["same"] * 100_000)[-1] == "same-100000"


def test_prefixes() -> None:
    assert check_prefix("gnqc:") == "gnqc"
    assert is_id(new_job_id())
    for bad in ("", "a*", "a b", ":a"):
        with pytest.raises(InvalidName):
            check_prefix(bad)


LAYOUTS_APART = ["<prefix>::<id>", "<prefix>/<id>", "P:job-records:<id>", "{P}-<id>", "Q:<id>"]
LAYOUTS_WITHIN = [
    "P:<id>",
    "<prefix>:<id>",
    "<prefix><id>",
    "P:u<id>",
    "P:users:jane:<id>",
    "P:hosts:<id>",
    "P:a<id>",
]


def laid_out(key: str, prefix: str = "P") -> Keys:
    return Keys(prefix, Layout(key=key))


@pytest.mark.parametrize("key", LAYOUTS_APART)
def test_records_may_stand_beside_what_else_a_prefix_has(key: str) -> None:
    assert acl_rules("writer", [laid_out(key), Keys("O")])


@pytest.mark.parametrize("key", LAYOUTS_WITHIN)
def test_records_never_stand_where_requests_do(key: str) -> None:
    """Who may write any record might ask as an admin."""
    with pytest.raises(InvalidName, match="'P' is refused with jobs as"):
        laid_out(key)
    with pytest.raises(InvalidName, match="'O' is refused with jobs as"):
        acl_rules("writer", [laid_out(key.replace("<prefix>", "P"), "O"), Keys("P")])


@pytest.mark.parametrize(
    "key", ["<id>", "a<id>b", "a<id><id>", "*<id>", "m +@all ~* <id>", "a\n<id>", "a", "(<id>"]
)
def test_a_records_key_has_no_glob_and_no_blank(key: str) -> None:
    with pytest.raises(ValueError, match="key must end with <id>"):
        Layout(key=key)


def test_a_scan_pattern_is_the_beginning_of_a_key() -> None:
    assert KEYS.scan_pattern() == "gn-uploader:jobs:*"
    assert KEYS.scan_pattern("j") == "gn-uploader:jobs:j:*"


def test_a_changed_key_is_told_by_what_it_is_about() -> None:
    keys = Keys("p")
    told = {
        keys.job("a"): ("a", None),
        keys.child("a", "c"): ("a", "c"),
        "p:jobs:a:geno:errors:a file: 1.tsv": ("a", ""),
    }
    for name, about in told.items():
        assert keys.changed(name.encode()) == about
    for name in (
        keys.output("a"),
        keys.child_output("a", "c"),
        keys.processes("a"),
        keys.control("a"),
        keys.jobs,
    ):
        assert keys.changed(name.encode()) is None
    for raw in (b"p:jobs:", b"p:jobs:a\xffb", b"p:jobs:*", b"q:jobs:a", b"p:events"):
        assert keys.changed(raw) is None


def test_a_user_asks_by_a_stream_of_ones_own() -> None:
    assert KEYS.user_asking(KEYS.user_requests("u")) == "u"
    assert KEYS.user_asking(KEYS.admin_requests) is None
    assert KEYS.user_asking("gn-uploader:users:a:b:requests") is None
