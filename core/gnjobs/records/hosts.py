"""What agents say of their hosts: that they are there, and how busy the host is."""

from typing import Any, Final

import msgspec
import redis

from gnjobs.records import values
from gnjobs.records.keys import Keys, is_id
from gnjobs.records.values import Seconds

_KEPT_SECONDS: Final = 30 * 86400
_MOST_HOSTS: Final = 10_000
AGENT_BEAT_SECONDS: Final = 30.0


class HostLoad(msgspec.Struct, frozen=True, kw_only=True):
    """How busy a host is: `load` counts processes that run or want to; `memory` and what is `free` of it in bytes."""

    at: Seconds
    cores: values.Count = 0
    load: values.Number = 0.0
    memory: values.Count = 0
    free: values.Count = 0
    account: str = ""
    pid: values.Count = 0


class AgentBeat(msgspec.Struct, frozen=True):
    """An agent's last sign (unix seconds, the server's clock), and what it last said of its host, if it can be read."""

    host: str
    at: float
    load: HostLoad | None = None


def write_beat(client: redis.Redis, keys: Keys, host: str, now: float, load: HostLoad) -> None:
    """Say that a host's agent is there, and how busy the host is."""
    pipe = client.pipeline(transaction=False)
    pipe.zadd(keys.hosts, {host: now})
    pipe.set(keys.host_load(host), msgspec.json.encode(load), ex=_KEPT_SECONDS)
    pipe.execute()


def agent_beats(client: redis.Redis, keys: Keys, host: str | None) -> bool:
    """Whether a host has an agent that has beaten lately."""
    beat = client.zscore(keys.hosts, host) if host is not None and is_id(host) else None
    age = float("inf") if beat is None else float(client.time()[0]) - float(beat)
    return -values.MOST_AHEAD < age < AGENT_BEAT_SECONDS


def read_beats(client: redis.Redis, keys: Keys) -> list[AgentBeat]:
    """Every host that an agent has beaten for and not left in order, the last one first."""
    latest = client.time()[0] + values.MOST_AHEAD
    found: Any = client.zrevrangebyscore(keys.hosts, latest, 0, 0, _MOST_HOSTS, withscores=True)
    hosts = [(values.text(name) or "", float(at)) for name, at in found]
    known = [(host, at) for host, at in hosts if is_id(host)]
    pipe = client.pipeline(transaction=False)
    for host, _ in known:
        pipe.get(keys.host_load(host))
    loads = pipe.execute(raise_on_error=False)
    return [AgentBeat(host, at, _read(load)) for (host, at), load in zip(known, loads, strict=True)]


def _read(stored: Any) -> HostLoad | None:
    return values.json(stored, HostLoad) if isinstance(stored, bytes) else None
