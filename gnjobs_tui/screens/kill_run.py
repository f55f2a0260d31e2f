"""A kill in progress behind its dialog: what it targets, which processes will end, and the text of each step."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gnjobs.errors import GnjobsError
from gnjobs.processes.seen import ProcessSnapshot, SeenProcess
from gnjobs.records import requests
from gnjobs.records.actor import Actor
from gnjobs.records.requests import KillStep
from gnjobs.records.servers import explain
from gnjobs.text import duration_words, percent_text, plural, silence_text
from gnjobs_tui.screens.job_facts import break_lines, without_directory
from gnjobs_tui.screens.target import LeftOut, Target
from gnjobs_tui.style import Cell, Part, fit, safe, state_cell, state_named

if TYPE_CHECKING:
    from gnjobs.store import JobStore

# In a dialog of 72 columns with its frame.
NAME_WIDTH, TOLD_WIDTH = 8, 60
_NO_ANSWER = "Redis does not answer"
AT_ONCE = 16
# Older than this, what a supervisor saw is no longer what is there.
SNAPSHOT_AGE = 60.0
# How Python starts a child of its own; its command line says no more.
SPAWNED = "multiprocessing.spawn"

StoreOf = Callable[[Target], "JobStore"]


def not_asked(why: str) -> str:
    """That a kill could not be asked for, which leaves everything as it was."""
    return f"not asked: {why}; nothing was signalled"


class KillRun:
    """The steps of each target's kill; `run` is called in a thread, everything else reads."""

    def __init__(self, targets: Sequence[Target], actor: Actor, reason: str, store_of: StoreOf) -> None:
        self.targets = targets
        self.actor = actor
        self.reason = reason
        self.steps: list[list[KillStep]] = [[] for _ in targets]
        self.is_told = False
        self._store_of = store_of

    def run(self, tell: Callable[[], object], *, force: bool = False) -> None:
        """Kill all, some at a time; `tell` is called after each step."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="kill") as pool:
            list(pool.map(lambda place: self._kill(place, tell, force), range(len(self.targets))))

    def refuse(self) -> bool:
        """End what was not begun yet, because Redis is away; whether all of it has ended by that."""
        for place, steps in enumerate(self.steps):
            if not steps:
                self.steps[place].append(requests.step("refused", not_asked(_NO_ANSWER), final=True))
        return self.is_over

    def _kill(self, place: int, tell: Callable[[], object], force: bool) -> None:
        from gnjobs.control.kill import kill_job

        target = self.targets[place]
        if self._has_ended(place):
            return
        store: JobStore | None = None
        try:
            store = self._store_of(target)
            steps = kill_job(
                store,
                target.job_id,
                target.child,
                actor=self.actor,
                created=target.created,
                reason=self.reason,
                force=force,
            )
            for each in steps:
                self._add(place, each, tell)
        except GnjobsError as error:
            self._add(place, requests.step("refused", str(error), final=True), tell)
        except (RedisError, OSError) as error:
            is_away = isinstance(error, RedisConnectionError | RedisTimeoutError)
            why = str(error) if store is None else explain(error, store.url)
            if not self.steps[place]:
                why = not_asked(_NO_ANSWER if is_away else why)
            self._add(place, requests.step("refused", why, final=True), tell)

    def _add(self, place: int, step: KillStep, tell: Callable[[], object]) -> None:
        self.steps[place].append(step)
        tell()

    def _has_ended(self, place: int) -> bool:
        return any(step.final for step in self.steps[place])

    @property
    def is_over(self) -> bool:
        """Whether every kill has come to its end."""
        return all(self._has_ended(place) for place in range(len(self.targets)))

    def result(self, place: int) -> KillStep | None:
        """How a target's kill ended, or its last step so far; a hurried kill may end twice, first by what killed."""
        finals = [step for step in self.steps[place] if step.final]
        verified = [step for step in finals if step.verified]
        known = verified[:1] or finals[-1:] or self.steps[place][-1:]
        return known[0] if known else None

    @property
    def _gone(self) -> int:
        """How many of the targets are verified gone."""
        results = map(self.result, range(len(self.targets)))
        return sum(step is not None and step.verified for step in results)

    @property
    def succeeded(self) -> bool:
        """Whether everything is verified gone."""
        return self._gone == len(self.targets)

    def summary(self) -> str:
        """The end in a line."""
        if len(self.targets) == 1 and (step := self.result(0)) is not None:
            return f"{self.targets[0].name}: {step.text}"
        return f"{self._gone} of {len(self.targets)} killed, verified"

    def text(self) -> str:
        """The whole run, to be read again later."""
        reason = f", {self.reason}" if self.reason else ""
        first = self.targets[0]
        one = f": {first.job_id[:8]}  {''.join(map(_plain, first.trail))}" if len(self.targets) == 1 else ""
        lines = ["".join(_plain(part) for part in parts) for parts in self.step_lines()]
        title = f"{title_of(self.targets)}{one}, asked as {self.actor.name}{reason}"
        return "\n".join([title, *(f"  {line}" for line in lines)])

    def step_lines(self) -> list[list[Part]]:
        """Every step of a single kill, with its time; of several kills, one line each with its result.

        They stand as they came, since hosts' clocks differ; a kill that was hurried is told twice, and says it once.
        """
        if len(self.targets) == 1:
            said: dict[str, KillStep] = {}
            for each in self.steps[0]:
                said.setdefault(each.text, each)
            return [_step_line(each) for each in said.values()]
        lines: list[list[Part]] = []
        for place, target in enumerate(self.targets):
            step = self.result(place)
            lines.append(
                [f"{target.name}  ", Cell(step.text, _token(step)) if step else Cell("waiting", "dim")]
            )
        return lines


