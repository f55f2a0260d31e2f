"""What all commands share: connection, configuration, who is asking, finding a job by a short id, printing safely."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from gnjobs.errors import AmbiguousId, NoSuchChild, NoSuchJob
from gnjobs.records.environment import ENV_ON_END, ENV_PREFIX, ENV_URL
from gnjobs.text import count_text, may_hold_secrets, parse_duration, safe_line
from gnjobs_tui.glyphs import drawable

if TYPE_CHECKING:
    from gnjobs.records.actor import Actor
    from gnjobs.records.bounded import Slowness
    from gnjobs.records.fields import Job
    from gnjobs.store import JobStore
    from gnjobs_tui.config import Config

Command = TypeVar("Command", bound=Callable[..., Any])
_MOST_WAITING = 10.0


class Session:
    """One invocation: its options, and from them configuration, stores and actor, made when needed."""

    def __init__(self) -> None:
        self.redis_url: str | None = None
        self.prefixes: tuple[str, ...] = ()
        self.config_path: str | None = None
        self.read_only = False
        self._slowness: Slowness | None = None

    def add(self, redis_url: str | None, prefixes: tuple[str, ...], config_path: str | None) -> None:
        """Take options given before or after the subcommand; the later one wins."""
        self.redis_url = redis_url or self.redis_url
        self.prefixes = prefixes or self.prefixes
        self.config_path = config_path or self.config_path

    @cached_property
    def config(self) -> "Config":
        """The configuration, with the command line's options over it."""
        from gnjobs_tui.config import load_config

        url = self.redis_url or os.environ.get(ENV_URL)
        prefixes = self.prefixes or tuple(os.environ.get(ENV_PREFIX, "").split())
        config = load_config(self.config_path).overridden(url=url, prefixes=prefixes)
        if config.on_end:  # whatever ends a job for us, and every supervisor that we launch, finds it there
            os.environ[ENV_ON_END] = shlex.join(config.on_end)
        return config

    def only_look(self) -> None:
        """Of a command that reads and ends: a server that keeps it waiting is said to be too slow."""
        from gnjobs.records.bounded import Slowness

        self._slowness = Slowness(_MOST_WAITING)

    @cached_property
    def actor(self) -> "Actor":
        """Who is asking, and in which role."""
        from gnjobs.records.actor import actor_from, login_name

        return actor_from(self.config, login_name(), read_only=self.read_only)

    @cached_property
    def stores(self) -> "tuple[JobStore, ...]":
        """A store for each prefix, the first being the one where jobs are created."""
        from gnjobs.store import JobStore

        try:
            return tuple(
                JobStore.from_url(
                    self.config.url, prefix, layout=self.config.layouts.get(prefix), slowness=self._slowness
                )
                for prefix in self.config.prefixes
            )
        except ValueError as error:
            raise click.UsageError(f"this Redis URL can't be used: {error}") from error

    @property
    def store(self) -> "JobStore":
        """The store where jobs are created: the first that is laid out as gnjobs does it."""
        from gnjobs.records.layouts import OWN_KEY

        return next((store for store in self.stores if store.keys.layout.key == OWN_KEY), self.stores[0])

    def find(self, beginning: str) -> "tuple[JobStore, str]":
        """Find the job whose id begins so, under any prefix, as its store and full id."""
        store, job = self.find_job(beginning)
        return store, job.id

    def find_job(self, beginning: str) -> "tuple[JobStore, Job]":
        """Find the job whose id begins so, under any prefix, with its store: one that the actor may see."""
        found: list[tuple[JobStore, str]] = []
        for store in self.stores:
            found += [(store, job_id) for job_id in self._candidates(store, beginning)]
        if not found:
            raise NoSuchJob(f"no job's id begins with {beginning}")
        if len(found) > 1:
            several = len({store.keys.prefix for store, _ in found}) > 1
            names = [f"{name} (--prefix {store.keys.prefix})" if several else name for store, name in found]
            raise AmbiguousId(beginning, names)
        store, job_id = found[0]
        job = store.get(job_id)
        self.actor.check("see", job)
        return store, job

    def _candidates(self, store: "JobStore", beginning: str) -> list[str]:
        """The ids that begin so; of several only those of jobs that the actor may see."""
        try:
            return [store.resolve(beginning)]
        except NoSuchJob:
            return []
        except AmbiguousId as several:
            return [
                job_id
                for job_id in several.candidates
                if self.actor.own_users is None or self.actor.may_see_owner(store.get(job_id).user)
            ]


