"""Rows say the same whichever way they were read, and nothing found in Redis makes them raise."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gnjobs.records.fields import LIST_FIELDS, Job, read_job_list, run_seconds
from gnjobs.records.foreign import list_names, read_listed
from gnjobs.records.keys import MIRROR_FIELD, OWN_STATUS
from gnjobs.records.layouts import LAYOUTS
from gnjobs.records.statuses import FINAL_STATUSES, STATUSES
from gnjobs.records.summaries import ChildrenSummary
from gnjobs.watch.reading import BRIEF_FIELDS, FURTHER_FIELDS, RowReader
from gnjobs.watch.rows import LONGEST_TEXT, RANK_FINISHED, RANK_UNFINISHED, JobRow, default_order, row_of
from tests.support.stored import DESCRIBED, IDS, THEIRS, VALUES


def record(**fields: str) -> dict[str, bytes]:
    return {name.replace("_", "-"): value.encode() for name, value in fields.items()}


ALL_FIELDS = (*BRIEF_FIELDS, *FURTHER_FIELDS)


def listed(fields: dict[str, bytes], names: tuple[str, ...] = ALL_FIELDS) -> list[bytes | None]:
    return [fields.get(name) for name in names]


def read(fields: dict[str, bytes]) -> JobRow:
    return RowReader("gn-uploader").read(["j1"], [listed(fields)])[0]


def read_whole(job_id: str, fields: dict[str, bytes]) -> JobRow:
    job = read_job_list(job_id, listed(fields, LIST_FIELDS))
    assert job is not None
    return row_of(job, prefix="gn-uploader")


ENDS = st.sampled_from([{"status": status.encode()} for status in sorted(FINAL_STATUSES)])
RECORDS = st.builds(
    lambda end, own, fields: fields | end | own,
    ENDS,
    st.one_of(st.just({}), ENDS.map(lambda end: {OWN_STATUS: end["status"]})),
    st.dictionaries(
        st.sampled_from([name for name in ALL_FIELDS if name not in {"status", OWN_STATUS}]),
        VALUES.filter(bool),
        max_size=25,
    ),
)


@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_the_quick_way_says_what_the_whole_record_says(records: list[dict[str, bytes]]) -> None:
    reader, ids = RowReader("gn-uploader"), [f"j{number}" for number in range(len(records))]
    whole = [read_whole(job_id, record) for job_id, record in zip(ids, records, strict=True)]
    assert reader.read(ids, [listed(record) for record in records]) == whole
    brief = [listed(record, BRIEF_FIELDS) for record in records]
    enough = [
        number
        for number, values in enumerate(brief)
        if not reader.needs_further(values) and OWN_STATUS not in records[number]  # it goes with a mirror
    ]
    rows = reader.read([ids[number] for number in enough], [brief[number] for number in enough])
    assert rows == [whole[number] for number in enough]


@given(st.sampled_from(DESCRIBED), st.lists(st.tuples(st.sampled_from(IDS), THEIRS), min_size=1, max_size=4))
def test_the_quick_way_reads_other_programs_jobs_as_their_whole_records(
    prefix: str, records: list[tuple[str, dict[str, bytes]]]
) -> None:
    layout, names = LAYOUTS[prefix], list_names(LAYOUTS[prefix])
    reader = RowReader(prefix, layout=layout)
    ended, whole = [], []
    for job_id, fields in records:
        job, first = read_listed(layout, job_id, names, listed(fields, names)), listed(fields, reader.first)
        assert job is not None
        if OWN_STATUS not in fields:
            assert reader.has_ended(first) == (job.is_final and MIRROR_FIELD not in fields)
        if reader.has_ended(first) and job.is_final:
            ended.append((job_id, first))
            whole.append(row_of(job, prefix=prefix))
    assert reader.read([job_id for job_id, _ in ended], [first for _, first in ended]) == whole


@given(st.lists(VALUES, min_size=len(LIST_FIELDS), max_size=len(LIST_FIELDS)))
def test_reading_is_total(found: list[bytes | None]) -> None:
    job = read_job_list("j1", found)
    assert job is None or 0 < len(row_of(job).label) <= LONGEST_TEXT


def test_an_unfinished_job_keeps_its_record() -> None:
    row = read_whole("j1", record(status="running", cpu="12"))
    assert (row.rank, row.cpu, row.is_final) == (RANK_UNFINISHED, 12.0, False)
    assert read_job_list("j1", [None] * len(LIST_FIELDS)) is None


def test_shown_states_of_what_has_ended() -> None:
    shown = {status: read(record(status=status)) for status in FINAL_STATUSES}
    assert {s: r.state for s, r in shown.items()} == {
        "success": "done",
        "error": "failed",
        "killed": "killed",
        "lost": "lost",
    }
    with_faults = read(record(status="success", faults="312"))
    assert (with_faults.state, with_faults.faults, with_faults.rank) == ("faults", 312, RANK_FINISHED)


def test_the_last_word_says_why_it_ended() -> None:
    def says(**fields: str) -> str | None:
        return read(record(**fields)).says

    assert says(status="killed", stop_by="tux", stop_reason="runaway", message="7 of 12") == "by tux: runaway"
    assert says(status="error", error="Traceback\n  line\nValueError: x\n", message="m") == "ValueError: x"
    tail = says(status="error", error=f"Traceback\nno db at mysql://gn:SECRET@db1/gn {'t' * 4078}")
    assert tail is not None
    assert "ECRET" not in tail
    assert says(status="error", message="m") == "m"
    assert says(status="error", exit_code="3") == "exit code 3"
    assert says(status="killed", signal="9", exit_code="-9") == "signal 9"
    assert says(status="success", message="all good", stop_by="tux") == "all good"


def test_a_label_is_never_empty() -> None:
    for fields, expected in (
        ({"label": "L", "filename": "f"}, "L"),
        ({"filename": "f", "command": "c"}, "f"),
        ({"command": "c"}, "c"),
        (
            {"command": "load redis://me:secret@db1/0"},
            read_whole("j1", record(command="load redis://me:secret@db1/0")).label,
        ),
        ({}, "j1"),
    ):
        row = read(record(status="success", **fields))
        assert row.label == expected


def test_children_that_are_done_are_counted_from_the_summary() -> None:
    summary = msgspec.json.encode({"counts": {"success": 5, "error": 1, "killed": 1, "running": 5}}).decode()
    row = read(record(status="error", children="12", children_summary=summary))
    assert (row.children_done, row.children) == (5, 12)


def test_times_of_a_running_and_of_an_ended_job() -> None:
    running = row_of(Job(id="a", status="running", started=100.0, last_output=120.0, heartbeat=150.0))
    assert (run_seconds(running, 160.0), running.silent_since, running.silence) == (60.0, 120.0, 30.0)
    ended = row_of(Job(id="a", status="success", started=100.0, finished=130.0, last_output=120.0))
    assert (run_seconds(ended, 1000.0), ended.silent_since, ended.silence) == (30.0, None, None)
    assert run_seconds(row_of(Job(id="a", status="pending")), 5.0) is None


def test_rows_are_ordered_by_trouble_then_unfinished_then_creation() -> None:
    jobs = [Job(id=s + str(c), status=s, created=c) for s in sorted(STATUSES) for c in (1.0, 2.0)]
    rows = [row_of(job) for job in jobs]
    troubled = next(row for row in rows if row.id == "running1.0").judged("stuck")
    rows = [troubled if row.id == troubled.id else row for row in rows]
    order = [row.id for row in sorted(rows, key=default_order, reverse=True)]
    assert order[0] == "running1.0"
    assert all(row.startswith(("pending", "running", "stopping")) for row in order[1:6])
    assert order[-1].endswith("1.0")


def test_words_that_many_share_are_kept_once() -> None:
    reader = RowReader()
    rows = [reader.read([f"j{n}"], [listed(record(status="success", user_id="jsmith"))])[0] for n in range(2)]
    assert rows[0].user == "jsmith"
    assert rows[0].user is rows[1].user
    assert rows[0].judged("ok") is rows[0]


def test_a_job_in_slurms_queue_says_for_what_it_waits() -> None:
    waiting = Job(id="a", status="pending", slurm_job="17", queue_reason="Resources")
    assert row_of(waiting).says == "Slurm: Resources"
    assert row_of(msgspec.structs.replace(waiting, status="running")).says is None


def test_a_job_at_work_counts_the_children_that_its_own_code_saw_end() -> None:
    def shown(status: str, **fields: object) -> int | None:
        return row_of(Job(id="j1", status=status, **fields)).children_done

    said = ChildrenSummary(counts={"success": 2})
    assert shown("running", children_done=3, message="3 of 4 children done") == 3
    assert shown("running", children_done=3, children_summary=said) == 3
    assert shown("running", children_summary=said) == 2
    assert shown("error", children_done=3, children_summary=said) == 2
    assert shown("running") is None
