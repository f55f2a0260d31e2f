"""Random faults under running jobs: `python -m tests.end_to_end.random_faults --minutes N --seed S`.

Servers, connections, keys, supervisors, jobs and children are broken at random moments, with the dashboard open in a
terminal beside it. Reports what was injected, and what was lost, stored twice, or told wrongly; exits with 1 if
anything was.
"""

import argparse
import contextlib
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.end_to_end.faults import MORE_FAULTS, Fault, broken
from tests.end_to_end.lost_seconds import STAMPED
from tests.end_to_end.observed_dashboard import ObservedDashboard
from tests.end_to_end.random_jobs import World, run_job
from tests.end_to_end.small_disk import Filler, small_disk
from tests.proxy import running_proxy
from tests.servers import BINARIES, Server

JOBS_AT_ONCE = 3


def main() -> int:
    """Run jobs and break their server until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--binary", choices=sorted(BINARIES), default="valkey")
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = stack.enter_context(small_disk(place / "server"))
        server = Server(place / "server", BINARIES[chosen.binary], STAMPED).start()
        stack.callback(server.stop)
        proxy = stack.enter_context(running_proxy(server.port))
        world = World(server, proxy, place)
        dashboard = stack.enter_context(ObservedDashboard(world))
        end = time.monotonic() + 60 * chosen.minutes
        chance = random.Random(chosen.seed)
        while time.monotonic() < end:
            run_round(world, chance, dashboard, disk)
            print(f"{max(0.0, end - time.monotonic()):.0f} s left: {world.ledger.short()}", flush=True)
    print(world.ledger)
    print(dashboard)
    return 0 if world.ledger.is_clean and dashboard.is_right else 1


def run_round(world: World, chance: random.Random, dashboard: ObservedDashboard, disk: Filler | None) -> None:
    """Run a few jobs at once, with faults until all of them have ended."""
    workers = [
        threading.Thread(target=run_job, args=(world, chance.getrandbits(32))) for _ in range(JOBS_AT_ONCE)
    ]
    for worker in workers:
        worker.start()
    world.wait_until_created(JOBS_AT_ONCE)
    time.sleep(2.5)  # the jobs' records are older than what a server can forget
    while any(worker.is_alive() for worker in workers):
        time.sleep(chance.uniform(0.2, 1.5))
        with world.guard:
            break_something(world, chance, dashboard, disk)
    for worker in workers:
        worker.join()


def break_something(
    world: World, chance: random.Random, dashboard: ObservedDashboard, disk: Filler | None
) -> None:
    """Break the server, or connections at some byte, for a moment."""
    faults = [*MORE_FAULTS, *cuts(world, chance)] + ([disk.fault] if disk is not None else [])
    fault = chance.choice(faults)
    world.ledger.faults[fault.name] += 1
    with broken(world.server, fault):
        time.sleep(chance.uniform(0.0, 1.5))
        dashboard.look(fault)
    dashboard.check_return(fault)


def cuts(world: World, chance: random.Random) -> Iterator[Fault]:
    """Cut whichever connection is at work when so many more bytes have passed."""
    for direction in ("requests_left", "replies_left"):
        limit = chance.randint(0, 5000)

        def cut(_: Server, direction: str = direction, limit: int = limit) -> object:
            setattr(world.proxy, direction, limit)
            return lambda: setattr(world.proxy, direction, None)

        yield Fault(f"cut in {direction.removesuffix('_left')}", cut)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
