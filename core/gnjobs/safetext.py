r"""The one function that makes untrusted text harmless for a terminal.

Control characters, escape sequences, C1 controls, bidirectional and invisible controls and lone surrogates become
visible stand-ins, so that what was stored can be seen and does nothing.
"""

import re

TAB_WIDTH = 8

# C0 (but not tab and newline, which callers lay out), DEL, C1; soft hyphen and Arabic letter mark; zero-width,
# bidirectional marks, embeddings, overrides and isolates; line and paragraph separators; invisible operators and
# deprecated format characters; fillers drawn as nothing; BOM, interlinear marks; surrogates; language tags and
# variation selectors supplement; noncharacters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
_LAYOUT = re.compile(r"[\t\n]")


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0xDC80 <= code <= 0xDCFF:
        return f"<{code - 0xDC00:02X}>"
    return f"<U+{code:04X}>"


def safe_text(text: str) -> str:
    """Return the text with everything that could act replaced by a visible stand-in; tabs and newlines stay.

    Escape is shown as ␛, other C0 controls by their pictures, a byte that was not UTF-8 as `<9B>`, C1 controls,
    bidirectional and invisible characters and surrogates as `<U+202E>`.
    """
    return _UNSAFE.sub(_visible, text) if not text.isascii() or not text.isprintable() else text


def safe_line(text: str) -> str:
    """Return the text on one line: as `safe_text`, with tabs expanded and newlines shown as ␊."""
    safe = safe_text(text)
    if _LAYOUT.search(safe):
        safe = safe.replace("\n", "␊").expandtabs(TAB_WIDTH)
    return safe
