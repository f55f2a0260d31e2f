"""Reads single values from Redis: each becomes a value of the expected type or None, and nothing raises."""

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Annotated, Final, TypeVar

import msgspec

LATEST_TIME = 32503680000.0  # the year 3000: a time beyond it is somebody's mistake
LARGEST_COUNT = 2**63
LONGEST_NUMBER = 64  # characters
_DEEPEST = 100  # of what is nested: few frames may be left where it is said

# What is inside of JSON: unix seconds that a calendar can show, and a number that a table can.
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=LATEST_TIME)]
Number = Annotated[float, msgspec.Meta(ge=0.0, le=LARGEST_COUNT)]
Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_COUNT - 1)]

Decoded = TypeVar("Decoded")

_LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def json(value: bytes | str | None, kind: type[Decoded]) -> Decoded | None:
    """Read JSON of a kind; None for anything else, however it is nested and whatever numbers it holds."""
    if not value:
        return None
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def any_json(value: str) -> object:
    """Read JSON of whatever form; None for anything else, and for what is nested too deeply to be said."""
    found = json(value, object)
    return None if value.count("[") + value.count("{") > _DEEPEST and _is_deep(found) else found


def _is_deep(found: object) -> bool:
    level = [found]
    for _ in range(_DEEPEST):
        level = [inner for each in level for inner in _inside(each)]
    return bool(level)


def _inside(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def text(value: bytes | str | None) -> str | None:
    """Decode a value; bytes that are not UTF-8 are kept as lone surrogates, so that nothing is lost."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value


MOST_AHEAD: Final = 60.0  # how far in the future what others write may be (seconds)


def is_ahead(entry_id: str, now: float) -> bool:
    """Whether an entry of a stream lies in the future (`now` in unix seconds): whoever writes one may choose its id."""
    return int(entry_id.partition("-")[0]) / 1000 > now + MOST_AHEAD


def number(value: bytes | str | None, lowest: float = 0.0, highest: float = LARGEST_COUNT) -> float | None:
    """Read a finite number within bounds (both included), else None."""
    if value is None or len(value) > LONGEST_NUMBER:
        return None
    try:
        read = float(value)
    except ValueError:
        return None
    return read if math.isfinite(read) and lowest <= read <= highest else None


def integer(value: bytes | str | None, lowest: int = 0, highest: int = LARGEST_COUNT) -> int | None:
    """Read a whole number within bounds, else None; `12.0` is one."""
    if value is None or len(value) > LONGEST_NUMBER:
        return None
    try:
        read = int(value)
    except ValueError:
        as_float = number(value, lowest, highest)
        return int(as_float) if as_float is not None and as_float.is_integer() else None
    return read if lowest <= read <= highest else None


def exit_code(value: bytes | str | None) -> int | None:
    """Read an exit code, which is negative where a signal stands for it, else None."""
    return integer(value, -(2**31), 2**32)


def seconds(value: bytes | str | None) -> float | None:
    """Read a time in unix seconds that a calendar can show, else None."""
    return number(value, 0.0, LATEST_TIME)


def run_of(created: bytes | str | None) -> str:
    """Read which run of a job a record is of, as stored; empty where that can't be a time."""
    found = text(created) or ""
    return found if len(found) <= LONGEST_NUMBER and found.isprintable() else ""


def many_seconds(found: Sequence[bytes | None]) -> list[float | None]:
    """Read many times as `seconds` reads each: quick where all of them are as they should be."""
    try:
        read = list(map(float, found))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return list(map(seconds, found))
    # The sum is not finite if one of them is not, or if one is far too large.
    good = math.isfinite(sum(read)) and min(read) >= 0.0 and max(read) <= LATEST_TIME
    return [*read] if good and max(map(len, found)) <= LONGEST_NUMBER else list(map(seconds, found))  # type: ignore[arg-type]


def difference(value: bytes | str | None) -> float | None:
    """Read a difference of two clocks in seconds, which may be negative, else None."""
    return number(value, -LATEST_TIME, LATEST_TIME)


def percentage(value: bytes | str | None) -> float | None:
    """Read a percentage from 0 to 100, else None."""
    return number(value, 0.0, 100.0)


def command_words(command: str | None) -> list[str]:
    """Split a shell-quoted command; one that can't be split is one word."""
    if not command:
        return []
    try:
        return shlex.split(command)
    except ValueError:
        return [command]


def encode_text(text: str) -> bytes:
    """Encode a line as it was before decoding; a surrogate that is no byte takes its three-byte form."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        lone = _LONE_SURROGATE.sub(
            lambda found: found.group().encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"),
            text,
        )
        return lone.encode("utf-8", "surrogateescape")
