"""Requests to a job's supervisor or a host's agent, and their answers, on one stream."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import msgspec
import redis

from gnjobs.records import values
from gnjobs.records.backoff import Backoff
from gnjobs.records.connection import connect
from gnjobs.records.values import Seconds, encode_text

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
    """Make a step of this moment; what can't be encoded in its text is replaced."""
    encodable = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return KillStep(time.time(), kind, encodable, tuple(pids), verified, final)


def pid_list(pids: Iterable[int]) -> str:
    """Pids for a person: the first ten, and how many more."""
    all_pids = list(pids)
    shown = ", ".join(str(pid) for pid in all_pids[:10])
    return shown + (f" and {len(all_pids) - 10} more" if len(all_pids) > 10 else "")


DEFAULT_GRACE, LONGEST_GRACE = 10.0, 3600.0
_KEPT_ENTRIES = 10_000
_LIFETIME = 30 * 86400
_BLOCK_SECONDS = 20.0


class ControlRequest(msgspec.Struct, frozen=True):
    """Somebody asks for something; `grace` in seconds, `by` a claim of who it is, `origin` the asker's host."""

    id: str
    kind: str
    job: str | None = None
    child: str | None = None
    by: str = "?"
    reason: str = ""
    grace: float = DEFAULT_GRACE
    force: bool = False
    origin: str | None = None


def send_request(client: redis.Redis, stream: str, request: ControlRequest) -> str:
    """Append a request to a control stream; returns its id there."""
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
    return _append(client, stream, {name: value for name, value in said.items() if value})


def answer(client: redis.Redis, stream: str, request_id: str, step: KillStep) -> None:
    """Append a step that answers a request."""
    _append(client, stream, {"answer": request_id, "step": msgspec.json.encode(step).decode()})


def _append(client: redis.Redis, stream: str, fields: dict[str, str]) -> str:
    encoded: Any = {name: encode_text(value) for name, value in fields.items()}
    pipe = client.pipeline(transaction=False)
    pipe.xadd(stream, encoded, maxlen=_KEPT_ENTRIES, approximate=True)
    pipe.expire(stream, _LIFETIME)
    return values.text(pipe.execute()[0]) or ""


def read_request(entry_id: bytes, fields: dict[bytes, bytes]) -> ControlRequest | None:
    """Read an entry as a request; None for answers and for what can't be understood."""
    kind = values.text(fields.get(b"request"))
    if kind is None:
        return None
    grace = values.number(fields.get(b"grace"), 0.0, LONGEST_GRACE)
    return ControlRequest(
        id=values.text(entry_id) or "",
        kind=kind,
        job=values.text(fields.get(b"job")),
        child=values.text(fields.get(b"child")),
        by=values.text(fields.get(b"by")) or "?",
        reason=values.text(fields.get(b"reason")) or "",
        grace=DEFAULT_GRACE if grace is None else grace,
        force=fields.get(b"force") == b"1",
        origin=values.text(fields.get(b"from")),
    )


def read_answers(
    client: redis.Redis, stream: str, request_id: str, until: Callable[[], float]
) -> Iterator[KillStep | None]:
    """Follow the answers to a request as they come, until the time (monotonic) that `until` says.

    None is yielded now and then while nothing comes, so that the caller can look around.
    """
    last = request_id
    while (left := until() - time.monotonic()) > 0:
        block = max(1, int(min(left, 0.25) * 1000))
        found: Any = client.xread({stream: last}, block=block)
        if not found:
            yield None
            continue
        for entry_id, fields in found[0][1]:
            last = values.text(entry_id) or last
            if fields.get(b"answer") == request_id.encode() and (step := _read_step(fields.get(b"step"))):
                yield step


def _read_step(stored: bytes | None) -> KillStep | None:
    return values.json(stored, KillStep)


class ControlListener(threading.Thread):
    """Hears the requests on one control stream through outages: all, or those of the last seconds and what follows.

    `on_request` is called from this thread. A request that somebody has answered for good is left out.
    """

    def __init__(
        self,
        url: str,
        stream: str,
        on_request: Callable[[ControlRequest], None],
        *,
        last_seconds: float | None = None,
    ) -> None:
        super().__init__(name="control", daemon=True)
        self._client = connect(url, reply_timeout=_BLOCK_SECONDS + 10, retries=0)
        self._stream = stream
        self._on_request = on_request
        self._last_seconds = last_seconds
        self._last = "0-0" if last_seconds is None else None
        self._answers = connect(url)

    def answer(self, request_id: str, step: KillStep) -> None:
        """Answer a request; an answer that Redis does not take is lost, what it told of is done all the same."""
        try:
            answer(self._answers, self._stream, request_id, step)
        except redis.RedisError:
            return

    def run(self) -> None:
        """Listen for ever."""
        backoff = Backoff()
        while True:
            try:
                self._hear()
                backoff.succeeded()
            except redis.RedisError:
                time.sleep(backoff.failed())

    def _hear(self) -> None:
        if self._last is None:
            self._last = self._beginning()
        found: Any = self._client.xread({self._stream: self._last}, block=int(_BLOCK_SECONDS * 1000))
        entries = found[0][1] if found else []
        answered = {fields[b"answer"] for _, fields in entries if _is_final_answer(fields)}
        for entry_id, fields in entries:
            self._last = values.text(entry_id) or self._last
            request = read_request(entry_id, fields)
            if request is not None and entry_id not in answered:
                self._on_request(request)

    def _beginning(self) -> str:
        """Where to begin, as the server's clock has it: once, so that no loss of the connection skips a request."""
        seconds, microseconds = self._client.time()
        now = seconds * 1000 + microseconds // 1000
        return f"{max(0, now - int(1000 * (self._last_seconds or 0.0)))}-0"


def _is_final_answer(fields: dict[bytes, bytes]) -> bool:
    said = _read_step(fields.get(b"step")) if b"answer" in fields else None
    return said is not None and said.final
