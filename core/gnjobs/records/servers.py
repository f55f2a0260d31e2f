"""Which server a URL names, and in one sentence why it can't be used.

    redis://[user:password@]host[:port][/db]
    rediss://…?ssl_ca_certs=FILE&ssl_certfile=FILE&ssl_keyfile=FILE        TLS
    unix://[user:password@]/path/of/socket[?db=N]
    redis+sentinel://[user:password@]host[:26379][,host…]/master[/db]      the master that these Sentinels name
    rediss+sentinel://…                                                   the same with TLS, to the Sentinels too

`sentinel_username` and `sentinel_password` in the query are the Sentinels' own.
"""

import os
import socket
import ssl
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, parse_url
from redis.exceptions import InvalidResponse
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from gnjobs.records.bounded import BoundedSocket, Slowness, TooLarge, TooSlow
from gnjobs.text import SENTINEL_PORT, is_localhost, server_address

_SENTINEL = "+sentinel"
# One Sentinel that hangs must not keep us from the next.
_SENTINEL_SECONDS = 1.0
_PROBE_SECONDS = 1.0
_OF_A_MASTER = (b"name", b"ip", b"port", b"flags", b"num-other-sentinels")
_FILES = {
    "ssl_ca_certs": "CA file",
    "ssl_certfile": "certificate file",
    "ssl_keyfile": "key file",
}


class UnusableServer(redis.ConnectionError):
    """What answers is a server of another kind; the message says which."""


def make_pool(url: str, **options: Any) -> ConnectionPool:
    """Make the pool of connections to what a URL names, none of them open yet; raises `ValueError` of one line."""
    parts = _parts(url)
    if "://" not in url:
        raise ValueError("it begins with redis://, rediss:// or unix://, such as redis://db1:6379/0")
    _check_login(url, parts)
    if parts.scheme.endswith(_SENTINEL):
        return _sentinel_pool(url, options)
    if parts.scheme != "unix":
        _port(parts, 0)
        _check_database(parts.path)
    found = parse_url(url)
    _check_files(found)
    if parts.scheme == "unix":
        options.pop("socket_keepalive", None)
    pool = ConnectionPool(**options | found)
    _keep_from_ipv6(pool)
    return pool


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # which quotes what may be the password
        raise ValueError(
            "the URL can't be understood: write odd signs in user or password as %XX, and [ ] around IPv6 alone"
        ) from None


def _keep_from_ipv6(pool: ConnectionPool) -> None:
    """Take `localhost` for 127.0.0.1 alone.

    Most hosts give ::1 first, where anybody may listen if the server does not, and would be sent the password.
    """
    options = pool.connection_kwargs
    if "path" not in options and is_localhost(options.get("host", "")):
        options["socket_type"] = socket.AF_INET  # which is what redis-py calls the family


def _sentinel_pool(url: str, options: dict[str, Any]) -> ConnectionPool:
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    master, _, database = parts.path.strip("/").partition("/")
    if not master or not hosts:
        raise ValueError("a Sentinel URL is redis+sentinel://host:26379,host:26379/master/db")
    _check_database(database)
    addresses = [_sentinel_address(host) for host in hosts.split(",")]
    scheme = parts.scheme.removesuffix(_SENTINEL)
    found = parse_url(f"{scheme}://{login}{at}{hosts.partition(',')[0]}/{database}?{parts.query}")
    _check_files(found)
    for name in ("host", "port", "connection_class"):
        found.pop(name, None)
    of_sentinels = {
        name: found.pop(f"sentinel_{name}")
        for name in ("username", "password")
        if f"sentinel_{name}" in found
    }
    tls = {name: value for name, value in found.items() if name.startswith("ssl_")}
    if scheme == "rediss":
        tls["ssl"] = found["ssl"] = True
    manager = _Sentinels(  # type: ignore[no-untyped-call]
        addresses,
        sentinel_kwargs={
            "socket_timeout": _SENTINEL_SECONDS,
            "socket_connect_timeout": _SENTINEL_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "driver_info": None,
            "redis_connect_func": _greet_sentinel,
            **of_sentinels,
            **tls,
        },
    )
    for sentinel in manager.sentinels:
        _keep_from_ipv6(sentinel.connection_pool)
    return SentinelConnectionPool(master, manager, **options | found)


