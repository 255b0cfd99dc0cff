"""A client of the application, in the same process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from toolcache import ToolCache
from toolcache.web.app import app

READ: Final = "a-secret-that-may-read"
WRITE: Final = "a-secret-that-may-write"
ADMIN: Final = "a-secret-that-may-do-all"
TOKENS: Final = {READ: "read", WRITE: "write", ADMIN: "admin"}


def bearer(token: str) -> dict[str, str]:
    """The field that shows a token."""
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def asking(
    cache: ToolCache,
    *,
    token: str | None = ADMIN,
    peer: str = "127.0.0.1",
    base: str = "http://localhost",
    **options: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application over the cache; with ``token`` None one without."""
    options.setdefault("tokens", TOKENS if token else {})
    options.setdefault("rate", None)
    transport = httpx.ASGITransport(app(cache, **options), client=(peer, 4711))
    fields = bearer(token) if token else {}
    async with httpx.AsyncClient(transport=transport, base_url=base, headers=fields) as client:
        yield client
