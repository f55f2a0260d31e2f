"""What was written is stored when processes end, and a forked copy writes nothing."""

import os
import subprocess
import sys

import pytest
import redis

from gnjobs.outputs.writer import OutputWriter
from tests.support.outputs import KEY, stored_lines
from tests.support.servers import Server


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_copy_refuses_to_write(writer: OutputWriter, client: redis.Redis) -> None:
    writer.write("a")
    pid = os.fork()
    if pid == 0:
        refused = 0
        for action in (lambda: writer.write("b"), lambda: writer.partial("b"), writer.flush, writer.close):
            try:
                action()
            except RuntimeError as error:
                refused += "forked" in str(error) and "\n" not in str(error)
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    writer.write("c")
    assert writer.close(10)
    assert stored_lines(client) == [b"a", b"c"]


def run_python(code: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_everything_is_stored_when_the_interpreter_ends(server: Server, client: redis.Redis) -> None:
    code = """
import sys
from gnjobs.outputs.writer import OutputWriter
writer = OutputWriter(sys.argv[1], sys.argv[2])
writer.write_many(map(str, range(100_000)))
writer.write("last")
"""
    run_python(code, server.url, KEY)
    assert len(stored_lines(client)) == 100_001


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_everything_is_stored_when_a_child_of_multiprocessing_ends(
    server: Server, client: redis.Redis, method: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = tmp_path_factory.mktemp("script") / "children.py"
    script.write_text("""
import multiprocessing, sys
from gnjobs.outputs.writer import OutputWriter
def child(url, key):
    writer = OutputWriter(url, key)
    writer.write_many(map(str, range(100_000)))
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[3])
    started = [context.Process(target=child, args=(sys.argv[1], f"{sys.argv[2]}{n}")) for n in range(2)]
    for process in started: process.start()
    for process in started: process.join()
    sys.exit(any(process.exitcode for process in started))
""")
    done = subprocess.run([sys.executable, str(script), server.url, KEY, method], timeout=60, check=False)
    assert done.returncode == 0
    assert [len(stored_lines(client, f"{KEY}{number}")) for number in range(2)] == [100_000] * 2


def test_a_forked_child_that_ends_normally_leaves_its_parents_lines_alone(
    server: Server, client: redis.Redis
) -> None:
    code = """
import os, sys
from gnjobs.outputs.writer import OutputWriter
with OutputWriter(sys.argv[1], sys.argv[2]) as writer:
    writer.write("a")
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    writer.write("b")
"""
    run_python(code, server.url, KEY)
    assert stored_lines(client) == [b"a", b"b"]
