"""What each option of a Redis address may be, in a URL or as a keyword.

Nothing that is given is dropped: an option is understood or refused. Errors name options and repeat no values, because
a URL holds a password, and one with a stray ``@`` or ``/`` in it puts pieces of the password anywhere.
"""

import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

from toolcache.errors import SettingsError

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
    "read_from_replicas": _switch,
    "sentinel_password": _text,
    "sentinel_username": _text,
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
_REFUSED: Final = {
    "decode_responses": "what is stored is bytes",
    "health_check_interval": "the store watches its connection by itself",
    "max_connections": "a few connections carry all commands",
    "retry_on_timeout": "the cache retries by itself",
    "socket_connect_timeout": "use connect_timeout",
    "socket_timeout": "use op_timeout",
    "timeout": "use op_timeout",
}


def read(name: str, value: Any, where: str) -> Any:
    """The value of an option, as it is meant.

    Args:
        name: of the option.
        value: as it was given: from a URL always text.
        where: it was given, for the error: "URL option" or the like.

    Raises:
        SettingsError: the option is unknown or not to be set, or this is no value of it.
    """
    if name in _REFUSED:
        raise SettingsError(f"{where} {name} cannot be set: {_REFUSED[name]}")
    if name not in _READERS:
        raise SettingsError(f"{where} {name} is unknown; known are {', '.join(sorted(_READERS))}")
    try:
        return _READERS[name](value)
    except ValueError as error:
        raise SettingsError(f"{where} {name} {error}") from None
