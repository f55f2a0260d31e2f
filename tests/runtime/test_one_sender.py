"""What a child costs while it writes: one thread and one connection of the library's."""

import subprocess
import sys

from tests.support.one_child import KEY, prepare, state
from tests.support.servers import Server
from tests.support.waiting import wait_for

CODE = """
import sys, threading
from gnjobs import ChildOutput

with ChildOutput(sys.argv[1], sys.argv[2]) as child:
    for number in range(1, 1001):
        child.fault({"row": number})
        child.progress(number, 1000, message="at work")
    child.writer.partial("50 %")
    child.writer.flush()
    print(sorted(thread.name for thread in threading.enumerate()), flush=True)
    sys.stdin.read()
"""


def test_a_child_that_writes_has_one_thread_and_one_connection(own_server: Server) -> None:
    with own_server.client() as client:
        prepare(client)
        before = {each["id"] for each in client.client_list()}
        command = [sys.executable, "-c", CODE, KEY, own_server.url]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            threads = process.stdout.readline().decode().strip()
            # "termination" waits for SIGTERM and speaks to no server; see `store_before_ending`.
            assert threads == str(sorted(["MainThread", f"output {KEY}", "termination"]))
            wait_for(lambda: (state(client).status, state(client).faults) == ("running", 1000))
            assert len({each["id"] for each in client.client_list()} - before) == 1
            process.stdin.close()
            assert process.wait(60) == 0
        assert state(client).status == "success"