def _plain(part: Part) -> str:
    return part.text if isinstance(part, Cell) else part


def _token(step: KillStep) -> str:
    if step.final:
        return "success" if step.verified else "error-bold"
    return "plain"


def _step_line(step: KillStep) -> list[Part]:
    clock = datetime.fromtimestamp(step.at).strftime("%H:%M:%S")
    return [Cell(f"{clock}  ", "dim"), Cell(step.text, _token(step))]


def title_of(targets: Sequence[Target]) -> str:
    """What the dialog is called."""
    if len(targets) > 1:
        return f"Kill {len(targets)} jobs"
    return "Kill one child" if targets[0].child else "Kill one job"


def target_lines(targets: Sequence[Target]) -> list[list[Part]]:
    """Who and what it is; of several, a line each: id, state, silence, host, user, label."""
    if len(targets) > 1:
        return [_listed(target, silence_text(target.silence)) for target in targets]
    target = targets[0]
    details = [percent_text(target.percent)] if target.percent is not None else []
    details += [f"silent {duration_words(target.silence)}"] if target.silence and target.silence >= 60 else []
    said = f" ({', '.join(details)})" if details else ""
    where = f"      on {target.host}" if target.host else ""
    account = f", run as {target.account}" if target.account else ""
    return [
        *(_told("child", _without_gaps(target.name) + said) if target.child else []),
        *_told(
            "of job" if target.child else "job",
            f"{target.job_id[:8]}  {_without_gaps(target.label)}{'' if target.child else said}",
        ),
        *_told("owner", f"{target.user or 'nobody'}{where}{account}"),
    ]


def _without_gaps(text: str) -> str:
    """A text that can't look like several beside each other."""
    return " ".join(safe(text).split())


def _told(name: str, text: str) -> list[list[Part]]:
    """A fact in two lines at most; the second stands below the first, so that no text looks like another fact."""
    said = break_lines(safe(text), TOLD_WIDTH, 2)
    return [[Cell(f"{'' if number else name:{NAME_WIDTH}}", "dim"), line] for number, line in enumerate(said)]


def _listed(target: Target, silence: str) -> list[Part]:
    state = state_cell(state_named(target.state)) if target.state else Cell("")
    where = (
        f"{fit(silence, 7, 'right')}  {fit(safe(target.host or ''), 10)} {fit(safe(target.user or ''), 9)} "
    )
    return [f"{target.job_id[:8]}  ", state._replace(text=fit(state.text, 10)), where, target.label]


def left_out_lines(left_out: Sequence[LeftOut]) -> list[list[Part]]:
    """Each marked job that is left out, with why."""
    if not left_out:
        return []
    lines: list[list[Part]] = [[Cell(f"left out of the marked, {len(left_out)}:", "warning")]]
    for target, why in left_out:
        lines += [_listed(target, ""), [Cell(f"          {why}", "dim")]]
    return lines


def what_ends(
    target: Target, snapshot: ProcessSnapshot | None, now: float, is_foreign: bool
) -> list[list[Part]]:
    """Which processes end, as last reported and how long ago."""
    if is_foreign and target.child:
        return [
            [Cell("a worker of a Pool: its parent will wait for it for ever;", "warning")],
            [Cell("kill the job instead?  press ", "warning"), Cell("j", "accent")],
        ]
    if snapshot is None or now - snapshot.at > SNAPSHOT_AGE:
        since = f" since {datetime.fromtimestamp(snapshot.at):%H:%M}" if snapshot is not None else ""
        ends = "every process tagged with this job will be killed"
        if is_foreign and snapshot is None:
            ends = "its worker is looked for on this host by its command line"
        return [[Cell(f"processes unknown{since};", "warning")], [ends]]
    processes = [each for each in snapshot.processes if target.child in (None, each.child)]
    number = f"{plural(len(processes), 'process', 'processes')} {'ends' if len(processes) == 1 else 'end'}"
    goes_on = "; the children still at work go on." if target.child else "."
    seen = f"   (seen {max(0.0, now - snapshot.at):.0f} s ago)"
    return [[number + goes_on, Cell(seen, "dim")], *(_process_line(process) for process in processes)]


def _process_line(process: SeenProcess) -> list[Part]:
    cpu = "" if process.cpu is None else f"{process.cpu:.0f}%"
    command = without_directory(process.command)
    if process.child and SPAWNED in command:
        command = f"{command.partition(' ')[0]}, at work on {process.child}"
    return [f"  {process.pid} {process.state} {cpu:>4}  {command}"]
