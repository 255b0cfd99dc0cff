"""Where a Redis server is and how to speak to it: read from a URL, keywords, or both, before anything is connected.

Nothing that is given is dropped: an option is understood or refused. Errors name options and repeat no values, because
a URL holds a password, and one with a stray ``@`` or ``/`` in it puts pieces of the password anywhere.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from toolcache.errors import SettingsError

_TLS: Final = {"redis": False, "valkey": False, "rediss": True, "valkeys": True, "unix": False}
_LATER: Final = {"redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"}
_PROTOCOL: Final = 2
_MAX_PORT: Final = 65_535


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("takes text that is not empty")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, str) and value.isdecimal())):
        raise ValueError("takes a whole number that is not negative")
    number = int(value)
    if number < 0:
        raise ValueError("takes a whole number that is not negative")
    return number


def _port(value: Any) -> int:
    number = _whole(value)
    if not 0 < number <= _MAX_PORT:
        raise ValueError(f"takes a port from 1 to {_MAX_PORT}")
    return number


def _switch(value: Any) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        return known[str(value).lower()]
    except KeyError:
        raise ValueError("takes true or false") from None


def _requirement(value: Any) -> str:
    if value not in {"required", "optional", "none"}:
        raise ValueError("takes 'required', 'optional' or 'none'")
    return str(value)


def _tls_version(value: Any) -> ssl.TLSVersion:
    known = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
    known |= {version.name: version for version in known.values()}
    if isinstance(value, ssl.TLSVersion):
        return value
    try:
        return known[value]
    except (KeyError, TypeError):
        raise ValueError("takes '1.2' or '1.3'") from None


def _protocol(value: Any) -> int:
    if str(value) != str(_PROTOCOL):
        raise ValueError("can only be 2: what protocol 3 adds is not used")
    return _PROTOCOL


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "host": _text,
    "port": _port,
    "path": _text,
    "db": _whole,
    "username": _text,
    "password": _text,
    "tls": _switch,
    "client_name": _text,
    "protocol": _protocol,
    "ssl_ca_certs": _text,
    "ssl_ca_data": _text,
    "ssl_ca_path": _text,
    "ssl_cert_reqs": _requirement,
    "ssl_certfile": _text,
    "ssl_check_hostname": _switch,
    "ssl_ciphers": _text,
    "ssl_keyfile": _text,
    "ssl_min_version": _tls_version,
    "ssl_password": _text,
}
_KEYWORDS_ONLY: Final = {"host", "port", "path", "tls"}
_REFUSED: Final = {
    "decode_responses": "what is stored is bytes",
    "health_check_interval": "the store watches its connection by itself",
    "max_connections": "one connection carries all commands",
    "retry_on_timeout": "the cache retries by itself",
    "socket_connect_timeout": "use connect_timeout",
    "socket_timeout": "use op_timeout",
    "timeout": "use op_timeout",
}


@dataclass(frozen=True, slots=True)
class Address:
    """A server and how to speak to it.

    Attributes:
        host: name or address; ignored where there is a ``path``.
        port: 1 to 65535.
        path: of a Unix socket.
        db: number of the database.
        username: ACL user.
        password: of the user, or of the server.
        tls: encrypt, and verify the server's certificate unless ``ssl_cert_reqs`` says otherwise.
        client_name: what the server's list of clients says.
        extra: the ``ssl_…``, as redis-py takes them.
    """

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    client_name: str = "toolcache"
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str | None = None, **options: Any) -> Self:
        """Read a URL and keywords; keywords win, and those that are None are not there.

        Args:
            url: ``redis://``, ``rediss://`` (TLS) or ``unix://``; ``valkey://`` and ``valkeys://`` mean the same.
                Special characters in user and password are percent-encoded.
            **options: the attributes of this class, and redis-py's ``ssl_…``.

        Raises:
            SettingsError: for a URL or an option that is not understood.

        Examples:
            >>> Address.parse("redis://app:s3cret@cache.internal/2").redacted
            'redis://app:***@cache.internal:6379/2'
        """
        given = {} if url is None else _from_url(url)
        given |= {name: _read(name, value, "argument") for name, value in options.items() if value is not None}
        given.pop("protocol", None)
        if not given.get("tls") and (lost := [name for name in given if name.startswith("ssl_")]):
            raise SettingsError(f"{lost[0]} is given for a connection without TLS: begin the URL with rediss://")
        own = {name: given.pop(name) for name in tuple(given) if name in cls.__dataclass_fields__}
        return cls(**own, extra=given)

    @property
    def redacted(self) -> str:
        """The address as a URL that may be shown: no password, no query."""
        user = f"{self.username or ''}:***@" if self.password else f"{self.username}@" if self.username else ""
        if self.path is not None:
            return f"unix://{user}{self.path}?db={self.db}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{user}{host}:{self.port}/{self.db}"


def _from_url(url: str) -> dict[str, Any]:
    if not isinstance(url, str):
        raise SettingsError(f"a Redis URL is text such as 'redis://localhost:6379/0', not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError(
            "the Redis URL cannot be read: its host or port is malformed, "
            "or a special character in the password is not percent-encoded"
        ) from None
    if parts.scheme in _LATER:
        raise SettingsError(f"{parts.scheme}:// is not supported yet: give the URL of a single server or proxy")
    if parts.scheme not in _TLS:
        raise SettingsError("a Redis URL begins with redis://, rediss:// (TLS) or unix://")
    given: dict[str, Any] = {"tls": _TLS[parts.scheme]}
    if parts.username:
        given["username"] = unquote(parts.username)
    if parts.password:
        given["password"] = unquote(parts.password)
    if port is not None:
        given["port"] = _read("port", port, "URL")
    given |= _place(parts)
    _add_options(given, parts.query)
    return given


def _add_options(given: dict[str, Any], query: str) -> None:
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _KEYWORDS_ONLY:
            raise SettingsError(f"URL option {name} is no option: the URL itself says it")
        if name in given:
            raise SettingsError(f"URL option {name} is given twice: the URL says it already")
        given[name] = _read(name, value, "URL option")


def _place(parts: SplitResult) -> dict[str, Any]:
    if parts.scheme == "unix":
        if not parts.path:
            raise SettingsError("a unix:// URL names the path of a socket: write it like 'unix:///run/redis.sock'")
        return {"path": unquote(parts.path)}
    place: dict[str, Any] = {"host": unquote(parts.hostname)} if parts.hostname else {}
    if number := parts.path.strip("/"):
        place["db"] = _read("db", number, "URL path: the database")
    return place


def _read(name: str, value: Any, where: str) -> Any:
    if name in _REFUSED:
        raise SettingsError(f"{where} {name} cannot be set: {_REFUSED[name]}")
    if name not in _READERS:
        raise SettingsError(f"{where} {name} is unknown; known are {', '.join(sorted(_READERS))}")
    try:
        return _READERS[name](value)
    except ValueError as error:
        raise SettingsError(f"{where} {name} {error}") from None
