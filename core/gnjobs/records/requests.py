"""Requests to a job's supervisor or a host's agent, and their answers.

Requests stand in streams by who may write them: the admins' own, one of each user, one of each host. So the server's
access rules, and not what a request says, prove who asks. Answers stand in a stream of the job that no asker writes.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec
import redis

from gnjobs.records import values
from gnjobs.records.backoff import Backoff
from gnjobs.records.bounded import TooLarge, newest_entries
from gnjobs.records.connection import connect
from gnjobs.records.keys import Keys, is_id
from gnjobs.records.servers import is_refusal
from gnjobs.records.values import Seconds, encode_text
from gnjobs.text import safe_line, safe_text

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


def failed(problem: Exception) -> KillStep:
    """The last step of what failed as nobody expected: what a record holds may be anything."""
    text = safe_line(f"it failed: {type(problem).__name__}: {problem}"[:_LONGEST_PROBLEM])
    return step("refused", text, final=True)


def pid_list(pids: Iterable[int]) -> str:
    """Pids for a person: the first ten, and how many more."""
    all_pids = list(pids)
    shown = ", ".join(str(pid) for pid in all_pids[:10])
    return shown + (f" and {len(all_pids) - 10} more" if len(all_pids) > 10 else "")


DEFAULT_GRACE, LONGEST_GRACE = 10.0, 3600.0
_KEPT_ENTRIES = 10_000
_LONGEST_NAME, _LONGEST_REASON = 200, 2000  # supervisors write them into records
_LIFETIME = 30 * 86400
_BLOCK_SECONDS = 20.0
# How long a request may wait to be heard (seconds): one that was forgotten strikes nothing later.
VALID_SECONDS = 300.0
_NO_MORE_IDS = "exhausted the last possible ID"
_AT_A_TIME = 100
_BURST, _A_SECOND = 100.0, 20.0  # how many requests of others than admins are heard, by stream
_PAUSE_SECONDS = 0.05
_SOON_SECONDS = 1.0
_ANSWERS_LOOKED_AT = 1000


class ControlRequest(msgspec.Struct, frozen=True):
    """Somebody asks for something; `grace` in seconds, `by` a claim of who it is, `origin` the asker's host.

    `id` names the stream that it came on, too.
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


APPLICATIONS = "@applications"  # no user's id


def asker_of(keys: Keys, request: ControlRequest) -> str:
    """Who asks: for a user's stream, that user with the name that the request gives; else that name alone."""
    user = user_asking(keys, request)
    return request.by if user in (None, request.by) else f"{user} ({request.by})"


def asking(keys: Keys, request: ControlRequest) -> str | None:
    """Who asks, as the server proves by the stream: a user, `APPLICATIONS`, or None for admins and ourselves."""
    stream = _stream_of(request)
    return APPLICATIONS if keys.is_host_starts(stream) else keys.user_asking(stream)


def user_asking(keys: Keys, request: ControlRequest) -> str | None:
    """The user whose stream a request came on, as the server proves; None for admins, applications and agents."""
    return keys.user_asking(_stream_of(request))


def _stream_of(request: ControlRequest) -> str:
    return request.id.rpartition("/")[0]


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
    if (
        added is None
    ):  # an entry of the future stands there, behind which nothing is heeded: begin the stream anew
        client.expire(stream, 0)  # which whoever may ask may do, unlike UNLINK
        added = _add(client, stream, encoded)
    return added or ""


def _add(client: redis.Redis, stream: str, fields: Any) -> str | None:
    """Add an entry; returns its id, None where the stream's last one is so far in the future that it is no use."""
    pipe = client.pipeline(transaction=False)
    pipe.xadd(stream, fields, maxlen=_KEPT_ENTRIES, approximate=True)
    pipe.expire(stream, _LIFETIME)
    pipe.time()
    added, expired, now = pipe.execute(raise_on_error=False)
    for reply in (added, expired, now):
        if isinstance(reply, Exception) and _NO_MORE_IDS not in str(reply):
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
    )


