"""A job that prints a lot: `python -m gnjobs_tui.demo.jobs.chatty SECONDS`."""

import sys
import time

from gnjobs import current_job

LINES_A_SECOND = 200

if __name__ == "__main__":
    seconds = int(sys.argv[1])
    with current_job() as job:
        job.message("printing every marker")
        for second in range(seconds):
            first = second * LINES_A_SECOND
            print(
                "\n".join(
                    f"marker rs{number}\t{number % 997 / 7:.3f}"
                    for number in range(first, first + LINES_A_SECOND)
                )
            )
            sys.stdout.flush()
            print(f"warning: chromosome {second % 20} has gaps", file=sys.stderr, flush=True)
            job.progress(second + 1, seconds)
            time.sleep(1)
