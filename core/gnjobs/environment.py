"""The variables by which a process knows its job, and by which it is known to belong to it."""

from typing import Final

ENV_URL: Final = "GNJOBS_REDIS_URL"
ENV_PREFIX: Final = "GNJOBS_PREFIX"
ENV_JOB: Final = "GNJOBS_JOB_ID"
ENV_CHILD: Final = "GNJOBS_CHILD_ID"
ENV_LINES_FD: Final = "GNJOBS_LINES_FD"
