"""`gnjobs acl`: prints the ACL rules of a Redis user for a role."""

import hashlib
import sys
from pathlib import Path

import click

from gnjobs.records.acl import ACL_ROLES, AclRole, acl_rules
from gnjobs.records.keys import Keys, check_user
from gnjobs.text import place_of
from gnjobs_tui.cli.session import Session, complain, warn_of_default_user, with_session
from gnjobs_tui.config import load_config


@click.command()
@click.argument("role", type=click.Choice(ACL_ROLES))
@click.option("--user", metavar="U", help="The curator: a login of [users], or a user id.")
@click.option("--name", metavar="N", help="The name of the Redis user.  [default: gnjobs-ROLE]")
@click.option("--password-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Include the hash of the password in FILE (- for standard input).")  # fmt: skip
@click.option("--acl-file", is_flag=True, help="Print a line for the server's ACL file instead.")
@with_session
def acl(
    session: Session,
    role: AclRole,
    user: str | None,
    name: str | None,
    password_file: Path | None,
    acl_file: bool,
) -> int:
    """Print the ACL rule of a Redis user who may do what ROLE needs and nothing else.

    A viewer reads everything. A curator may also request kills of her own jobs (--user), an admin of any job. A
    writer is for supervisors and the code of jobs, web for an application that creates and starts jobs, and agent
    for a host's agent. A database other than 0 may be used where the URL names it, and 0 always.

    Pipe the rule into redis-cli, or with --acl-file append it to the server's ACL file. Needs Redis 7 or Valkey.
    """
    if (role == "curator") != (user is not None):
        raise click.UsageError("--user is for the role curator, which needs it")
    ids = () if user is None else _ids(session, user)
    name = name or "-".join(("gnjobs", role, *([user] if user else [])))
    database = place_of(session.store.url, "").strip().rpartition("/")[2]  # of a URL that was understood
    digest = None if password_file is None else _digest(password_file)
    if digest is None:
        complain(f"nobody can log in as {name} before it has a password: ACL SETUSER {name} '>…'")
    warn_of_default_user(session, "user default off" if acl_file else "ACL SETUSER default off")
    words = ["user", name] if acl_file else ["ACL", "SETUSER", name, "reset"]
    words += ["on", *([] if digest is None else [f"#{digest}"])]
    print(
        *words,
        acl_rules(role, _keys(session), ids),
        *([] if database == "0" else [f"+select|{database}"]),
    )
    return 0


def _keys(session: Session) -> list[Keys]:
    """Those of the prefixes that were asked for, whose jobs must be no requests of any that is configured either."""
    layouts = session.config.layouts
    keys = [Keys(prefix, layouts.get(prefix)) for prefix in session.config.prefixes]
    for other in load_config(session.config_path).prefixes:
        for each in keys:
            each.check_apart(Keys(other, layouts.get(other)))
    return keys


def _ids(session: Session, user: str) -> tuple[str, ...]:
    entry = session.config.users.get(user)
    return entry.ids if entry is not None else (check_user(user),)


def _digest(path: Path) -> str:
    try:
        password = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{path} can't be read: {error.strerror}") from error
    if not (password := password.rstrip(b"\r\n")):
        raise click.UsageError(f"{path} holds no password")
    return hashlib.sha256(password).hexdigest()
