"""Hears requests, from those of the last seconds on: all of admins, and of others as many as can be done."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import redis

from gnjobs.records import values
from gnjobs.records.backoff import Backoff
from gnjobs.records.bounded import TooLarge
from gnjobs.records.connection import connect, passing_over_other_types, server_time
from gnjobs.records.keys import Keys, is_id
from gnjobs.records.requests import (
    ControlRequest,
    KillStep,
    answer,
    proven_asker,
    read_request,
    read_step,
    step,
)
from gnjobs.records.servers import is_refusal
from gnjobs.records.streams import newest_id, read_behind
from gnjobs.records.values import encode_text

_BLOCK_SECONDS = 20.0
# How long a request may wait to be heard (seconds): one that was forgotten strikes nothing later.
VALID_SECONDS = 300.0
_AT_A_TIME = 100
_BURST, _A_SECOND = 100.0, 20.0  # how many requests of others than admins are heard, by stream
_PAUSE_SECONDS = 0.05
_SOON_SECONDS = 1.0
_ANSWERS_LOOKED_AT = 1000


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


def _id_at(seconds: float) -> str:
    return f"{max(0, int(seconds * 1000))}-0"


class ControlListener(threading.Thread):
    """Hears the requests on some streams through outages: those of the last seconds, and what follows.

    `on_request` is called from this thread with those that `is_for_us` picks. What is older than five minutes is
    refused, and what somebody has answered for good before we began is left out. `streams` names the streams, each with
    a reason to hear it, and may be replaced at any time: one whose reason changes is heard again from the last seconds
    on. Of what others than admins ask, a hundred at once and then 20 a second are heard, and the rest is dropped.
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
        self._ended: set[str] = set()  # whose last entry is one of the future
        self._begun: dict[str, float] = {}
        self._budgets: dict[str, _Budget] = {}
        self._answers = connect(url)

    def answer(self, request: ControlRequest, said: KillStep) -> None:
        """Answer a request; an answer that Redis does not take is lost, but what it tells of is done."""
        if not request.id or request.job is None or not is_id(request.job):
            return
        try:
            answer(self._answers, self._keys.answers(request.job), request.id, said)
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
            start = _id_at(since)
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
                at = request.asked_ms / 1000
                self._take(request, now - at, is_earlier=at <= self._begun[stream])

    def _note_renewed(self) -> None:
        """Hear again what ended in the future and was begun anew, and all where the server's clock was set back."""
        now = self._now()
        self._ended = {stream for stream, last in self._last.items() if values.is_ahead(last, now)}
        for stream in list(self._ended):
            if not values.is_ahead(newest_id(self._client, stream), now):
                self._last[stream] = _id_at(now - VALID_SECONDS)
                self._begun[stream] = min(self._begun[stream], now)
                self._ended.remove(stream)

    def _may_be_heard(self, stream: str, request: ControlRequest) -> bool:
        if proven_asker(self._keys, request) is None:
            return True
        return self._budgets.setdefault(stream, _Budget()).spend()

    def _skip(self, stream: str, now: float) -> None:
        """Hear nothing of a stream on which too much is asked that was asked up to now, and wait a moment."""
        self._last[stream] = max(self._last[stream], _id_at(now), key=_numbers)
        time.sleep(_PAUSE_SECONDS)

    def _read(self) -> Any:
        """Wait for entries."""
        block = _SOON_SECONDS if self._ended else self._block_seconds
        return read_behind(self._client, self._last, _AT_A_TIME, int(block * 1000))

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
        newest: Any = []
        with contextlib.suppress(TooLarge), passing_over_other_types():
            newest = self._client.xrevrange(self._keys.answers(request.job), count=_ANSWERS_LOOKED_AT)
        answers = (fields for _, fields in newest if fields.get(b"answer") == encode_text(request.id))
        return any((said := read_step(fields.get(b"step"))) and said.final for fields in answers)

    def _now(self) -> float:
        """The server's time (unix seconds), which ids of entries are."""
        return server_time(self._client)
