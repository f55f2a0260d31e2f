"""Killing one child of a job alone: its processes, its status, and the answers to whoever asked."""

import threading
from collections.abc import Callable, Collection
from typing import Any

import redis

from gnjobs.processes.end import end_processes
from gnjobs.processes.find import why_not_alone
from gnjobs.processes.seen import Found
from gnjobs.records.connection import connect, patiently
from gnjobs.records.events import record_event
from gnjobs.records.fields import Child, read_child
from gnjobs.records.requests import ControlRequest, KillStep, step
from gnjobs.records.scripts import Outcome, Value, transition
from gnjobs.records.statuses import KILLED, PENDING, RUNNING, STOPPING, UNFINISHED_STATUSES
from gnjobs.records.values import encode_text
from gnjobs.supervisor.answers import Answers
from gnjobs.supervisor.record import RecordLink

_REPORTING_SECONDS = 600.0


class ChildKill(threading.Thread):
    """One request to kill one child; its siblings go on."""

    def __init__(
        self,
        url: str,
        link: RecordLink,
        request: ControlRequest,
        find: Callable[[str | None], Found],
        answers: Answers,
    ) -> None:
        super().__init__(name="child kill", daemon=True)
        self._client = connect(url)
        self._link = link
        self._request = request
        self._child_id = request.child or ""
        self._key = link.keys.child(link.job_id, self._child_id)
        self._find = find
        self._answers = answers

    def run(self) -> None:
        """Kill it, and answer each step; whoever asked gets an answer whatever goes wrong."""
        try:
            child = self._read()
        except redis.RedisError as problem:
            self._say(step("refused", f"its state can't be read: {problem}", final=True))
            return
        try:
            self._kill_if_possible(child)
        except OSError as problem:
            self._say(step("left", f"not killed: {problem}", final=True))

    def _kill_if_possible(self, child: Child) -> None:
        if child.is_final:
            self._say(step("skipped", f"it has already ended: {child.status}", verified=True, final=True))
        elif (obstacle := why_not_alone(child, self._find)) is not None:
            self._say(step("refused", obstacle, final=True))
        else:
            self._kill(child)

    def _kill(self, child: Child) -> None:
        self._say(step("answered", "its supervisor answers"))
        self._move("stopping", (PENDING, RUNNING), STOPPING, {}, limit=0.0)
        verdict = None
        grace = 0.0 if self._request.force else self._request.grace
        for verdict in end_processes(lambda: self._find(self._child_id), grace=grace):
            if verdict.kind not in ("verified", "left"):
                self._say(verdict)
        if verdict is None or not verdict.verified:
            text = verdict.text if verdict is not None else "nothing was found"
            self._say(step("left", f"not killed: {text}", final=True))
            return
        self._conclude(child, verdict)

    def _conclude(self, child: Child, verdict: KillStep) -> None:
        fields: dict[str, Value] = {"finished": round(self._link.now(), 3)}
        outcome = self._move("killed", UNFINISHED_STATUSES, KILLED, fields, limit=_REPORTING_SECONDS)
        if outcome is None:
            self._say(step("left", f"{verdict.text}, but Redis did not take the status", final=True))
        elif outcome[0] == "done":
            self._record(child, verdict)
            by = self._request.by.encode("utf-8", "replace").decode()
            text = f'{verdict.text}; written "killed by {by}"'
            self._say(step("written", text, verified=True, final=True))
        else:
            text = f"{verdict.text}; its status is {outcome[1] or 'gone'}"
            self._say(step("verified", text, verified=True, final=True))

    def _move(
        self, name: str, allowed: Collection[str], to: str, fields: dict[str, Value], limit: float
    ) -> tuple[Outcome, str] | None:
        """Change the child's status, trying for `limit` seconds; None where Redis did not take it."""
        said = fields | {
            "stop-by": encode_text(self._request.by),
            "stop-reason": encode_text(self._request.reason),
        }
        token = f"{self._request.id}:{name}"
        try:
            return patiently(lambda: transition(self._client, self._key, allowed, to, token, said), limit)
        except redis.RedisError:
            return None

    def _record(self, child: Child, verdict: KillStep) -> None:
        text = f"child {child.label or child.id} killed: {verdict.text}"
        by, reason = self._request.by, self._request.reason
        try:
            record_event(
                self._client, self._link.keys, "killed", self._link.job, text=text, by=by, reason=reason
            )
        except redis.RedisError:
            return  # the child's own hash says all of it

    def _read(self) -> Child:
        found: Any = self._client.hgetall(self._key)
        return read_child(self._child_id, found)

    def _say(self, said: KillStep) -> None:
        self._answers.send(self._request, said)
