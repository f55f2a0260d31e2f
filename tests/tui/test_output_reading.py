"""Reading portions of outputs, following, searching and saving them, without a screen."""

import os
import stat
import threading
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from gnjobs.outputs.lines import Hole, Line
from gnjobs.outputs.reader import OutputReader
from gnjobs.outputs.writer import OutputWriter
from gnjobs.store import JobStore
from gnjobs_tui.outputs import reading
from gnjobs_tui.outputs.reading import News, OutputFollower, OutputSource
from gnjobs_tui.outputs.save import file_name, proposed_path, save_output
from gnjobs_tui.outputs.search import MOST_SKIMMED, Query, search
from gnjobs_tui.outputs.seen import LONGEST_SEEN, Item, SeenLine, see
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_child, write_line, write_running
from tests.support.waiting import wait_for

JOB, CHILD = "job-1", "pheno_se.tsv"
KEY = KEYS.child_output(JOB, CHILD)


@pytest.fixture
def reader(server: Server, client: redis.Redis) -> OutputReader:
    """Lines 1 to 3000, a hole up to 110 000, lines to 112 000, a hole of one, a last line."""
    for first, last in ((1, 3000), (110_001, 112_000)):
        data = "\n".join(f"line {number}" for number in range(first, last + 1))
        write_line(server, KEY, last, data)
    write_line(server, KEY, 112_002, "the end")
    return OutputReader(client, KEY)


def covered(items: list[Item]) -> bool:
    """Whether items follow each other without a gap."""
    return all(one.last + 1 == two.first for one, two in pairwise(items))


def test_reading_backwards_over_holes(reader: OutputReader) -> None:
    last = reading.read_before(reader, 112_003, 5)
    assert last[-2:] == [Hole(112_001, 112_001), see(reader.read(112_002, 1)[0])]
    assert covered(last)
    assert last[-1].last == 112_002
    over = reading.read_before(reader, 110_003, 1000)
    assert Hole(3001, 110_000) in over
    assert covered(over)
    assert over[0].first < 3000


@pytest.mark.parametrize("inside", [3001, 50_000, 110_000])
def test_reading_around_a_line_that_is_missing_gives_the_whole_hole(
    reader: OutputReader, inside: int
) -> None:
    around = reading.read_around(reader, inside, 100)
    assert Hole(3001, 110_000) in around
    assert covered(around)


def test_reading_forwards_ends_at_the_end(reader: OutputReader) -> None:
    found = reading.read_after(reader, 111_990, 1000)
    assert (found[0].first, found[-1].last) == (111_991, 112_002)
    assert reading.read_after(reader, 112_002, 10) == []


def test_portions_of_everything(reader: OutputReader) -> None:
    lines = [item.number for item in reader.iterate(1, 112_002) if isinstance(item, Line)]
    assert lines == [*range(1, 3001), *range(110_001, 112_001), 112_002]


def test_very_long_lines_are_read_few_at_a_time(server: Server, client: redis.Redis) -> None:
    with OutputWriter(server.url, "long") as writer:
        writer.write_many(["x" * 1_000_000] * 40)
        assert writer.flush(20)
    items = reading.read_before(OutputReader(client, "long"), 41, 1000)
    assert len(items) < 40
    assert items[-1].last == 40
    last = items[-1]
    assert isinstance(last, SeenLine)
    assert len(last.text) < LONGEST_SEEN + 100
    assert last.text.endswith("… and 990 000 more characters")


def found_by(
    reader: OutputReader, text: str, start: int, *, forward: bool = True, portion: int = MOST_SKIMMED
) -> tuple[int, bool] | None:
    last = reader.extent().last
    steps = search(reader, Query(text), start, forward=forward, last=last, portion=portion)
    ends = [step for step in steps if step.is_found]
    return (ends[0].number, ends[0].is_around) if ends else None


def test_searching_goes_on_at_the_other_end(reader: OutputReader) -> None:
    assert found_by(reader, "line 2999", 1) == (2999, False)
    assert found_by(reader, "line 2999", 112_002) == (2999, True)
    assert found_by(reader, "line 2999", 112_002, forward=False) == (2999, False)
    assert found_by(reader, "the end", 5, forward=False) == (112_002, True)
    assert found_by(reader, "line 2999", 2999) == (2999, True)
    assert found_by(reader, "THE END", 5) is None
    assert found_by(reader, "nowhere", 5) is None


