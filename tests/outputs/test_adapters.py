import contextlib
import logging
from collections.abc import Iterator

import msgspec
import pytest

from gnjobs.outputs.adapters import OutputFile, OutputHandler
from gnjobs.outputs.lines import Line
from gnjobs.outputs.reader import OutputReader
from gnjobs.outputs.writer import OutputWriter
from tests.support.servers import Server

KEY = "k"


@pytest.fixture
def writer(server: Server) -> Iterator[OutputWriter]:
    with OutputWriter(server.url, KEY) as writer:
        yield writer


def stored(server: Server, writer: OutputWriter) -> list[tuple[str, str]]:
    assert writer.flush(10)
    with server.client() as client:
        return [
            (item.kind, item.text) for item in OutputReader(client, KEY).iterate() if isinstance(item, Line)
        ]


def test_logging_goes_to_the_output(server: Server, writer: OutputWriter) -> None:
    logger = logging.Logger("checks.rows")
    logger.addHandler(OutputHandler(writer, logging.INFO))
    logger.debug("not this")
    logger.warning("row %d\nis %s", 5, "wrong\udcff")
    try:
        raise ValueError("boom")
    except ValueError:
        logger.exception("it failed")
    (kind, first), (_, second) = stored(server, writer)
    assert kind == "log"
    assert msgspec.json.decode(first.replace("\\udcff", "")) == {
        "level": "WARNING",
        "logger": "checks.rows",
        "message": "row 5\nis wrong",
    }
    message = msgspec.json.decode(second)["message"]
    assert message.startswith("it failed\nTraceback")
    assert message.endswith("ValueError: boom")


def test_logging_never_raises(writer: OutputWriter, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.Logger("checks")
    logger.addHandler(OutputHandler(writer))
    logger.info("%d rows", "no number")
    writer.close(10)
    logger.info("too late")
    shown = capsys.readouterr().err
    assert "not all arguments" in shown or "%d format" in shown
    assert "closed" in shown


def test_print_goes_to_the_output(server: Server, writer: OutputWriter) -> None:
    file = OutputFile(writer, "err")
    with contextlib.redirect_stdout(file):
        print("a", "b")
        print("c\nd\n", end="")
        print("unfinished", end="")
    assert stored(server, writer) == [("err", "a b"), ("err", "c"), ("err", "d")]
    file.flush()
    file.close()
    file.close()
    assert stored(server, writer)[-1] == ("err", "unfinished")
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.write("x")
    writer.write("the output is still open")


def test_a_file_says_what_it_can_do(writer: OutputWriter) -> None:
    with OutputFile(writer) as file:
        assert file.writable()
        assert not file.readable()
        assert not file.isatty()
