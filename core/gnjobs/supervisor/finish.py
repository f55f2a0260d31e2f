"""Finishes a job: waits for its whole output, ends its children, writes the final status, and lets its keys expire."""

import time
from collections import deque
from collections.abc import Callable, Mapping

from redis.exceptions import NoPermissionError

from gnjobs.outputs.lines import Hole
from gnjobs.outputs.reader import OutputReader
from gnjobs.outputs.window import LONGEST_LINE
from gnjobs.outputs.writer import OutputWriter
from gnjobs.records import values
from gnjobs.records.connection import as_far_as_possible, connect
from gnjobs.records.ends import JobEnd, StopRequest, end_job, requeue_job
from gnjobs.records.fields import SLURM
from gnjobs.records.keys import MIRROR_FIELD
from gnjobs.records.reading import fetch_job
from gnjobs.records.scripts import Value, set_fields
from gnjobs.records.statuses import ERROR, SUCCESS
from gnjobs.records.values import encode_text
from gnjobs.supervisor.children import ChildWatch, settle_children
from gnjobs.supervisor.listed_faults import ListedFaults
from gnjobs.supervisor.outcome import JobOutcome
from gnjobs.supervisor.record import RecordLink
from gnjobs.supervisor.signs import encode_summary
from gnjobs.supervisor.wakeups import Exit
from gnjobs.text import complain, plural

MIRROR_BYTES = 32 * 1024 * 1024
MIRROR_SECONDS = 120.0
_STREAMS = ("out", "err")
_LONGEST_WHOLE = LONGEST_LINE - 4  # a longer line is cut between characters, of at most four bytes


class _Kept:
    """The last lines of one stream, as many as fit into so many bytes."""

    def __init__(self, most: int = MIRROR_BYTES) -> None:
        self._most = most
        self._lines: deque[bytes] = deque()
        self._size = 0
        self.cut = 0

    def add(self, text: str) -> None:
        """Take a line; one that is as long as a line can be is a piece of a longer one."""
        line = encode_text(text)
        self._lines.append(line if len(line) > _LONGEST_WHOLE else line + b"\n")
        self._size += len(self._lines[-1])
        while self._size > self._most:
            self._size -= len(self._lines.popleft())
            self.cut += 1

    def text(self) -> bytes:
        """All of it; where lines were left out, the first one says so."""
        lines = b"".join(self._lines)
        return b"[%d lines before this are left out]\n%s" % (self.cut, lines) if self.cut else lines


def mirror_output(link: RecordLink) -> None:
    """Write what was printed, each stream by itself, where the record asks for it; raises redis-py's errors.

    What somebody adds meanwhile is left out, and so is what can't be read in two minutes.
    """
    asked = link.found.get(MIRROR_FIELD.encode())
    names = (values.text(asked) or "").split()
    if not names:
        return
    kept = {kind: _Kept() for kind in _STREAMS}
    until = time.monotonic() + MIRROR_SECONDS
    with connect(link.records.url) as client:  # of its own: what is too large ends it
        reader = OutputReader(client, link.keys.output(link.job_id))
        for line in reader.iterate(last=reader.extent().last):
            if time.monotonic() > until:
                before = f"what comes before line {line.first}"
                complain(f"job {link.job_id}: of its output, {before} alone is copied into its record")
                break
            if isinstance(line, Hole):
                for each in kept.values():
                    each.cut += line.last - line.first + 1
            elif line.kind in kept:
                kept[line.kind].add(line.text)
    fields = names if len(names) == len(_STREAMS) else ("stdout", "stderr")
    set_fields(
        link.client,
        link.key,
        {name: kept[kind].text() for kind, name in zip(_STREAMS, fields, strict=True)},
        link.statement.run,
    )


_WORDS = {SUCCESS: "done", ERROR: "failed"}
_FLUSH_SECONDS = 1.0
_RESENDING_SECONDS = 3.0
_LOOK_SECONDS = 0.05


