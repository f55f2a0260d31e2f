"""Harmful text in every field of a job, by the name of its field, and a walk through screens that show it."""

import importlib
import json
import pkgutil
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

import gnjobs_tui
from gnjobs.processes.seen import ProcessSnapshot, SeenProcess
from gnjobs.records.keys import Keys
from tests.support.hostile import TEXTS
from tests.support.servers import Server
from tests.support.stored_records import write_child, write_job, write_line, write_running
from tests.support.terminal import Terminal

KEYS = Keys()
JOB, CHILD, ENDED = "job-running", "child", "job-ended"
SHOWN_WITHIN = 30.0
AT_REST = 0.1
# Each field holds one of them, all short enough that several fields fit into a row of the screen.
HARMS = tuple(
    TEXTS[name]
    for name in (
        "osc 0 sets the title",
        "c1 csi as code point",
        "bidi override",
        "markup click",
        "csi clears",
        "c1 as byte",
    )
)

# Which field's text is to be seen for a moment or beside a screen: see `test_passing_places`.
PASSING: dict[str, tuple[str, ...]] = {
    "toast of a theme": ("theme",),
    "toast of a copied id": (),
    "toast of a failure": ("status",),
    "toast of a kill": ("label", "host"),
    "toast of a number": ("number",),
    "toast of a save": ("directory",),
    "toast of a save refused": ("outside",),
    "toast of a search refused": ("outside",),
    "refusal beside an output": ("outside",),
    "palette of JobsScreen": ("message",),
    "palette of JobScreen": ("label",),
    "palette of OutputScreen": ("line",),
    "palette of LogScreen": ("event-text",),
    "palette of FaultsScreen": ("label",),
    "typed into the palette": ("words",),
    "error of a filter": ("words",),
    "typed as a filter": ("words",),
    "typed as a reason": ("why",),
    "typed for a search": ("words",),
    "confirm removal": ("ended-label",),
    "confirm kill": ("label", "host", "account", "user", "process-command"),
    "text of a rerun": ("label", "command"),
    "text of kills": ("label", "host", "why"),
    "text of an event": ("event-text", "event-reason", "event-label", "event-owner", "event-by"),
    "search found": ("line",),
    "search not found": ("words",),
}

# What is copied, too.
COPIED = ("copy of an id", "copy of a text", "copy of a fault", "copy of a line")


def field(name: str) -> str:
    """A harmful text that is recognised by what it begins with."""
    return f"{tag(name)}{HARMS[sum(name.encode()) % len(HARMS)]}"


def tag(name: str) -> str:
    """How the text of a field begins, short enough for a narrow column."""
    word = name.replace("-", "")
    return f"Q{word[:2]}{word[-2:]}"


def raw(name: str) -> bytes:
    return field(name).encode("utf-8", "surrogateescape")


def write_everything(server: Server) -> None:
    client = server.client()
    named = {name.replace("-", "_"): raw(name) for name in ("label", "message", "host", "account", "command")}
    write_running(server, JOB, **named)
    client.hset(KEYS.job(JOB), mapping={"user-id": raw("user")})
    write_child(
        server,
        JOB,
        CHILD,
        label=raw("child-label"),
        message=raw("child-message"),
        partial_line=raw("partial-line"),
    )
    client.hset(KEYS.child(JOB, CHILD), mapping={raw("extra-field"): raw("extra-value")})
    seen = SeenProcess(
        4711, 1, None, command=field("process-command").encode("ascii", "backslashreplace").decode()
    )
    client.set(KEYS.processes(JOB), msgspec.json.encode(ProcessSnapshot(time.time(), (seen,))))
    output = KEYS.child_output(JOB, CHILD)
    write_line(server, output, 1, field("line").replace("\n", " "))
    log = {"level": field("log-level"), "logger": field("log-name"), "message": field("log-message")}
    write_line(server, output, 2, json.dumps(log), "log")
    fault = {
        "file": "fault-file",
        "row_title": "fault-title",
        "value": "fault-value",
        "expected": "fault-expected",
    }
    write_line(server, output, 3, json.dumps({key: field(name) for key, name in fault.items()}), "fault")
    event = {"kind": b"killed"} | {
        name: raw(f"event-{name}") for name in ("text", "reason", "label", "owner", "by")
    }
    client.xadd(KEYS.events, event)
    write_job(server, ENDED, label=raw("ended-label"), job_type=raw("type"), finished=time.time())


class Walk:
    """One walk through all screens in a real terminal: what each showed, and every byte that was sent for it."""

    def __init__(self, terminal: Terminal) -> None:
        self.texts: dict[str, str] = {}
        self.sent: dict[str, bytes] = {}
        self._terminal = terminal

    def see(self, place: str, keys: str, sign: str, names: Iterable[str]) -> None:
        """Open a place, and wait until it shows all that it is to show; what comes behind it needs it."""
        start = len(self._terminal.raw)
        self._terminal.send(keys)
        wanted = [sign, *map(tag, names)]

        def is_there(text: str) -> bool:
            has_come = len(self._terminal.raw) > start or not keys
            return has_come and all(word in text for word in wanted)

        try:
            self.texts[place] = self._terminal.wait_for(is_there, SHOWN_WITHIN)
        except AssertionError as error:
            missing = [word for word in wanted if word not in self._terminal.text]
            raise AssertionError(f"{place}: {missing} of {error}") from None
        self.sent[place] = bytes(self._terminal.raw[start:])

    def answer(self, place: str, keys: str, sign: str, names: Iterable[str]) -> None:
        """Answer a question that was read: what comes as soon as it is shown was typed before it."""
        self._terminal.wait_for_rest(AT_REST)
        self.see(place, keys, sign, names)

    def hear(self, place: str, keys: str, pattern: re.Pattern[bytes]) -> None:
        """Press keys after which something is sent that no screen shows."""
        start = len(self._terminal.raw)
        self._terminal.send(keys)
        self._terminal.wait_for(lambda _: pattern.search(self._terminal.raw, start) is not None, SHOWN_WITHIN)
        self.texts[place] = self._terminal.text
        self.sent[place] = bytes(self._terminal.raw[start:])

    def back(self, gone: str, shows: str) -> None:
        self._terminal.send("\x1b")
        self._terminal.wait_for(lambda text: gone not in text and shows in text, SHOWN_WITHIN)
        self._terminal.wait_for_rest(AT_REST)


def all_modules() -> Iterator[Path]:
    for module in pkgutil.walk_packages(gnjobs_tui.__path__, "gnjobs_tui."):
        if not module.name.startswith(("gnjobs_tui.demo", "gnjobs_tui.__main__")):
            yield Path(str(importlib.import_module(module.name).__file__))


def paste(text: str) -> str:
    """What a terminal sends when a text is pasted."""
    return f"\x1b[200~{text}\x1b[201~"


def typed(name: str) -> str:
    """A pasted text that is recognised by what it begins with; terminals take ESC out of what is pasted."""
    harms = (
        "c1 osc as code point",
        "bidi override",
        "markup click after colour",
        "zero width",
        "language tags",
    )
    return tag(name) + "".join(TEXTS[harm] for harm in harms)
