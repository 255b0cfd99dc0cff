"""Visits: how one client's request is answered, by a page that there is, by one that is made, or by the application."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Final

from toolcache.domains import Domain
from toolcache.errors import ToolCacheError
from toolcache.http.fields import Fields
from toolcache.http.pages import Page
from toolcache.http.requests import Place, Request
from toolcache.http.rules import Rules, Visitor
from toolcache.integrations.asgi_exchange import FAILURE, App, Exchange, Message, Receive, Scope, Send
from toolcache.protocols import Clock
from toolcache.tool_cache import ToolCache

HTTP: Final[Domain[Any]] = Domain("http", ttl=None, key=("url", "audience", "varied"), shared=True)
"""Where pages are: ``cache.invalidate(domain="http")`` forgets them all."""

_HOPELESS: Final = 10_000
"""Places that are known to have no page, at most."""
_HOPELESS_FOR: Final = 10.0
_NO_VERDICT: Final = frozenset({"status", "failed", "incomplete"})
"""Refusals that say nothing of the next response."""

_OK: Final = 200
_NO_CONTENT: Final = 204
"""Of which HTTP wants no length to be told (RFC 9110, 8.6)."""
_NOT_MODIFIED: Final = 304
_NOT_HERE: Final = 504

_asking: Final[ContextVar[frozenset[str]]] = ContextVar("toolcache_pages", default=frozenset())


class House:
    """What all visits of one application have in common.

    Args:
        app: the application.
        rules: what is kept.
        methods: that are answered.
        wait: how long for what another has asked for, in seconds; None for as long as it takes.
        name: of the cache, as it says what it has done; None for not at all.
        clock: tells when.

    Attributes:
        refreshing: what is made anew in the background, by key.
    """

    def __init__(
        self, app: App, rules: Rules, *, methods: frozenset[str], wait: float | None, name: str | None, clock: Clock
    ) -> None:
        self.app = app
        self.rules = rules
        self.methods = methods
        self.wait = wait
        self.clock = clock
        self.refreshing: dict[str, asyncio.Task[None]] = {}
        self._name = name
        self._hopeless: dict[tuple[Place, bool], float] = {}

    def is_hopeless(self, place: Place, visitor: Visitor) -> bool:
        """Whether what came last from there was none that could be kept: others need not wait for what comes next."""
        which = place, bool(visitor.credentials)  # what is not kept of somebody may well be of nobody
        until = self._hopeless.get(which)
        if until is not None and until <= self.clock.monotonic():
            del self._hopeless[which]
            until = None
        return until is not None

    def note(self, place: Place, visitor: Visitor, refused: str | None) -> None:
        """Remember why a response could not be kept."""
        if refused is not None and refused not in _NO_VERDICT:
            if len(self._hopeless) >= _HOPELESS:
                self._hopeless.clear()
            self._hopeless[place, bool(visitor.credentials)] = self.clock.monotonic() + _HOPELESS_FOR

    async def stamped(self, send: Send, how: str, message: Message) -> None:
        """Send a message; the first of a response says what the cache has done (RFC 9211)."""
        if self._name is not None and message["type"] == "http.response.start":
            stamp = (b"cache-status", f"{self._name}; {how}".encode("ascii"))
            message = {**message, "headers": [*message.get("headers", ()), stamp]}
        await send(message)


class Visit:
    """One request.

    Args:
        house: what it is made to.
        cache: where pages are.
        scope: of the request.
        receive: from the client.
        send: to the client.
        request: what of it matters.
        tags: the tags of a page with these fields.
    """

    def __init__(
        self,
        house: House,
        cache: ToolCache,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        request: Request,
        tags: Callable[[Fields], list[str]],
    ) -> None:
        self._house = house
        self._cache = cache
        self._pages = cache[HTTP]
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request = request
        self._tags = tags

    async def answer(self) -> None:
        """Answer it."""
        request, obstacle = self._request, self._obstacle()
        if obstacle is not None:
            return await self._direct(obstacle)
        try:
            page, place = await self._look()
        except ToolCacheError:  # it was closed: the application goes on without it
            return await self._direct("bypass")
        now = self._house.clock.time()
        if page is None or not self._may_have(page, place):
            old, why = None, "miss" if page is None else "bypass"
        elif page.is_fresh(now, request.said):
            return await self._give(page, "hit", aged=True)
        elif page.stands_in(now, request.said, failed=False):
            self._refresh(place, page)
            return await self._give(page, "hit", aged=True)
        else:
            old, why = page, "request" if page.left_at(now) > 0 else "stale"
        if "only-if-cached" in request.said:
            await self._refuse()
        elif why == "bypass" or request.method == "HEAD" or self._goes_alone(place):
            await self._direct(why)
        else:
            await self._fetch(place, old, why)
        return None

    def _obstacle(self) -> str | None:
        """Why the request is none of the cache's; None if it is."""
        if self._request.method not in self._house.methods:
            return "method"
        return self._request.obstacle if self._cache.settings.enabled else "bypass"

    def _goes_alone(self, place: Place) -> bool:
        """Whether to wait for others is of no use: there will be no page, or they wait for this one."""
        return self._house.is_hopeless(place, self._request.visitor) or self._pages.key(**place.key) in _asking.get()

    def _may_have(self, page: Page, place: Place) -> bool:
        return page.answers(self._request.says) and (place.own or self._request.visitor.shares(page))

    async def _look(self) -> tuple[Page | None, Place]:
        """The page for the request, and where it is or would be."""
        places = self._request.places(private=self._house.rules.private)
        home, single = places[0], len(places) == 1
        for place in places:
            page, there = Page.of(await self._pages.get(**place.key)), place
            if page is not None and not page.answers(self._request.says):
                there = self._request.again(place, page)
                page = Page.of(await self._pages.get(**there.key))
            if place is places[0]:
                home = there
            if page is not None and page.answers(self._request.says) and (single or self._may_have(page, there)):
                return page, there
        return None, home

    # -- having it made -----------------------------------------------------------------------------------------

    async def _fetch(self, place: Place, old: Page | None, why: str) -> None:
        """Have the page made, by one of all who want it."""
        exchange = self._exchange(place, old, self._receive, partial(self._house.stamped, self._send, f"fwd={why}"))
        kept = await self._asked(exchange, place, old)
        if exchange.begun:
            self._house.note(place, self._request.visitor, exchange.refused)
            page = exchange.page
        else:
            page = Page.of(kept)
            page = page if page is not None and self._may_have(page, place) else None
        now, failed = self._house.clock.time(), exchange.failed or kept == FAILURE
        if page is not None:
            await self._give(page, f"fwd={why}; {'stored' if exchange.begun else 'collapsed'}", aged=not exchange.begun)
        elif failed and old is not None and old.stands_in(now, self._request.said, failed=True):
            await self._give(old, "hit; fwd=stale", aged=True)
        elif not exchange.begun:
            await self._direct(why)
        await exchange.finish()

    async def _asked(self, exchange: Exchange, place: Place, old: Page | None) -> object:
        """What the cache says when the page was made, or could not be; None if that takes others too long."""
        with nullcontext() if old is None else self._cache.refreshing():
            asking = asyncio.ensure_future(self._pages.get(compute=exchange.compute, **place.key))
        try:
            done, _ = await asyncio.wait((asking,), timeout=self._house.wait)
            if not done and not exchange.begun:
                exchange.left = True
                asking.cancel()
                return None
            return await asking
        except ToolCacheError:  # it was closed
            return None
        except asyncio.CancelledError:
            exchange.left = True
            asking.cancel()
            raise

    def _refresh(self, place: Place, old: Page) -> None:
        """Have the page made anew in the background."""
        key, refreshing = self._pages.key(**place.key), self._house.refreshing
        if key in refreshing:
            return
        exchange = self._exchange(place, old, _gone, _nobody)
        exchange.left = True

        async def refresh() -> None:
            with self._cache.refreshing():
                await self._pages.get(compute=exchange.compute, **place.key)
            await exchange.finish()

        def done(task: asyncio.Task[None]) -> None:
            del refreshing[key]
            if not task.cancelled() and (error := task.exception()) is not None:
                told = {"message": "a page could not be made anew in the background", "exception": error, "task": task}
                task.get_loop().call_exception_handler(told)

        refreshing[key] = asyncio.get_running_loop().create_task(refresh())
        refreshing[key].add_done_callback(done)

    def _exchange(self, place: Place, old: Page | None, receive: Receive, send: Send) -> Exchange:
        variables = copy_context()  # the client's, not those of a cache that refreshes
        variables.run(_asking.set, _asking.get() | {self._pages.key(**place.key)})
        # A page is what GET gets, though it may be HEAD that finds it old.
        scope = self._scope if self._request.method == "GET" else {**self._scope, "method": "GET"}
        return Exchange(
            self._house.app,
            scope,
            receive,
            send,
            request=self._request,
            rules=self._house.rules,
            clock=self._house.clock,
            own=place.own,
            old=old,
            variables=variables,
            tags=self._tags,
        )

    # -- sending ------------------------------------------------------------------------------------------------

    async def _give(self, page: Page, how: str, *, aged: bool) -> None:
        """Answer with a page, or by saying that the client has it; ``aged``: it was not made for this client."""
        now = self._house.clock.time()
        known = page.status == _OK and self._request.knows(page)
        fields = list(page.unsent() if known else page.fields)
        if not known and page.status != _NO_CONTENT and not any(name == b"content-length" for name, _ in fields):
            fields.append((b"content-length", str(len(page.body)).encode("ascii")))
        if aged or page.age:
            fields.append((b"age", str(int(page.age_at(now))).encode("ascii")))
        if how.startswith("hit"):
            how += f"; ttl={int(page.left_at(now))}"
        body = b"" if known or self._request.method == "HEAD" else page.body
        await self._respond(_NOT_MODIFIED if known else page.status, fields, body, how)

    async def _refuse(self) -> None:
        await self._respond(_NOT_HERE, [(b"content-length", b"0")], b"", "detail=only-if-cached")

    async def _respond(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes, how: str) -> None:
        start = {"type": "http.response.start", "status": status, "headers": fields}
        await self._house.stamped(self._send, how, start)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _direct(self, why: str) -> None:
        """Leave it to the application."""
        await self._house.app(self._scope, self._receive, partial(self._house.stamped, self._send, f"fwd={why}"))


async def _gone() -> Message:
    """What is heard of a client that is not there."""
    return {"type": "http.disconnect"}


async def _nobody(_message: Message) -> None:
    """Takes what nobody gets."""
