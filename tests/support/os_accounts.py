"""Acting as another account, or as another host: for tests that run as root, as in most containers."""

import os
import shutil
import subprocess
import sys
from functools import cache

import pytest

# One capability is kept: to read files, since the interpreter may lie in root's home. Processes it does not open.
_KEPT = "-all,+dac_read_search"
AS_NOBODY = (
    *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
    *(f"--inh-caps={_KEPT}", f"--ambient-caps={_KEPT}"),
)
OTHER_HOST = "gnjobs-other-host"


@cache
def can_change_account() -> bool:
    """Whether this process may become somebody else."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return False
    return subprocess.run([*AS_NOBODY, sys.executable, "-c", ""], capture_output=True).returncode == 0


@cache
def can_change_host() -> bool:
    """Whether this process may give itself another host name."""
    return subprocess.run(["unshare", "--uts", "true"], capture_output=True).returncode == 0


needs_accounts = pytest.mark.skipif(not can_change_account(), reason="only root can act as another account")
needs_hosts = pytest.mark.skipif(not can_change_host(), reason="no namespace of host names may be made here")


def on_other_host(*command: str) -> list[str]:
    """The command, run where the host has another name."""
    script = f'hostname {OTHER_HOST} && exec "$@"'
    return ["unshare", "--uts", "sh", "-c", script, "sh", *command]
