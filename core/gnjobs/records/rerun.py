"""The shell line that runs a job again: printed for a person, never run by us."""

import re
import shlex

from gnjobs.errors import GnjobsError
from gnjobs.outputs.lines import encode_text
from gnjobs.records import values
from gnjobs.records.fields import Job
from gnjobs.records.keys import DEFAULT_PREFIX, is_id
from gnjobs.safetext import safe_text
from gnjobs.text import LONGEST

_ODD = re.compile(r"[^\x20-\x7e]")


def shell_word(text: str) -> str:
    r"""Quote one word; one with characters that a terminal could act on is written with escapes, `$'\x1b'`."""
    if safe_text(text) == text and "\n" not in text and "\t" not in text:
        return shlex.quote(text)
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _ODD.sub(lambda found: _escaped(found.group()), quoted) + "'"


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in encode_text(character))


def rerun_line(job: Job, prefix: str = DEFAULT_PREFIX) -> str:
    """Say how to run the job again with the same type, user, label and limits, in its directory.

    A user id that `gnjobs run` would refuse is left out. Raises `GnjobsError` for a job
    whose record holds no command.
    """
    command = values.command_words(job.command)
    if not command:
        raise GnjobsError(f"the record of job {job.id} holds no command")
    options = {
        "--prefix": None if prefix == DEFAULT_PREFIX else prefix,
        "--type": job.type,
        "--user": job.user if job.user and is_id(job.user) else None,
        "--label": job.label,
        "--keep": _seconds(job.keep),
        "--stuck-after": _seconds(job.stuck_after),
    }
    words = ["gnjobs", "run"]
    for option, value in options.items():
        words += [] if value is None else [option, shell_word(value)]
    line = " ".join([*words, "--", *map(shell_word, command)])
    return f"cd {shell_word(_directory(job.cwd))} && {line}" if job.cwd else line


def _seconds(length: float | None) -> str | None:
    return f"{length:.15g}s" if length and length <= LONGEST else None


def _directory(cwd: str) -> str:
    """Name a directory so that `cd` takes it for no option."""
    return f"./{cwd}" if cwd.startswith("-") else cwd
