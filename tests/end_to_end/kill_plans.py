"""What jobs do that are killed at random, and what is done to them."""

import random
from typing import NamedTuple

LONGEST_JOB = 8.0
# Holds the lock, as everything does that it starts; what it starts goes on when it ends, and so on.
JOB = """
import ctypes, fcntl, os, signal, subprocess, sys, time
place, kind, seconds, code = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
lock = os.open(place + ".lock", os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_SH)
os.set_inheritable(lock, True)
nap = [sys.executable, "-c", f"import time; time.sleep({seconds})"]
def start(*before, **options):
    return subprocess.Popen([*before, *nap], close_fds=False, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, **options)
if kind == "stubborn": signal.signal(signal.SIGTERM, signal.SIG_IGN)
if kind == "tree": [start(), start(start_new_session=True)]
if kind == "daemon" and os.fork() == 0:
    os.setsid()
    if os.fork() == 0: start().wait()
    os._exit(0)
if kind == "unmarked": os.execvpe("env", ["env", "-i", *nap], os.environ)
if kind == "threads":
    import threading
    threading.Thread(target=time.sleep, args=(seconds,)).start()
    ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
end = time.monotonic() + seconds
while time.monotonic() < end:
    if kind == "printer": print("line", flush=True)
    time.sleep(0.1)
open(place + ".done", "w").close()
sys.exit(code)
"""
KINDS = ("printer", "quiet", "stubborn", "tree", "daemon", "unmarked", "threads")


class Plan(NamedTuple):
    """What one job does and what is done to it, in seconds after its launch (None: never)."""

    kind: str
    seconds: float
    code: int
    supervisor_killed: float | None
    agent_too: bool
    asked: float | None

    @classmethod
    def draw(cls, chance: random.Random) -> "Plan":
        """Draw a plan; what would run for ever is killed by somebody, unless only its pid is known of it."""
        kind = chance.choice(KINDS)
        is_endless = kind not in ("printer", "unmarked") and chance.random() < 0.3
        killed = chance.choice([0.0, chance.uniform(0.0, 1.0), chance.uniform(0.5, LONGEST_JOB)])
        asked = chance.uniform(1.0, LONGEST_JOB) if is_endless or chance.random() < 0.2 else None
        if asked is not None and chance.random() < 0.5:
            killed = asked + chance.uniform(0.0, 0.5)  # in the middle of the kill
        return cls(
            kind,
            1000.0 if is_endless else chance.uniform(1.0, LONGEST_JOB),
            chance.choice([0, 3]),
            None if chance.random() < 0.15 else killed,
            chance.random() < 0.5,
            None if kind == "unmarked" else asked,
        )
