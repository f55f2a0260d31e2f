"""What the first frame must not wait for."""

import subprocess
import sys


def test_the_first_frame_imports_no_redis() -> None:
    code = (
        "import sys, gnjobs_tui.cli.hosting, gnjobs_tui.app\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'redis', 'psutil', 'asyncio'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['asyncio']"
