"""Requests to a job's supervisor or a host's agent, and their answers.

Requests stand in streams by who may write them: the admins' own, one of each user, one of each host. So the server's
access rules, and not what a request says, prove who asks. Answers stand in a stream of the job that no asker writes.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import redis

from gnjobs.records import values
from gnjobs.records.connection import is_wrong_type
from gnjobs.records.fields import Job
from gnjobs.records.keys import MONTH, Keys
from gnjobs.records.streams import read_behind, where_to_go_on
from gnjobs.records.values import Seconds, encode_text
from gnjobs.text import few, safe_line, safe_text

if TYPE_CHECKING:
    from gnjobs.records.actor import Actor

StepKind = Literal[
    "asked", "answered", "signalled", "gone", "killing", "verified", "left", "refused", "skipped", "written"
]


class KillStep(msgspec.Struct, frozen=True):
    """One step: `at` in unix seconds, `text` a sentence for a person.

    The last of a kill is `final`; there, `verified` says whether every process is known to be gone.
    """

    at: Seconds
    kind: StepKind
    text: str
    pids: tuple[int, ...] = ()
    verified: bool = False
    final: bool = False


def step(
    kind: StepKind, text: str, pids: Iterable[int] = (), *, verified: bool = False, final: bool = False
) -> KillStep:
    """Make a step of this moment; nothing in its text, which may tell of records, acts on a terminal."""
    return KillStep(time.time(), kind, safe_text(text), tuple(pids), verified, final)


_LONGEST_PROBLEM = 200
_LONGEST_STEP, _LONGEST_LAST, _MOST_STEPS = 2000, 200_000, 100  # as long as a stack may be


def failed(problem: Exception) -> KillStep:
    """The last step of what failed unexpectedly: a record may hold anything."""
    text = safe_line(f"it failed: {type(problem).__name__}: {problem}"[:_LONGEST_PROBLEM])
    return step("refused", text, final=True)


def pid_list(pids: Iterable[int]) -> str:
    """Pids for a person: the first ten, and how many more."""
    return few(map(str, pids), 10)


DEFAULT_GRACE, LONGEST_GRACE = 10.0, 3600.0
_KEPT_ENTRIES = 10_000
_LONGEST_NAME, _LONGEST_REASON = 200, 2000  # supervisors write them into records
_ANSWERS_AT_ONCE = 1000
_NO_MORE_IDS = "exhausted the last possible ID"


class ControlRequest(msgspec.Struct, frozen=True):
    """Somebody asks for something; `grace` in seconds, `by` a claim of who it is, `origin` the asker's host.

    `id` names the stream that it came on, too; `digest` what the job was when it was asked for: of a start see
    `digest_of`, of all else it is that of the run's mark.
    """

    id: str
    kind: str
    job: str | None = None
    child: str | None = None
    by: str = "?"
    reason: str = ""
    grace: float = DEFAULT_GRACE
    force: bool = False
    origin: str | None = None
    digest: str | None = None

    @property
    def stream(self) -> str:
        """The stream that it came on."""
        return self.id.rpartition("/")[0]

    @property
    def asked_ms(self) -> int:
        """When it was asked, by the server's clock (unix milliseconds)."""
        return int(self.id.rpartition("/")[2].partition("-")[0])

    def is_of(self, mark: str | None, since: float) -> bool:
        """Whether it was asked of the run of its job with this digest of a mark, which began then (unix seconds).

        The time counts only where it names no run: the server's clock may have been set back meanwhile.
        """
        if self.digest is not None and self.kind != "start":
            return self.digest == mark
        return self.asked_ms >= int(since * 1000)


def stream_of_asker(keys: Keys, actor: "Actor", job: Job) -> str:
    """Where somebody may ask: a curator in her own stream, which the supervisors of her jobs heed."""
    if actor.role == "curator" and job.user is not None and job.user in actor.user_ids:
        return keys.user_requests(job.user)
    return keys.admin_requests


APPLICATIONS = "@applications"  # no user's id


def asker_words(keys: Keys, request: ControlRequest) -> str:
    """Who asks: for a user's stream, that user with the name that the request gives; else that name alone."""
    user = proven_user(keys, request)
    return request.by if user in (None, request.by) else f"{user} ({request.by})"


def proven_asker(keys: Keys, request: ControlRequest) -> str | None:
    """Who asks, as the server proves by the stream: a user, `APPLICATIONS`, or None for admins and ourselves."""
    stream = request.stream
    return APPLICATIONS if keys.is_host_starts(stream) else keys.user_asking(stream)


def proven_user(keys: Keys, request: ControlRequest) -> str | None:
    """The user whose stream a request came on, as the server proves; None for admins, applications and agents."""
    return keys.user_asking(request.stream)


