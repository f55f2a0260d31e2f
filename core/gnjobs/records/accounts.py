"""How a program begins as another account, or as ours: with no rights, keys or variables that it should not have."""

import errno
import os
import pwd
import shutil
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

SUPER_USER: Final = 0
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


class Begin(NamedTuple):
    """What stands before the words of a program to have it begin as some account, and the environment for it."""

    words: tuple[str, ...]
    env: Mapping[str, str]


def as_account(name: str | None) -> Begin:
    """How a program begins as another account: with its groups and a clean environment.

    `Popen` waits for a program to begin, and an account can stop what is its own: it is `setpriv`, which begins as we
    are, that becomes the account. What this thread starts has none of our keys from here on. Raises `ValueError` for
    root, an unknown account, and one whose name is not known.
    """
    if name is None:
        raise ValueError("the job's account is not known, and nothing is run as root for it")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ValueError(f"there is no account {name!r:.80} here") from None
    if entry.pw_uid == SUPER_USER:
        raise ValueError("nothing is run as root for somebody else")
    _leave_keys()
    ids = setpriv_ids(entry.pw_uid, entry.pw_gid)
    # Not by --init-groups, which asks for a name of the number: that may have several, each with groups of its own.
    groups = ",".join(f"+{group}" for group in os.getgrouplist(entry.pw_name, entry.pw_gid))
    words = _setpriv(*ids, f"--groups={groups}", *_without_capabilities())
    return Begin(
        words, {"PATH": _PATH, "HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    )


def as_we_are() -> Begin:
    """How a program begins as we are, without the capabilities that a unit gave us for what we do ourselves."""
    options = _without_capabilities()
    return Begin(_setpriv(*options) if options else (), os.environ)


def _setpriv(*options: str) -> tuple[str, ...]:
    # Ours, whatever the account's environment finds.
    return (shutil.which("setpriv") or "setpriv", *options, "--")


def _without_capabilities() -> tuple[str, ...]:
    """The options with which `setpriv` keeps what it starts from our ambient capabilities; none where we have none.

    Whatever is started has them, unless the account that it becomes is not root and we are.
    """
    try:
        with open("/proc/thread-self/status", "rb") as file:
            ambient = next((line.split()[1] for line in file if line.startswith(b"CapAmb:")), b"")
    except OSError:  # a system without them
        return ()
    return ("--inh-caps=-all", "--ambient-caps=-all") if ambient.strip(b"0") else ()


def setpriv_ids(uid: int, gid: int) -> tuple[str, str]:
    """Ids as `setpriv` is to take them: digits alone are a name to it, where an account or group is called so."""
    return f"--reuid=+{uid}", f"--regid=+{gid}"


_KEYCTL: Final = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}
_JOIN_SESSION_KEYRING: Final = 1


def _leave_keys() -> None:
    """Join a session keyring without any keys: children keep that of their starter, whatever account they become.

    Whoever possesses a key may read it, and a login's session has those of its user.
    """
    number = _KEYCTL.get(os.uname().machine)
    if number is None or not sys.platform.startswith("linux"):
        return
    import ctypes  # only an agent needs it

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, _JOIN_SESSION_KEYRING, None) < 0 and ctypes.get_errno() not in _NO_KEYS:
        raise ValueError("the keys of this login's session can't be left behind")


_NO_KEYS: Final = (errno.ENOSYS, errno.EPERM)  # this kernel has none, or this container may not touch any
