"""Cells of a CSV that a spreadsheet shows and does not run."""

import pytest

from gnjobs_tui.cli.show import spreadsheet_cell

FORMULAS = ("=1+1", "@SUM(1)", "+cmd|' /C calc'!A0", "-1+cmd", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "－A1")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_quoted(text: str) -> None:
    assert spreadsheet_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1", "+2.5", "-1e-3", "x=1", "", " plain", "'quoted"])
def test_numbers_and_words_stay(text: str) -> None:
    assert spreadsheet_cell(text) == text
