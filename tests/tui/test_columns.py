"""Which columns a width has room for, and how texts are fitted."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import Color, ColorSystem
from textual.color import Color as ScreenColor
from textual.filter import Monochrome, NoColor

from gnjobs.text import size_text
from gnjobs_tui.glyphs import UNICODE
from gnjobs_tui.screens.job_cells import ALL_USERS_COLUMNS, progress_text
from gnjobs_tui.style import OUR_THEMES, Palette, fit, safe, without_colors
from gnjobs_tui.widgets.columns import TableDrawing, place


def shown(width: int) -> list[str]:
    return [placed.column.title for placed in place(ALL_USERS_COLUMNS, width, 2)]


def test_at_80_columns_what_is_worth_least_goes() -> None:
    assert shown(79) == ["State", "Label", "User", "%", "Silent", "Run"]


def test_a_bar_is_full_only_at_100_and_empty_only_at_0() -> None:
    full, empty = UNICODE.full, UNICODE.empty
    assert progress_text(100) == f"{full * 8} 100%"
    assert progress_text(99.7) == f"{full * 7}{empty}  99%"
    assert progress_text(94) == f"{full * 7}{empty}  94%"
    assert progress_text(0.2) == f"{full}{empty * 7}   0%"
    assert progress_text(0) == f"{empty * 8}   0%"


def test_at_100_columns_the_sketch_is_met() -> None:
    assert shown(99) == ["State", "Label", "User", "Progress", "Children", "CPU", "Silent", "Run", "Started"]


def test_at_160_columns_everything_is_there() -> None:
    assert {"Id", "Type", "Host", "Memory"} <= set(shown(159))


@given(st.integers(10, 300))
def test_columns_never_overlap_and_fit(width: int) -> None:
    placed = place(ALL_USERS_COLUMNS, width, 2)
    for before, after in pairwise(placed):
        assert before.x + before.width < after.x
    assert len(placed) == 1 or placed[-1].x + placed[-1].width <= width


@given(st.text(), st.integers(1, 40), st.sampled_from(["left", "right"]))
def test_a_fitted_text_is_exactly_as_wide_as_asked(text: str, width: int, align: str) -> None:
    assert cell_len(fit(safe(text), width, align)) == width


@pytest.mark.parametrize(("size", "text"), [(None, ""), (0, "0 B"), (1500, "1.5 kB"), (4e7, "40 MB")])
def test_sizes(size: float | None, text: str) -> None:
    assert size_text(size) == text


def test_the_grounds_of_our_themes_differ_in_256_colours_too() -> None:
    for theme in OUR_THEMES:
        grounds = [theme.background, theme.surface, theme.panel]
        seen = {Color.parse(str(ground)).downgrade(ColorSystem.EIGHT_BIT).number for ground in grounds}
        assert len(seen) == len(grounds), theme.name


def test_on_a_terminal_of_16_colours_the_cursors_row_has_no_colour_that_its_grey_would_hide() -> None:
    variables = {"background": "#000000", "foreground": "#ffffff", "error": "#ff0000", "panel": "#777777"}
    few, many = Palette(variables, few_colors=True), Palette(variables)
    assert few.style("error", is_cursor=True) == many.style("bold", is_cursor=True)
    assert few.style("error") == many.style("error")
    assert many.style("error", is_cursor=True) != many.style("bold", is_cursor=True)


def test_without_colours_what_is_wrong_is_no_darker_than_what_is_right() -> None:
    for theme in map(without_colors, OUR_THEMES):
        colors = {str(each) for each in (theme.foreground, theme.success, theme.warning, theme.error)}
        assert len(colors) == 1, theme.name


def test_a_row_with_nothing_in_it_is_drawn_without_colours_too() -> None:
    palette = Palette({"background": "#000000", "foreground": "#ffffff"})
    row = TableDrawing(ALL_USERS_COLUMNS, 80, palette).row({}, False, False)
    for colorless in (Monochrome(), NoColor()):
        assert row.apply_filter(colorless, ScreenColor(0, 0, 0)).text == " " * 80
