"""What the README says that programs are given is what the code gives them."""

from tests.tui.reference import README, TABLES, with_reference


def test_the_reference_is_up_to_date() -> None:
    text = README.read_text()
    assert text.count(TABLES.begin) == text.count(TABLES.end) == 1
    assert text == with_reference(text), "run `python -m tests.tui.reference`"
