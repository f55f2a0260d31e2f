"""Untrusted text can do nothing to a terminal."""

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gnjobs.text import mask_secrets, safe_line, safe_text, telling
from tests.support.hostile import TEXTS

ANY_TEXT = st.text(
    st.characters(min_codepoint=0, max_codepoint=0x10FFFF, exclude_categories=()), max_size=100
)


def acts(character: str) -> bool:
    """Whether a character is a control, a format character or a surrogate by Unicode's own table."""
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(ANY_TEXT | st.sampled_from(sorted(TEXTS.values())))
def test_nothing_that_acts_is_left(text: str) -> None:
    allowed = set("\t\n")
    assert not [c for c in safe_text(text) if acts(c) and c not in allowed]
    assert not [c for c in safe_line(text) if acts(c)]
    safe_text(text).encode()


@given(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FFF, categories=["L", "N", "P", "S", "Mn"]))
)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    visible = "".join(c for c in text if c not in "\u115f\u1160\u17b4\u17b5")
    assume(mask_secrets(visible) == visible)
    assert safe_text(visible) == visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;x\x07", "␛]52;c;x␇"),
        ("a\x9bb", "a<U+009B>b"),
        ("\udc9b", "<9B>"),
        ("\u202etxt", "<U+202E>txt"),
        ("a\r\nb", "a␍␊b"),
        ("a\tb", "a       b"),
        ("\x7f", "␡"),
        ("[@click=app.bell]x", "[@click=app.bell]x"),
    ],
)
def test_stand_ins_show_what_was_stored(text: str, shown: str) -> None:
    assert safe_line(text) == shown


@given(ANY_TEXT)
def test_making_safe_twice_changes_nothing(text: str) -> None:
    assert safe_line(safe_line(text)) == safe_line(text)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("redis://:secret@db1/0", "redis://:***@db1/0"),
        ("qc --db=mysql://u:p@ss/w:rd@db1/x 'mysql://v:q@db2'", "qc --db=mysql://u:***@db1/x 'mysql://v:***@db2'"),
        ("redis://:p#w[@no port:x", "redis://:***@no port:x"),
        ("https://example.org/a:b mail me@example.org", "https://example.org/a:b mail me@example.org"),
        ("cut off: mysql://gn:hunt", "cut off: mysql://gn:***"),
        ("mysql://gn:12hunt… by tux", "mysql://gn:*** by tux"),
        ("http://db1:8080/x http://db1:80, http://[::1]:80 db1://x:", "http://db1:8080/x http://db1:80, http://[::1]:80 db1://x:"),
    ],
)  # fmt: skip
def test_passwords_of_urls_are_masked_also_where_they_do_not_parse(text: str, masked: str) -> None:
    assert mask_secrets(text) == masked
    assert safe_line(text) == masked


def test_what_else_is_secret_is_said_by_a_pattern() -> None:
    code = "from gnjobs.text import mask_secrets; print(mask_secrets('run --token=abc x'))"
    for pattern, masked in (("token=[a-z]+", "run --*** x"), ("token=(", "***")):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"GNJOBS_MASK": pattern}, capture_output=True, text=True
        )
        assert done.stdout.strip() == masked, done.stderr


def test_a_long_commands_label_is_the_part_that_tells() -> None:
    guix = "/gnu/store/0123456789abcdefghijklmnopqrstuv-python-3.10.7/bin/python3"
    assert telling(f"{guix} -m gn2.scripts.corr_compute /tmp/a 17") == "gn2.scripts.corr_compute /tmp/a 17"
    assert telling(f"{guix} -u /gnu/store/abc-genenetwork/scripts/insert.py db") == "insert.py db"
    assert telling("/gnu/store/0123456789abcdefghijklmnopqrstuv-gemma-0.98.5/bin/gemma -g f") == "gemma -g f"
    assert telling("sleep 1000") == "sleep 1000"
    assert telling(guix) == "python3"


def test_no_character_that_formats_or_controls_is_left() -> None:
    hidden = [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs")
    ]
    assert [character for character in hidden if safe_text(character) == character] == ["\t", "\n"]
