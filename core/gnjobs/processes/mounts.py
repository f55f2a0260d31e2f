"""Whether the URL of a server leads a process to the same as us: where the path of a socket ends, mount by mount."""

import os
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from gnjobs.processes.proc import folder_of_memory, owners_of
from gnjobs.text import names_loopback, socket_path

# Whoever may make namespaces can have many, with many mounts: of more, a look knows no more than that they differ.
_LONGEST_MOUNTS, _MOST_NAMESPACES = 256 * 1024, 100  # of an account
_MOST_LINKS: Final = 40  # as many as the kernel follows


class Mounts(NamedTuple):
    """What a process sees mounted: `above` says, by `<id> <path>`, which mount stands on that path of another one.

    Each by its id, device and root; `outermost` is the id of what no listed one stands on.
    """

    outermost: bytes = b""
    above: dict[bytes, bytes] = {}  # noqa: RUF012 - nobody changes it

    def end_of(self, path: bytes) -> tuple[bytes, bytes] | None:
        """Where a path without links ends: the device, and the path there; None where that is not known."""
        at, here = self.outermost, b""
        mount, begins = self.above.get(b"%b /" % at), 0
        at = at if mount is None else mount.partition(b" ")[0]
        for part in path.split(b"/")[1:]:
            here += b"/" + part
            for _ in self.above:  # they are read one after the other: what they say may go round in a circle
                if (stacked := self.above.get(b"%b %b" % (at, here))) is None:
                    break
                mount, begins, at = stacked, len(here), stacked.partition(b" ")[0]
        if mount is None:
            return None
        _, device, root = mount.split(b" ")
        return device, root.rstrip(b"/") + path[begins:]


KnownMounts = dict[tuple[int, str, str], Mounts]
"""What was read of mounts so far: by account, mount namespace and root directory."""


def names_the_same(pid: int, url: str, known: KnownMounts | None = None) -> bool | None:
    """Whether a server's URL names the same to a process as to us: a port in one network, or one socket.

    None where that can't be told: too much is mounted to be read, a link on the way to the socket is ours alone, or a
    server of this name may be reached from another network, too.

    The kernel's tables say where a socket's path ends: a look at the files that another process sees may hang for ever.
    What we may not inspect, and so not signal either, is thought to have the same.
    """
    folder, path = folder_of_memory(pid) or f"/proc/{pid}", socket_path(url)
    names = ("ns/net",) if path is None else ("ns/mnt", "root")
    try:
        if all(os.readlink(f"{folder}/{name}") == os.readlink(f"/proc/self/{name}") for name in names):
            return True
        if path is None:
            return False if names_loopback(url) else None
        known = {} if known is None else known
        ours, theirs = _mounts(os.getpid(), "/proc/self", known), _mounts(pid, folder, known)
        if not (ours.above and theirs.above):
            return None
        links, end = _links_and_end(path)
        if any(ours.end_of(link) != theirs.end_of(link) for link in links):
            return None
        our, their = ours.end_of(end), theirs.end_of(end)
        return None if our is None or their is None else our == their
    except PermissionError:
        return True
    except (FileNotFoundError, ProcessLookupError):
        return False  # it is gone
    except (OSError, ValueError):  # a path may hold anything, and be as long as anybody likes
        return None


def _mounts(pid: int, folder: str, known: KnownMounts) -> Mounts:
    """What a process sees mounted; nothing where that is too much."""
    # The real one: the files of a process that forbids looking into it are root's.
    account = next(iter(owners_of(pid)[1:2]), -1)
    spaces = account, os.readlink(f"{folder}/ns/mnt"), os.readlink(f"{folder}/root")
    if spaces not in known:
        is_too_many = sum(each[0] == account for each in known) >= _MOST_NAMESPACES
        known[spaces] = Mounts() if is_too_many else _read_mounts(folder)
    return known[spaces]


def _read_mounts(folder: str) -> Mounts:
    with open(f"{folder}/mountinfo", "rb") as file:
        lines = file.read(_LONGEST_MOUNTS).split(b"\n")
    if lines[-1]:
        return Mounts()
    mounts = [line.split(b" ", 5)[:5] for line in lines[:-1]]
    ids = {mount for mount, *_ in mounts}
    outermost = (parent for mount, parent, *_ in mounts if parent not in ids or parent == mount)
    above = {b"%b %b" % (parent, path): b" ".join((mount, *at)) for mount, parent, *at, path in mounts}
    return Mounts(next(outermost, b""), above)


def _links_and_end(path: str) -> tuple[list[bytes], bytes]:
    """The links on the way to a path, and where it ends, as the kernel's tables write them.

    In the encoding in which an environment was read, whatever ours is.
    """
    way = list(way_to(path.encode("utf-8", "surrogateescape")))
    links = [_written(each) for each, is_link in way if is_link]
    return links, _written(next(each for each, is_link in reversed(way) if not is_link))


def _written(path: bytes) -> bytes:
    return re.sub(rb"[ \t\n\\]", lambda found: b"\\%03o" % ord(found.group()), path)


def way_to(path: bytes) -> Iterator[tuple[bytes, bool]]:
    """Every directory and link on the way to a path, and its end, by paths without links; whether each is a link."""
    here, links = b"/", 0
    ahead = [*path.split(b"/")[::-1], b"/"]
    while ahead:
        part = ahead.pop()
        if part in (b"", b"."):
            continue
        each = os.path.dirname(here) if part == b".." else os.path.join(here, part)  # which "/" begins anew
        target = _link(each) if links < _MOST_LINKS else None
        yield each, target is not None
        if target is None:
            here = each
            continue
        links += 1
        ahead += [*target.split(b"/")[::-1], *([b"/"] if target.startswith(b"/") else [])]


def _link(path: bytes) -> bytes | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
