"""Where one is in an output: lines in memory, movement, wrapping, holes, and what is asked for."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gnjobs.outputs.lines import Hole
from gnjobs_tui.outputs.pager import MARGIN, LineWindow, Need, Pager
from gnjobs_tui.outputs.seen import Item, SeenLine


def lines(first: int, last: int, width: int = 4) -> list[Item]:
    return [SeenLine(number, None, "plain", "x" * width) for number in range(first, last + 1)]


def pager_of(items: Sequence[Item], height: int = 10, wrap: int = 0) -> Pager:
    pager = Pager()
    pager.height, pager.wrap_width = height, wrap
    pager.arrive(items[-1].last, list(items), follow=True)
    return pager


def on_screen(pager: Pager) -> list[int]:
    return [row.item.first for row in pager.rows()]


def test_it_opens_at_the_end() -> None:
    pager = pager_of(lines(1, 100))
    assert pager.cursor == 100
    assert on_screen(pager) == list(range(91, 101))
    assert pager.need() is None


def test_moving_scrolls_no_further_than_needed() -> None:
    pager = pager_of(lines(1, 100))
    pager.move(-9)
    assert on_screen(pager)[0] == 91
    pager.move(-1)
    assert (pager.cursor, on_screen(pager)[0]) == (90, 90)
    pager.move(-1000)
    assert (pager.cursor, on_screen(pager)[0]) == (1, 1)


def test_a_wrapped_line_that_is_higher_than_the_screen_is_read_row_by_row() -> None:
    pager = pager_of([*lines(1, 3), *lines(4, 4, width=120), *lines(5, 6)], height=10, wrap=10)
    pager.go_to(4)
    assert [row.part for row in pager.rows()] == list(range(10))
    pager.move(1)
    assert [row.part for row in pager.rows()] == list(range(1, 11))
    assert pager.cursor == 4
    pager.move(1)
    pager.move(1)
    assert pager.cursor == 5
    assert on_screen(pager)[-1] == 5


def test_what_is_not_in_memory_is_asked_for_and_then_gone_to() -> None:
    pager = pager_of(lines(5001, 6000))
    pager.go_to(17)
    assert pager.need() == Need("around", 17)
    assert pager.cursor == 6000
    pager.take(Need("around", 17), lines(1, 500))
    assert pager.cursor == 17
    assert 17 in on_screen(pager)
    assert pager.need() == Need("after", 500)


def test_more_is_asked_for_before_the_edge_is_reached() -> None:
    pager = pager_of(lines(5001, 7000))
    pager.go_to(5001 + MARGIN + 100)
    assert pager.need() is None
    pager.page(-200)
    assert pager.need() == Need("before", 5001)
    pager.take(Need("before", 5001), lines(4001, 5000))
    assert pager.need() is None
    assert pager.window.first == 4001


def test_what_was_read_for_another_moment_is_not_taken() -> None:
    pager = pager_of(lines(5001, 7000))
    pager.take(Need("before", 4000), lines(3000, 3999))
    pager.take(Need("after", 6500), lines(6501, 6600))
    assert (pager.window.first, pager.window.last) == (5001, 7000)


def test_new_lines_do_not_move_what_is_being_read() -> None:
    pager = pager_of(lines(1, 4000))
    pager.go_to(50)
    before = on_screen(pager)
    for last in range(5000, 20_000, 1000):
        pager.arrive(last, lines(last - 999, last), follow=False)
    assert on_screen(pager) == before
    assert pager.last == 19_000
    assert len(pager.window) <= 4000


def test_following_goes_on_where_lines_in_between_were_not_read() -> None:
    pager = pager_of(lines(1, 100))
    pager.arrive(90_000, lines(89_001, 90_000), follow=True)
    assert pager.cursor == 90_000
    assert pager.window.first == 89_001


def test_the_line_that_has_not_ended_stands_behind_the_last() -> None:
    pager = pager_of(lines(1, 5))
    pager.set_partial("50 %", follow=True)
    current = pager.current
    assert isinstance(current, SeenLine)
    assert (current.text, current.number, current.is_partial) == ("50 %", 6, True)
    pager.arrive(6, lines(6, 6), follow=True)
    pager.set_partial("", follow=True)
    assert pager.cursor == 6
    assert isinstance(pager.current, SeenLine)
    assert not pager.current.is_partial


def test_a_hole_is_one_row() -> None:
    pager = pager_of([*lines(1, 3), Hole(4, 100_000), *lines(100_001, 100_003)])
    assert on_screen(pager) == [1, 2, 3, 4, 100_001, 100_002, 100_003]
    pager.go_to(50_000)
    assert pager.current == Hole(4, 100_000)


def test_the_window_forgets_the_other_end() -> None:
    window = LineWindow(most=10)
    window.replace(lines(1, 10))
    assert window.append(lines(11, 15))
    assert (window.first, window.last) == (6, 15)
    assert window.prepend(lines(1, 5))
    assert (window.first, window.last) == (1, 10)
    assert not window.append(lines(12, 13))
    assert not window.prepend(lines(1, 5))
    assert window.index_of(11) is None


MOVES = st.one_of(
    st.tuples(st.just("move"), st.integers(-30, 30)),
    st.tuples(st.just("page"), st.integers(-40, 40)),
    st.tuples(st.just("scroll"), st.integers(-40, 40)),
    st.tuples(st.just("go_to"), st.integers(-5, 300)),
    st.tuples(st.just("height"), st.integers(1, 30)),
    st.tuples(st.just("wrap"), st.sampled_from([0, 1, 7, 40])),
    st.tuples(st.just("arrive"), st.integers(1, 20)),
)


@given(
    widths=st.lists(st.one_of(st.integers(0, 200), st.none()), min_size=1, max_size=60),
    moves=st.lists(MOVES, max_size=30),
)
def test_the_current_line_is_always_on_screen(widths: list[int | None], moves: list[tuple[str, int]]) -> None:
    items: list[Item] = []
    for width in widths:
        first = items[-1].last + 1 if items else 1
        hole = width is None and not (items and isinstance(items[-1], Hole))
        items += [Hole(first, first + 4)] if hole else lines(first, first, width or 0)
    pager = pager_of(items)
    for name, value in moves:
        match name:
            case "height":
                pager.height = value
                pager.show_cursor()
            case "wrap":
                pager.wrap_width = value
                pager.show_cursor()
            case "arrive":
                pager.arrive(
                    pager.last + value, lines(pager.last + 1, pager.last + value), follow=value % 2 == 0
                )
            case _:
                getattr(pager, name)(value)
        seen = on_screen(pager)
        assert pager.cursor in seen
        assert seen == sorted(seen)
        assert len(seen) <= pager.height
