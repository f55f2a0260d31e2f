"""A dry run: a job's code run by hand or by its tests, without a job and without Redis. What it says is printed."""

import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock, RLock
from time import monotonic, time
from typing import Final, NoReturn

from gnjobs.errors import NotInJob
from gnjobs.outputs.faults import line_sentence
from gnjobs.outputs.lines import Line
from gnjobs.records import values
from gnjobs.records.keys import DRY_RUN_PREFIX, Keys, new_job_id
from gnjobs.records.lasting import Statement
from gnjobs.records.scripts import Run, Value
from gnjobs.records.statuses import ERROR
from gnjobs.runtime.context import ChildEnds, JobContext
from gnjobs.text import count_text, plural, safe_line

KEPT: Final = 100_000
_PROGRESS_EVERY: Final = 1.0
_ANNOUNCEMENT: Final = "gnjobs: this process belongs to no job: a dry run, of which nothing is stored"
_printing = Lock()


def announce() -> None:
    """Say that this is a dry run."""
    _print(_ANNOUNCEMENT)


def _print(line: str) -> None:
    # Not to `sys.stderr`, which a child may have pointed at its own output.
    if sys.__stderr__ is not None:
        with _printing:
            # At once, since children print there, too: where nothing is buffered, `print` writes the newline by itself.
            sys.__stderr__.write(f"{line}\n")
            sys.__stderr__.flush()


def _show(name: str, text: str) -> None:
    _print(f"{name}: {safe_line(text)}")


class DryWriter:
    """Stands for an `OutputWriter`: prints lines as sentences, and keeps the newest 100 000 in `written`."""

    error = None
    trouble = None

    def __init__(self, name: str) -> None:
        self.written: deque[Line] = deque(maxlen=KEPT)
        self.lines = 0
        self._name = name
        self._lock = Lock()

    def write(self, text: str | bytes, kind: str = "out") -> None:
        """Print and keep one line or more."""
        whole = text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")
        for part in whole.split("\n"):
            with self._lock:
                self.lines += 1
                line = Line(self.lines, time(), kind, part)
                self.written.append(line)
            _show(self._name, line_sentence(line))

    def write_many(self, lines: Iterable[str | bytes], kind: str = "out") -> None:
        """Print and keep many lines."""
        for line in lines:
            self.write(line, kind)

    def partial(self, text: str) -> None:
        """Nothing: an unfinished line is printed once it is finished."""

    def check_owner(self) -> None:
        """Nothing: everybody may print."""

    def flush(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        """Everything is printed."""
        return True

    def close(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        """Everything is printed."""
        return True

    def outlast(self, timeout: float | None = None) -> None:
        """Nothing: there is no server that could forget it."""


class DryState:
    """Stands for the fields of a record or child: prints progress, once a second at most, and the end."""

    has_ended = False

    def __init__(self, name: str) -> None:
        self._name = name
        self._said: dict[str, Value] = {}
        self._faults = 0
        self._shown = ""
        self._next = 0.0
        self.changed = RLock()

    def update(self, fields: Mapping[str, Value]) -> None:
        """Print what is new; progress that comes fast only now and then."""
        with self.changed:
            self._said |= fields
            if "message" in fields or monotonic() >= self._next:
                self._show()

    def count_fault(self) -> None:
        """Count one more fault."""
        with self.changed:
            self._faults += 1

    def end(self, status: str, fields: Mapping[str, Value]) -> None:  # noqa: ARG002 - the error was printed as lines
        """Print how it ended."""
        with self.changed:
            self._show()
            self.has_ended = True
        faults = f", {plural(self._faults, 'fault')}" if self._faults else ""
        _show(self._name, ("failed" if status == ERROR else "done") + faults)

    def finish(self) -> None:
        """Print the last progress."""
        with self.changed:
            self._show()

    def _show(self) -> None:
        words = _progress_words(self._said)
        if words and words != self._shown:
            self._shown, self._next = words, monotonic() + _PROGRESS_EVERY
            _show(self._name, words)


def _progress_words(said: Mapping[str, Value]) -> str:
    found = {name: value if isinstance(value, bytes) else str(value) for name, value in said.items()}
    percent, done, total = (values.number(found.get(name)) for name in ("percent", "done", "total"))
    counts = "" if done is None else count_text(done)
    if done is not None and total is not None:
        counts += f" of {count_text(total)}"
    if counts and "unit" in found:
        counts += f" {values.text(found['unit'])}"
    words = ["" if percent is None else f"{percent:.0f} %", counts, values.text(found.get("message"))]
    return ", ".join(word for word in words if word)


class DryEnds(ChildEnds):
    """Prints the ends of children that could not say so themselves."""

    def __init__(self) -> None:
        """Need nothing."""

    def write(self, ends: Sequence[Statement]) -> None:
        """Print each, but for what a child printed itself."""
        for end in ends:
            error = values.text(_as_bytes(end.steps[-1].fields.get("error"))) or end.steps[-1].to
            if not error.startswith("Traceback"):
                _show(end.key.rpartition(":")[2], error)

    def outlast(self) -> None:
        """Nothing: there is no server that could forget it."""


def _as_bytes(value: Value | None) -> bytes | str | None:
    return value if value is None or isinstance(value, bytes) else str(value)


class DryContext(JobContext):
    """The job that a dry run stands for: its children's keys are built and recorded nowhere."""

    def __init__(self, job_id: str | None = None, child_id: str | None = None) -> None:
        self.id = job_id or new_job_id()
        self.url = ""
        self.keys = Keys(DRY_RUN_PREFIX)
        self.run = Run(self.keys.job(self.id))
        self.child_id = child_id
        self.state = DryState(child_id or "job")
        self._allocated: list[str] = []

    @property
    def client(self) -> NoReturn:  # type: ignore[override]
        """There is none: raises `NotInJob`."""
        raise NotInJob("a dry run has no connection to Redis")

    def set_fields(self, fields: Mapping[str, Value]) -> None:
        """Print what they say."""
        self.state.update(fields)

    def child_ends(self) -> ChildEnds:
        """Who prints the ends of children that could not say so themselves."""
        return DryEnds()

    def shares_done(self, child_ids: Sequence[str]) -> float:  # noqa: ARG002
        """Nobody knows."""
        return 0.0

    def is_killed(self, child_id: str) -> bool:  # noqa: ARG002
        """Nobody can."""
        return False

    def _taken_ids(self) -> list[str]:
        return self._allocated

    def _record_children(self, output_keys: Mapping[str, str]) -> None:
        self._allocated += output_keys

    def _make_children(self, children: Sequence[tuple[str, str]], *, may_fail: bool) -> None:
        """Nothing: no hash waits for them in Redis."""
