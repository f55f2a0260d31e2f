"""The README's processor from start to finish: its code, its test, its entry point in an environment of its own."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

from gnjobs.store import JobStore
from tests.support.command import environment, run
from tests.support.servers import Server
from tests.support.supervised import python
from tests.support.terminal import gnjobs

README = Path(__file__).parents[2] / "core" / "README.md"


def block(sign: str) -> str:
    """The code of the README in which a text stands."""
    blocks = re.findall(r"^ *```\w+\n(.*?)^ *```", README.read_text(), re.MULTILINE | re.DOTALL)
    (found,) = (code for code in blocks if sign in code)
    return textwrap.dedent(found)


def test_the_test_of_the_readme_passes(tmp_path: Path) -> None:
    source = f"{block('class AlignProcessor')}\n{block('def test_reads_are_summed_up')}"
    script = tmp_path / "example.py"
    script.write_text(f"{source}\ntest_reads_are_summed_up()\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_so_does_that_of_a_child(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(
        f"from pathlib import Path\n{CHECK_FILE}\n{block('def test_an_empty_row_is_a_fault')}\n"
        f"test_an_empty_row_is_a_fault(Path({str(tmp_path)!r}))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        0,
        "pheno.tsv: row 2: empty cell, needs a row\npheno.tsv: done, 1 fault\n",
    )


CHECK_FILE = """
def check_file(path, child):
    for row, line in enumerate(open(path), start=1):
        if not line.strip():
            child.fault({"row": row, "expected": "a row", "value": ""})
"""

SAYING = """
from gnjobs import current_job
with current_job() as job:
    for sample, mapped in (("BXD1", 900), ("BXD2", 300)):
        job.record({"sample": sample, "reads": 1200, "mapped": mapped})
"""


def test_an_installed_package_announces_it_to_the_command(
    server: Server, store: JobStore, tmp_path: Path
) -> None:
    """An installed package is a folder on the path with an `entry_points.txt`."""
    package = tmp_path / "site"
    (package / "my_package").mkdir(parents=True)
    (package / "my_package" / "__init__.py").write_text("")
    (package / "my_package" / "processing.py").write_text(block("class AlignProcessor"))
    (package / "my_package-1.dist-info").mkdir()
    (package / "my_package-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: my-package\nVersion: 1\n"
    )
    (heading, line) = block("gnjobs.processors").strip().splitlines()
    assert heading == '[project.entry-points."gnjobs.processors"]'
    announced = line.replace('"', "")
    (package / "my_package-1.dist-info" / "entry_points.txt").write_text(
        f"[gnjobs.processors]\n{announced}\n"
    )
    job_id = run(server.url, "run", "--type", "align", "--", *python(SAYING)).stdout.split()[0]
    env = environment(server.url, PYTHONPATH=str(package))
    shown = subprocess.run(gnjobs("show", job_id), env=env, capture_output=True, text=True).stdout
    assert "2 samples, 50 % of reads mapped" in shown
    assert re.search(r"BXD2 +1200 +300", shown)
    assert "2 samples" not in run(server.url, "show", job_id).stdout
