"""Computes without a word: a little at a time, as this is only a demo."""

import time

from gnjobs import current_job

SHARE_OF_A_CORE = 0.03


def compute(seconds: float) -> None:
    """Use the processor for so long."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


if __name__ == "__main__":
    with current_job() as job:
        job.message("inferring haplotypes of 1.2 million markers")
        while True:
            compute(SHARE_OF_A_CORE)
            time.sleep(1 - SHARE_OF_A_CORE)
