"""What the server lets each role do, as rules for a Redis user: one table, printed by `gnjobs acl ROLE`.

A selector in brackets adds commands for some keys alone, so that who may write requests may not write records.
Needs Redis 7 or Valkey, which know selectors and patterns for reading alone.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, get_args

from gnjobs.records.keys import KeyPart, Keys

AclRole = Literal["viewer", "curator", "admin", "writer", "web", "agent"]
ACL_ROLES: Final[tuple[AclRole, ...]] = get_args(AclRole)

_CHANGES_CHANNEL = "&__redis__:invalidate"
# No KEYS, no CONFIG, no CLIENT KILL or PAUSE, no scripts.
_WATCH = (
    *"ping time info dbsize scan client|id client|tracking subscribe".split(),
    *"exists type pttl get getrange strlen llen lrange".split(),
    *"hexists hget hgetall hmget hlen hkeys hstrlen hscan".split(),
    *"zcard zscore zrevrange zrevrangebyscore zscan".split(),
    *"xrange xrevrange xread xinfo|stream".split(),
)
_ASK = ("xadd", "expire")
_KILL = ("eval", "hset", "hsetnx", "zrem", "expire", "unlink")
_RUN = (
    *"ping time info dbsize scan client|id client|tracking subscribe llen eval multi exec".split(),
    *"exists type ttl expire unlink del set".split(),
    *"hexists hget hgetall hmget hscan hset hdel hsetnx hincrby zadd zrem hkeys hlen hstrlen".split(),
    *"xadd xread xrange xrevrange xinfo|stream memory|usage".split(),
)
_CREATE = ("zrange", "zrandmember", "zrangebyscore")
_SERVE = (
    *"time eval exists expire unlink get getrange set del ttl".split(),
    *"hget hgetall hmget hlen hkeys hstrlen hscan hset hdel hsetnx".split(),
    *"zadd zrem zrange zrandmember zrangebyscore zrevrangebyscore xadd xread xrevrange".split(),
)


class Grant(NamedTuple):
    """Commands on keys: `reads` may be read, `writes` written, `keys` both."""

    commands: Sequence[str]
    keys: Sequence[str] = ()
    reads: Sequence[str] = ()
    writes: Sequence[str] = ()
    channels: Sequence[str] = ()

    def rules(self) -> str:
        """As the server reads them."""
        patterns = [*(f"~{key}" for key in self.keys), *(f"%R~{key}" for key in self.reads)]
        patterns += [f"%W~{key}" for key in self.writes]
        return " ".join([*patterns, *self.channels, *(f"+{command}" for command in self.commands)])


def acl_rules(role: AclRole, keys: Iterable[Keys], user_ids: Iterable[str] = ()) -> str:
    """The rules of a user in this role on these keys, without name and password; `user_ids` are a curator's own.

    Raises `InvalidName` where jobs of one prefix could be requests of another.
    """
    keys = list(keys)
    for each, other in itertools.permutations(keys, 2):
        each.check_apart(other)
    first, *others = _grants(role, keys, list(user_ids))
    return " ".join(["resetchannels", first.rules(), *(f"({grant.rules()})" for grant in others)])


def _everything(keys: Keys) -> list[str]:
    """The patterns of all keys of a prefix: its jobs may be laid out beside the others."""
    own, jobs = keys.pattern(KeyPart.EVERYTHING), keys.scan_pattern()
    return [own] if jobs.startswith(own.removesuffix("*")) else [own, jobs]


def _grants(role: AclRole, keys: Sequence[Keys], user_ids: Sequence[str]) -> list[Grant]:
    everything = [pattern for each in keys for pattern in _everything(each)]
    jobs = [pattern for each in keys for pattern in (each.jobs, each.scan_pattern(), each.unfinished)]
    users = [pattern for each in keys for pattern in (each.users, each.pattern(KeyPart.USER_JOBS))]
    hosts = [
        pattern
        for each in keys
        for pattern in (each.hosts, each.pattern(KeyPart.HOST_AGENT), each.pattern(KeyPart.HOST_LOAD))
    ]
    events = [each.events for each in keys]
    admin_requests = [each.admin_requests for each in keys]
    all_requests = [each.pattern(KeyPart.USER_REQUESTS) for each in keys]
    host_requests = [each.pattern(KeyPart.HOST_CONTROL) for each in keys]
    starts = [each.pattern(KeyPart.HOST_STARTS) for each in keys]
    watch = Grant(_WATCH, reads=everything, channels=[_CHANGES_CHANNEL])
    log = Grant(("xadd",), writes=events)
    match role:
        case "viewer":
            return [watch]
        case "curator":
            own = [each.user_requests(user) for each in keys for user in user_ids]
            return [watch, Grant(_ASK, writes=own)]
        case "admin":
            ask = Grant(_ASK, writes=[*admin_requests, *host_requests])
            return [watch, ask, Grant(_KILL, keys=[*jobs, *users]), log]
        case "writer":
            heard = [*admin_requests, *all_requests]
            run = Grant(_RUN, keys=[*jobs, *users], reads=heard, channels=[_CHANGES_CHANNEL])
            return [run, log]
        case "web":
            ask = Grant(_ASK, writes=[*all_requests, *starts])
            return [watch, Grant((*_RUN, *_CREATE), keys=[*jobs, *users]), ask, log]
        case "agent":
            ask = Grant(_ASK, writes=admin_requests)  # of supervisors, before it acts in their place
            heard = [*host_requests, *starts, *all_requests]
            renew = Grant(
                ("xinfo|stream", "xrange", "rename"), keys=[*events, *(each.ended_events for each in keys)]
            )
            return [Grant(_SERVE, keys=[*jobs, *users, *hosts], reads=heard), ask, log, renew]
