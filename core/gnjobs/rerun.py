"""The shell line that runs a job again: printed for a person, never run by us."""

import re
import shlex

from gnjobs import values
from gnjobs.lines import encode_text
from gnjobs.records import Job

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]")


def shell_word(text: str) -> str:
    r"""Quote one word; one with characters that a terminal could act on is written with escapes, `$'\x1b'`."""
    if not _CONTROL.search(text):
        return shlex.quote(text)
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _CONTROL.sub(lambda found: _escaped(found.group()), quoted) + "'"


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in encode_text(character))


def rerun_line(job: Job) -> str:
    """Say how to run the job again with the same type, user, label and limits, in its directory."""
    options = {
        "--type": job.type,
        "--user": job.user,
        "--label": job.label,
        "--keep": None if job.keep is None else f"{job.keep:g}s",
        "--stuck-after": None if job.stuck_after is None else f"{job.stuck_after:g}s",
    }
    words = ["gnjobs", "run"]
    for option, value in options.items():
        if value is not None:
            words += [option, shell_word(value)]
    words += ["--", *(shell_word(word) for word in values.command_words(job.command))]
    line = " ".join(words)
    return f"cd {shell_word(job.cwd)} && {line}" if job.cwd else line
