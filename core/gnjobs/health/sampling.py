"""Where processes that compute without a word are in their Python code: in which function, for how long, by samples.

Samples cost something, so they are taken of the busiest ones alone, far apart, in a thread that keeps no beat waiting.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from gnjobs.processes.proc import process_start
from gnjobs.processes.seen import Identity, SeenProcess, computes
from gnjobs.processes.stack import Frame, python_frames
from gnjobs.text import duration_words

SAMPLES_UNTIL_QUIET: Final = 5
_LEAST_SECONDS: Final = 10.0
_MOST_PROCESSES: Final = 2
_LEAST_SAMPLES: Final = 2
_ENOUGH_SAMPLES: Final = 5
_MOST_FAILURES: Final = 3
_TOP_LEVEL: Final = "<module>"

Stack = tuple[Frame, ...]


class _Stay(NamedTuple):
    """A function that was on a stack in `samples` samples one after the other, the first and last then (monotonic)."""

    frame: Frame
    first: float
    last: float
    samples: int = 1


class StackSamples:
    """Follows the stacks of processes of one job, at least `apart` seconds after one another.

    `take` gives the stacks of a process by thread, outermost function first.
    """

    def __init__(
        self, take: Callable[[int], Mapping[int, Stack]] = python_frames, apart: float = _LEAST_SECONDS
    ) -> None:
        self._take = take
        self._apart = apart
        self._stays: dict[Identity, dict[int, list[_Stay]]] = {}
        self._failures: dict[Identity, int] = {}
        self._next = 0.0
        self._thread: threading.Thread | None = None

    def tell(self, seen: Iterable[SeenProcess]) -> list[SeenProcess]:
        """The processes; those of which there are enough samples say where in their code they are."""
        told = dict(self._stays)
        return [
            msgspec.structs.replace(process, code=words)
            if (words := _words(told.get(process.identity, {})))
            else process
            for process in seen
        ]

    def sample(self, processes: Sequence[SeenProcess], every: float) -> None:
        """Begin to take a sample of the busiest of these, if the last one is `every` seconds old; forget all others."""
        silent = {process.identity for process in processes}
        busy = [process for process in processes if computes(process.cpu)]
        chosen = sorted(busy, key=lambda process: -(process.cpu or 0.0))[:_MOST_PROCESSES]
        identities = [process.identity for process in chosen]
        for known in (self._stays, self._failures):
            for gone in known.keys() - silent:
                known.pop(gone, None)
        wanted = [each for each in identities if self._failures.get(each, 0) < _MOST_FAILURES]
        is_taking = self._thread is not None and self._thread.is_alive()
        if wanted and not is_taking and time.monotonic() >= self._next:
            self._next = time.monotonic() + max(self._apart, every)
            self._thread = threading.Thread(
                target=self._take_all, args=(wanted,), name="samples", daemon=True
            )
            self._thread.start()

    def _take_all(self, identities: Iterable[Identity]) -> None:
        for identity in identities:
            stacks, at = self._take(identity[0]), time.monotonic()
            if not stacks or process_start(identity[0]) != identity[1]:
                self._failures[identity] = self._failures.get(identity, 0) + 1
                continue
            before = self._stays.get(identity, {})
            self._stays[identity] = {
                thread: _compared(before.get(thread, []), stack, at) for thread, stack in stacks.items()
            }


def _compared(before: list[_Stay], stack: Stack, at: float) -> list[_Stay]:
    """What a stack has in common with the one before, counted from its outermost function."""
    found: list[_Stay] = []
    for depth, frame in enumerate(stack):
        stay = before[depth] if depth < len(before) and depth == len(found) else None
        if stay is not None and (stay.frame.function, stay.frame.file) == (frame.function, frame.file):
            line = frame.line if frame.line == stay.frame.line else None
            found.append(_Stay(frame._replace(line=line), stay.first, at, stay.samples + 1))
        else:
            found += [_Stay(each, at, at) for each in stack[depth:]]
            break
    return found


def _words(threads: Mapping[int, list[_Stay]]) -> str | None:
    """`in align() (qc.py:88) for 12 min, by 13 samples`: the innermost function that was there in samples enough."""
    stays = max(threads.values(), key=lambda stays: stays[0].samples, default=[])
    enough = max(_LEAST_SAMPLES, min(stays[0].samples, _ENOUGH_SAMPLES)) if stays else 0
    found = next((stay for stay in reversed(stays) if stay.samples >= enough), None)
    if found is None:
        return None
    function, file, line = found.frame
    place = file if line is None else f"{file}:{line}"
    where = place if function == _TOP_LEVEL else f"{function}() ({place})"
    return f"in {where} for {duration_words(found.last - found.first)}, by {found.samples} samples"
