"""Where Redis is: the default, and a server's name for a person."""

from typing import Final
from urllib.parse import urlsplit

DEFAULT_URL: Final = "redis://localhost:6379/0"
_DEFAULT_PORT = 6379


def describe(url: str) -> str:
    """Name a server without its password: `db1/0`, `db1:6380/2`, `/run/redis.sock`."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port in (None, _DEFAULT_PORT) else f":{parts.port}"
    except ValueError:
        return "?"
    if parts.scheme == "unix":
        return parts.path
    return f"{parts.hostname or 'localhost'}{port}/{parts.path.strip('/') or '0'}"
