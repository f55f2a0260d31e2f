"""What the kernel tells of sockets: bytes and peers of TCP connections, peers of local ones (`sock_diag`)."""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST_AND_DUMP: Final = 0x301
_DONE: Final = 3
_ERROR: Final = 2
_TCP: Final = 6
_INET_INFO: Final = 2
_CONNECTED: Final = sum(1 << state for state in (1, 2, 4, 5, 8, 9, 11))  # neither listening nor closed
_UNIX_PEER: Final = 2
_SHOW_PEER: Final = 4
_INET_HEAD: Final = 72
_UNIX_HEAD: Final = 16
_BYTES_AT: Final = 120  # tcpi_bytes_acked and tcpi_bytes_received in struct tcp_info
_REPLY_BYTES: Final = 1 << 17
_MOST_FILES: Final = 20_000


class TcpSocket(NamedTuple):
    """A TCP connection: `bytes` that its peer has confirmed and that it sent, `peer` as address and port."""

    bytes: int
    peer: str


def socket_inodes(pid: int) -> frozenset[int]:
    """The sockets that a process holds, by inode; empty where we may not see them."""
    found = (socket_inode(link) for _, link in open_files(pid))
    return frozenset(inode for inode in found if inode is not None)


def socket_inode(link: str) -> int | None:
    """The inode of an open file that is a socket, else None."""
    return int(link[8:-1]) if link.startswith("socket:[") else None


def open_files(pid: int) -> Iterator[tuple[int, str]]:
    """Number and target of each open file of a process, of very many the first, as far as we may see them."""
    folder = f"/proc/{pid}/fd"
    try:
        with os.scandir(folder) as files:
            names = [file.name for file in islice(files, _MOST_FILES)]
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            yield int(name), os.readlink(f"{folder}/{name}")


def tcp_sockets() -> Mapping[int, TcpSocket]:
    """All TCP sockets of our network namespace that are connected, by inode; empty where the kernel does not tell."""
    found = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        request = struct.pack("=BBBBI", family, _TCP, 1 << (_INET_INFO - 1), 0, _CONNECTED) + bytes(48)
        for message in _ask(request):
            inode = struct.unpack_from("=I", message, _INET_HEAD - 4)[0]
            info = _attributes(message[_INET_HEAD:]).get(_INET_INFO, b"")
            if inode and len(info) >= _BYTES_AT + 16:
                acked, received = struct.unpack_from("=QQ", info, _BYTES_AT)
                found[inode] = TcpSocket(acked + received, _peer(message, family))
    return found


def _peer(message: bytes, family: int) -> str:
    port = struct.unpack_from("!H", message, 6)[0]
    address = message[24:40]
    text = socket.inet_ntop(family, address[:4] if family == socket.AF_INET else address)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def local_peers() -> Mapping[int, int]:
    """The peer of each connected local (unix) socket, both by inode."""
    found = {}
    for message in _ask(struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, _SHOW_PEER, 0, 0)):
        inode = struct.unpack_from("=I", message, 4)[0]
        peer = _attributes(message[_UNIX_HEAD:]).get(_UNIX_PEER, b"")
        if len(peer) == 4:
            found[inode] = struct.unpack("=I", peer)[0]
    return found


def udp_sockets() -> frozenset[int]:
    """All UDP sockets of our network namespace, by inode."""
    found: set[int] = set()
    for name in ("udp", "udp6"):
        with contextlib.suppress(OSError), open(f"/proc/self/net/{name}", "rb") as file:
            found.update(int(line.split()[9]) for line in file.readlines()[1:])
    return frozenset(found)


def shares_network(pid: int) -> bool:
    """Whether a process is in our network namespace, whose sockets are shown to us."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        return False


def _ask(request: bytes) -> Iterator[bytes]:
    """The body of each message that answers a request for a list of sockets."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as link:
            link.settimeout(1.0)
            link.send(
                struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_AND_DUMP, 1, 0)
                + request
            )
            while True:
                for kind, body in _messages(link.recv(_REPLY_BYTES)):
                    if kind in (_DONE, _ERROR):
                        return
                    yield body
    except (OSError, AttributeError):
        return


def _messages(reply: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 16 <= len(reply):
        length, kind = struct.unpack_from("=IH", reply, at)
        if length < 16:
            return
        yield kind, reply[at + 16 : at + length]
        at += (length + 3) & ~3


def _attributes(body: bytes) -> dict[int, bytes]:
    found = {}
    at = 0
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if length < 4:
            break
        found[kind] = body[at + 4 : at + length]
        at += (length + 3) & ~3
    return found
