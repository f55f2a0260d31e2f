"""The Lua scripts that write with a condition: new records, changes of status, additions of children, other fields."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import redis

from gnjobs.records import values
from gnjobs.records.bounded import LARGEST_FIELD
from gnjobs.records.keys import CHILD_FIELD, MONTH

_CREATE = """
if redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.call('TYPE', KEYS[1]).ok == 'hash' and redis.call('HGET', KEYS[1], 'transition-token') == ARGV[1]
end
redis.call('HSET', KEYS[1], 'transition-token', ARGV[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return true
"""

_IS_ANOTHERS = "local is_anothers = ARGV[1] ~= '' and redis.call('HGET', KEYS[2], 'created') ~= ARGV[1]\n"

# The token of the last transition makes a retry after a lost reply a success instead of a refusal. A record whose
# `status` is read by another program says by `old-words` which fields to write for which status, and has ours beside.
_TRANSITION = (
    _IS_ANOTHERS
    + """
if is_anothers or redis.call('EXISTS', KEYS[1]) == 0 then return {'gone', ''} end
local status = redis.call('HGET', KEYS[1], 'own-status') or redis.call('HGET', KEYS[1], 'status') or ''
if redis.call('HGET', KEYS[1], 'transition-token') == ARGV[4] then return {'stood', status} end
local allowed = false
for word in string.gmatch(ARGV[2], '[^,]+') do allowed = allowed or word == status end
if not allowed then return {'refused', status} end
local words = redis.call('HGET', KEYS[1], 'old-words')
local is_read, told = pcall(cjson.decode, words or 'null')
if words and is_read and type(told) == 'table' then
  redis.call('HSET', KEYS[1], 'own-status', ARGV[3], 'transition-token', ARGV[4])
  local said = told[ARGV[3]]
  for name, value in pairs(type(said) == 'table' and said or {}) do
    if type(value) == 'string' then redis.call('HSET', KEYS[1], name, value) end
  end
else
  redis.call('HSET', KEYS[1], 'status', ARGV[3], 'transition-token', ARGV[4])
end
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return {'done', ARGV[3]}
"""
)

_ADD_CHILDREN = (
    _IS_ANOTHERS
    + """
if is_anothers or redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local added = 0
for i = 2, #ARGV, 2 do
  -- Looked for first: a server that is full refuses even what would change nothing.
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    added = added + 1
  end
end
if added > 0 then redis.call('HINCRBY', KEYS[1], 'children', added) end
return added
"""
)

_SET_FIELDS = (
    _IS_ANOTHERS
    + """
if is_anothers or redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
"""
)

_UNLINK = (
    _IS_ANOTHERS
    + """
if is_anothers and redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('UNLINK', unpack(ARGV, 2))
return 1
"""
)

_MAKE_HASH = (
    _IS_ANOTHERS
    + """
if is_anothers and redis.call('EXISTS', KEYS[2]) == 1 then return end
for i = 3, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
if redis.call('TTL', KEYS[1]) == -1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
"""
)

_ADD_FIELDS = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for i = 1, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""

_SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

_READ_SMALL = """
local found = {}
for i = 2, #ARGV do
  local is_small = redis.call('HSTRLEN', KEYS[1], ARGV[i]) <= tonumber(ARGV[1])
  found[i - 1] = is_small and redis.call('HGET', KEYS[1], ARGV[i])
end
return found
"""

_CHILDREN_PER_CALL = 2000

MoveOutcome = Literal["done", "refused", "gone"]
Value = str | bytes | int | float


class Run(NamedTuple):
    """Whose record or child is meant: that of the job whose `record` says this of when it was `created`.

    The outcome is `gone` where another job has the id by now. Without a time, any job that has the id is meant.
    """

    record: str
    created: str = ""


def _eval(client: redis.Redis, script: str, key: str, run: Run | None, *arguments: Value) -> Any:
    record, created = run or (key, "")
    return client.eval(script, 2, key, record, values.encode_text(created), *arguments)


def create_record(
    client: redis.Redis, key: str, token: str, lifetime: int, fields: Mapping[str, Value]
) -> bool:
    """Make a record that expires in `lifetime` seconds; False where the key is taken.

    Called again with the same token (after a lost reply) it is True and writes nothing.
    """
    pairs = [part for pair in fields.items() for part in pair]
    return bool(client.eval(_CREATE, 1, key, token, lifetime, *pairs))


def transition(
    client: redis.Redis,
    key: str,
    allowed_from: Collection[str],
    to: str,
    token: str,
    fields: Mapping[str, Value] | None = None,
    run: Run | None = None,
) -> tuple[MoveOutcome, str]:
    """Change the status of the job or child at `key` if it is one of `allowed_from`, and the fields with it.

    The same token again is `done` and writes nothing. Returns the outcome and the status that now stands:
    `refused` where another status stands, `gone` where there is no record (none is made).
    """
    outcome, status = add_transition(client, key, allowed_from, to, token, fields, run)
    word: MoveOutcome = "gone" if outcome == b"gone" else "refused" if outcome == b"refused" else "done"
    return word, values.text(status) or ""


def add_transition(
    pipe: redis.Redis,
    key: str,
    allowed_from: Collection[str],
    to: str,
    token: str,
    fields: Mapping[str, Value] | None = None,
    run: Run | None = None,
) -> Any:
    """Add a `transition` to a pipeline, whose reply of outcome and status comes with the others.

    The outcome is `stood` where the same token stands already.
    """
    pairs = [part for pair in (fields or {}).items() for part in pair]
    return _eval(pipe, _TRANSITION, key, run, ",".join(allowed_from), to, token, *pairs)


def add_children(client: redis.Redis, run: Run, output_keys: Mapping[str, str]) -> int:
    """Record children (id → output key) in the job's record; those already there stay.

    May run at any time and again after a lost reply. Returns how many were added, -1 without a record.
    """
    pairs = [(f"{CHILD_FIELD}{child_id}", values.encode_text(key)) for child_id, key in output_keys.items()]
    added = 0
    for start in range(0, len(pairs), _CHILDREN_PER_CALL):
        chunk = [part for pair in pairs[start : start + _CHILDREN_PER_CALL] for part in pair]
        count = int(_eval(client, _ADD_CHILDREN, run.record, run, *chunk))
        if count < 0:
            return count
        added += count
    return added


def unlink(client: redis.Redis, run: Run, names: Sequence[bytes]) -> bool:
    """Remove some hundred keys of a job, unless another has its id by now; returns whether it did."""
    return bool(_eval(client, _UNLINK, run.record, run, *names))


def make_hash(pipe: redis.Redis, key: str, fields: Mapping[str, Value], run: Run) -> None:
    """Make a hash, which expires in a month; fields and an expiry that it has already stay."""
    _eval(pipe, _MAKE_HASH, key, run, MONTH, *(part for pair in fields.items() for part in pair))


def add_fields(client: redis.Redis, key: str, fields: Mapping[str, Value]) -> bool:
    """Set those fields of the hash at `key` that it has not yet; False where there is no such hash."""
    return bool(client.eval(_ADD_FIELDS, 1, key, *(part for pair in fields.items() for part in pair)))


def set_fields(client: redis.Redis, key: str, fields: Mapping[str, Value], run: Run | None = None) -> Any:
    """Set fields of the hash at `key` only where it exists, so that what was removed is not made again.

    Returns 1, or 0 where there is no such hash; in a pipeline the reply comes with the others.
    """
    return _eval(client, _SET_FIELDS, key, run, *(part for pair in fields.items() for part in pair))


def read_small(client: redis.Redis, key: str, names: Sequence[str], most: int = LARGEST_FIELD) -> Any:
    """HMGET without what is larger than `most` bytes; in a pipeline the reply comes with the others."""
    return client.eval(_READ_SMALL, 1, key, most, *names)


def swap(client: redis.Redis, key: str, expected: bytes, value: bytes, milliseconds: int) -> bool:
    """Set the string at `key`, which then expires, only where it holds what is expected (empty: nothing)."""
    return bool(client.eval(_SWAP, 1, key, expected, value, milliseconds))