def find_child(store: "JobStore", job_id: str, name: str) -> str:
    """Find the child of a job that has this id, or else this label; raises `NoSuchChild`, `AmbiguousId`."""
    try:
        return store.child(job_id, name).id
    except NoSuchChild:
        labelled = [child.id for child in store.all_children(job_id) if child.label == name]
        if not labelled:
            raise
    if len(labelled) > 1:
        raise AmbiguousId(name, labelled)
    return labelled[0]


def warn_of_default_user(session: Session, remedy: str) -> None:
    """Say that the server's roles restrict nobody while it obeys clients without a name, and what ends that."""
    from gnjobs.records.connection import lets_anybody_in

    if lets_anybody_in(session.config.url):
        complain(
            f"this server obeys everybody who connects without a name, whatever roles it knows: {remedy}"
        )


def with_session(command: Command) -> Command:
    """Give a command the global options and pass it the invocation's `Session` as `session`."""

    def run(
        *args: Any, redis_url: str | None, prefix: tuple[str, ...], config: str | None, **kwargs: Any
    ) -> Any:
        context = click.get_current_context()
        session = context.ensure_object(Session)
        session.add(redis_url, prefix, config)
        return context.invoke(command, *args, session=session, **kwargs)

    options = (
        click.option("--redis-url", metavar="URL", help="URL of the Redis server.  [env: GNJOBS_REDIS_URL]"),
        click.option(
            "--prefix",
            metavar="P",
            multiple=True,
            help="Prefix of the keys in Redis; repeat for several.  [env: GNJOBS_PREFIX]",
        ),
        click.option("--config", metavar="FILE", help="Read FILE instead of your own configuration."),
    )
    wrapped: Any = update_wrapper(run, command)
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


class Duration(click.ParamType[float]):
    """A length of time such as `90s`, `15m`, `2h`, `7d`; the value is seconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it, or fail with one line."""
        try:
            return value if isinstance(value, float) else parse_duration(value)
        except ValueError:
            self.fail(f"{value!r:.80} is not a length of time such as 90s, 15m, 2h or 7d", param, ctx)


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


def on_terminal() -> bool:
    """Whether a person reads what we print."""
    return sys.stdout.isatty()


def say(line: str) -> None:
    """Print one line without passwords, in which nothing can act: behind a pipe, too, a terminal may stand."""
    print(drawable(safe_line(line)) if on_terminal() else safe_line(line))


def say_done(line: str) -> None:
    """Print at once one line of what is being done, which goes on where nobody reads that any more."""
    with _going_on_unread(sys.stdout):
        say(line)
        sys.stdout.flush()


@contextmanager
def _going_on_unread(stream: TextIO) -> Iterator[None]:
    """Say nothing more on a stream that takes nothing: its reader is gone, or a disk is full."""
    try:
        yield
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def complain(line: str) -> None:
    """Print one line, made safe, to stderr; what is being done goes on where nobody reads it."""
    with _going_on_unread(sys.stderr):
        print(f"gnjobs: {drawable(safe_line(line))}", file=sys.stderr)


def print_fields(*fields: object) -> None:
    """Print one tab-separated line for programs, without passwords, in which nothing can act.

    Tabs, newlines and backslashes are escaped.
    """
    print(field_line(fields, is_drawn=on_terminal()))


def field_line(fields: Sequence[object], *, is_drawn: bool) -> str:
    """The line that `print_fields` prints: `is_drawn` on a terminal."""
    cells = ["" if field is None else str(field) for field in fields]
    line = "\t".join(cells)
    is_plain = line.isascii() and line.replace("\t", "").isprintable() and line.count("\t") == len(cells) - 1
    if is_plain and "\\" not in line and not is_drawn and not may_hold_secrets(line):
        return line
    escaped = (c.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n") for c in cells)
    made_safe = map(safe_line, escaped)
    return "\t".join(map(drawable, made_safe) if is_drawn else made_safe)


SAID_AFTER = 0.5
SAID_EVERY = 0.25


@contextmanager
def searching() -> Iterator[Callable[[int], None]]:
    """Give what is to be told how many keys were looked at: it says so on one line, which is erased at the end."""
    width = os.get_terminal_size(sys.stderr.fileno()).columns - 1 if sys.stderr.isatty() else 0
    due, is_said = time.monotonic() + SAID_AFTER, False

    def looked(keys: int) -> None:
        nonlocal due, is_said
        if width > 0 and time.monotonic() >= due:
            due, is_said = time.monotonic() + SAID_EVERY, True
            _write(f"looking for jobs that no index lists: {count_text(keys)} keys"[:width].ljust(width))

    try:
        yield looked
    finally:
        if is_said:
            _write(" " * width)


def _write(line: str) -> None:
    # Blanks and not an escape sequence erase it, which any terminal understands.
    print(f"\r{line}\r", end="", file=sys.stderr, flush=True)
