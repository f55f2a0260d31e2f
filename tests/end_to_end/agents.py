"""An agent that comes back whenever it is killed."""

import subprocess
import threading

from tests.end_to_end.terminal import gnjobs


class Agents:
    """The host's agent, started again whenever it ends, as systemd does it."""

    def __init__(self, url: str) -> None:
        self._command = gnjobs("agent", "--redis-url", url)
        self._is_over = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._restart)
        self.kills = 0

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, stderr=subprocess.DEVNULL)

    def __enter__(self) -> "Agents":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._process.kill()
        self._thread.join()

    def _restart(self) -> None:
        while True:
            self._process.wait()
            if self._is_over.wait(0.1):
                return
            self._process = self._start()

    def kill(self) -> None:
        """End the one that is there as the kernel does for memory."""
        self.kills += 1
        self._process.kill()
