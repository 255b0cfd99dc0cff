"""The cache as an ASGI application: to be mounted in another one, or served alone by ``serve``.

    app(cache, tokens={"a-long-random-secret": "read"})

A request goes: gate (who, how often, how large) → table (which endpoint) → handler → gate. Everything that is said about an
endpoint is said once, in the table: routing, checks, the OpenAPI document and docs/reference/rest.md are read off it.

The files of the page are for anybody: a request reaches them when no endpoint has its path, after Host, origin and rate were
checked. What the page lives on are endpoints of the table like all others.
"""

from collections.abc import Collection, Mapping

from toolcache.clock import SYSTEM
from toolcache.durations import Size, size
from toolcache.errors import SettingsError
from toolcache.protocols import Clock
from toolcache.tool_cache import ToolCache
from toolcache.warm_plan import WarmPlan
from toolcache.web.admission import Authorize, Rules
from toolcache.web.gate import Gate
from toolcache.web.house import House
from toolcache.web.page.endpoints import ENDPOINTS
from toolcache.web.page.files import ROUTES
from toolcache.web.table import TABLE, Routes
from toolcache.web.tokens import Access, Tokens


def app(
    cache: ToolCache,
    *,
    tokens: Mapping[str, str] | None = None,
    anonymous: str | None = "read",
    authorize: Authorize | None = None,
    values: bool = False,
    plans: Mapping[str, WarmPlan] | None = None,
    allowed_hosts: Collection[str] = (),
    cors: Collection[str] = (),
    rate: float | None = 50.0,
    max_body: Size = "1MB",
    page: bool = True,
    clock: Clock = SYSTEM,
) -> Gate:
    """An ASGI application that tells of a cache, and changes it for those who may.

    Args:
        cache: an open one, which stays its caller's: it is closed by whoever opened it.
        tokens: the scope of each bearer token, "read", "write" or "admin", each of which includes the one before. What
            ``TOOLCACHE_TOKENS`` says unless given; ``{}`` for none.
        anonymous: where there are neither tokens nor ``authorize``, what a request from this machine may do that names it by a
            loopback address: a scope, or None for nothing. No request from elsewhere may do anything then.
        authorize: asked with the ASGI scope of whoever has no token of these, but perhaps one of the application around: the scope
            that it grants, or None.
        values: whether those who may read are shown values, which may hold secrets, or only what is known of them.
        plans: what ``POST /api/v1/cache/warm`` can be told to warm, by name.
        allowed_hosts: names by which the server may be asked for, besides those of loopback; any unless given.
        cors: origins, such as ``"https://ops.example.org"``, whose pages may ask from a browser; none unless given.
        rate: requests a second that each token, or each address without one, has in the long run; None for no limit.
        max_body: bytes of a request's body.
        page: whether the page is there, and what it alone lives on.
        clock: another than the machine's, for tests.

    Raises:
        SettingsError: an option cannot be.

    Examples:
        >>> from starlette.applications import Starlette
        >>> from starlette.routing import Mount
        >>> site = Starlette(routes=[Mount("/cache", app(cache, tokens={secret: "admin"}))])
    """
    known = Tokens(Tokens.from_env() if tokens is None else tokens)
    for option, given in (("allowed_hosts", allowed_hosts), ("cors", cors)):
        if isinstance(given, str):
            raise SettingsError(f"{option} takes several names: write ({given!r},)")
    if "*" in cors:
        raise SettingsError(
            "cors names origins, such as 'https://ops.example.org': '*' would let in the pages of anybody"
        )
    if rate is not None and not 0 < rate < float("inf"):
        raise SettingsError(f"rate is how many requests a second are answered, more than none, or None, not {rate!r}")
    access = None if anonymous is None else Access.of(anonymous, "anonymous")
    rules = Rules(
        known,
        anonymous=None if known or authorize is not None else access,
        authorize=authorize,
        allowed_hosts=allowed_hosts,
        cors=cors,
        rate=rate,
        max_body=size(max_body, name="max_body"),
    )
    table = TABLE if page else tuple(one for one in TABLE if one not in ENDPOINTS)
    house = House(cache, table, values=values, plans=plans, clock=clock)
    return Gate(house, Routes(table), rules, ROUTES if page else ())
