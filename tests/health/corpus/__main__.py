"""`python -m tests.health.corpus`: every kind, in groups that run side by side; exits 1 where anything was not so."""

import sys
import tempfile
from pathlib import Path

from tests.health.corpus.judging import wrongs
from tests.health.corpus.kinds import KINDS
from tests.support.servers import running_server

AT_ONCE = 31


def main() -> int:
    """Judge all kinds and print what was wrong."""
    names, found = list(KINDS), []
    with tempfile.TemporaryDirectory() as directory, running_server(Path(directory)) as server:
        for start in range(0, len(names), AT_ONCE):
            found += wrongs(server, names[start : start + AT_ONCE])
    print(*found, f"{len(names)} kinds, {len(found)} judged wrongly", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