def _name(stored: bytes | None) -> str | None:
    name = values.text(stored)
    return None if name is None else name[:_LONGEST_NAME]


def newest_answer(client: redis.Redis, stream: str) -> str:
    """The id of a stream's newest answer, behind which those to a coming request will stand."""
    try:
        newest: Any = client.xrevrange(stream, count=1)
    except TooLarge:
        return _id_of_now(client)
    return (values.text(newest[0][0]) if newest else None) or "0-0"


def _id_of_now(client: redis.Redis) -> str:
    """What stands before all entries to come, where those up to now can't be read."""
    seconds, microseconds = client.time()
    return f"{int(seconds) * 1000 + int(microseconds) // 1000}-0"


def read_answers(
    client: redis.Redis, stream: str, request_id: str, until: Callable[[], float], last: str = "0-0"
) -> Iterator[KillStep | None]:
    """Follow the answers to a request, behind the `last` of others, until the time (monotonic) that `until` says.

    None is yielded now and then while nothing comes, so that the caller can look around.
    """
    while (left := until() - time.monotonic()) > 0:
        block = max(1, int(min(left, 0.25) * 1000))
        try:
            found: Any = client.xread({stream: last}, block=block)
        except TooLarge:
            found = [(stream, newest_entries(client, stream, f"({last}"))]
            last = _id_of_now(client)
        if not found:
            yield None
            continue
        for entry_id, fields in found[0][1]:
            last = values.text(entry_id) or last
            if fields.get(b"answer") == encode_text(request_id) and (step := _read_step(fields.get(b"step"))):
                yield step


def _read_step(stored: bytes | None) -> KillStep | None:
    found = values.json(stored, KillStep)
    return found and msgspec.structs.replace(found, text=safe_text(found.text))  # whoever wrote it


