"""What went through the sockets of processes between two looks, as far as the kernel counts it."""

import time
from collections.abc import Collection, Mapping
from typing import Final

from gnjobs.processes.sockets import local_peers, shares_network, socket_inodes, tcp_sockets, udp_sockets

_LOOKING_SECONDS: Final = 1.0


class Traffic:
    """What went through the sockets of processes since it was looked at last; the kernel's lists are read once a look.

    Nobody counts the bytes of local and UDP sockets, and those of another network namespace are not shown: a process
    that wakes while it holds such a one counts as at work, unless it only leads from one of its threads to another.
    """

    def __init__(self) -> None:
        self._before: dict[int, dict[int, int]] = {}
        self._counts: Mapping[int, int] | None = None
        self._peers: Mapping[int, int] = {}
        self._udp: Collection[int] = ()
        self._until = 0.0

    def begin(self) -> None:
        """Begin a new look."""
        self._counts = None
        self._until = time.monotonic() + _LOOKING_SECONDS

    def is_over(self) -> bool:
        """Whether a look at sockets has taken too long: processes may hold any number of files."""
        return time.monotonic() > self._until

    def has_moved(self, pid: int, inodes: Collection[int], others: Collection[int]) -> bool:
        """Whether a process that holds these sockets has sent or received anything, or may have where nobody counts it.

        A new connection counts as soon as its peer has confirmed a byte: one that is tried again and again does not.
        """
        if not inodes:
            return False
        if not shares_network(pid):
            return True
        if self._counts is None:
            self._counts = {inode: found.bytes for inode, found in tcp_sockets().items()}
            self._peers, self._udp = local_peers(), udp_sockets()
        counts = {inode: self._counts[inode] for inode in inodes if inode in self._counts}
        before = self._before.get(pid, counts)
        self._before[pid] = counts
        return any(count > before.get(inode, 0) for inode, count in counts.items()) or any(
            inode in self._udp or self._leads_elsewhere(inode, pid, inodes, others) for inode in inodes
        )

    def _leads_elsewhere(self, inode: int, pid: int, own: Collection[int], others: Collection[int]) -> bool:
        peer = self._peers.get(inode)
        if peer is None:
            return False
        return peer not in own or any(
            self.is_over() or peer in socket_inodes(other) for other in others if other != pid
        )

    def forget(self, alive: Collection[int]) -> None:
        """Drop what is known of processes that have ended."""
        for pid in self._before.keys() - alive:
            del self._before[pid]
