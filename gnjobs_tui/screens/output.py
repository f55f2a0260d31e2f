"""The screen of one output: what its keys do (search, go to a line, save, copy a line, kill the writer)."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from redis.exceptions import RedisError
from textual.binding import BindingType
from textual.message import Message
from textual.worker import Worker, get_current_worker

from gnjobs.errors import FilterError, GnjobsError
from gnjobs.outputs.lines import Hole
from gnjobs.text import count_text, plural
from gnjobs_tui.keys import Argument, bind
from gnjobs_tui.outputs.save import Saved, file_name, proposed_path, refusal_words, save_output, typed_path
from gnjobs_tui.outputs.search import Progress, Query, search
from gnjobs_tui.screens.output_base import OutputBase
from gnjobs_tui.screens.target import Target
from gnjobs_tui.widgets.prompt import Prompt

PROGRESS_EVERY = 0.2


class OutputScreen(OutputBase):
    """The output of a job or of one of its children."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("slash", "search", "Search for words", "output.search"),
        bind("n", "search_on(True)", "Next match", "output.next"),
        bind("N", "search_on(False)", "Previous match", "output.previous"),
        bind("l", "line", "Go to a line by its number", "output.line"),
        bind(
            "s,ctrl+s",
            "save",
            "Save all lines in a file, on the machine where the dashboard runs",
            "output.save",
        ),
        bind("y", "copy", "Copy this line", "output.copy"),
        bind("K", "kill", "Kill the writer of this output", "output.kill"),
    ]

    class Searched(Message):
        """How far the search is; None: it came round without finding anything, or ended for a reason."""

        def __init__(self, query: Query, progress: Progress | None, why: str = "") -> None:
            super().__init__()
            self.query_text = query
            self.progress = progress
            self.why = why

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._query: Query | None = None
        self._search: Worker[None] | None = None

    def arguments(self) -> Sequence[Argument]:
        """A line's number and words to search for, beside what every screen takes."""
        return [
            *super().arguments(),
            Argument("line", "go to this line", lambda typed: self._typed(typed, self._go_to_line), "line"),
            Argument(
                "search", "search for this", lambda typed: self._typed(typed, self._search_for), "search"
            ),
        ]

    def _typed(self, typed: str, act: Callable[[str], object]) -> Iterator[tuple[str, Callable[[], object]]]:
        if typed:
            yield typed, partial(act, typed)

    async def _search_for(self, text: str) -> None:
        try:
            self._query = Query(text)
        except FilterError as error:
            self.dashboard.say(str(error), is_error=True)
            return
        self.view.highlight(self._query)
        await self.action_search_on(True)

    def _close_prompt(self) -> None:
        self.prompt.close()
        self.view.focus()

    async def action_search(self) -> None:
        """Ask what to search for."""
        await self.prompt.ask("search", hint="words, or re:^row \\d+ for a regular expression")

    async def action_line(self) -> None:
        """Ask for a line's number."""
        await self.prompt.ask("line")

    async def action_save(self) -> None:
        """Ask where to save every line that is stored."""
        await self.prompt.ask("save as", proposed_path(self._file_name))

    async def on_prompt_answered(self, message: Prompt.Answered) -> None:
        """Search, go to the line, or save."""
        self._close_prompt()
        if message.asked == "line":
            self._go_to_line(message.text)
        elif message.asked == "save as":
            self._save_as(typed_path(message.text, self._file_name))
        elif message.text:
            await self._search_for(message.text)

    def _go_to_line(self, text: str) -> None:
        digits = "".join(text.split()).replace(",", "")
        if digits.isascii() and digits.isdigit():
            self.view.go_to(int(digits[:15]))
        elif digits:
            self.dashboard.say(f"{text} is not the number of a line", is_error=True)

    async def action_search_on(self, forward: bool) -> None:
        """Search on from the current line."""
        if self._query is None:
            await self.action_search()
            return
        self._stop_search()
        find = partial(self._find, self._query, self.view.pager.cursor, forward)
        self._search = self.run_worker(find, thread=True, exit_on_error=False, group="search")
        self.say_beside(f"searching {self._query.text}, esc stops")

    def _find(self, query: Query, start: int, forward: bool) -> None:
        worker, told_at = get_current_worker(), time.monotonic()
        found: Progress | None = None
        why = ""
        try:
            reader = self.source().open()
            for progress in search(reader, query, start, forward=forward, last=reader.extent().last):
                if worker.is_cancelled:
                    return
                if query.is_too_slow:
                    raise FilterError("the regular expression takes too long")
                found = progress if progress.is_found else None
                if not progress.is_found and time.monotonic() - told_at > PROGRESS_EVERY:
                    told_at = time.monotonic()
                    self.post_message(self.Searched(query, progress))
        except (GnjobsError, RedisError, OSError) as error:
            why = self.dashboard.explain(error)
            self.dashboard.say(f"the search ended: {why}", is_error=True)
        self.post_message(self.Searched(query, found, why))

    def on_output_screen_searched(self, message: Searched) -> None:
        """Say how far the search is, or go where it ended."""
        progress, query = message.progress, message.query_text
        if query is not self._query or self._search is None:
            return
        if progress is not None and not progress.is_found:
            self.say_beside(f"searching {query.text}, line {count_text(progress.number)}, esc stops")
            return
        self._search = None
        if progress is not None:
            self.view.go_to(progress.number)
            self.say_beside(f"/{query.text}" + (", from the other end" if progress.is_around else ""))
        elif message.why:
            self.say_beside(f"the search ended: {message.why}")
        else:
            self.say_beside(f"no match for {query.text}")

    def _stop_search(self) -> bool:
        running, self._search = self._search, None
        if running is not None:
            running.cancel()
        return running is not None

    def action_back(self) -> None:
        """Close the field, stop the search, or forget it; else go back."""
        if self.prompt.is_open:
            self._close_prompt()
        elif self._stop_search():
            self.say_beside("the search was stopped")
        elif self.note or self._query is not None:
            self._query = None
            self.view.highlight(None)
            self.say_beside("")
        else:
            super().action_back()

    @property
    def _file_name(self) -> str:
        target = self.target
        return file_name(
            target.label[:40], (target.child_label or target.child or "")[:40], target.job_id[:8]
        )

    def _save_as(self, path: Path) -> None:
        """Save in a thread of the app: it goes on when this screen is left."""
        self.app.run_worker(lambda: self._save(path), thread=True, exit_on_error=False, group="save")
        self.dashboard.say("saving")

    def _save(self, path: Path) -> None:
        worker = get_current_worker()
        try:
            saved = save_output(self.source().open(), path, lambda: worker.is_cancelled)
        except OSError as error:
            self.dashboard.say(f"not saved: {refusal_words(error)}", is_error=True)
        except (GnjobsError, RedisError) as error:
            self.dashboard.say(f"not saved: {self.dashboard.explain(error)}", is_error=True)
        else:
            self.dashboard.say(_saved_words(saved))

    def action_copy(self) -> None:
        """Copy the current line, as it is shown."""
        item = self.view.pager.current
        if item is None:
            return
        self.dashboard.copy(item.words if isinstance(item, Hole) else item.text, "the line")

    def action_kill(self) -> None:
        """Ask whether to kill what writes this."""
        if self.is_refused("kill"):
            return
        if not self.can_be_killed:
            self.dashboard.say("nothing to kill: the writer of this output has ended")
            return
        from gnjobs_tui.screens.kill import KillScreen

        state = self.state
        target = self.target
        if state is not None:
            target = target._replace(percent=state.percent, silence=state.silence)
        self.app.push_screen(KillScreen([target]))


def _saved_words(saved: Saved) -> str:
    were = "was" if saved.missing == 1 else "were"
    missing = f", {count_text(saved.missing)} {were} missing" if saved.missing else ""
    cut = "" if saved.is_whole else ", not all of them"
    return f"saved {plural(saved.lines, 'line')}{missing}{cut} in {saved.path}"
