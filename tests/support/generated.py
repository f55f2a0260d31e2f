"""Parts of the READMEs that are made from the code, between two marks."""

from typing import NamedTuple


class Generated(NamedTuple):
    """The marks around a part."""

    begin: str
    end: str

    def put(self, text: str, part: str) -> str:
        """The text with the part as it is now."""
        before, _, rest = text.partition(self.begin)
        _, _, after = rest.partition(self.end)
        return f"{before}{self.begin}\n{part}\n{self.end}{after}"


def rows(heading: tuple[str, ...], cells: "list[tuple[str, ...]]") -> str:
    """A Markdown table."""
    lines = [heading, tuple("---" for _ in heading), *cells]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
