"""The README's tables of fields are those of the code."""

from gnjobs.records.fields import CHILD_FIELDS, JOB_FIELDS
from tests.records.reference import README, TABLES, table, with_reference


def test_the_reference_is_up_to_date() -> None:
    text = README.read_text()
    assert text.count(TABLES.begin) == text.count(TABLES.end) == 1
    assert text == with_reference(text), "run `python -m tests.records.reference`"


def test_every_field_says_what_it_is_and_who_writes_it() -> None:
    for fields in (JOB_FIELDS, CHILD_FIELDS):
        assert all(field.stored.about.endswith(".") and field.stored.by for field in fields.values())
        assert table(fields).count("\n") == len(fields) + 2
