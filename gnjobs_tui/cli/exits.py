"""The exit codes of the command line, as the README lists them, and which error has which."""

from typing import Final

from gnjobs.errors import (
    AmbiguousId,
    ConfigError,
    FilterError,
    GnjobsError,
    InvalidJob,
    InvalidName,
    NoSuchJob,
    NotAllowed,
)

DONE, FAILED, WRONG_USE, NO_SUCH_JOB, NOT_ALLOWED, NO_CONNECTION, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

MEANINGS: Final = {
    DONE: "Done.",
    FAILED: "It did not work; one line on standard error says why.",
    WRONG_USE: "Wrong use: an option, id, filter or setting that can't be understood.",
    NO_SUCH_JOB: "There is no such job.",
    NOT_ALLOWED: "Not allowed to this login.",
    NO_CONNECTION: "No connection to Redis.",
}

_CODES: Final[tuple[tuple[type[GnjobsError], int], ...]] = (
    (NoSuchJob, NO_SUCH_JOB),
    (NotAllowed, NOT_ALLOWED),
    (AmbiguousId, WRONG_USE),
    (InvalidName, WRONG_USE),
    (InvalidJob, WRONG_USE),
    (FilterError, WRONG_USE),
    (ConfigError, WRONG_USE),
)


def exit_code(error: GnjobsError) -> int:
    """The exit code for an error of ours."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
