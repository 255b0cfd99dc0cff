"""Where Redis is and how to speak to it: read from a URL, keywords, or both, before anything is connected.

redis://user:password@host:port/db                        a server; rediss:// is TLS, unix:///path a socket
redis+sentinel://…@host:port,host:port/service/db         the master that these sentinels name
redis+cluster://…@host:port,host:port                     the cluster that these nodes belong to
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple, Self
from urllib.parse import parse_qsl, quote, unquote

from toolcache.errors import SettingsError
from toolcache.stores.redis.options import read

Deployment = Literal["server", "sentinel", "cluster"]
Place = tuple[str, int]

# Whether it is TLS, and what is there.
_SCHEMES: Final[Mapping[str, tuple[bool, Deployment]]] = {
    "unix": (False, "server"),
    **{f"{brand}{s}": (s == "s", "server") for brand in ("redis", "valkey") for s in ("", "s")},
    **{
        f"{brand}{s}+{many}": (s == "s", many)
        for brand in ("redis", "valkey")
        for s in ("", "s")
        for many in ("sentinel", "cluster")
    },
}
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26_379
_BY_URL_ALONE: Final = {"host", "port", "path", "tls"}
_ONLY_FOR: Final[Mapping[str, Deployment]] = {
    "read_from_replicas": "cluster",
    "sentinel_username": "sentinel",
    "sentinel_password": "sentinel",
}
_URL: Final = re.compile(r"([A-Za-z][\w+.-]*):(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?", re.ASCII)
_MALFORMED: Final = (
    "the Redis URL cannot be read: its host or port is malformed, "
    "or a special character in the password is not percent-encoded"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A server, a service that sentinels watch, or a cluster, and how to speak to it.

    Attributes:
        host: name or address; ignored where there is a ``path``.
        port: 1 to 65535.
        path: of a Unix socket.
        db: number of the database.
        username: ACL user.
        password: of the user, or of the server.
        tls: encrypt, and verify the server's certificate unless ``ssl_cert_reqs`` says otherwise.
        client_name: what the server's list of clients says.
        deployment: what is there; host and port are without meaning unless it is a single server.
        nodes: host and port of the sentinels, or of some nodes of the cluster.
        service: what the sentinels call the master.
        sentinel_username: ACL user at the sentinels, which need not know the servers' users.
        sentinel_password: at the sentinels.
        read_from_replicas: of a cluster; what is read may be a little older than what was last written.
        extra: the ``ssl_…``, as redis-py takes them.
    """

    host: str = "localhost"
    port: int = _PORT
    path: str | None = None
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    client_name: str = "toolcache"
    deployment: Deployment = "server"
    nodes: tuple[Place, ...] = ()
    service: str = ""
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    read_from_replicas: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str | None = None, **options: Any) -> Self:
        """Read a URL and keywords; keywords win, and those that are None are not there.

        Args:
            url: ``redis://``, ``redis+sentinel://``, ``redis+cluster://``, each with ``rediss`` for TLS, or ``unix://``;
                ``valkey`` and ``valkeys`` mean the same. Special characters in user and password are percent-encoded.
            **options: the attributes of this class but ``deployment``, ``nodes`` and ``service``, and redis-py's
                ``ssl_…``.

        Raises:
            SettingsError: for a URL or an option that is not understood.

        Examples:
            >>> Address.parse("redis://app:s3cret@cache.internal/2").redacted
            'redis://app:***@cache.internal:6379/2'
            >>> Address.parse("redis+sentinel://one,two:26380/orders").redacted
            'redis+sentinel://one:26379,two:26380/orders/0'
        """
        given = {} if url is None else _from_url(url)
        deployment = given.get("deployment", "server")
        given |= {name: read(name, value, "argument") for name, value in options.items() if value is not None}
        given.pop("protocol", None)
        if not given.get("tls") and (lost := [name for name in given if name.startswith("ssl_")]):
            scheme = "rediss" if deployment == "server" else f"rediss+{deployment}"
            raise SettingsError(f"{lost[0]} is given for a connection without TLS: begin the URL with {scheme}://")
        for name in given:
            if _ONLY_FOR.get(name, deployment) != deployment:
                raise SettingsError(f"{name} is only for a URL that begins with redis+{_ONLY_FOR[name]}://")
            if deployment != "server" and name in _BY_URL_ALONE and options.get(name) is not None:
                raise SettingsError(f"argument {name} is for a single server: a {deployment} stands in the URL")
        if deployment == "cluster" and given.get("db"):
            raise SettingsError("a cluster has no database but 0: leave the number out")
        own = {name: given.pop(name) for name in tuple(given) if name in cls.__dataclass_fields__}
        return cls(**own, extra=given)

    def at(self, place: Place) -> Self:
        """The single server at a place, spoken to in the same way."""
        host, port = place
        return replace(
            self,
            host=host,
            port=port,
            deployment="server",
            nodes=(),
            service="",
            sentinel_username=None,
            sentinel_password=None,
            read_from_replicas=False,
        )

    @property
    def redacted(self) -> str:
        """The address as a URL that may be shown: no password, no query."""
        user = f"{self.username or ''}:***@" if self.password else f"{self.username}@" if self.username else ""
        if self.path is not None:
            return f"unix://{user}{self.path}?db={self.db}"
        scheme = "rediss" if self.tls else "redis"
        if self.deployment == "server":
            return f"{scheme}://{user}{_shown((self.host, self.port))}/{self.db}"
        nodes = ",".join(map(_shown, self.nodes))
        tail = f"/{quote(self.service, safe='')}/{self.db}" if self.deployment == "sentinel" else ""
        return f"{scheme}+{self.deployment}://{user}{nodes}{tail}"


