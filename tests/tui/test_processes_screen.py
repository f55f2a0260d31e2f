"""The tree of a job's processes, their open files and stacks."""

import sys
from pathlib import Path

from gnjobs.processes.seen import SeenProcess
from gnjobs_tui.screens.processes import ProcessesScreen, tree
from gnjobs_tui.screens.stacks import StacksScreen
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.command import invoke
from tests.support.dashboard import dashboard, screen_text, shows, until
from tests.support.hostile import FORBIDDEN
from tests.support.servers import Server
from tests.support.supervised import supervised

READER = """
import subprocess, sys, time
with open(sys.argv[1], 'rb') as data:
    data.read(250)
    import os; os.lseek(data.fileno(), 250, 0)
    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])
    print('begins', flush=True)
    time.sleep(1000)
"""


def test_each_process_stands_once_below_its_parent() -> None:
    seen = [
        SeenProcess(pid, 0, parent=parent)
        for pid, parent in ((4, 2), (1, 99), (2, 1), (3, 1), (7, 8), (8, 7))
    ]
    found = [(process.pid, depth) for process, depth in tree(seen)]
    assert sorted(pid for pid, _ in found) == [1, 2, 3, 4, 7, 8]
    assert found[:4] == [(1, 0), (2, 1), (4, 2), (3, 1)]
    assert next(tree([SeenProcess(5, 0, parent=5)]))[1] == 0


async def test_processes_their_files_and_their_stacks(server: Server, tmp_path: Path) -> None:
    data = tmp_path / "da\x1b]0;owned\x07ta\n\nx.tsv"
    data.write_bytes(b"x" * 1000)
    with supervised(server, [sys.executable, "-c", READER, str(data)], label="reads") as job:
        job.wait_for_line("begins")
        async with dashboard(server, size=(200, 30)) as pilot:
            await pilot.press("enter", "p")
            await until(pilot, lambda: isinstance(pilot.app.screen, ProcessesScreen))
            table = pilot.app.screen.query_one(VirtualTable)
            await pilot.press("ctrl+r")
            await until(pilot, lambda: len(table._source) == 2, "both processes")
            screen = await shows(pilot, "processes, seen", "time.sleep(1000)")
            first, second = (line for line in screen.split("\n") if "python" in line)
            assert len(second) - len(second[2:].lstrip()) > len(first) - len(first[2:].lstrip())
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(pilot.app.screen, StacksScreen))
            screen = await shows(
                pilot, "open files at", "25 % of 1000 bytes", "read  ", "da␛]0;owned␇ta␊␊x.tsv"
            )
            assert screen.count("pid ") == 1
            assert not any(sequence in screen_text(pilot) for sequence in FORBIDDEN)
            await pilot.press("escape", "b")
            await shows(pilot, "stacks at")
        told = invoke(server, "stack", job.id, "--files")
        assert told.count("pid ") == 2
        assert "25 % of 1000 bytes" in told
