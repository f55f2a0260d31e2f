"""Sends `logging` and `print` to an output."""

import io
import logging
from typing import Protocol

from gnjobs.outputs.lines import encode_json


class TakesLines(Protocol):
    """An `OutputWriter` or a stand-in for one."""

    def write(self, text: str | bytes, kind: str = "out") -> None:
        """Take one line or more."""


class OutputHandler(logging.Handler):
    """Stores each log record as a line of kind `log`: JSON with level, logger and message, traceback included."""

    def __init__(self, writer: TakesLines, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Store one record; one that can't be formatted is reported as logging does, and never raises."""
        try:
            line = {"level": record.levelname, "logger": record.name, "message": self.format(record)}
            self._writer.write(encode_json(line), "log")
        except Exception:  # noqa: BLE001 - the contract of logging handlers
            self.handleError(record)

    def flush(self) -> None:
        """Do nothing: the writer stores each line within a tenth of a second anyway."""


class OutputFile(io.TextIOBase):
    """A text file whose lines go to an output: for `print(…, file=…)` and `contextlib.redirect_stdout`.

    The end of a line that has no newline yet is kept until the newline comes or the file is closed.
    """

    def __init__(self, writer: TakesLines, kind: str = "out") -> None:
        super().__init__()
        self._writer = writer
        self._kind = kind
        self._rest = ""

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Store the whole lines of what was written so far; returns how many characters were taken."""
        if self.closed:
            raise ValueError("this file is closed")
        whole, newline, rest = text.rpartition("\n")
        if newline:
            self._writer.write(self._rest + whole, self._kind)
            self._rest = rest
        else:
            self._rest += text
        return len(text)

    def close(self) -> None:
        """Store an unfinished line as it is; the output stays open."""
        if not self.closed and self._rest:
            rest, self._rest = self._rest, ""
            self._writer.write(rest, self._kind)
        super().close()
