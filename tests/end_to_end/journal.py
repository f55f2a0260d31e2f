"""A server that loses its last second: what its journal had grown by in that time is cut off after it was killed."""

import threading
import time
from collections import deque
from pathlib import Path

from tests.support.servers import Server

_SAMPLE_EVERY = 0.02
_SAMPLES = 500


class Journal:
    """Keeps how long a server's append-only files were, so that they can be cut to what they were a moment ago."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sizes: deque[tuple[float, dict[Path, int]]] = deque(maxlen=_SAMPLES)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "Journal":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stopping.wait(_SAMPLE_EVERY):
            self._sizes.append((time.monotonic(), self._look()))

    def _look(self) -> dict[Path, int]:
        found = {}
        for path in Path(self._server.directory).glob("appendonlydir/*.incr.aof"):
            try:
                found[path] = path.stat().st_size
            except FileNotFoundError:
                continue
        return found

    def lose(self, seconds: float = 1.0) -> int:
        """Kill the server and cut off what its journal got in its last `seconds`; returns the number of bytes."""
        killed_at = time.monotonic()
        self._server.kill()
        return self.cut(killed_at - seconds)

    def cut(self, moment: float) -> int:
        """Make the files as long as they were at a moment (monotonic); a file that is younger is left as it is."""
        earlier = [sizes for at, sizes in list(self._sizes) if at <= moment]
        kept = earlier[-1] if earlier else {}
        lost = 0
        for path, size in self._look().items():
            if path in kept and kept[path] < size:
                lost += size - kept[path]
                with path.open("r+b") as file:
                    file.truncate(kept[path])
        return lost
