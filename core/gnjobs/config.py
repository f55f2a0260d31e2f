"""Configuration: the system's file over the user's own, both TOML.

    url = "redis://db1:6379/0"        # or url-file = "/etc/gnjobs/url", which only its readers can read
    prefix = ["gn-uploader", "gnqc"]  # one or several; jobs are created under the first
    role = "admin"                    # of every login that [roles] and [users] do not name
    theme = "light"
    trust-sudo-user = true            # in the system's file alone

    [roles]
    admin = ["tux"]
    viewer = ["guest"]

    [users]                           # login → user ids in Redis; such a login is a curator unless [roles] names it
    jane = { ids = ["jsmith"], name = "Jane Smith" }
    alan = "agunn"

    [stuck-after]                     # by job type
    insert = "1h"

Without any file whoever holds the Redis URL is admin. The user's own file can only lower her role.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
import platformdirs

from gnjobs.durations import parse_duration
from gnjobs.errors import ConfigError
from gnjobs.health import Limits
from gnjobs.keys import DEFAULT_PREFIX, check_id, check_prefix
from gnjobs.roles import ROLES, Role, UserEntry
from gnjobs.urls import DEFAULT_URL

SYSTEM_FILE = Path("/etc/gnjobs/config.toml")
_KNOWN = frozenset(
    {"url", "url-file", "prefix", "role", "roles", "users", "theme", "stuck-after", "trust-sudo-user"}
)


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
        checked = tuple(check_prefix(prefix) for prefix in prefixes)
        return msgspec.structs.replace(self, url=url or self.url, prefixes=checked or self.prefixes)


def user_file() -> Path:
    """The user's own file, in the XDG place."""
    return Path(platformdirs.user_config_dir("gnjobs")) / "config.toml"


def load_config(path: str | Path | None = None) -> Config:
    """Read the file given, or the system's over the user's own; raises `ConfigError` of one line."""
    if path is not None:
        return _understand(Path(path), _read(Path(path)))
    own, system = _read_if_there(user_file()), _read_if_there(SYSTEM_FILE)
    lowered = own.pop("role", None) if system else None
    own.pop("trust-sudo-user", None)
    if system:
        own.pop("roles", None), own.pop("users", None)
    config = _understand(SYSTEM_FILE if system else user_file(), own | system)
    if lowered is None:
        return config
    return msgspec.structs.replace(config, highest_role=_role(user_file(), "role", lowered))


def _read_if_there(path: Path) -> dict[str, Any]:
    return _read(path) if path.exists() else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error


def _understand(path: Path, found: Mapping[str, Any]) -> Config:
    unknown = sorted(set(found) - _KNOWN)
    if unknown:
        raise ConfigError(f"{path}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
    defaults = Config()
    return Config(
        url=_url(path, found),
        prefixes=tuple(check_prefix(p) for p in _words(path, "prefix", found.get("prefix", DEFAULT_PREFIX))),
        role=_role(path, "role", found.get("role", defaults.role)),
        roles=_roles(path, _table(path, "roles", found)),
        users={login: _user(path, login, entry) for login, entry in _table(path, "users", found).items()},
        theme=_word(path, "theme", found["theme"]) if "theme" in found else None,
        stuck_after=_limits(path, _table(path, "stuck-after", found)),
        trust_sudo_user=found.get("trust-sudo-user") is True,
    )


def _url(path: Path, found: Mapping[str, Any]) -> str:
    if "url-file" not in found:
        return _word(path, "url", found.get("url", DEFAULT_URL))
    url_file = path.parent / _word(path, "url-file", found["url-file"])
    try:
        return url_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: url-file can't be read: {error}") from error


def _word(path: Path, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{path}: {name} must be text")
    return value


def _words(path: Path, name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_word(path, name, each) for each in value)
    return (_word(path, name, value),)


def _table(path: Path, name: str, found: Mapping[str, Any]) -> Mapping[str, Any]:
    table = found.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: [{name}] must be a table")
    return table


def _role(path: Path, name: str, value: object) -> Role:
    if value not in get_args(Role):
        raise ConfigError(f"{path}: {name} must be one of {', '.join(ROLES)}, not {value!r:.80}")
    return value  # type: ignore[return-value]


def _roles(path: Path, table: Mapping[str, Any]) -> dict[str, Role]:
    return {
        login: _role(path, "a name in [roles]", role)
        for role, logins in table.items()
        for login in _words(path, f"roles.{role}", logins)
    }


def _user(path: Path, login: str, entry: object) -> UserEntry:
    name = None
    if isinstance(entry, dict):
        name = _word(path, f"users.{login}.name", entry["name"]) if "name" in entry else None
        entry = entry.get("ids", [])
    ids = _words(path, f"users.{login}", entry)
    return UserEntry(tuple(check_id(each, f"user id of {login}") for each in ids), name)


def _limits(path: Path, table: Mapping[str, Any]) -> dict[str, float]:
    try:
        return {job_type: parse_duration(str(limit)) for job_type, limit in table.items()}
    except ValueError as error:
        raise ConfigError(f"{path}: [stuck-after]: {error}") from error