class _Budget:
    """How many requests of one stream may still be heard."""

    def __init__(self) -> None:
        self._left, self._at = _BURST, time.monotonic()

    def spend(self) -> bool:
        """Hear one more, if it may be."""
        now = time.monotonic()
        self._left = min(_BURST, self._left + (now - self._at) * _A_SECOND)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def _numbers(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


class ControlListener(threading.Thread):
    """Hears the requests on some streams through outages: those of the last seconds, and what follows.

    `on_request` is called from this thread with those that `is_for_us` picks. What is older than five minutes is
    refused, and what somebody has answered for good is left out. `streams` names the streams, each with a reason to
    hear it, and may be replaced at any time: one whose reason changes is heard again from the last seconds on. Of what
    others than admins ask, a hundred at once and then 20 a second are heard, and the rest is dropped.
    """

    def __init__(
        self,
        url: str,
        keys: Keys,
        streams: Iterable[str],
        on_request: Callable[[ControlRequest], None],
        *,
        since: float | None = None,
        last_seconds: float = 0.0,
        is_for_us: Callable[[ControlRequest], bool] = lambda _: True,
        block_seconds: float = _BLOCK_SECONDS,
    ) -> None:
        super().__init__(name="control", daemon=True)
        self._block_seconds = block_seconds
        self._client = connect(url, reply_timeout=_BLOCK_SECONDS + 10, retries=0)
        self._keys = keys
        self._on_request = on_request
        self._is_for_us = is_for_us
        self._since = since
        self._last_seconds = last_seconds
        self.streams: Mapping[str, object] = dict.fromkeys(streams)
        self._heard: Mapping[str, object] = {}
        self._last: dict[str, str] = {}
        self._begun: dict[str, float] = {}
        self._budgets: dict[str, _Budget] = {}
        self._answers = connect(url)

    def answer(self, request: ControlRequest, step: KillStep) -> None:
        """Answer a request; an answer that Redis does not take is lost, what it told of is done all the same."""
        if not request.id or request.job is None or not is_id(request.job):
            return
        try:
            answer(self._answers, self._keys.answers(request.job), request.id, step)
        except redis.RedisError:
            return

    def run(self) -> None:
        """Listen for ever."""
        backoff = Backoff()
        while True:
            try:
                self._hear()
                backoff.succeeded()
            except Exception as problem:  # noqa: BLE001 - whatever one request brings, the next is heard
                time.sleep(backoff.failed(is_refusal=is_refusal(problem)))

    def _hear(self) -> None:
        if (streams := self.streams) != self._heard:
            since = self._now() - self._last_seconds if self._since is None else self._since
            start = f"{max(0, int(since * 1000))}-0"
            kept = {stream for stream in streams if self._heard.get(stream, start) == streams[stream]}
            # Where a stream was read to stays, so that no loss of the connection skips a request.
            self._last = {stream: self._last[stream] if stream in kept else start for stream in streams}
            begun = self._now()
            self._begun = {stream: self._begun[stream] if stream in kept else begun for stream in streams}
            self._heard = streams
        self._note_renewed()
        found = self._read()
        now = self._now() if found else 0.0
        for name, entries in found:
            stream = values.text(name) or ""
            for entry_id, fields in entries:
                self._last[stream] = values.text(entry_id) or self._last[stream]
                request = read_request(stream, entry_id, fields)
                if request is None or not self._is_for_us(request):
                    continue
                if not self._may_be_heard(stream, request):
                    self._skip(stream, now)
                    break
                at = int(entry_id.partition(b"-")[0]) / 1000
                self._take(request, now - at, is_earlier=at <= self._begun[stream])

    def _note_renewed(self) -> None:
        """Hear from their beginning streams that ended in the future and were begun anew."""
        for stream in self._ahead():
            if not values.is_ahead(newest_answer(self._client, stream), time.time()):
                self._last[stream] = "0-0"

    def _ahead(self) -> list[str]:
        return [stream for stream, last in self._last.items() if values.is_ahead(last, time.time())]

    def _may_be_heard(self, stream: str, request: ControlRequest) -> bool:
        if asking(self._keys, request) is None:
            return True
        return self._budgets.setdefault(stream, _Budget()).spend()

    def _skip(self, stream: str, now: float) -> None:
        """Hear nothing of a stream on which too much is asked that was asked up to now, and wait a moment."""
        self._last[stream] = max(self._last[stream], f"{int(now * 1000)}-0", key=_numbers)
        time.sleep(_PAUSE_SECONDS)

    def _read(self) -> Any:
        """Wait for entries; those before one that is too large to be read are skipped with it."""
        last: Any = dict(self._last)
        try:
            block = _SOON_SECONDS if self._ahead() else self._block_seconds
            return self._client.xread(last, _AT_A_TIME, int(block * 1000))
        except TooLarge:
            found = {
                stream: newest_entries(self._client, stream, f"({after}") for stream, after in last.items()
            }
            self._last = dict.fromkeys(last, _id_of_now(self._client))
            return [(stream.encode(), entries) for stream, entries in found.items() if entries]

    def _take(self, request: ControlRequest, age: float, *, is_earlier: bool) -> None:
        if age > VALID_SECONDS:
            text = f"it was asked {age:.0f} s ago, and requests are valid for {VALID_SECONDS:.0f} s"
            self.answer(request, step("refused", text, final=True))
        elif age < -values.MOST_AHEAD:
            text = f"its time is {-age:.0f} s ahead of the server's"
            self.answer(request, step("refused", text, final=True))
        elif not is_earlier or not self._last_seconds or not self._is_answered(request):
            self._on_request(request)

    def _is_answered(self, request: ControlRequest) -> bool:
        """Whether one that was here before us has answered for good."""
        if request.job is None or not is_id(request.job):
            return False
        try:
            newest: Any = self._client.xrevrange(self._keys.answers(request.job), count=_ANSWERS_LOOKED_AT)
        except TooLarge:
            return False
        answers = (fields for _, fields in newest if fields.get(b"answer") == encode_text(request.id))
        return any((said := _read_step(fields.get(b"step"))) and said.final for fields in answers)

    def _now(self) -> float:
        """The server's time (unix seconds), which ids of entries are."""
        seconds, microseconds = self._client.time()
        return float(seconds) + float(microseconds) / 1_000_000
