"""Removing a job: outputs, children, control and processes, then the record, then the indexes."""

from collections.abc import Iterable
from itertools import islice

import redis

from gnjobs.outputs.lines import encode_text
from gnjobs.records import values
from gnjobs.records.fields import Job
from gnjobs.records.indexes import MOST_KEYS_SCANNED, remove_from_indexes, scan_steps
from gnjobs.records.keys import Keys
from gnjobs.records.reading import output_keys

_AT_ONCE = 500


def remove_job(client: redis.Redis, keys: Keys, job: Job) -> None:
    """Remove every key of a job, in an order that leaves it listed, and this to be done again, until the last.

    What the record does not name, as gn-uploader's children, is looked for among the first 5 000 000 keys.
    """
    _unlink(client, [keys.output(job.id)])
    for chunk in output_keys(client, keys, job.id):
        standard = [keys.child_output(job.id, child_id) for child_id in chunk]
        named = [key for key in chunk.values() if keys.owns(job.id, key)]
        _unlink(client, {*standard, *named})
    hashes = [
        keys.child(job.id, child_id) for chunk in output_keys(client, keys, job.id) for child_id in chunk
    ]
    _unlink(client, hashes)
    for names in scan_steps(client, keys.scan_pattern(job.id), MOST_KEYS_SCANNED):
        inside = [values.text(name) or "" for name in names]
        _unlink(client, [name for name in inside if keys.owns(job.id, name)])
    _unlink(client, [keys.control(job.id), keys.processes(job.id)])
    _unlink(client, [keys.job(job.id)])
    _unlink(client, hashes)  # again, for a child that has just ended may have seen to it that its hash lasts
    pipe = client.pipeline(transaction=False)
    remove_from_indexes(pipe, keys, job)
    pipe.execute()


def _unlink(client: redis.Redis, names: Iterable[str]) -> None:
    left = iter(names)
    while some := list(islice(left, _AT_ONCE)):
        pipe = client.pipeline(transaction=False)
        for name in some:
            pipe.unlink(encode_text(name))
        pipe.execute()
