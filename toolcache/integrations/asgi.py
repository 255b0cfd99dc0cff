"""Caching of responses in ASGI applications, such as those of Starlette and FastAPI.

    app.add_middleware(CacheMiddleware, cache=cache, ttl="1m")

What HTTP says of shared caches holds (RFC 9111): the application says by Cache-Control what may be kept, and how long.
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from typing import Final

from toolcache.clock import SYSTEM
from toolcache.durations import Duration, Size, seconds, size
from toolcache.errors import ToolCacheError
from toolcache.http.fields import Fields, listed
from toolcache.http.requests import Credentials, Query, Request, page_tag, path_tag
from toolcache.http.rules import Rules
from toolcache.integrations.asgi_exchange import App, Message, Receive, Scope, Send
from toolcache.integrations.asgi_visit import HTTP, House, Visit
from toolcache.protocols import Clock
from toolcache.tool_cache import ToolCache, get_cache

__all__ = ["HTTP", "CacheMiddleware", "page_tag"]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_DONE: Final = range(200, 400)


class CacheMiddleware:
    """Keeps responses to GET, and answers GET and HEAD with them.

    Kept is what the application allows: responses with ``max-age``, ``s-maxage`` or ``Expires``, or all that say nothing
    where there is a ``ttl``. Never kept are those with ``Set-Cookie``, ``no-store``, ``no-cache``, ``private`` or
    ``Vary: *``, streams, parts, and what is asked for by somebody who says who they are (``Authorization``, ``Cookie``),
    unless it is ``public``, or ``group`` says with whom it may be shared. One request for a page goes to the application,
    whoever else asks meanwhile; what turns out not to be a page goes to nobody else. A POST, PUT, PATCH or DELETE that
    succeeds forgets the pages of its path.

    Args:
        app: the application.
        cache: where; the process's default cache unless given, looked up at each request.
        ttl: how long a page is good that says nothing of it; None for such not to be kept.
        grace: how long past its time a page that says nothing of it may stand in while it is made anew, or where that
            fails. None for not at all.
        methods: that are answered: GET, or GET and HEAD.
        statuses: of responses that are kept.
        vary: fields of requests that every page depends on, besides those that the page says.
        query: "kept": every query is another page; "sorted": whatever the order of its parameters; or the names of those
            that matter.
        group: called with the scope: whom a client belongs to (a tenant, a user), as a text; pages are kept for each and
            shared among its clients, also those who say who they are. None where nobody is known.
        private: whether what is for one client alone is kept for that client.
        credentials: the fields of requests that say who a client is; name whatever else does so with you.
        cookies: where ``Cookie`` is one of them, the cookies that do, by their names; all unless given.
        client_control: whether ``Cache-Control`` of requests counts.
        wait: how long a request waits for the page that another has asked for before it goes to the application itself.
        max_body: the largest content that is kept.
        tags: called with the scope: tags of the page, besides those of its path.
        tag_field: the field of responses that lists tags.
        name: of this cache in the field Cache-Status; None for no such field.
        clock: another than the machine's, for tests.

    Raises:
        ValueError: an option cannot be.
        TypeError: one is of a wrong kind.
    """

    def __init__(
        self,
        app: App,
        *,
        cache: ToolCache | None = None,
        ttl: Duration | None = None,
        grace: Duration | None = None,
        methods: Collection[str] = ("GET", "HEAD"),
        statuses: Collection[int] = (200, 203, 301, 308),
        vary: Collection[str] = (),
        query: Query = "kept",
        group: Callable[[Scope], str | None] | None = None,
        private: bool = False,
        credentials: Collection[str] = ("Authorization", "Cookie", "X-API-Key"),
        cookies: Collection[str] | None = None,
        client_control: bool = True,
        wait: Duration | None = "10s",
        max_body: Size = "1MB",
        tags: Callable[[Scope], Iterable[str]] | None = None,
        tag_field: str = "Cache-Tag",
        name: str | None = "toolcache",
        clock: Clock = SYSTEM,
    ) -> None:
        if "GET" not in methods or set(methods) - {"GET", "HEAD"}:
            raise ValueError(f"methods are ('GET',) or ('GET', 'HEAD'): no others can be answered, not {methods!r}")
        if isinstance(query, str) and query not in {"kept", "sorted"}:
            raise ValueError(f"query is 'kept', 'sorted' or the names of parameters, such as ['page'], not {query!r}")
        for option, given in (("vary", vary), ("credentials", credentials), ("cookies", cookies), ("methods", methods)):
            if isinstance(given, str):
                raise TypeError(f"{option} takes several names: write [{given!r}]")
        self._app = app
        self._cache = cache
        rules = Rules(
            ttl=None if ttl is None else seconds(ttl),
            grace=0.0 if grace is None else seconds(grace, name="grace"),
            statuses=frozenset(statuses),
            max_body=size(max_body, name="max_body"),
            private=private,
        )
        self._read = partial(Request, query=query, vary=vary, obeyed=client_control)
        self._group = group
        self._credentials = Credentials(credentials, cookies)
        self._tags = tags
        self._tag_field = tag_field.lower().encode("ascii")
        self._house = House(
            app,
            rules,
            methods=frozenset(methods),
            wait=None if wait is None else seconds(wait, name="wait"),
            name=name,
            clock=clock,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, by a page or by the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] not in _SAFE:
            await self._change(scope, receive, send)
        else:
            await self._visit(scope, receive, send).answer()

    def _visit(self, scope: Scope, receive: Receive, send: Send) -> Visit:
        group = None if self._group is None else self._group(scope)
        if group is not None and not isinstance(group, str):
            raise TypeError(f"group returns a text or None, not {type(group).__name__}")
        return Visit(
            self._house,
            self._cache or get_cache(),
            scope,
            receive,
            send,
            request=self._read(scope, self._credentials.visitor(scope["headers"], group)),
            tags=partial(self._tags_of, scope),
        )

    async def _change(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the application change something, and forget the pages of its path (RFC 9111, 4.4).

        They are forgotten before the client hears of it, and once more at the end: many applications commit after the
        response, and whoever asked in between has had the old page made.
        """
        changed = False

        async def tell(message: Message) -> None:
            nonlocal changed
            if message["type"] == "http.response.start" and message["status"] in _DONE:
                changed = True
                await self._forget(scope)
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            if changed:
                await self._forget(scope)

    async def _forget(self, scope: Scope) -> None:
        with suppress(ToolCacheError):  # what was done is done; the cache has told who listens to it
            await (self._cache or get_cache()).invalidate(tags=[path_tag(scope["path"])])

    def _tags_of(self, scope: Scope, fields: Fields) -> list[str]:
        own, said = [path_tag(scope["path"]), page_tag(scope["path"])], self._tags(scope) if self._tags else ()
        if isinstance(said, str):
            raise TypeError(f"tags returns several texts: have it return [{said!r}]")
        return [*own, *listed(fields, self._tag_field), *said]
