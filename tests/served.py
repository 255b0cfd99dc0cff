"""A server of the page with a cache of its own, in a thread: what drives a browser waits, and must not keep it waiting."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from toolcache import ToolCache
from toolcache.web.app import app

T = TypeVar("T")


class Served:
    """A page that can be looked at.

    Args:
        open_cache: makes the cache, on the server's loop.
        prefix: where another application has mounted it.
        port: where it listens; a free one by default.
        options: of ``toolcache.web.app.app``.
    """

    def __init__(
        self,
        open_cache: Callable[[], AbstractAsyncContextManager[ToolCache]],
        *,
        prefix: str = "",
        port: int = 0,
        **options: Any,
    ) -> None:
        self._open = open_cache
        self._prefix = prefix
        self._options = {"rate": None, "values": True, "anonymous": "write", "tokens": {}} | options
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="served", daemon=True)
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}{prefix}/"

    def call(self, work: Coroutine[Any, Any, T], seconds: float = 30.0) -> T:
        """Do something on the server's loop, where its cache lives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def api(self, path: str, **options: Any) -> Any:
        """What the API says."""
        response = httpx.get(f"{self.url}api/v1/{path}", **options)
        assert response.status_code in {200, 503}, response.text
        return response.json()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with self._open() as cache:
            self.cache = cache
            application: Any = app(cache, **self._options)
            if self._prefix:
                application = Starlette(routes=[Mount(self._prefix, application)])
            config = uvicorn.Config(
                application, log_config=None, ws="none", lifespan="off", timeout_graceful_shutdown=1
            )
            self._server = uvicorn.Server(config)
            self._loop.call_later(0.05, self._tell)
            await self._server.serve(sockets=[self._socket])

    def _tell(self) -> None:
        if self._server.started:
            self._up.set()
        else:
            self._loop.call_later(0.01, self._tell)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10), "the server does not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server does not end"
