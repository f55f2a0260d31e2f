"""Regular expressions that people type: to match one takes no long time, however it is written."""

import re
import warnings

from gnjobs.errors import FilterError

LONGEST_PATTERN = 300
LONGEST_TEXT = 100_000
SECONDS_A_TEXT = 0.05
SECONDS_IN_ALL = 0.5


class Pattern:
    """A compiled regular expression; `is_spent` once it has taken so much time in vain that it is given up.

    Capitals count only where it has some, unless `ignores_case`. Only the beginning of a text is searched. Raises
    `FilterError` for what can't be compiled.
    """

    def __init__(self, text: str, *, ignores_case: bool = False) -> None:
        import regex  # late: it takes 20 ms that most starts don't need

        if not text:
            raise FilterError("re: needs a regular expression")
        if len(text) > LONGEST_PATTERN:
            raise FilterError(f"a regular expression has at most {LONGEST_PATTERN} characters")
        plain = re.sub(r"\\.", "", text)
        flags = regex.VERSION0 | (regex.IGNORECASE if ignores_case or plain == plain.lower() else 0)
        try:
            with warnings.catch_warnings(action="ignore"):  # they would be printed across the screen
                self._compiled = regex.compile(text, flags)
        except (regex.error, ValueError, OverflowError, RecursionError) as error:
            raise FilterError(f"not a regular expression: {error}") from None
        self._left = SECONDS_IN_ALL

    @property
    def is_spent(self) -> bool:
        """Whether it is given up."""
        return self._left <= 0

    def is_in(self, text: str) -> bool:
        """Whether it stands in a text; not in one that took too long."""
        return bool(self._found(text, 1))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where it stands in a text, as pairs of begin and end; where it matches nothing, nothing is to be shown."""
        return [span for span in self._found(text, LONGEST_TEXT) if span[0] < span[1]]

    def _found(self, text: str, most: int) -> list[tuple[int, int]]:
        if self.is_spent:
            return []
        found = []
        try:
            # Other threads run meanwhile: those that answer keys.
            for match in self._compiled.finditer(
                text, endpos=LONGEST_TEXT, timeout=SECONDS_A_TEXT, concurrent=True
            ):
                found.append(match.span())
                if len(found) == most:
                    break
        except TimeoutError:
            self._left -= SECONDS_A_TEXT
            return []
        return found
