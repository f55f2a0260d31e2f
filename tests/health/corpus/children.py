"""Jobs whose parts are children of the library: `python -m tests.health.corpus.children KIND WHAT…`.

KIND is `process`, `thread` or `nested` (children of a child); WHAT each one does is the name of a function here.
"""

import sys
import time

from gnjobs import ThisChild, current_job


def sleeps(child: ThisChild) -> None:
    """Do nothing, for ever."""
    time.sleep(3600)


def computes(child: ThisChild) -> None:
    """Compute without a word."""
    while True:
        sum(range(1000))


def progresses(child: ThisChild) -> None:
    """Do nothing but say how far it is."""
    for number in range(1_000_000):
        child.progress(number, unit="rows")
        time.sleep(0.5)


def run(name: str, child: ThisChild) -> None:
    """Do what a child is called."""
    {"sleeps": sleeps, "computes": computes, "progresses": progresses}[name](child)


def run_inside(names: str, child: ThisChild) -> None:
    """Run children of a child."""
    child.run_children(run, names.split())


def main(kind: str, *names: str) -> None:
    """Run children of these names."""
    with current_job() as job:
        if kind == "nested":
            job.run_children(run_inside, [" ".join(names)])
        else:
            job.run_children(run, names, kind="thread" if kind == "thread" else "process")


if __name__ == "__main__":
    main(*sys.argv[1:])
