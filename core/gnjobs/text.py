"""Text for people: lengths of time, safe text, and servers without their passwords.

`safe_text` holds the one list of characters that untrusted text must not bring to a screen, and what stands for each.
`parse_duration` and its neighbours read and say lengths of time. `describe` names a server, `mask_secrets` hides
passwords.
"""

import os
import re
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
LONGEST = 100 * 365 * DAY
_UNITS = {"s": 1.0, "m": MINUTE, "min": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(min|[smhdw])", re.ASCII)


def parse_duration(text: str) -> float:
    """Read `90s`, `15m`, `2h`, `1h30m`, `7d` as seconds; a plain number is seconds.

    Raises `ValueError` for anything else, and beyond a hundred years.
    """
    wanted = text.strip().lower()
    parts = list(_PART.finditer(wanted))
    if _NUMBER.fullmatch(wanted):
        seconds = float(wanted)
    elif parts and not _PART.sub("", wanted).strip():
        seconds = sum(float(part.group(1)) * _UNITS[part.group(2)] for part in parts)
    else:
        raise ValueError(f"{text!r:.80} is not a length of time such as 90s, 15m, 2h or 7d")
    if seconds > LONGEST:
        raise ValueError(f"{text!r:.80} is a length of time beyond a hundred years")
    return seconds


def age_text(seconds: float | None) -> str:
    """Say a length of time for a column: `12s`, `41m`, `2h 10m`, `3d 4h`."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < MINUTE:
        return f"{int(seconds)}s"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)}m"
    if seconds < DAY:
        return f"{int(seconds // HOUR)}h {int(seconds % HOUR // MINUTE):02d}m"
    return f"{int(seconds // DAY)}d {int(seconds % DAY // HOUR)}h"


def silence_text(seconds: float | None) -> str:
    """Say a silence, nothing under a minute, so that lines on a screen rest."""
    return "" if seconds is None or seconds < MINUTE else age_text(seconds)


def duration_words(seconds: float) -> str:
    """Say a length of time in a sentence: `4 s`, `23 min`, `2 h 10 min`, `3 d`."""
    seconds = max(0.0, seconds)
    if seconds < MINUTE:
        return f"{int(seconds)} s"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min"
    if seconds < DAY:
        minutes = int(seconds % HOUR // MINUTE)
        return f"{int(seconds // HOUR)} h" + (f" {minutes} min" if minutes else "")
    return f"{int(seconds // DAY)} d"


def count_text(number: float) -> str:
    """A whole number, its digits in groups of three where there are more than four: `9999`, `96 000`."""
    return f"{number:.0f}" if abs(number) < 10_000 else f"{number:,.0f}".replace(",", " ")


def plural(number: float, what: str, several: str = "") -> str:
    """So many of something: `1 fault`, `96 000 faults`; `several` is its plural where that takes more than an s."""
    return f"{count_text(number)} {what if number == 1 else several or f'{what}s'}"


def percent_text(percent: float | None) -> str:
    """A percentage; nothing but the whole is 100."""
    return "" if percent is None else "99%" if 99 < percent < 100 else f"{percent:.0f}%"


def last_line(text: str | None) -> str:
    """The last line that says something: of a traceback, the error itself."""
    return (text or "").rstrip().rpartition("\n")[2].strip()


def few(words: Iterable[str], most: int) -> str:
    """The first of many words, and how many more there are: `a, b and 3 more`."""
    named = list(words)
    more = len(named) - most
    return ", ".join(named[:most]) + (f" and {more} more" if more > 0 else "")


def size_text(size: float | None) -> str:
    """Bytes in the unit that a person would choose."""
    if size is None:
        return ""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def clock_text(at: float | None, now: float) -> str:
    """Say a time for a column: `02:31` within the last 20 hours, else `Mon 21:40`, `12 Jul` or `Jul 2025`."""
    if at is None:
        return "–"
    when = datetime.fromtimestamp(at)
    if abs(now - at) < 20 * HOUR:
        return f"{when:%H:%M}"
    if abs(now - at) < 6 * DAY:
        return f"{when:%a %H:%M}"
    return f"{when:%d %b}" if abs(now - at) < 300 * DAY else f"{when:%b %Y}"


def moment_words(at: float, now: float) -> str:
    """Say a time in a sentence: `at 02:31` within the last 20 hours, else `on 12 Jul 2026 at 21:40`."""
    when = datetime.fromtimestamp(at)
    return f"at {when:%H:%M}" if abs(now - at) < 20 * HOUR else f"on {when.day} {when:%b %Y at %H:%M}"


_INTERPRETER = re.compile(r"(?:python|perl|ruby|node|java|Rscript|R|bash|sh|dash)[\d.]*")
_LONG_COMMAND = 40


def telling(command: str) -> str:
    """What tells a long command line from others: the module or script that runs, and its arguments.

    The directories of programs, the interpreter and its options are left out, since they are the same in all of them.
    """
    if len(command) <= _LONG_COMMAND:
        return command
    words = command.split(" ")
    name = words[0].rpartition("/")[2]
    if not _INTERPRETER.fullmatch(name):
        return " ".join([name, *words[1:]])
    rest = words[1:]
    while len(rest) > 1 and rest[0].startswith("-"):
        if rest.pop(0) in ("-m", "-c"):
            return " ".join(rest)
    return " ".join([rest[0].rpartition("/")[2], *rest[1:]]) if rest else name


TAB_WIDTH = 8

# C0 (but not tab and newline, which callers lay out), DEL, C1; soft hyphen and Arabic letter mark; signs that enclose
# numbers; zero-width, bidirectional marks, embeddings, overrides and isolates; line and paragraph separators; invisible
# operators and deprecated format characters; fillers drawn as nothing; BOM, interlinear marks; surrogates; what joins
# hieroglyphs, shorthand and notes; language tags and variation selectors supplement; noncharacters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000110bd"
    "\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_LAYOUT = re.compile(r"[\t\n]")


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0xDC80 <= code <= 0xDCFF:
        return f"<{code - 0xDC00:02X}>"
    return f"<U+{code:04X}>"


ENV_MASK: Final = "GNJOBS_MASK"
_MASK = "***"
# What may be a URL, and the user in it. A password may hold any sign but blanks and quotes, and the URL need not parse.
_URL = re.compile(r"""://[^\s'"]+""")
_USER = re.compile(r"://[^:/@]*:")
# A user and the beginning of a password, where a text was cut; behind a host stands a port.
_CUT_LOGIN = re.compile(r"://[^:/@\[]*:(?!\d+(?:[^\w%~!$&*+-]|$)|/|$)")
_PASSWORD_OPTION = re.compile(r"""(?<=password=)[^&\s'"]+""")


@cache
def _own_secrets() -> re.Pattern[str] | None:
    """What else is secret; everything where that can't be understood."""
    try:
        return re.compile(os.environ[ENV_MASK]) if os.environ.get(ENV_MASK) else None
    except re.error:
        return re.compile(r"(?s).+")


def mask_secrets(text: str) -> str:
    """Return the text with the passwords of its URLs replaced: `mysql://user:***@db1/`.

    So is everything that matches the regular expression in `GNJOBS_MASK`.
    """
    if "://" in text:
        text = _URL.sub(_without_password, text)
    if "password=" in text:
        text = _PASSWORD_OPTION.sub(_MASK, text)
    secrets = _own_secrets()
    return text if secrets is None else secrets.sub(_MASK, text)


def may_hold_secrets(text: str) -> bool:
    """Whether `mask_secrets` may change the text, or what stands in it as JSON."""
    return "://" in text or "password=" in text or _own_secrets() is not None


def masked(value: Any) -> Any:
    """Return the same value, as JSON knows it, with the passwords in all its texts masked; names are not touched."""
    match value:
        case str():
            return mask_secrets(value)
        case dict():
            return {name: masked(each) for name, each in value.items()}
        case list() | tuple():
            return [masked(each) for each in value]
    return value


def encodable(value: Any) -> Any:
    """Return the same value, as JSON knows it, in texts that any encoding takes: with `?` for what was no UTF-8."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {encodable(name): encodable(each) for name, each in value.items()}
        case list() | tuple():
            return [encodable(each) for each in value]
    return value


def _without_password(found: re.Match[str]) -> str:
    """Mask what stands between a user and the last `@`, or a cut text's end, in time that grows with its length."""
    url = found.group()
    end = url.rfind("@")
    if end < 0:
        login = _CUT_LOGIN.match(url)
        return url if login is None else f"{login.group()}{_MASK}"
    user = _USER.search(url, 0, end)
    return url if user is None or user.end() == end else f"{url[: user.end()]}{_MASK}{url[end:]}"


def safe_text(text: str) -> str:
    """Return the text with everything that could act replaced by a visible stand-in; tabs and newlines stay.

    Escape is shown as ␛, other C0 controls by their pictures, a byte that was not UTF-8 as `<9B>`, C1 controls,
    bidirectional and invisible characters and surrogates as `<U+202E>`. Passwords are masked.
    """
    text = mask_secrets(text)
    return _UNSAFE.sub(_visible, text) if not text.isascii() or not text.isprintable() else text


def safe_line(text: str) -> str:
    """Return the text on one line: as `safe_text`, with tabs expanded and newlines shown as ␊."""
    safe = safe_text(text)
    if _LAYOUT.search(safe):
        safe = safe.replace("\n", "␊").expandtabs(TAB_WIDTH)
    return safe


def complain(line: str) -> None:
    """Say one line, made safe, on standard error, for whoever reads what this process logs; it never fails for that."""
    with suppress(OSError, ValueError):  # its reader is gone, a disk is full, or it was closed
        print(f"gnjobs: {safe_line(line)}", file=sys.stderr, flush=True)  # noqa: T201


DEFAULT_URL: Final = "redis://127.0.0.1:6379/0"
SENTINEL_PORT: Final = 26379
_DEFAULT_PORT = 6379
_LOCALHOST = frozenset({"", "localhost", "localhost.localdomain"})
_LOOPBACK = _LOCALHOST | {"127.0.0.1", "::1"}


def is_localhost(host: str) -> bool:
    """Whether this is the name by which every host calls itself."""
    return host.rstrip(".").lower() in _LOCALHOST


def place_of(url: str, prefix: str) -> str:
    """What two spellings of one server and database, with the same prefix, have in common; nothing is looked up.

    Where they name no loopback, it is the same on every host.
    """
    try:
        parts = urlsplit(url)
        path, (database, *_) = parts.path, parse_qs(parts.query).get("db", [""])
        if parts.scheme.endswith("+sentinel"):
            path, _, number = path.strip("/").partition("/")
            hosts = parts.netloc.rpartition("@")[2].split(",")
            listed = ",".join(sorted(_spelt_once(f"//{host}", SENTINEL_PORT) for host in hosts))
            where = f"sentinel {listed} {path}"  # masters of different servers have one name
        elif parts.scheme == "unix":
            where, number = f"unix {path}", "0"
        else:
            where, number = _spelt_once(url, _DEFAULT_PORT), path.strip("/")
    except ValueError:
        return f"{url} {prefix}"
    return f"{where}/{database or number or '0'} {prefix}"


def _spelt_once(url: str, default_port: int) -> str:
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    return f"{socket.gethostname().lower() if host in _LOOPBACK else host}:{parts.port or default_port}"


def names_loopback(url: str) -> bool:
    """Whether a URL leads nowhere but to the host, and the network namespace, in which it is used."""
    try:
        hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
        names = [(urlsplit(f"//{host}").hostname or "").rstrip(".") for host in hosts]
    except ValueError:
        return False
    return all(name in _LOOPBACK or name.startswith("127.") for name in names)


def socket_path(url: str) -> str | None:
    """The path of the socket that a URL names; None for what is reached by a network."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return unquote(parts.path) if parts.scheme == "unix" else None


def describe(url: str) -> str:
    """Name a server without its password: `db1/0`, `db1:6380/2`, `/run/redis.sock`, a Sentinels' master `gn/0`."""
    try:
        parts = urlsplit(url)
        if parts.scheme.endswith("+sentinel"):
            master, _, database = parts.path.strip("/").partition("/")
            return f"{master}/{database or '0'}"
        port = "" if parts.port in (None, _DEFAULT_PORT) else f":{parts.port}"
    except ValueError:
        return "?"
    if parts.scheme == "unix":
        return parts.path
    return f"{parts.hostname or 'localhost'}{port}/{parts.path.strip('/') or '0'}"


def server_address(url: str) -> str:
    """Say where a server is to be reached: `db1:6379`, `/run/redis.sock`, `gn (Sentinels db1:26379,db2:26379)`."""
    try:
        parts = urlsplit(url)
        if parts.scheme.endswith("+sentinel"):
            hosts = parts.netloc.rpartition("@")[2]
            return f"{parts.path.strip('/').partition('/')[0]} (Sentinels {hosts})"
        return (
            parts.path
            if parts.scheme == "unix"
            else f"{parts.hostname or 'localhost'}:{parts.port or _DEFAULT_PORT}"
        )
    except ValueError:
        return "?"