class Finishing:
    """Reports how a job ended; may be called again until the server took all of it.

    `on_reported` is told whether there was a record to take it.
    """

    def __init__(
        self,
        link: RecordLink,
        watch: ChildWatch,
        output: OutputWriter,
        outcome: JobOutcome,
        exits: Mapping[int, Exit],
        *,
        own_faults: int,
        listed: ListedFaults,
        on_reported: Callable[[bool], None],
    ) -> None:
        self._link = link
        self._watch = watch
        self._output = output
        self._outcome = outcome
        self._exits = exits
        self._own_faults = own_faults
        self._listed = listed
        self._on_reported = on_reported
        self._finished: float | None = None
        self._is_told = False

    def __call__(self) -> bool:
        """Report; returns whether that has to last: a job that waits again is not ours. Raises redis-py's errors."""
        with as_far_as_possible():
            self._complete_output()
        settle_children(self._link, self._watch, self._outcome, self._exits)
        if self._outcome.requeued is not None:
            requeue_job(self._link.records, self._link.job, self._outcome.requeued, move=self._link.move)
            self._on_reported(True)
            return False
        self._name_who_asked_slurm()
        self._mirror_output()
        status, fields = self._final()
        error, faults = _as_text(fields.get("error", "")), fields.get("faults", 0)
        end = JobEnd(status, fields, self._event_text(status, error, int(faults)), *self._asker())
        outcome, _ = end_job(
            self._link.records,
            self._link.job,
            end,
            move=self._link.move,
            is_repeated=self._is_told,
            is_own=True,
        )
        if not self._is_told:
            self._is_told = outcome != "gone"
            self._on_reported(self._is_told)
        return True

    def _mirror_output(self) -> None:
        try:
            with as_far_as_possible():
                mirror_output(self._link)
        except NoPermissionError as refusal:
            # Anybody who writes jobs can put there what a writer may not read.
            complain(f"job {self._link.job_id}: its output is not copied into its record: {refusal}")

    def _name_who_asked_slurm(self) -> None:
        """Somebody who asked for a kill may have had Slurm do it, and said so in the record."""
        stop = self._outcome.stop
        if stop is not None and stop.by == SLURM:
            job = fetch_job(self._link.client, self._link.keys, self._link.job_id)
            asked = StopRequest.of(job) if job is not None else None
            if asked is not None and asked.by != SLURM:
                self._outcome = self._outcome._replace(stop=asked)

    def _complete_output(self) -> None:
        """Wait until all lines are stored; a server that forgot some gets them again, as far as they are kept."""
        while not self._output.flush(_FLUSH_SECONDS) and self._output.error is None:
            continue
        limit = time.monotonic() + _RESENDING_SECONDS
        while self._output.error is None and not self._has_all_lines() and time.monotonic() < limit:
            time.sleep(_LOOK_SECONDS)
        if self._output.error is not None:
            self._outcome = self._outcome._replace(output_trouble=str(self._output.error))

    def _has_all_lines(self) -> bool:
        last = self._output.lines
        return last == 0 or bool(self._link.client.xrange(self._output.key, f"{last}-0", count=1))

    def _final(self) -> tuple[str, dict[str, Value]]:
        status, fields = self._outcome.final(self._watch.failure_note())
        if self._finished is None:
            self._finished = round(self._link.now(), 3)
        fields |= {
            "finished": self._finished,
            "heartbeat": self._finished,
            "lines": self._output.lines,
            **({} if (faults := self._faults()) is None else {"faults": faults}),
            **self._listed.notes,
            "processes": len(self._outcome.survivors),
            "cpu": 0,
            "rss": 0,
            "partial-line": "",
        }
        if self._output.last_write:
            fields["last-output"] = self._last_output(self._finished)
        if "left-running" in self._link.said:
            fields.setdefault("left-running", "")
        if self._watch.children:
            fields["children-summary"] = encode_summary(self._watch)
        return status, fields

    def _last_output(self, finished: float) -> float:
        """When a line last came, of the job's own or a child's: since the last beat, or before the first one, too."""
        own = min(finished, self._link.now() - (time.time() - self._output.last_write))
        return round(max(own, float(self._link.said.get("last-output", 0.0))), 3)

    def _faults(self) -> int | None:
        """How many faults are known, those included that the job's code stored as another program's; None: unknown."""
        left = self._listed.count_at_end()
        return None if left is None else self._own_faults + self._watch.faults + left

    def _asker(self) -> tuple[str | None, str | None]:
        stop = self._outcome.stop
        return (stop.by, stop.reason) if stop else (None, None)

    def _event_text(self, status: str, error: str, faults: int) -> str:
        """Say for the log of events how it ended, and of a kill how long it took."""
        words = _WORDS.get(status, status)
        if faults:
            words += f", {plural(faults, 'fault')} in its data"
        if self._outcome.stop is not None:
            words += f"; all processes gone after {self._outcome.ending_took:.1f} s"
        return f"{words}: {error}" if error else words


def _as_text(value: Value) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
