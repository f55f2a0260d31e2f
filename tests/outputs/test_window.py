from hypothesis import given
from hypothesis import strategies as st

from gnjobs.outputs.window import BATCH_BYTES, GROUP_BYTES, LONGEST_LINE, OutputWindow, pieces


def filled(*lines: bytes) -> OutputWindow:
    """A window with each line in a batch of its own."""
    window = OutputWindow(keep_bytes=10**6)
    for line in lines:
        window.add("out", line, 1.0)
        window.close_batch()
    return window


@given(
    st.lists(
        st.sampled_from([0, 1, 50, BATCH_BYTES - 1, BATCH_BYTES, BATCH_BYTES + 1, LONGEST_LINE]), max_size=8
    )
)
def test_pieces_are_whole_lines(lengths: list[int]) -> None:
    data = b"\n".join(b"x" * length for length in lengths)
    found = list(pieces(data))
    assert b"\n".join(found) == data
    assert all(len(piece) <= max([BATCH_BYTES, *lengths]) for piece in found)


def test_a_line_of_over_a_mebibyte_is_split_between_characters() -> None:
    data = "ü".encode() * (LONGEST_LINE // 2) + b"x" + "ü".encode() * LONGEST_LINE
    found = list(pieces(b"first\n" + data + b"\nlast"))
    assert max(map(len, found)) <= LONGEST_LINE
    assert "".join(piece.decode() for piece in found) == "first" + data.decode() + "\nlast"


def test_a_line_of_bytes_that_are_no_text_is_split_all_the_same() -> None:
    found = list(pieces(b"\x80" * (LONGEST_LINE + 5)))
    assert [len(piece) for piece in found] == [LONGEST_LINE, 5]


def test_a_batch_holds_one_kind_and_grows_to_its_size() -> None:
    window = OutputWindow(keep_bytes=10**6)
    assert window.add("out", b"a", 1.0)
    assert not window.add("out", b"b\nc", 2.0)
    assert window.add("err", b"d", 3.0)
    assert not window.add("err", b"x" * (BATCH_BYTES - 10), 4.0)
    assert window.add("err", b"y" * 10, 5.0)
    assert [(batch.kind, batch.first, batch.last, batch.at) for batch in window.waiting] == [
        ("out", 1, 3, 1000),
        ("err", 4, 5, 3000),
    ]
    assert window.accepted == 6


def test_a_group_is_bounded_but_never_empty() -> None:
    window = filled(b"x" * (GROUP_BYTES + 1), b"y" * 10, b"z" * (GROUP_BYTES - 10), b"a")
    window.keep_bytes = 2 * GROUP_BYTES
    assert [batch.last for batch in window.group()] == [1]
    window.acknowledge(1, 0.0)
    assert [batch.last for batch in window.group()] == [2, 3]
    window.keep_bytes = 100  # of an output that may be no larger
    assert [batch.last for batch in window.group()] == [2]


def test_what_is_not_acknowledged_counts_as_pending() -> None:
    window = filled(b"abc", b"de")
    assert window.pending == 7
    window.acknowledge(1, 0.0)
    assert window.pending == 3
    window.rewind(0)
    assert window.pending == 7
    assert [batch.last for batch in window.group()] == [1, 2]


def test_acknowledged_batches_are_kept_for_their_time_and_size() -> None:
    window = filled(*[b"x" * 400_000] * 4)
    window.acknowledge(3, 10.0)
    window.forget(14.9)
    assert [batch.last for batch in window.kept] == [2, 3]
    window.forget(15.0)
    assert not window.kept


def test_lines_that_are_held_no_more_are_a_hole_and_numbering_goes_on() -> None:
    window = filled(b"a", b"b", b"c")
    window.acknowledge(2, 0.0)
    window.forget(9.0)
    window.rewind(0)
    assert window.acknowledged == 2
    assert [batch.last for batch in window.group()] == [3]


def test_batches_that_are_sent_again_have_the_same_boundaries() -> None:
    window = filled(b"a\nb", b"c")
    before = window.group()
    window.acknowledge(3, 0.0)
    window.rewind(0)
    window.add("out", b"d", 1.0)
    assert window.group() == before


def test_a_batch_may_have_ended_only_where_one_did() -> None:
    window = filled(b"a\nb", b"c\nd")
    window.acknowledge(2, 0.0)
    assert [window.ends_batch(number) for number in range(5)] == [True, False, True, False, True]
