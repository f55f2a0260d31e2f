"""Configuration: the system's file over the user's own, both TOML.

    url = "redis://db1:6379/0"        # or url-file = "/etc/gnjobs/url", which only its readers can read
    prefix = ["gn-uploader", "gnqc"]  # one or several; jobs are created under the first
    role = "admin"                    # of every login that [roles] and [users] do not name
    theme = "light"
    trust-sudo-user = true            # in the system's file alone

    [roles]                           # role → login names
    admin = ["tux"]
    viewer = ["guest"]

    [users]                           # login → user ids in Redis; such a login is a curator unless [roles] names it
    jane = { ids = ["jsmith"], name = "Jane Smith" }
    alan = "agunn"

    [stuck-after]                     # by job type
    insert = "1h"

    [expires-after]                   # by prefix: what gn-uploader gives its jobs; tells their start
    gn-uploader = "1d"

Without any file whoever holds the Redis URL is admin. Where there is a system's file, only it says who is who, and
each of its settings wins. The user's own file can only lower her role.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import platformdirs

from gnjobs.health.verdict import Limits
from gnjobs.records.actor import ROLES, Role, UserEntry
from gnjobs.records.keys import DEFAULT_PREFIX, check_prefix
from gnjobs.urls import DEFAULT_URL
from gnjobs_tui.config_file import Settings, read_settings

SYSTEM_FILE = Path("/etc/gnjobs/config.toml")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that configuration decides."""

    url: str = DEFAULT_URL
    prefixes: tuple[str, ...] = (DEFAULT_PREFIX,)
    role: Role = "admin"
    roles: Mapping[str, Role] = {}
    highest_role: Role = "admin"
    users: Mapping[str, UserEntry] = {}
    theme: str | None = None
    stuck_after: Mapping[str, float] = {}
    expires_after: Mapping[str, float] = {}
    trust_sudo_user: bool = False

    def role_of(self, login: str) -> Role:
        """The role of a login name."""
        given = self.roles.get(login) or ("curator" if login in self.users else self.role)
        return min(given, self.highest_role, key=ROLES.index)

    def name_of(self, user: str | None) -> str:
        """The name to show for a user id."""
        for entry in self.users.values():
            if user in entry.ids and entry.name:
                return entry.name
        return user or ""

    @property
    def limits(self) -> Limits:
        """When silence is a verdict."""
        return Limits(stuck_by_type=self.stuck_after)

    def overridden(self, *, url: str | None = None, prefixes: tuple[str, ...] = ()) -> "Config":
        """The same with what the command line says instead."""
        checked = tuple(dict.fromkeys(check_prefix(prefix) for prefix in prefixes))
        return msgspec.structs.replace(self, url=url or self.url, prefixes=checked or self.prefixes)


def user_file() -> Path:
    """The user's own file, in the XDG place."""
    return Path(platformdirs.user_config_dir("gnjobs")) / "config.toml"


def load_config(path: str | Path | None = None) -> Config:
    """Read the system's file over the user's own, or over `path` instead of that; raises `ConfigError` of one line."""
    own = read_settings(Path(path)) if path is not None else _read_if_there(user_file())
    system = _read_if_there(SYSTEM_FILE)
    who = system or own or Settings()
    system, own = system or Settings(), own or Settings()
    return Config(
        url=system.url or own.url or DEFAULT_URL,
        prefixes=system.prefixes or own.prefixes or (DEFAULT_PREFIX,),
        role=who.role or "admin",
        roles=who.roles,
        highest_role=own.role or "admin",
        users=who.users,
        theme=system.theme or own.theme,
        stuck_after={**own.stuck_after, **system.stuck_after},
        expires_after={**own.expires_after, **system.expires_after},
        trust_sudo_user=system.trust_sudo_user,
    )


def _read_if_there(path: Path) -> Settings | None:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # it is there and can't be read, which reading says in one line
    return read_settings(path)
