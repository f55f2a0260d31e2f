"""How a job ended, as one value: exit, killer, failed children, and the final status that follows from them."""

from collections.abc import Sequence
from typing import NamedTuple

from gnjobs.processes.seen import SeenProcess
from gnjobs.records.ends import StopRequest
from gnjobs.records.scripts import Value
from gnjobs.records.statuses import ERROR, KILLED, SUCCESS
from gnjobs.records.values import encode_text
from gnjobs.supervisor.wakeups import Exit
from gnjobs.text import few

_LONGEST_NOTE = 500


class JobOutcome(NamedTuple):
    """The end of a job: how its main process ended, who stopped it, what outlived it.

    `requeued` says why Slurm will start it again: then it is the end of this run alone.
    """

    exit: Exit = Exit()
    failed_start: str | None = None
    stop: StopRequest | None = None
    ended_after: Sequence[SeenProcess] = ()
    survivors: Sequence[SeenProcess] = ()
    last_words: str = ""
    output_trouble: str | None = None
    ending_took: float = 0.0
    requeued: str | None = None

    def final(self, children_note: str | None) -> tuple[str, dict[str, Value]]:
        """The final status and the fields that explain it; `children_note` names the children that make it an error."""
        fields: dict[str, Value] = {**self.exit.fields}
        if self.survivors:
            fields["left-running"] = " ".join(str(process.pid) for process in self.survivors)
        if self.stop is not None:
            children_note = None
        notes = [note for note in (*self._failures(), children_note, *self._remnants()) if note]
        if notes:
            fields["error"] = encode_text("; ".join(notes)[: 4 * _LONGEST_NOTE])
        if self.stop is not None:
            return KILLED, fields | self.stop.job_fields
        failed = self.failed_start is not None or self.exit.shell_code != 0 or children_note
        return (ERROR if failed else SUCCESS), fields

    def _failures(self) -> list[str]:
        if self.failed_start is not None:
            return [self.failed_start]
        if self.stop is not None or self.exit.shell_code == 0:
            return []
        words = f": {self.last_words}" if self.last_words and self.exit.signal is None else ""
        return [f"{self.exit}{words}"[:_LONGEST_NOTE]]

    def _remnants(self) -> list[str]:
        notes = []
        # One without a command line was ending by itself when it was seen.
        left = [process for process in self.ended_after if process.command]
        if left and self.stop is None:
            notes.append(f"left running by the command and ended: {_names(left)}")
        if self.survivors:
            notes.append(f"could not be ended: {_names(self.survivors)}")
        if self.output_trouble:
            notes.append(f"the output is incomplete: {self.output_trouble}")
        return notes


def _names(processes: Sequence[SeenProcess]) -> str:
    return few((f"pid {each.pid} ({each.command:.80})" for each in processes), 5)