class _Sentinels(Sentinel):
    """Names the master by an address at which nobody else may listen."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """The host and port of the master."""
        host, port = super().discover_master(service_name)  # type: ignore[no-untyped-call]
        return "127.0.0.1" if is_localhost(host) else host, port


def _greet_sentinel(connection: Any) -> None:
    """Read what TLS itself sends behind the handshake, and make sure that this is a Sentinel: else the next is asked.

    Replies are bounded from here on.
    """
    connection._sock = BoundedSocket(connection._sock, longest=_SENTINEL_SECONDS)
    try:
        connection.on_connect()
        connection.send_command("SENTINEL", "MASTERS", check_health=False)
        reply = connection.read_response()
    except (redis.RedisError, MemoryError) as error:  # hiredis makes room for as many as it is told will come
        raise redis.ConnectionError(str(error)) from error
    if not (isinstance(reply, list) and all(map(_is_of_a_master, reply))):
        raise redis.ConnectionError("it is not a Sentinel")


def _is_of_a_master(said: Any) -> bool:
    return isinstance(said, list) and all(name in said for name in _OF_A_MASTER)


def _sentinel_address(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    return parts.hostname or "localhost", _port(parts, SENTINEL_PORT)


def _check_login(url: str, parts: SplitResult) -> None:
    """Refuse a password with a sign that ends what stands before the host, before any part of it is named."""
    rest = url.partition("://")[2][len(parts.netloc) :]
    if "@" in rest.partition("password=")[0] and (parts.netloc.count(":") or parts.scheme != "unix"):
        raise ValueError("/, ? and # in the URL's user or password must be written as %2F, %3F and %23")


def _port(parts: SplitResult, default: int) -> int:
    try:
        return parts.port or default
    except ValueError:  # which quotes what may be a password whose host is missing
        raise ValueError("the port is a number such as 6379, 65535 at most") from None


def _check_database(path: str) -> None:
    """Refuse a database that is not a number, for which redis-py takes 0."""
    database = path.strip("/")
    if database and not (database.isascii() and database.isdecimal()):
        raise ValueError(f"the database is a number such as 0, not {database!r:.80}")


def _check_files(options: dict[str, Any]) -> None:
    """Name a file that can't be read, which neither OpenSSL nor redis-py does."""
    for name, what in _FILES.items():
        path = options.get(name)
        if path is None:
            continue
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise ValueError(f"{what} {path} can't be read: {(error.strerror or '').lower()}") from error


def greet(connection: Any, slowness: Slowness | None = None) -> None:
    """Log in, and make sure that what answers is a server with all the data; for `redis_connect_func`.

    HELLO tells that to every user, whatever the ACL allows. Replies are bounded from here on.
    """
    connection._sock = BoundedSocket(connection._sock, slowness)
    connection.on_connect()
    connection.send_command("HELLO", 2, check_health=False)
    try:
        reply = connection.read_response()
    except redis.AuthenticationError:
        raise
    except redis.ResponseError:
        return  # older than Redis 6
    where = connection.path if hasattr(connection, "path") else f"{connection.host}:{connection.port}"
    try:
        said = dict(zip(reply[::2], reply[1::2], strict=True))
    except (TypeError, ValueError):
        said = {}
    if b"mode" not in said:  # as in a word instead of a list, which can be taken apart, too
        raise UnusableServer(f"{where} is not a Redis server")
    if said.get(b"mode") == b"sentinel":
        raise UnusableServer(f"{where} is a Sentinel: use redis+sentinel://{where}/NAME-OF-THE-MASTER/0")
    if said.get(b"mode") == b"cluster" and _is_shared(connection):
        raise UnusableServer(f"{where} is one node of a Redis Cluster of several, which gnjobs can't use")
    if hasattr(connection, "connection_pool") and said.get(b"role") != b"master":
        raise redis.ConnectionError(f"{where}, which Sentinel names as the master, is not one yet")


