"""`kill -9` of supervisors and agents: `python -m tests.end_to_end.random_kills --jobs N --at-once M --seed S`.

Every process of a job holds a lock on a file, so that the kernel says whether any of them lives, whatever `/proc` and
Redis say. Reports how each job should have ended and did; exits with 1 if any ended wrongly, late, or not whole.
"""

import argparse
import random
import sys
import tempfile
import threading
from pathlib import Path

from gnjobs.processes.host import host_name
from tests.end_to_end.kill_ledger import KillLedger
from tests.end_to_end.kill_plans import Plan
from tests.end_to_end.victims import Victim
from tests.support.agents import Agents
from tests.support.servers import Server, running_server


def run(
    server: Server, *, jobs: int, at_once: int, seed: int, old_beat: bool = False
) -> tuple[KillLedger, int]:
    """Run that many jobs under random kills; returns what became of them, and how many agents were killed."""
    chance, ledger, guard = random.Random(seed), KillLedger(), threading.Lock()
    plans = iter([Plan.draw(chance) for _ in range(jobs)])
    with tempfile.TemporaryDirectory() as directory, Agents(server.url) as agents:
        places = (Path(directory) / str(number) for number in range(jobs))

        def work() -> None:
            while True:
                with guard:
                    plan, place = next(plans, None), next(places, None)
                if plan is None or place is None:
                    return
                Victim(server, plan, place, old_beat=old_beat).run(agents, ledger, guard)

        workers = [threading.Thread(target=work) for _ in range(at_once)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return ledger, agents.kills


def main() -> int:
    """Run as told by the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, running_server(Path(directory)) as server:
        ledger, agents = run(server, jobs=chosen.jobs, at_once=chosen.at_once, seed=chosen.seed)
    print(f"{host_name()}: {agents} agents killed")
    print(ledger)
    return 0 if ledger.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
