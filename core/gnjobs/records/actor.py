"""Who may do what: roles, and the check that runs in the library before every action."""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol, get_args

import msgspec

from gnjobs.errors import NotAllowed
from gnjobs.records.fields import Job

Role = Literal["viewer", "curator", "admin"]
Action = Literal["see", "kill", "remove", "run", "serve"]

ROLES: tuple[Role, ...] = get_args(Role)


class KnownUsers(Protocol):
    """The part of a configuration that decides who somebody is (see `gnjobs_tui.config.Config`)."""

    @property
    def users(self) -> "Mapping[str, UserEntry]":
        """Login names with the user ids that are theirs."""

    def role_of(self, login: str) -> Role:
        """The role of a login name."""


class UserEntry(msgspec.Struct, frozen=True):
    """A login's user ids in Redis, and a name to show."""

    ids: tuple[str, ...] = ()
    name: str | None = None


class AgentStarts(msgspec.Struct, frozen=True, kw_only=True):
    """What a host's agent may start as one account: commands with these beginnings, in these directories.

    A job whose record names no directory begins in the first. Jobs connect to `url`, None where it stands in a
    `url_file` that was not read yet, or that a `problem` keeps from being read here: with the agent's own, their code
    could ask as an admin.
    """

    directories: tuple[str, ...]
    commands: tuple[str, ...]
    url: str | None
    url_file: str | None = None
    problem: str = ""


class Actor(msgspec.Struct, frozen=True):
    """Somebody who acts: a login name (a claim, and shown as one), a role, and the user ids that are theirs."""

    name: str
    role: Role
    user_ids: tuple[str, ...] = ()
    read_only: bool = False

    @classmethod
    def admin(cls, name: str) -> "Actor":
        """One who may do everything."""
        return cls(name, "admin")

    @property
    def own_users(self) -> tuple[str, ...] | None:
        """The users whose jobs are all that this actor sees, or None for one who sees everything."""
        return self.user_ids if self.role == "curator" else None

    @property
    def only_user(self) -> str | None:
        """The one user whose jobs are all that this actor sees, or None."""
        return self.user_ids[0] if self.role == "curator" and len(self.user_ids) == 1 else None

    def may_see_owner(self, owner: str | None) -> bool:
        """Whether this actor sees jobs of this owner."""
        return self.role != "curator" or (owner is not None and owner in self.user_ids)

    def may(self, action: Action, job: Job | None = None) -> bool:
        """Whether the action on this job is allowed."""
        return self.refusal(action, job) is None

    def refusal(self, action: Action, job: Job | None = None) -> str | None:
        """Say in one line why the action is not allowed, or None."""
        if job is not None and not self.may_see_owner(job.user):
            return f"{self.name} is a curator, and job {job.id} belongs to {job.user or 'nobody'}"
        if action == "see":
            return None
        if self.read_only:
            return f"this session is read-only, so {self.name} can't {action}"
        if self.role == "viewer":
            return f"{self.name} is a viewer, who can't {action}"
        if action == "serve" and self.role != "admin":
            return f"{self.name} is a {self.role}, and the host's agent, which kills for everybody, is for admins"
        return None

    def owner(self, user: str | None) -> str | None:
        """The owner of a job that this actor creates, by default a curator's own id; raises `NotAllowed`."""
        if self.role != "curator" or user in self.user_ids:
            return user
        if user is None and self.only_user is not None:
            return self.only_user
        ids = ", ".join(self.user_ids) or "none"
        wanted = "needs --user" if user is None else f"can't run jobs of {user}"
        raise NotAllowed(f"{self.name} is a curator and {wanted}: her user ids are {ids}")

    def check(self, action: Action, job: Job | None = None) -> None:
        """Raise `NotAllowed` with the reason unless the action is allowed."""
        refused = self.refusal(action, job)
        if refused is not None:
            raise NotAllowed(refused)


_INITIAL_UID_MAP = ["0", "0", "4294967295"]


def login_name() -> str:
    """The login name on this machine, from the process's user id: after sudo that is root's.

    In a user namespace anybody can be any user, so nobody there has a name.
    """
    if is_in_user_namespace():
        return f"uid-{os.getuid()}-in-a-user-namespace"
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def is_in_user_namespace() -> bool:
    """Whether user ids mean something else here than on the machine, and root is root of some accounts alone."""
    try:
        return Path("/proc/self/uid_map").read_text().split() != _INITIAL_UID_MAP
    except OSError:
        return False  # a kernel without them


def actor_from(config: KnownUsers, login: str, *, read_only: bool = False) -> Actor:
    """The actor who has this login name, by the configuration."""
    entry = config.users.get(login, UserEntry())
    return Actor(login, config.role_of(login), entry.ids, read_only)