def _is_shared(connection: Any) -> bool:
    """Whether a node of a Cluster has only a part of the data; True, too, where that can't be asked."""
    connection.send_command("CLUSTER", "INFO", check_health=False)
    try:
        return b"cluster_size:1\r" not in connection.read_response()
    except redis.ResponseError:
        return True


def is_refusal(error: BaseException) -> bool:
    """Whether the server knows us and says no: the same again gets the same answer until somebody changes the ACL."""
    return isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError)


REFUSES: Final = "Redis refuses writes"
MEMORY_FULL: Final = f"{REFUSES}: its memory is full (OOM)"
UNSAVED: Final = f"{REFUSES}: it can't save its data, is the disk full? (MISCONF)"


def explain(error: BaseException, url: str) -> str:
    """Say in one line for a person why Redis can't be used."""
    where = server_address(url)
    match error:
        case UnusableServer() | TooLarge():
            return str(error)
        case TooSlow():
            return f"{where} {error}"
        case redis.AuthenticationError():
            why = "wrong user or password" if urlsplit(url).password else "it asks for a password"
            return f"Redis refused the login: {why}"
        case redis.exceptions.NoPermissionError():
            return f"Redis does not allow it: {error}"
        case InvalidResponse():
            return f"{where} is not a Redis server"
        case MasterNotFoundError():
            return f"no Sentinel names a master for {where}"
        case redis.TimeoutError() | TimeoutError():
            return _plain(where) if _speaks_plainly(url) else f"can't reach {where}: no answer in time"
        case redis.ConnectionError() | OSError():
            return _explain_connection(error, where, url)
        case redis.RedisError():
            return _refusal(error)
    return _one_line(error)


def _refusal(error: redis.RedisError) -> str:
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return MEMORY_FULL
    return UNSAVED if "MISCONF" in str(error) else f"Redis refused: {_one_line(error)}"


def _explain_connection(error: BaseException, where: str, url: str) -> str:
    cause = _system_error(error)
    match cause:
        case ssl.SSLCertVerificationError():
            return f"the certificate of {where} is not to be trusted: {cause.verify_message}"
        case ssl.SSLEOFError() | ssl.SSLError(reason="TLSV13_ALERT_CERTIFICATE_REQUIRED"):
            return f"{where} asks for a client's certificate: ?ssl_certfile=FILE&ssl_keyfile=FILE"
        case ssl.SSLError(reason=str(reason)) if "ALERT" in reason:
            return f"{where} refused our certificate: {reason.replace('_', ' ').lower()}"
        case ssl.SSLError():
            return _plain(where)
        case socket.gaierror():
            return f"can't reach {where}: unknown host name"
        case FileNotFoundError():
            return f"can't reach {where}: no such socket"
        case OSError(errno=int(number)) if not isinstance(cause, ConnectionResetError | BrokenPipeError):
            return f"can't reach {where}: {os.strerror(number).lower()}"
    if _speaks_tls(url):
        return f"{where} speaks TLS: use rediss:// in place of redis://"
    return f"can't reach {where}: {_one_line(error).rstrip('.')}"


def _system_error(error: BaseException | None) -> OSError | None:
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _plain(where: str) -> str:
    return f"{where} does not speak TLS: use redis:// in place of rediss://"


def _speaks_plainly(url: str) -> bool:
    """Whether what left a TLS connection without an answer knows PING, on which Redis waits for a line's end."""
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        return False
    try:
        with socket.create_connection(_address(parts), _PROBE_SECONDS) as plain:
            plain.sendall(b"PING\r\n")
            return plain.recv(1) in (b"+", b"-")
    except OSError:
        return False


def _speaks_tls(url: str) -> bool:
    """Whether what closed a plain connection shakes hands in TLS."""
    parts = urlsplit(url)
    if parts.scheme != "redis":
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection(_address(parts), _PROBE_SECONDS) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def _address(parts: SplitResult) -> tuple[str, int]:
    host = parts.hostname or ""
    return "127.0.0.1" if is_localhost(host) else host, parts.port or 6379