def send_request(client: redis.Redis, stream: str, request: ControlRequest) -> str:
    """Append a request to a stream; returns the id by which it is answered."""
    said = {
        "request": request.kind,
        "job": request.job,
        "child": request.child,
        "by": request.by,
        "reason": request.reason,
        "grace": f"{request.grace:g}",
        "force": "1" if request.force else None,
        "from": request.origin,
        "digest": request.digest,
    }
    return _id_in(stream, _append(client, stream, {name: value for name, value in said.items() if value}))


def _id_in(stream: str, entry_id: str) -> str:
    return f"{stream}/{entry_id}"


def answer(client: redis.Redis, stream: str, request_id: str, step: KillStep) -> None:
    """Append a step that answers a request to a job's stream of answers."""
    _append(client, stream, {"answer": request_id, "step": msgspec.json.encode(step).decode()})


def _append(client: redis.Redis, stream: str, fields: dict[str, str]) -> str:
    encoded: Any = {name: encode_text(value) for name, value in fields.items()}
    added = _add(client, stream, encoded)
    if added is None:  # begin it anew: all who may ask may use EXPIRE, unlike UNLINK
        client.expire(stream, 0)
        added = _add(client, stream, encoded)
    return added or ""


def _add(client: redis.Redis, stream: str, fields: Any) -> str | None:
    """Add an entry and return its id; None where the key is no stream, or ends in the future, where nothing counts."""
    pipe = client.pipeline(transaction=False)
    pipe.xadd(stream, fields, maxlen=_KEPT_ENTRIES, approximate=True)
    pipe.expire(stream, MONTH)
    pipe.time()
    added, expired, now = pipe.execute(raise_on_error=False)
    for reply in (added, expired, now):
        if isinstance(reply, Exception) and _NO_MORE_IDS not in str(reply) and not is_wrong_type(reply):
            raise reply
    if isinstance(added, Exception) or values.is_ahead(values.text(added) or "0-0", float(now[0])):
        return None
    return values.text(added)


def read_request(stream: str, entry_id: bytes, fields: dict[bytes, bytes]) -> ControlRequest | None:
    """Read an entry as a request; None for what can't be understood."""
    kind = values.text(fields.get(b"request"))
    if kind is None:
        return None
    grace = values.number(fields.get(b"grace"), 0.0, LONGEST_GRACE)
    return ControlRequest(
        id=_id_in(stream, values.text(entry_id) or ""),
        kind=kind[:_LONGEST_NAME],
        job=_name(fields.get(b"job")),
        child=_name(fields.get(b"child")),
        by=(values.text(fields.get(b"by")) or "?")[:_LONGEST_NAME],
        reason=(values.text(fields.get(b"reason")) or "")[:_LONGEST_REASON],
        grace=DEFAULT_GRACE if grace is None else grace,
        force=fields.get(b"force") == b"1",
        origin=_name(fields.get(b"from")),
        digest=_name(fields.get(b"digest")),
    )


def _name(stored: bytes | None) -> str | None:
    name = values.text(stored)
    return None if name is None else name[:_LONGEST_NAME]


def read_answers(
    client: redis.Redis, stream: str, request_id: str, until: Callable[[], float], last: str = "0-0"
) -> Iterator[KillStep | None]:
    """Follow the answers to a request, behind the `last` of others, until the time (monotonic) that `until` says.

    None is yielded now and then while nothing comes, so that the caller can look around. Of steps that are not the last
    only the first hundred are: a job's code can write any number.
    """
    told, behind = 0, {stream: last}
    while (left := until() - time.monotonic()) > 0:
        block = max(1, int(min(left, 0.25) * 1000))
        found = _hear(client, behind, block)
        if not found:
            behind[stream] = where_to_go_on(client, stream, behind[stream])
            yield None
            continue
        for entry_id, fields in found[0][1]:
            behind[stream] = values.text(entry_id) or behind[stream]
            if fields.get(b"answer") != encode_text(request_id) or not (
                step := read_step(fields.get(b"step"))
            ):
                continue
            told += 1
            if step.final or told <= _MOST_STEPS:
                yield step


def _hear(client: redis.Redis, behind: dict[str, str], block: int) -> list[Any]:
    """What was answered by now, or comes soon; nothing where the key holds something other than a stream."""
    try:
        return read_behind(client, behind, _ANSWERS_AT_ONCE, block)
    except redis.ResponseError as error:
        if not is_wrong_type(error):
            raise
    time.sleep(block / 1000)
    return []


def read_step(stored: bytes | None) -> KillStep | None:
    """Read an answer, which anybody may have written: its length is bounded, and nothing in it acts on a terminal."""
    found = values.json(stored, KillStep)
    if found is None:
        return None
    text = found.text[: _LONGEST_LAST if found.final else _LONGEST_STEP]
    return msgspec.structs.replace(found, text=safe_text(text))
