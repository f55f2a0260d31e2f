"""One configuration file: read as TOML, and every setting in it checked."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gnjobs.errors import ConfigError, InvalidName
from gnjobs.records.actor import ROLES, Role, UserEntry
from gnjobs.records.keys import check_id, check_prefix
from gnjobs.text import parse_duration

KNOWN: Final = (
    "expires-after",
    "prefix",
    "role",
    "roles",
    "stuck-after",
    "theme",
    "trust-sudo-user",
    "url",
    "url-file",
    "users",
)
_PLACE: Final = re.compile(r" \(at line (\d+), column \d+\)$")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What one file says; None where it says nothing."""

    url: str | None = None
    prefixes: tuple[str, ...] | None = None
    role: Role | None = None
    roles: Mapping[str, Role] = {}
    users: Mapping[str, UserEntry] = {}
    theme: str | None = None
    stuck_after: Mapping[str, float] = {}
    expires_after: Mapping[str, float] = {}
    trust_sudo_user: bool = False


def read_settings(path: Path) -> Settings:
    """Read a file; raises `ConfigError` of one line that begins with its path, and the line where that is known."""
    try:
        return _Reader(path, _parse(path)).settings()
    except (ValueError, InvalidName) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no UTF-8 text") from error
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
        return Settings(
            url=self._url(),
            prefixes=self._prefixes(),
            role=_role("role", self._found["role"]) if "role" in self._found else None,
            roles=_roles(self._table("roles")),
            users={login: _user(login, entry) for login, entry in self._table("users").items()},
            theme=_text("theme", self._found["theme"]) if "theme" in self._found else None,
            stuck_after=self._lengths("stuck-after"),
            expires_after=self._lengths("expires-after"),
            trust_sudo_user=self._flag("trust-sudo-user"),
        )

    def _table(self, name: str) -> Mapping[str, Any]:
        table = self._found.get(name, {})
        if not isinstance(table, dict):
            raise ValueError(f"[{name}] must be a table")
        return table

    def _lengths(self, table: str) -> dict[str, float]:
        return {name: _length(f"{table}.{name}", length) for name, length in self._table(table).items()}

    def _flag(self, name: str) -> bool:
        value = self._found.get(name, False)
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false")
        return value

    def _url(self) -> str | None:
        if "url-file" not in self._found:
            return _text("url", self._found["url"]) if "url" in self._found else None
        if "url" in self._found:
            raise ValueError("url and url-file can't both be given")
        url_file = self._path.parent / Path(_text("url-file", self._found["url-file"])).expanduser()
        try:
            url = url_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise ValueError(f"url-file {url_file} can't be read: {error}") from error
        if not url:
            raise ValueError(f"url-file {url_file} is empty")
        return url

    def _prefixes(self) -> tuple[str, ...] | None:
        if "prefix" not in self._found:
            return None
        prefixes = tuple(check_prefix(prefix) for prefix in _texts("prefix", self._found["prefix"]))
        if not prefixes:
            raise ValueError("prefix names none")
        return tuple(dict.fromkeys(prefixes))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text")
    return value


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_text(name, each) for each in value)
    return (_text(name, value),)


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


def _user(login: str, entry: object) -> UserEntry:
    name = None
    if isinstance(entry, dict):
        unknown = sorted(set(entry) - {"ids", "name"})
        if unknown:
            raise ValueError(f"users.{login} has {unknown[0]!r:.80}; known are ids, name")
        name = _text(f"users.{login}.name", entry["name"]) if "name" in entry else None
        entry = entry.get("ids", [])
    ids = _texts(f"users.{login}", entry)
    return UserEntry(tuple(check_id(each, f"user id of {login}") for each in ids), name)


def _length(name: str, length: object) -> float:
    if isinstance(length, bool) or not isinstance(length, str | int | float):
        raise ValueError(f"{name} must be a length of time such as 15m")
    seconds = parse_duration(str(length))
    if not seconds:
        raise ValueError(f"{name} must be more than 0 seconds")
    return seconds
