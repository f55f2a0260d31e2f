"""Configuration: the system's file over the user's own, both TOML.

The README beside this module shows a file with every setting.

Without any file whoever holds the Redis URL is admin. Where there is a system's file, only it says who is who, whom it
does not name is a viewer, and each of its settings wins, but for columns, keys and filters, which are a matter of
taste. The user's own file can only lower her role.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import platformdirs

from gnjobs.errors import ConfigError, FilterError, InvalidName
from gnjobs.health.verdict import Limits
from gnjobs.records.actor import ROLES, AgentStarts, Role, UserEntry
from gnjobs.records.environment import ENV_URL
from gnjobs.records.keys import DEFAULT_PREFIX, Keys, check_prefix, check_user
from gnjobs.records.layouts import LAYOUTS, PREFIX, Layout, layout_of
from gnjobs.text import DEFAULT_URL, parse_duration
from gnjobs_tui.trust import check_secret, is_roots, read_url

_PLACE: Final = re.compile(r" \(at line (\d+), column \d+\)$")


class _Given(msgspec.Struct, frozen=True, kw_only=True):
    """What one file gives, and what all of them together do."""

    roles: Mapping[str, Role] = {}
    users: Mapping[str, UserEntry] = {}
    theme: str | None = None
    columns: tuple[str, ...] = ()
    keys: Mapping[str, str] = {}
    filters: Mapping[str, str] = {}
    stuck_after: Mapping[str, float] = {}
    layouts: Mapping[str, Layout] = {}
    on_end: tuple[str, ...] = ()
    agent_starts: Mapping[str, AgentStarts] = {}


class Settings(_Given, frozen=True, kw_only=True):
    """What one file says; None where it says nothing."""

    url: str | None = None
    prefixes: tuple[str, ...] | None = None
    role: Role | None = None
    expires_after: Mapping[str, float] = {}


# As files spell them; `prefix` may name several.
_SPELT: Final = {"prefixes": "prefix"}
KNOWN: Final = tuple(
    sorted(["url-file", *(_SPELT.get(name, name.replace("_", "-")) for name in Settings.__struct_fields__)])
)


def read_settings(path: Path) -> Settings:
    """Read a file; raises `ConfigError` of one line that begins with its path, and the line where that is known."""
    try:
        return _Reader(path, _parse(path)).settings()
    except (ValueError, InvalidName) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error


def _parse(path: Path) -> dict[str, Any]:
    import tomllib  # where there is a file: its expressions take milliseconds to compile

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        line = f":{place.group(1)}" if place else ""
        raise ConfigError(f"{path}{line}: {_PLACE.sub('', str(error))}") from error


class _Reader:
    """Takes the settings of one file apart; what it raises as `ValueError` names the setting."""

    def __init__(self, path: Path, found: Mapping[str, Any]) -> None:
        self._path = path
        self._found = found

    def settings(self) -> Settings:
        unknown = sorted(set(self._found) - set(KNOWN))
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r:.80}; known are {', '.join(KNOWN)}")
        url, url_file = self._url(self._found)
        return Settings(
            url=url if url_file is None else read_url(url_file),
            prefixes=self._prefixes(),
            role=_role("role", self._found["role"]) if "role" in self._found else None,
            roles=_roles(self._table("roles")),
            users={login: _user(login, entry) for login, entry in self._table("users").items()},
            theme=_text("theme", self._found["theme"]) if "theme" in self._found else None,
            columns=_texts("columns", self._found.get("columns", [])),
            keys={name: ",".join(_texts(f"keys.{name}", keys)) for name, keys in self._table("keys").items()},
            filters={name: _filter(name, text) for name, text in self._table("filters").items()},
            stuck_after=self._lengths("stuck-after"),
            expires_after=self._lengths("expires-after"),
            layouts={
                check_prefix(prefix): _layout(prefix, table)
                for prefix, table in self._table("layouts").items()
            },
            on_end=_texts("on-end", self._found.get("on-end", [])),
            agent_starts={
                account: self._starts(account, entry)
                for account, entry in self._table("agent-starts").items()
            },
        )

    def _table(self, name: str) -> Mapping[str, Any]:
        table = self._found.get(name, {})
        if not isinstance(table, dict):
            raise ValueError(f"[{name}] must be a table")
        return table

    def _lengths(self, table: str) -> dict[str, float]:
        return {name: _length(f"{table}.{name}", length) for name, length in self._table(table).items()}

    def _starts(self, account: str, entry: object) -> AgentStarts:
        name = f"agent-starts.{account}"
        if not isinstance(entry, dict) or not {"directories", "commands"} <= set(entry):
            raise ValueError(f"[{name}] must be a table with directories and commands")
        _check_names(name, entry, ("directories", "commands", "url", "url-file"))
        if not {"url", "url-file"} & set(entry):
            raise ValueError(f"[{name}] must have url or url-file: what its jobs connect to")
        url, url_file = self._url(entry)
        return AgentStarts(
            directories=_some_texts(f"{name}.directories", entry["directories"]),
            commands=_texts(f"{name}.commands", entry["commands"]),
            url=url,
            url_file=None if url_file is None else str(url_file),
        )

    def _url(self, found: Mapping[str, Any]) -> tuple[str | None, Path | None]:
        """The URL that is given, or the file in which it stands."""
        if "url-file" not in found:
            url = _text("url", found["url"]) if "url" in found else None
            check_secret(self._path, url)
            return url, None
        if "url" in found:
            raise ValueError("url and url-file can't both be given")
        return None, self._path.parent / Path(_text("url-file", found["url-file"])).expanduser()

    def _prefixes(self) -> tuple[str, ...] | None:
        if "prefix" not in self._found:
            return None
        prefixes = tuple(check_prefix(prefix) for prefix in _some_texts("prefix", self._found["prefix"]))
        return tuple(dict.fromkeys(prefixes))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text")
    return value


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_text(name, each) for each in value)
    return (_text(name, value),)


def _some_texts(name: str, value: object) -> tuple[str, ...]:
    if not (found := _texts(name, value)):
        raise ValueError(f"{name} is empty")
    return found


def _role(name: str, value: object) -> Role:
    for role in ROLES:
        if role == value:
            return role
    raise ValueError(f"{name} must be one of {', '.join(ROLES)}, not {value!r:.80}")


def _roles(table: Mapping[str, Any]) -> dict[str, Role]:
    return {
        login: _role("a name in [roles]", role)
        for role, logins in table.items()
        for login in _texts(f"roles.{role}", logins)
    }


def _check_names(name: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ValueError(f"{name} has {unknown[0]!r:.80}; known are {', '.join(known)}")


def _user(login: str, entry: object) -> UserEntry:
    name = None
    if isinstance(entry, dict):
        _check_names(f"users.{login}", entry, ("ids", "name"))
        name = _text(f"users.{login}.name", entry["name"]) if "name" in entry else None
        entry = entry.get("ids", [])
    ids = _texts(f"users.{login}", entry)
    return UserEntry(tuple(check_user(each, f"user id of {login}") for each in ids), name)


def _layout(prefix: str, table: object) -> Layout:
    """A description: what it says over that of the prefix that it is like, or that ships for its own.

    Of another prefix's `workers` only those are taken that name the prefix: the others fit that one's jobs as well.
    """
    if not isinstance(table, dict):
        raise ValueError(f"[layouts.{prefix}] must be a table")
    given = dict(table)
    like = given.pop("like", prefix)
    if like not in {prefix, *LAYOUTS}:
        raise ValueError(f"layouts.{prefix}.like must be one of {', '.join(LAYOUTS)}, not {like!r:.80}")
    if "expires-after" in given:
        given["expires-after"] = _length(f"layouts.{prefix}.expires-after", given["expires-after"])
    try:
        whole = msgspec.convert(msgspec.to_builtins(layout_of(like)) | given, Layout)
        if like != prefix and "workers" not in given:
            named = tuple(pattern for pattern in whole.workers if PREFIX in pattern.split())
            whole = msgspec.structs.replace(whole, workers=named)
        return Keys(prefix, whole).layout
    except msgspec.ValidationError as error:
        raise ValueError(f"layouts.{prefix}: {error}") from error


def _filter(name: str, text: object) -> str:
    from gnjobs.watch.filters import parse_filter  # late: only the dashboard needs it

    try:
        return str(parse_filter(_text(f"filters.{name}", text)))
    except FilterError as error:
        raise ValueError(f"filters.{name}: {error}") from error


def _length(name: str, length: object) -> float:
    if isinstance(length, bool) or not isinstance(length, str | int | float):
        raise ValueError(f"{name} must be a length of time such as 15m")
    seconds = parse_duration(str(length))
    if not seconds:
        raise ValueError(f"{name} must be more than 0 seconds")
    return seconds


SYSTEM_FILE = Path("/etc/gnjobs/config.toml")


class Config(_Given, frozen=True, kw_only=True):
    """Everything that configuration decides."""

    url: str = DEFAULT_URL
    has_url: bool = True
    prefixes: tuple[str, ...] = (DEFAULT_PREFIX,)
    role: Role = "admin"
    highest_role: Role = "admin"

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
    def unset(self) -> str:
        """What to add where the server can't be reached: that nobody has named it."""
        return "" if self.has_url else f"; {ENV_URL} is not set"

    @property
    def limits(self) -> Limits:
        """When silence is a verdict."""
        return Limits(stuck_by_type=self.stuck_after)

    def overridden(self, *, url: str | None = None, prefixes: tuple[str, ...] = ()) -> "Config":
        """The same with what the command line says instead."""
        checked = tuple(dict.fromkeys(check_prefix(prefix) for prefix in prefixes))
        return msgspec.structs.replace(
            self, url=url or self.url, has_url=bool(url) or self.has_url, prefixes=checked or self.prefixes
        )


