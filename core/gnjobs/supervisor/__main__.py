"""The process that runs one job: `python -m gnjobs.supervisor`, with the job named in its environment.

Little is imported here before the process has detached itself: the launcher waits for that.
"""

import os
import sys

from gnjobs.processes.proc import shows_our_processes
from gnjobs.supervisor.setup import ReportPipe, become_subreaper, reset_signals


def main() -> int:
    """Detach if told so, then supervise the job to its end; returns the command's exit code."""
    reset_signals()
    if os.path.exists("/proc/self") and not shows_our_processes():
        print("/proc shows another pid namespace than ours, and kills would strike others", file=sys.stderr)  # noqa: T201
        return 1
    reports = ReportPipe.from_environment(os.environ)
    reports.detach()
    become_subreaper()
    from gnjobs.supervisor.claim import supervise_from_environment

    return supervise_from_environment(reports)


if __name__ == "__main__":
    sys.exit(main())
