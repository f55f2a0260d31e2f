"""What agents say of their hosts: that they are there, and how busy the host is."""

from typing import Any, Final

import msgspec
import redis

from gnjobs.records import values
from gnjobs.records.bounded import TooLarge
from gnjobs.records.connection import is_wrong_type, passing_over_other_types, read_or_none, server_time
from gnjobs.records.indexes import members_by_score
from gnjobs.records.keys import MONTH, Keys, is_id
from gnjobs.records.values import Seconds

_MOST_HOSTS: Final = 10_000
_LONGEST_LOAD: Final = 4096
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


def write_beat(client: redis.Redis, keys: Keys, host: str, load: HostLoad) -> None:
    """Say that a host's agent is there, and how busy the host is; a key of another type gives way to the list."""
    try:
        client.zadd(keys.hosts, {host: load.at})
    except redis.ResponseError as error:
        if not is_wrong_type(error):
            raise
        client.unlink(keys.hosts)
        client.zadd(keys.hosts, {host: load.at})
    client.set(keys.host_load(host), msgspec.json.encode(load), ex=MONTH)


def renew_list(client: redis.Redis, keys: Keys) -> None:
    """Leave just hosts in their list, where that is too large to be read at once."""
    try:
        read_or_none(client.zrange, keys.hosts, 0, _MOST_HOSTS)
    except TooLarge:
        found = members_by_score(client, keys.hosts, "+inf", 0, _MOST_HOSTS)
        pipe = client.pipeline(transaction=False)
        pipe.unlink(keys.hosts)
        if hosts := {host: at for name, at in found if is_id(host := values.text(name) or "")}:
            pipe.zadd(keys.hosts, hosts)
        pipe.execute()


def agent_beats(client: redis.Redis, keys: Keys, host: str | None) -> bool:
    """Whether a host's agent has beaten lately; True, too, where that can't be told."""
    if host is None or not is_id(host):
        return False
    now = server_time(client)
    beat: Any = now
    with passing_over_other_types():
        beat = client.zscore(keys.hosts, host)
    age = float("inf") if beat is None else now - float(beat)
    return -values.MOST_AHEAD < age < AGENT_BEAT_SECONDS


def read_beats(client: redis.Redis, keys: Keys) -> list[AgentBeat]:
    """Every host whose agent has beaten, and not left in good order, the latest first."""
    latest = server_time(client) + values.MOST_AHEAD
    found = members_by_score(client, keys.hosts, latest, 0, _MOST_HOSTS)
    hosts = [(values.text(name) or "", at) for name, at in found]
    known = [(host, at) for host, at in hosts if is_id(host) and at >= 0]
    pipe = client.pipeline(transaction=False)
    for host, _ in known:
        pipe.getrange(keys.host_load(host), 0, _LONGEST_LOAD)
    loads = pipe.execute(raise_on_error=False)
    return [AgentBeat(host, at, _read(load)) for (host, at), load in zip(known, loads, strict=True)]


def _read(stored: Any) -> HostLoad | None:
    return values.json(stored, HostLoad) if isinstance(stored, bytes) else None
