"""Lines out of pipes: whole, in order, of the right kind, also where they have no end yet."""

import os
from collections.abc import Sequence

import pytest

from gnjobs.supervisor.pipes import LONGEST_UNFINISHED, PipePump, StructuredFeed, TextFeed, read_structured


class Stored:
    """Takes lines as an output would."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bytes]] = []
        self.unfinished: list[str] = []

    def write_many(self, lines: Sequence[str | bytes], kind: str = "out") -> None:
        self.lines += [(kind, line if isinstance(line, bytes) else line.encode()) for line in lines]

    def partial(self, text: str) -> None:
        self.unfinished.append(text)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_do_not_depend_on_how_bytes_arrive(size: int) -> None:
    stored = Stored()
    feed = TextFeed(stored, "out")
    data = b"one\n\ntwo \xff\nthr\xc3\xa9e\r\nfour"
    for start in range(0, len(data), size):
        feed.feed(data[start : start + size])
    feed.end()
    assert [line for _, line in stored.lines] == [b"one", b"", b"two \xff", b"thr\xc3\xa9e\r", b"four"]
    assert stored.unfinished[-1] == ""


def test_a_progress_bar_is_what_follows_its_last_return() -> None:
    stored = Stored()
    feed = TextFeed(stored, "err")
    for percent in range(3):
        feed.feed(b"%d %%\r" % percent)
        assert stored.unfinished[-1] == f"{percent} %"
    feed.feed(b"done\n")
    assert stored.lines == [("err", b"2 %\rdone")]


def test_a_prompt_is_shown_before_its_line_ends() -> None:
    stored = Stored()
    feed = TextFeed(stored, "out")
    feed.feed(b"hello\nname? ")
    assert stored.lines == [("out", b"hello")]
    assert stored.unfinished == ["name? "]


def test_a_line_without_end_does_not_grow_without_bound() -> None:
    stored = Stored()
    feed = TextFeed(stored, "out")
    for _ in range(5):
        feed.feed(b"x" * (LONGEST_UNFINISHED // 2))
    assert [len(line) for _, line in stored.lines] == [LONGEST_UNFINISHED] * 2


def test_the_last_words_are_the_last_line_that_says_something() -> None:
    feed = TextFeed(Stored(), "err")
    feed.feed(b"Traceback\nValueError: bad\n\n  \n")
    assert feed.last_words == b"ValueError: bad"


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        (b'fault {"row": 1}', "fault", b'{"row": 1}'),
        (b'result "x"', "result", b'"x"'),
        (b"fault {broken", "err", b"fault {broken"),
        (b"out hello", "err", b"out hello"),
        (b"log", "err", b"log"),
        (b"", "err", b""),
        (b"\xff\xfe", "err", b"\xff\xfe"),
        (b'log "\xff"', "err", b'log "\xff"'),
    ],
)
def test_structured_lines_keep_their_kind_and_others_are_errors(line: bytes, kind: str, text: bytes) -> None:
    assert read_structured(line) == (kind, text)


def test_structured_lines_are_kept_in_order_and_faults_are_counted() -> None:
    stored = Stored()
    feed = StructuredFeed(stored)
    feed.feed(b'log {"a":1}\nfault {}\nfau')
    feed.feed(b"lt {}\nlog {}")
    feed.end()
    assert stored.lines == [("log", b'{"a":1}'), ("fault", b"{}"), ("fault", b"{}"), ("log", b"{}")]
    assert feed.faults == 2


def test_a_pipe_that_stays_open_is_read_to_what_it_holds() -> None:
    stored = Stored()
    read_end, write_end = os.pipe()
    pump = PipePump({read_end: TextFeed(stored, "out")})
    pump.start()
    os.write(write_end, b"a\nb")
    assert not pump.wait_for_end(0.05)
    pump.stop()
    assert [line for _, line in stored.lines] == [b"a", b"b"]
    os.close(write_end)


def test_an_echo_that_nobody_reads_is_given_up() -> None:
    stored = Stored()
    read_end, write_end = os.pipe()
    os.close(read_end)
    feed = TextFeed(stored, "out", echo=write_end)
    feed.feed(b"a\n")
    feed.feed(b"b\n")
    assert len(stored.lines) == 2
    os.close(write_end)


class ShortFeed(StructuredFeed):
    longest = 1000


def test_a_structured_line_without_end_does_not_grow_without_bound() -> None:
    stored = Stored()
    feed = ShortFeed(stored)
    for _ in range(300):
        feed.feed(b"log 1234567")
    feed.feed(b"\nlog 5\n")
    assert [kind for kind, _ in stored.lines] == ["err", "err", "err", "err", "log"]
    assert b"".join(line for kind, line in stored.lines if kind == "err") == b"log 1234567" * 300


def test_json_however_deep_is_a_line() -> None:
    stored = Stored()
    StructuredFeed(stored).feed(b"log " + b"[" * 100_000 + b"\n")
    assert [kind for kind, _ in stored.lines] == ["err"]
