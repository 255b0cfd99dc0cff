"""Which names and addresses are this machine's own, and whether a browser was sent here by somebody else's page.

A page of anybody's can have a browser ask servers on its own machine, also under a name that is made to point there
(DNS rebinding). So where no token is asked for, the name that the request says it wants (Host) must be one of this
machine's, and what a page of another origin asks for is refused.
"""

from collections.abc import Collection
from ipaddress import ip_address
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from toolcache.web.problems import Problem

_NAMES: Final = frozenset({"localhost", "localhost."})
_FORWARDED: Final = frozenset({"forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "via"})
_OURS: Final = frozenset({"same-origin", "none"})


def is_loopback(host: str) -> bool:
    """Whether a name or an address is reached from this machine alone."""
    bare = host.strip("[]").lower()
    if bare in _NAMES:
        return True
    try:
        return ip_address(bare.partition("%")[0]).is_loopback
    except ValueError:
        return False


def name_in(host: str) -> str:
    """The name in a Host field, without its port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def host_of(headers: Headers) -> str:
    """The one Host field of a request.

    Raises:
        Problem: there is none, or there are several.
    """
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not hosts[0]:
        raise Problem(400, "a request has one Host field")
    return hosts[0]


def is_local(scope: Scope, headers: Headers) -> bool:
    """Whether a request comes from this machine, for this machine, and not through a proxy on it."""
    peer = scope.get("client")
    near = peer is not None and is_loopback(peer[0])
    passed_on = any(field in _FORWARDED or field.startswith("x-forwarded-") for field in headers)
    return near and is_loopback(name_in(host_of(headers))) and not passed_on


def check_origin(headers: Headers, allowed: Collection[str], *, changes: bool) -> None:
    """Refuse what the page of another origin asks for, unless that is allowed.

    Args:
        headers: of the request.
        allowed: other origins that may ask.
        changes: whether the request may change something; if not, one may be led here by a link.

    Raises:
        Problem: it is refused.
    """
    origin = headers.get("origin")
    if origin is not None and origin in allowed:
        return
    if origin is not None and origin.partition("://")[2].lower() != host_of(headers).lower():
        raise Problem(403, "a page of another origin may not ask for this")
    site = headers.get("sec-fetch-site", "none")
    led = not changes and headers.get("sec-fetch-mode") == "navigate"
    if origin is None and site not in _OURS and not led:
        raise Problem(403, "a page of another site may not ask for this")
