"""A job that ignores SIGTERM and has a helper in another session: only SIGKILL ends them."""

import signal
import subprocess
import sys
import time

from gnjobs import current_job

_HELPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(100000)"

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with current_job() as job:
        helper = subprocess.Popen([sys.executable, "-c", _HELPER], start_new_session=True)
        job.message("ignores SIGTERM")
        step = 0
        while helper.poll() is None:
            step += 1
            job.log(f"step {step}", logger="gn.stubborn")
            time.sleep(5)
