"""Where the page is found: itself at ``/``, its files under ``/page/``, what it lives on under ``/api/v1/page/`` and ``/api/v1/events``."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from toolcache.aside import aside
from toolcache.metrics.spans import DAY
from toolcache.savings import savings_of, wants_more
from toolcache.tool_cache import ToolCache
from toolcache.web.page import documents, files
from toolcache.web.page.pulse import Part, Pulse
from toolcache.web.page.stream import EventStream
from toolcache.web.problems import Problem
from toolcache.web.tokens import Access

PERIODS: Final = {"1h": 1.0, "24h": 15.0, "30d": 60.0}
"""What can be looked at, and how many seconds later anew."""
LISTENERS: Final = 64
"""Who may listen at a time: each has a connection of its own, of which a server has some hundreds."""
_BY: Final = ("hits", "bytes", "dollars")
_TOP: Final = 10


class Context(Protocol):
    """What the server knows."""

    @property
    def cache(self) -> ToolCache:
        """Whose page it is."""
        ...

    async def answer(self, ask: Callable[[], Awaitable[Any]], heavy: Access | None = None) -> Any:
        """What ``ask`` says, if that does not take too long; a few at a time of what is heavy."""
        ...


def routes(context: Context) -> list[Route]:
    """The page's part of the server. Whoever asks for ``/api/…`` has been let in by the server before it comes here."""
    cache = context.cache
    pulse = pulse_of(cache)

    async def events(request: Request) -> Response:
        period = _chosen(request, "period", PERIODS)
        if pulse.listeners >= LISTENERS:
            raise Problem(503, "too many look at the page already: close one", {"Retry-After": "10"})
        names = {"health": "health", "metrics": f"metrics:{period}", "alerts": "alerts"}
        return EventStream(pulse, names, json.dumps({"period": period, "may_write": _may_write(request)}))

    async def top(request: Request) -> Response:
        rows = await cache.top(_TOP, by=_chosen(request, "by", _BY))
        return JSONResponse({"rows": [documents.entry(row) for row in rows]})

    async def advised() -> Any:
        return documents.advice(await cache.diagnose(), await cache.analyze())

    async def advice(_: Request) -> Response:
        return JSONResponse(await context.answer(advised, Access.READ))

    return [
        Route("/", files.serve, name="page"),
        Route("/page/{file:path}", files.serve, name="page_files"),
        Route("/api/v1/events", events, name="events"),
        Route("/api/v1/page/top", top, name="page_top"),
        Route("/api/v1/page/advice", advice, name="page_advice"),
    ]


def _chosen(request: Request, name: str, known: Any) -> Any:
    """What the query says of a parameter; the first of those known unless it says anything."""
    word = request.query_params.get(name, next(iter(known)))
    if word not in known:
        raise Problem(422, f"query.{name} is one of {', '.join(known)}", at=f"query.{name}")
    return word


def _may_write(request: Request) -> bool:
    """Whether whoever asks may change something, as far as the server says; what it refuses, it refuses anyway."""
    access = getattr(request.scope.get("toolcache.who"), "access", None)
    return access is None or access >= Access.WRITE


def pulse_of(cache: ToolCache) -> Pulse:
    """All that can be told of a cache while somebody listens."""

    async def health() -> Any:
        return documents.health(await cache.health())

    async def metrics(period: str) -> Any:
        # As ``cache.savings`` does it, but of the same counts: what is saved is never more than what was hit.
        found, prices = await cache.metrics(period), cache.settings.prices
        kept = await cache.metrics(DAY.kept) if wants_more(found, prices) else None
        saved = savings_of(found, prices, kept=kept)
        return await aside(partial(documents.metrics, found, saved))  # of a large fleet it takes a while

    async def alerts() -> Any:
        states, notices = await cache.alerts.state(), await cache.alerts.history()
        return documents.alerts(cache.alerts.list(), states, notices)

    parts = {"health": Part(health), "alerts": Part(alerts)}
    parts |= {f"metrics:{period}": Part(partial(metrics, period), every) for period, every in PERIODS.items()}
    return Pulse(parts)
