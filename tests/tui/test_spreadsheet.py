"""Cells of a CSV that a spreadsheet shows and does not run."""

import io

import pytest

from gnjobs.outputs.faults import Fault
from gnjobs_tui.outputs.spreadsheet import spreadsheet_cell, write_faults

FORMULAS = ("=1+1", "@SUM(1)", "+cmd|' /C calc'!A0", "-1+cmd", "  =1", "＝1", "－A1")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_quoted(text: str) -> None:
    assert spreadsheet_cell(text) == f"'{text}"


@pytest.mark.parametrize("sign", "\t\r\n")
def test_a_formula_behind_a_blank_is_quoted_as_a_cell_and_within(sign: str) -> None:
    assert spreadsheet_cell(f"{sign}=1") == f"'{sign}'=1"


@pytest.mark.parametrize("text", ["-1", "+2.5", "-1e-3", "x=1", "", " plain", "'quoted"])
def test_numbers_and_words_stay(text: str) -> None:
    assert spreadsheet_cell(text) == text


def test_a_formula_behind_what_separates_cells_elsewhere_is_quoted_too() -> None:
    assert spreadsheet_cell("a;=1+1") == "a;'=1+1"
    assert spreadsheet_cell("a\t @x; -2;b") == "a\t '@x; '-2;b"


def test_on_a_terminal_nothing_in_a_cell_acts() -> None:
    class Shown(io.StringIO):
        def isatty(self) -> bool:
            return True

    fault = Fault(file="a\x1b]52;c;QQ==\x07", row=1, value="=1")
    for file, cells in (
        (Shown(), "a␛]52;c;QQ==␇,1,,,,'=1,"),
        (io.StringIO(), "a\x1b]52;c;QQ==\x07,1,,,,'=1,"),
    ):
        write_faults(file, [fault])
        assert file.getvalue().splitlines()[1] == cells
