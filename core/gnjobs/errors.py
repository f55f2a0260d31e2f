"""What can go wrong, as one tree of exceptions.

    GnjobsError
      ├ InvalidName        an id or a prefix that could reach other keys
      ├ InvalidJob         no command, or an invalid length of time
      ├ JobExists          an id that is taken
      ├ NoSuchJob          no record under this id
      │   └ NoSuchChild    the job has no such child
      ├ AmbiguousId        a shortened id that fits several
      ├ NotAllowed         the actor's role does not permit it
      ├ NotFinished        only jobs that have ended can be removed
      ├ ConfigError        a configuration file that can't be used
      ├ FilterError        a filter that can't be understood
      ├ LaunchError        a supervisor that did not start
      ├ NoProcesses        the system does not show the processes that are to be found
      ├ AnotherWriter      somebody else writes to this output
      ├ OutputRemoved      the output's key was removed under its writer
      ├ OutputRestarted    an output that now ends before what was read of it
      └ NotInJob           this process belongs to no job

Errors of the connection are redis-py's own (`redis.exceptions.RedisError`) and pass through.
Each message is one line that a person can act on.
"""

MOST_NAMED = 10


class GnjobsError(Exception):
    """Base of everything that gnjobs raises on purpose."""


class InvalidName(GnjobsError, ValueError):
    """An id, user id or prefix that is refused since it could reach other keys."""


class InvalidJob(GnjobsError, ValueError):
    """What is asked for makes no job: a command without words, or an invalid length of time."""


class JobExists(GnjobsError):
    """The id is taken by another job."""


class NoSuchJob(GnjobsError, LookupError):
    """There is no record under this id."""


class NoSuchChild(NoSuchJob):
    """The job has no child of this id."""


class AmbiguousId(GnjobsError, LookupError):
    """The given beginning fits the ids of several jobs; `candidates` holds them."""

    def __init__(self, beginning: str, candidates: list[str]) -> None:
        more = ", …" if len(candidates) > MOST_NAMED else ""
        whole = f" ({beginning}/ is the first alone)" if beginning in candidates else ""
        super().__init__(f"{beginning} is ambiguous: {', '.join(candidates[:MOST_NAMED])}{more}{whole}")
        self.candidates = candidates


class NotAllowed(GnjobsError, PermissionError):
    """The actor's role does not permit this action."""


class NotFinished(GnjobsError):
    """The job has not ended, and only jobs that have can be removed."""


class ConfigError(GnjobsError):
    """A configuration file can't be read, or holds what can't be used."""


class FilterError(GnjobsError, ValueError):
    """A filter that can't be understood."""


class LaunchError(GnjobsError):
    """The supervisor of a job could not be started."""


class NoProcesses(GnjobsError):
    """The system does not show its processes, or shows others under our pids."""


class AnotherWriter(GnjobsError):
    """Another writer stores lines under this output's key."""


class OutputRemoved(GnjobsError):
    """The output's key was removed under its writer; nothing more is stored."""


class OutputRestarted(GnjobsError):
    """The output ends before what was already read of it; read it anew."""


class NotInJob(GnjobsError):
    """This process was not started as part of a job."""