class _Pieces(NamedTuple):
    """A URL in pieces, still percent-encoded."""

    scheme: str
    user: str
    password: str
    hosts: str
    path: str
    query: str


def _from_url(url: str) -> dict[str, Any]:
    if not isinstance(url, str):
        raise SettingsError(f"a Redis URL is text such as 'redis://localhost:6379/0', not {type(url).__name__}")
    pieces = _cut(url)
    if pieces.scheme not in _SCHEMES:
        raise SettingsError(
            "a Redis URL begins with redis://, redis+sentinel:// or redis+cluster:// (with rediss for TLS), or unix://"
        )
    tls, deployment = _SCHEMES[pieces.scheme]
    given: dict[str, Any] = {"tls": tls}
    if deployment != "server":
        given["deployment"] = deployment
    if pieces.user:
        given["username"] = unquote(pieces.user)
    if pieces.password:
        given["password"] = unquote(pieces.password)
    given |= {"unix": _socket, "server": _server, "sentinel": _sentinels, "cluster": _cluster}[
        "unix" if pieces.scheme == "unix" else deployment
    ](pieces)
    _add_options(given, pieces.query)
    return given


def _cut(url: str) -> _Pieces:
    # urlsplit has its own ideas of several hosts, and other ones with each release.
    found = _URL.match(url)
    if found is None:
        return _Pieces("", "", "", "", "", "")
    scheme, authority, path, query = (piece or "" for piece in found.groups())
    login, _, hosts = authority.rpartition("@")
    user, _, password = login.partition(":")
    return _Pieces(scheme.lower(), user, password, hosts, path, query)


def _socket(pieces: _Pieces) -> dict[str, Any]:
    if not pieces.path:
        raise SettingsError("a unix:// URL names the path of a socket: write it like 'unix:///run/redis.sock'")
    return {"path": unquote(pieces.path)}


def _server(pieces: _Pieces) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if pieces.hosts:
        host, port = _place(pieces.hosts)
        given |= {"host": host} if host else {}
        given |= {} if port is None else {"port": port}
    return given | _database(pieces.path)


def _sentinels(pieces: _Pieces) -> dict[str, Any]:
    service, _, number = pieces.path.lstrip("/").partition("/")
    if not service:
        raise SettingsError(
            "the path of a redis+sentinel:// URL names the service: write it like 'redis+sentinel://host:26379/mymaster'"
        )
    return {"nodes": _places(pieces.hosts, _SENTINEL_PORT), "service": unquote(service), **_database(number)}


def _cluster(pieces: _Pieces) -> dict[str, Any]:
    return {"nodes": _places(pieces.hosts, _PORT), **_database(pieces.path)}


def _database(path: str) -> dict[str, Any]:
    number = path.strip("/")
    return {"db": read("db", number, "URL path: the database")} if number else {}


def _places(hosts: str, port: int) -> tuple[Place, ...]:
    found = [_place(one) for one in hosts.split(",") if one] or [("", None)]
    return tuple((host or "localhost", port if own is None else own) for host, own in found)


def _place(text: str) -> tuple[str, int | None]:
    """Host and port of ``host``, ``host:port`` or ``[ipv6]:port``."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\],]*))(?::(.*))?", text)
    if found is None or (found[3] and not found[3].isdecimal()):
        raise SettingsError(_MALFORMED)
    host = unquote(found[1] or found[2] or "").lower()
    return host, read("port", found[3], "URL") if found[3] else None


def _add_options(given: dict[str, Any], query: str) -> None:
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _BY_URL_ALONE:
            raise SettingsError(f"URL option {name} is no option: the URL itself says it")
        if name in given:
            raise SettingsError(f"URL option {name} is given twice: the URL says it already")
        given[name] = read(name, value, "URL option")


def _shown(place: Place) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
