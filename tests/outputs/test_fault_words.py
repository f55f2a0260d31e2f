"""How a fault is said: its cell as a spreadsheet names it, what stands there, and what should."""

import pytest

from gnjobs.outputs.faults import Fault, column_letters, line_sentence, read_fault, sentence
from gnjobs.outputs.lines import Line


@pytest.mark.parametrize(
    ("number", "letters"),
    [(1, "A"), (26, "Z"), (27, "AA"), (41, "AO"), (702, "ZZ"), (703, "AAA"), (16_384, "XFD"), (16_385, ""),
     (0, ""), (-3, ""), (None, "")],
)  # fmt: skip
def test_a_column_has_the_letters_of_a_spreadsheet(number: int | None, letters: str) -> None:
    assert column_letters(number) == letters


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(row=88, column=41, value="", kind="empty"), "row 88, column 41 (AO): empty cell"),
        (Fault(row=1, value="", expected="a number"), "row 1: empty cell, needs a number"),
        (Fault(value="", message="no value"), 'found "", no value'),
        (Fault(column_title="C57BL/6J", value="x"), 'column "C57BL/6J": found "x"'),
        (Fault(expected="needs 3 decimals"), "needs 3 decimals"),
        (Fault(kind="odd"), "odd"),
        (Fault(), "fault"),
    ],
)
def test_a_fault_is_said_whole(fault: Fault, said: str) -> None:
    assert sentence(fault) == said


def test_a_row_beyond_all_tables_is_none() -> None:
    fault = read_fault(Line(1, 0.0, "fault", f'{{"row": 1{"0" * 400}, "column": 7, "value": "x"}}'))
    assert fault is not None
    assert sentence(fault) == 'column 7 (G): found "x"'


@pytest.mark.parametrize("kind", ["out", "fault", "log", "record", "result"])
def test_what_is_nested_too_deeply_to_be_said_is_said_as_it_stands(kind: str) -> None:
    for depth in range(101, 1100):
        value = "[" * depth + "]" * depth
        text = f'{{"message": {value}, "cellvalue": {value}}}'
        assert line_sentence(Line(1, 0.0, kind, text)) == text