def user_file() -> Path:
    """The user's own file, in the XDG place."""
    return Path(platformdirs.user_config_dir("gnjobs")) / "config.toml"


def load_config(path: str | Path | None = None, *, system_file: Path = SYSTEM_FILE) -> Config:
    """Read the system's file over the user's own, or over `path` instead of that; raises `ConfigError` of one line."""
    own = read_settings(Path(path)) if path is not None else _read_if_there(user_file())
    system = _read_if_there(system_file)
    who = system or own or Settings()
    default_role: Role = "admin" if system is None else "viewer"
    system, own = system or Settings(), own or Settings()
    is_believed = is_roots(system_file)
    return Config(
        url=system.url or own.url or DEFAULT_URL,
        has_url=bool(system.url or own.url),
        prefixes=system.prefixes or own.prefixes or (DEFAULT_PREFIX,),
        role=who.role or default_role,
        roles=who.roles,
        highest_role=own.role or "admin",
        users=who.users,
        theme=system.theme or own.theme,
        columns=own.columns or system.columns,
        keys={**system.keys, **own.keys},
        filters={**system.filters, **own.filters},
        stuck_after={**own.stuck_after, **system.stuck_after},
        layouts=_expiring({**own.layouts, **system.layouts}, {**own.expires_after, **system.expires_after}),
        # Root runs it, and starts jobs, as whom it is for.
        on_end=(system.on_end if is_believed or os.geteuid() != 0 else ()) or own.on_end,
        agent_starts=system.agent_starts if is_believed else {},
    )


def _expiring(layouts: Mapping[str, Layout], expiries: Mapping[str, float]) -> dict[str, Layout]:
    """The descriptions with the expiries that are set for their prefixes."""
    expiring = {
        prefix: msgspec.structs.replace(layouts.get(prefix) or layout_of(prefix), expires_after=seconds)
        for prefix, seconds in expiries.items()
    }
    return {**layouts, **expiring}


def _read_if_there(path: Path) -> Settings | None:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # it is there and can't be read, which reading says in one line
    return read_settings(path)
