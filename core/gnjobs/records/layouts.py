"""How programs lay out their jobs in Redis: one description a prefix, and those of GeneNetwork's own programs.

A description says where a record stands and what its fields and words mean; `records.foreign` reads by it. What
gnjobs writes has the names of `records.keys` and `records.fields`; it is read under every prefix, beside the rest.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from gnjobs.records.statuses import ERROR, KILLED, LOST, PENDING, RUNNING, STATUSES, STOPPING, SUCCESS

ID: Final = "<id>"
PREFIX: Final = "<prefix>"
OWN_KEY: Final = f"{PREFIX}:jobs:{ID}"
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9._:/@+{}-]+")  # no glob and no blank: rules of the server hold it

# What other programs' words for where a job or child stands mean, unless a description says otherwise.
WORDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("queued", "new", "created", "submitted", "waiting", "scheduled"), PENDING),
    **dict.fromkeys(("started", "checking", "processing", "in-progress"), RUNNING),
    **dict.fromkeys(("done", "completed", "complete", "finished", "succeeded", "successful", "ok"), SUCCESS),
    **dict.fromkeys(("failed", "failure", "errored", "exception", "crashed"), ERROR),
    **dict.fromkeys(("aborted", "cancelled", "canceled", "stopped", "terminated"), KILLED),
}

PartKind = Literal["faults", "lines", "state"]
Stream = Literal["stdout", "stderr"]


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Where everything stands in the jobs of one program, and what its words mean.

    `key` is the pattern of a record's key. `json`: each field's value is JSON. `fields` maps names of gnjobs' fields to
    the program's. `words` adds to `WORDS`; `ending` names the field that says of a finished job how it ended. Times
    without a zone are in `time_zone`; `id_time` is the form (of strptime) of the time with which ids begin. `outputs`
    names the fields that hold `stdout` and `stderr` where they have other names. `parts` says what the keys
    `<record>:<section>:<kind>:<name>` of each kind hold, `part_fields` which fields of a `state` mean what. `workers`
    are the command lines of processes that run a job (see `processes.find`). `writes` says which fields to write for
    each status of a job that gnjobs runs in the program's place, for those who go on reading them. `expires_after` is
    the expiry in seconds that a record gets when it is made.
    """

    key: str = OWN_KEY
    json: bool = False
    fields: Mapping[str, str] = {}
    words: Mapping[str, str] = {}
    ending: str = ""
    time_zone: Literal["utc", "local"] = "local"
    id_time: str = ""
    outputs: Mapping[Stream, str] = {}
    parts: Mapping[str, PartKind] = {}
    part_fields: Mapping[str, str] = {}
    workers: tuple[str, ...] = ()
    writes: Mapping[str, Mapping[str, str]] = {}
    expires_after: float | None = None

    def __post_init__(self) -> None:
        """Refuse what could never be read; raises `ValueError`."""
        if not self.key.endswith(ID) or not _NAMESPACE.fullmatch(self.namespace("P")):
            raise ValueError(
                f"key must end with {ID}, behind {PREFIX} or some of A-Z a-z 0-9 . _ : / @ + {{ }} -"
            )
        strange = sorted({*self.words.values(), *self.writes} - STATUSES)
        if strange:
            raise ValueError(f"a status is one of {', '.join(sorted(STATUSES))}, not {strange[0]!r:.80}")

    def namespace(self, prefix: str) -> str:
        """What the keys of all records begin with; the id follows."""
        return self.key.replace(PREFIX, prefix).removesuffix(ID)

    def output_field(self, stream: Stream) -> str:
        """The field that holds what a job printed."""
        return self.outputs.get(stream, stream)

    def meaning(self, word: str | None) -> str | None:
        """What a word for where something stands means; the word itself where that is not known."""
        if word is None or (word in STATUSES and word not in self.words):
            return word
        known = word.lower()
        return self.words.get(known) or (known if known in STATUSES else WORDS.get(known, word))


def _told(waiting: str, **ended: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """What to write for readers that know a word for waiting, `running`, and how a job ended."""
    return {
        PENDING: {"status": waiting},
        **{status: {"status": RUNNING} for status in (RUNNING, STOPPING)},
        SUCCESS: ended["success"],
        **dict.fromkeys((ERROR, KILLED, LOST), ended["error"]),
    }


_PLAINLY: Final = {"success": {"status": SUCCESS}, "error": {"status": ERROR}}
UPLOADER: Final = Layout(
    parts={"errors": "faults", "logs": "lines", "metadata": "state"},
    part_fields={"done": "checked", "total": "linecount", "faults": "total-errors"},
    workers=("scripts.worker * <prefix> <id>",),
    writes=_told(PENDING, **_PLAINLY),
)
GN2: Final = Layout(
    fields={"created": "request_received_time", "exit-code": "return-code"},
    ending="completion-status",
    time_zone="utc",
    workers=("gn2.scripts.run_external * run-job <id>",),
    writes=_told(
        "queued",
        success={"status": "completed", "completion-status": "success"},
        error={"status": "completed", "completion-status": "error"},
    ),
)
_JSON_JOBS: Final = Layout(
    key=f"{PREFIX}::{ID}",
    json=True,
    fields={"created": "created", "command": "command", "error": "exception", "user-id": "user_id"},
    outputs={"stdout": "search_results"},
)
GN3: Final = _JSON_JOBS
GN_AUTH: Final = msgspec.structs.replace(_JSON_JOBS, workers=("scripts.search_phenotypes * * <id> ...",))
COMMANDS: Final = Layout(
    key=f"{PREFIX}::{ID}",
    fields={"command": "cmd", "user-id": "email"},
    id_time="%Y-%m-%d%H-%M%S",
    outputs={"stdout": "result"},
    workers=("sheepdog.worker ... > <command>", "scripts.worker * ... > <command>"),
    writes=_told("queued", **_PLAINLY),
)

# By the prefix under which each program keeps its jobs; any other is read as gn-uploader's.
LAYOUTS: Final[Mapping[str, Layout]] = {
    "gn-uploader": UPLOADER,
    "gn2": GN2,
    "GN3::JOBS": GN3,
    "GN_AUTH::JOBS": GN_AUTH,
    "cmd": COMMANDS,
}


def layout_of(prefix: str) -> Layout:
    """The description that ships for a prefix."""
    return LAYOUTS.get(prefix, UPLOADER)
