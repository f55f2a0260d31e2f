"""Where the jobs that this process created are kept, so that `launch(job)` needs no more than the job.

A URL may hold a password: it is remembered here rather than in the job, which people print and log.
"""

import os
import threading
from collections import OrderedDict
from typing import NamedTuple

from gnjobs.records.connection import DEFAULT_URL
from gnjobs.records.environment import ENV_PREFIX, ENV_URL
from gnjobs.records.keys import DEFAULT_PREFIX

_MOST_REMEMBERED = 1000
_lock = threading.Lock()
_origins: "OrderedDict[str, Origin]" = OrderedDict()


class Origin(NamedTuple):
    """A server's URL and the prefix of the keys there."""

    url: str
    prefix: str

    def __repr__(self) -> str:
        return f"Origin(prefix={self.prefix!r})"


def remember_origin(job_id: str, url: str, prefix: str) -> None:
    """Remember where a job was created; the oldest are forgotten beyond a thousand."""
    with _lock:
        _origins[job_id] = Origin(url, prefix)
        if len(_origins) > _MOST_REMEMBERED:
            _origins.popitem(last=False)


def origin_of(job_id: str) -> Origin:
    """Where this process created the job, else where the environment says, else the default."""
    with _lock:
        known = _origins.get(job_id)
    if known is not None:
        return known
    return Origin(os.environ.get(ENV_URL, DEFAULT_URL), os.environ.get(ENV_PREFIX, DEFAULT_PREFIX))