TEXTS = ["Élan vital", "row 7", "", "{odd", "ROW 7 of 9", "ΟΔΟΣ", "plain", '{"a": "row 7"}', "end"]


@pytest.mark.sampled
@pytest.mark.parametrize("form", ["numbered", "list", "stream", "string"])
@pytest.mark.parametrize("portion", [1, 4, 1000])
def test_a_search_finds_what_looking_at_each_line_finds(client: redis.Redis, form: str, portion: int) -> None:
    for at in range(0, len(TEXTS), 3):
        if form == "numbered":
            client.xadd(
                "k", {"at": 1, "kind": "out", "data": "\n".join(TEXTS[at : at + 3])}, id=f"{at + 3}-0"
            )
        elif form == "list":
            client.rpush("k", *TEXTS[at : at + 3])
        elif form == "stream":
            for text in TEXTS[at : at + 3]:
                client.xadd("k", {"line": text})
        else:
            client.set("k", "\n".join(TEXTS))
    reader = OutputReader(client, "k")
    numbers = range(1, len(TEXTS) + 1)
    for text in ("row 7", "ROW", "élan", "οδος", "É", "{", "a", "nothing", "d"):
        query = Query(text)
        holding = [n for n in numbers if query.is_in(Line(n, None, "out", TEXTS[n - 1]))]
        for start in range(len(TEXTS) + 1):
            onward = [n for n in holding if n > start] or holding
            back = [n for n in holding if n < start] or holding
            found = found_by(reader, text, start, portion=portion)
            assert (found and found[0]) == (onward[0] if onward else None)
            found = found_by(reader, text, start, forward=False, portion=portion)
            assert (found and found[0]) == (back[-1] if back else None)


def test_what_is_looked_through_at_once_is_bounded_in_bytes(server: Server, client: redis.Redis) -> None:
    with OutputWriter(server.url, "long") as writer:
        writer.write_many(["x" * 1_000_000] * 40)
        assert writer.flush(20)
    lines, following = OutputReader(client, "long").skim(1, 40, lambda _: True)
    assert len(lines) == following - 1 < 20
    assert OutputReader(client, "long").skim(1, 40, lambda _: False) == ([], 41)


def test_sentences_are_searched_as_they_are_shown(server: Server, client: redis.Redis) -> None:
    write_line(server, KEY, 1, '{"file": "f", "row": 12, "row_title": "BXD9", "value": "x"}', kind="fault")
    assert found_by(OutputReader(client, KEY), 'row 12 "BXD9"', 0) == (1, False)
    assert Query("bxd").spans("BXD bxd") == [(0, 3), (4, 7)]
    assert Query("BXD").spans("BXD bxd") == [(0, 3)]


def never() -> bool:
    """Nobody stops it."""
    return False


def test_saving_writes_what_was_stored_and_replaces_nothing(
    reader: OutputReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    taken = tmp_path / "out.txt"
    taken.write_text("mine")
    saved = save_output(reader, Path(proposed_path("out.txt")), never)
    assert saved.path == tmp_path / "out-2.txt"
    assert taken.read_text() == "mine"
    assert (saved.lines, saved.missing, saved.is_whole) == (5001, 107_001, True)
    assert saved.path.read_text().split("\n")[:2] == ["line 1", "line 2"]
    assert stat.S_IMODE(os.stat(saved.path).st_mode) == 0o600
    assert not save_output(reader, Path(proposed_path("out.txt")), lambda: True).is_whole


def test_saving_keeps_bytes_and_escapes(server: Server, client: redis.Redis, tmp_path: Path) -> None:
    stored = "\x1b]0;owned\x07 \udcff tab\t"
    write_line(server, KEY, 1, stored)
    saved = save_output(OutputReader(client, KEY), tmp_path / "out.txt", never)
    assert saved.path.read_bytes() == b"\x1b]0;owned\x07 \xff tab\t\n"


def test_a_link_is_not_followed_when_saving(reader: OutputReader, tmp_path: Path) -> None:
    (tmp_path / "out.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        save_output(reader, tmp_path / "out.txt", never)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("QC average, July", "pheno se.tsv", "3f2a91c0"), "QC-average-July-pheno-se.tsv-3f2a91c0.txt"),
        (("../../etc/passwd", None, "x"), "etc-passwd-x.txt"),
        (("$(reboot)", "\x1b]0;x\x07", ""), "reboot-0-x.txt"),
        (("", None), "output.txt"),
        (("-rf", ".hidden"), "rf-hidden.txt"),
    ],
)
def test_names_of_files_are_harmless(parts: tuple[str | None, ...], name: str) -> None:
    assert file_name(*parts) == name


