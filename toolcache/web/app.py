"""The cache as an ASGI application: to be mounted in another one, or served alone by ``serve``.

    app(cache, tokens={"a-long-random-secret": "read"})

A request goes: gate (who, how often, how large) → table (which endpoint) → handler → gate. Everything that is said about an
endpoint is said once, in the table: routing, checks, the OpenAPI document and docs/reference/rest.md are read off it.

The page has its own routes: if ``toolcache.web.page.routes`` is there, its ``routes(house) -> list[Route]`` is asked for Starlette
routes, where ``house.cache`` is the cache and ``scope["toolcache.who"]`` of a request says who asks. A request reaches them when
no endpoint of the table has its path, after Host, origin and rate were checked: below ``/api/`` only from who may read, elsewhere from anybody. They may raise ``Problem``; what they send
gets the headers that are missing (``Cache-Control: no-store``, a strict ``Content-Security-Policy``, ``nosniff`` and others), is
counted, and is logged as "page". Nothing limits how long they stream. ``scope["toolcache.who"]`` is who asks, and what they may do.
"""

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from typing import Any

from starlette.routing import Route

from toolcache.clock import SYSTEM
from toolcache.durations import Size, size
from toolcache.errors import SettingsError
from toolcache.protocols import Clock
from toolcache.tool_cache import ToolCache
from toolcache.warm_plan import WarmPlan
from toolcache.web.admission import Authorize, Rules
from toolcache.web.gate import Gate
from toolcache.web.house import House
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
        anonymous: where there are no tokens, what a request from this machine may do that names it by a loopback address: a scope,
            or None for nothing. No request from elsewhere may do anything then.
        authorize: asked with the ASGI scope of whoever has no token of these, but perhaps one of the application around: the scope
            that it grants, or None.
        values: whether those who may read are shown values, which may hold secrets, or only what is known of them.
        plans: what ``POST /api/v1/cache/warm`` can be told to warm, by name.
        allowed_hosts: names by which the server may be asked for, besides those of loopback; any unless given.
        cors: origins, such as ``"https://ops.example.org"``, whose pages may ask from a browser; none unless given.
        rate: requests a second that each token, or each address without one, has in the long run; None for no limit.
        max_body: bytes of a request's body.
        page: whether the page is there.
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
        anonymous=None if known else access,
        authorize=authorize,
        allowed_hosts=allowed_hosts,
        cors=cors,
        rate=rate,
        max_body=size(max_body, name="max_body"),
    )
    house = House(cache, TABLE, values=values, plans=plans, clock=clock)
    return Gate(house, Routes(TABLE), rules, _page(house) if page else [])


def _page(house: House) -> list[Route]:
    """The routes of the page, if it is there."""
    if find_spec("toolcache.web.page") is None or find_spec("toolcache.web.page.routes") is None:
        return []
    from importlib import import_module

    made: Any = import_module("toolcache.web.page.routes")
    return list(made.routes(house))
