"""Whether a server refuses writes, as far as it tells one who only reads."""

from collections.abc import Mapping
from typing import Any, Final

import redis

REFUSES: Final = "Redis refuses writes"


class WriteRefusals:
    """Looks at a server's own account of itself; the counts of its refusals tell whether they go on."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._counts: dict[str, int] | None = None
        self._is_forbidden = False

    def look(self) -> str:
        """Why the server refuses writes, in one line; empty where it does not, or may not be asked."""
        if self._is_forbidden:
            return ""
        try:
            info: Mapping[str, Any] = self._client.info()
        except redis.ResponseError:
            self._is_forbidden = True
            return ""
        counts = {kind: _count(info, kind) for kind in ("OOM", "MISCONF")}
        before = self._counts or counts
        self._counts = counts
        return _why(info, {kind for kind, count in counts.items() if count > before[kind]})


def _count(info: Mapping[str, Any], kind: str) -> int:
    found = info.get(f"errorstat_{kind}")
    return int(found["count"]) if isinstance(found, dict) and "count" in found else 0


def _why(info: Mapping[str, Any], rising: set[str]) -> str:
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    can_evict = info.get("maxmemory_policy", "noeviction") != "noeviction"
    if "OOM" in rising or (0 < most < used and not can_evict):
        return f"{REFUSES}: its memory is full (OOM)"
    if info.get("aof_enabled") and info.get("aof_last_write_status") == "err":
        return f"{REFUSES}: its journal can't be written, is the disk full? (MISCONF)"
    if "MISCONF" in rising:
        return f"{REFUSES}: it can't save its data, is the disk full? (MISCONF)"
    return ""