class Following:
    """A follower in a thread, and everything that it told."""

    def __init__(self, server: Server, child: str | None = CHILD) -> None:
        self.told: list[News] = []
        source = OutputSource(JobStore.from_url(server.url), JOB, child)
        self._follower = OutputFollower(source, self.told.append)
        self._thread = threading.Thread(target=self._follower.run)

    def __enter__(self) -> "Following":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._follower.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    @property
    def texts(self) -> list[str]:
        items = [item for news in list(self.told) for item in news.items]
        return [item.text if isinstance(item, SeenLine) else item.words for item in items]

    def wait_for(self, text: str) -> None:
        wait_for(lambda: text in self.texts, what=text)


def test_following_lines_holes_and_the_unended_line(server: Server) -> None:
    write_running(server, JOB)
    write_child(server, JOB, CHILD)
    write_line(server, KEY, 1, "one")
    with Following(server) as following:
        following.wait_for("one")
        write_line(server, KEY, 5, "five")
        following.wait_for("five")
        assert "lines 2 to 4 are missing" in following.texts
        server.client().hset(KEYS.child(JOB, CHILD), "partial-line", "50 %")
        wait_for(lambda: following.told[-1].partial == "50 %")


def test_a_writer_that_is_too_fast_is_followed_at_its_end(server: Server, client: redis.Redis) -> None:
    write_running(server, JOB)
    key = KEYS.output(JOB)
    write_line(server, key, 1, "one")
    with Following(server, child=None) as following:
        following.wait_for("one")
        pipe = client.pipeline(transaction=True)
        for last in range(1001, 40_002, 1000):
            data = "\n".join(f"line {number}" for number in range(last - 999, last + 1))
            pipe.xadd(key, {"at": 1, "kind": "out", "data": data}, id=f"{last}-0")
        pipe.execute()
        following.wait_for("line 40001")
        assert following.told[-1].last == 40_001
        assert len(following.texts) < 3000
        write_line(server, key, 40_002, "behind")
        following.wait_for("behind")


def test_following_ends_with_the_child(server: Server) -> None:
    write_running(server, JOB)
    write_child(server, JOB, CHILD)
    write_line(server, KEY, 1, "one")
    with Following(server) as following:
        following.wait_for("one")
        write_line(server, KEY, 2, "two")
        server.client().hset(KEYS.child(JOB, CHILD), "status", "success")
        wait_for(lambda: following.told[-1].has_ended and not following._thread.is_alive())
        assert following.texts == ["one", "two"]


def test_an_output_that_begins_anew_is_read_anew(server: Server) -> None:
    write_running(server, JOB)
    for number in (1, 2, 3):
        write_line(server, KEYS.output(JOB), number, f"first {number}")
    with Following(server, child=None) as following:
        following.wait_for("first 3")
        server.client().delete(KEYS.output(JOB))
        write_line(server, KEYS.output(JOB), 1, "second 1")
        following.wait_for("second 1")
        anew = [news for news in following.told if news.is_new]
        assert [news.last for news in anew][-1] == 1


def test_a_server_that_goes_away_is_told_and_waited_for(own_server: Server) -> None:
    write_running(own_server, JOB)
    write_line(own_server, KEYS.output(JOB), 1, "before")
    with Following(own_server, child=None) as following:
        following.wait_for("before")
        own_server.kill()
        wait_for(lambda: following.told[-1].away)
        own_server.start()
        write_running(own_server, JOB)
        write_line(own_server, KEYS.output(JOB), 1, "after")
        following.wait_for("after")
        assert not following.told[-1].away


def test_a_regular_expression_is_held_against_each_line() -> None:
    query = Query(r"re:^row \d{3}$")
    lines = [Line(n, None, "out", text) for n, text in enumerate(("row 12", "a row 123", "row 123"), 1)]
    assert [query.is_in(line) for line in lines] == [False, False, True]
    assert query.spans("row 123") == [(0, 7)]
