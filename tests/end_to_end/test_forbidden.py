"""What a role must not do is refused by the server itself, and its rules reach no keys but those of its prefix."""

import msgspec
import pytest
import redis

from gnjobs.records.acl import AclRole, acl_rules
from gnjobs.records.keys import Keys
from gnjobs.records.layouts import UPLOADER
from tests.support.access import Guarded

OTHERS = [
    "FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "CONFIG SET maxmemory 1", "CLIENT LIST", "CLIENT KILL ID 1",
    "CLIENT PAUSE 100000", "ACL LIST", "ACL SETUSER me on", "MONITOR", "SHUTDOWN", "SAVE",
    "SCRIPT FLUSH", "FUNCTION FLUSH", "REPLICAOF NO ONE", "SWAPDB 0 1", "GET other:key", "HGETALL other:jobs:j",
    "SET other:key 1", "PUBLISH __redis__:invalidate x", "SUBSCRIBE other", "SORT gn-uploader:jobs",
]  # fmt: skip
REQUESTS = [
    "XADD gn-uploader:users:agunn:requests * request kill job j",
    "XADD gn-uploader:admins:requests * request kill job j",
]
RECORDS = [
    "HSET gn-uploader:jobs:j command evil", "HSET gn-uploader:jobs:j status success", "DEL gn-uploader:jobs:j",
    "EXPIRE gn-uploader:jobs:j 1", "ZADD gn-uploader:jobs 1 forged", "ZREM gn-uploader:unfinished j",
    "XADD gn-uploader:jobs:j:output * at 1", "XADD gn-uploader:jobs:j:answers * answer 1",
    "XADD gn-uploader:hosts:h:control * request start job j", "SET gn-uploader:hosts:h:agent me",
    "XADD gn-uploader:hosts:h:starts * request start job j",
    "XADD gn-uploader:events * kind killed",
]  # fmt: skip
SCRIPTS = ["EVAL return(1) 0", "EVAL redis.call('set',KEYS[1],'1') 1 gn-uploader:jobs:j"]
FORBIDDEN: dict[AclRole, list[str]] = {
    "viewer": [*OTHERS, *REQUESTS, *RECORDS, *SCRIPTS, "XADD gn-uploader:users:jsmith:requests * request kill"],
    "curator": [*OTHERS, *REQUESTS, *RECORDS, *SCRIPTS],
    "admin": [*OTHERS, REQUESTS[0], "SET gn-uploader:hosts:h:agent me", "DEL gn-uploader:events"],
    "writer": [*OTHERS, *REQUESTS, "XADD gn-uploader:hosts:h:control * request start job j",
               "SET gn-uploader:hosts:h:agent me", "DEL gn-uploader:events", "XTRIM gn-uploader:events MAXLEN 0"],
    "web": [*OTHERS, REQUESTS[1], "XADD gn-uploader:hosts:h:control * request kill job j",
            "SET gn-uploader:hosts:h:agent me", "DEL gn-uploader:events"],
    "agent": [*OTHERS, REQUESTS[0], "XADD gn-uploader:hosts:h:control * request start job j", "DEL gn-uploader:events"],
}  # fmt: skip


@pytest.mark.parametrize("role", sorted(FORBIDDEN))
def test_what_a_role_must_not_do_is_refused(guarded: Guarded, role: AclRole) -> None:
    url = guarded.as_role(role, "jsmith")
    guarded.admin.hset("gn-uploader:jobs:j", "status", "running")
    guarded.admin.set("other:key", "kept")
    assert [command for command in FORBIDDEN[role] if not is_refused(url, command)] == []


def is_refused(url: str, command: str) -> bool:
    """Whether the server's ACL forbids a command, itself or within a script."""
    with redis.Redis.from_url(url, protocol=2) as client:
        try:
            client.execute_command(*command.split())
        except redis.ResponseError as error:
            return isinstance(error, redis.exceptions.NoPermissionError) or "permissions" in str(error)
    return False


@pytest.mark.parametrize("role", ["viewer", "writer", "admin", "web", "agent"])
def test_a_role_reaches_jobs_that_are_laid_out_beside_the_prefixs_other_keys(role: AclRole) -> None:
    beside = Keys("mine", msgspec.structs.replace(UPLOADER, key="mine/<id>"))
    keys = acl_rules(role, [beside]).split()
    assert {"%R~mine/*", "~mine/*"} & set(keys)
    assert not {"%R~gn-uploader:jobs:*", "~gn-uploader:jobs:*"} & set(keys)
