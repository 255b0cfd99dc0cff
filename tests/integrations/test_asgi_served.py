"""The cache in an application of Starlette, behind a real server, asked by a real client."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from origin import pieces_of
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from toolcache import ToolCache
from toolcache.integrations.asgi import CacheMiddleware, page_tag

KEPT = {"Cache-Control": "max-age=60"}


class Shop:
    """An application.

    Attributes:
        asked: how often each path was.
        after: what was done after responses.
        left: set when the client of the stream has gone.
    """

    def __init__(self, folder: Path) -> None:
        self.asked: Counter[str] = Counter()
        self.after: list[str] = []
        self.left = asyncio.Event()
        self.price = 5
        self._file = folder / "list.txt"
        self._file.write_text("a list", "utf-8")

    def routes(self) -> list[Route]:
        """Its pages."""
        return [
            Route("/price", self.show),
            Route("/price", self.change, methods=["PUT"]),
            Route("/slow", self.slow),
            Route("/list", self.list),
            Route("/stream", self.stream),
            Route("/login", self.login),
            Route("/large", self.large),
        ]

    async def show(self, request: Request) -> Response:
        """A page that others can be told of."""
        self.asked[request.url.path] += 1
        done = BackgroundTask(self.after.append, request.url.path)
        return JSONResponse({"price": self.price}, headers=KEPT, background=done)

    async def change(self, request: Request) -> Response:
        """What makes it another."""
        self.price = int(await request.body())
        return Response(status_code=204)

    async def slow(self, request: Request) -> Response:
        """A page that takes a while."""
        self.asked[request.url.path] += 1
        await asyncio.sleep(0.05)
        return PlainTextResponse("at last", headers=KEPT)

    async def list(self, request: Request) -> Response:
        """A file."""
        self.asked[request.url.path] += 1
        return FileResponse(self._file, headers=KEPT, media_type="text/plain")

    async def stream(self, request: Request) -> Response:
        """A response without an end."""
        self.asked[request.url.path] += 1

        async def words() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"word\n"
                    await asyncio.sleep(0.001)
            finally:
                self.left.set()

        return StreamingResponse(words(), media_type="text/event-stream", headers=KEPT)

    async def login(self, request: Request) -> Response:
        """A response for one client."""
        self.asked[request.url.path] += 1
        response = StreamingResponse(pieces_of([b"wel", b"come"]), headers=KEPT)
        response.set_cookie("session", "secret")
        return response

    async def large(self, request: Request) -> Response:
        """A page worth compressing."""
        self.asked[request.url.path] += 1
        return PlainTextResponse("large " * 1000, headers=KEPT)


class Server(uvicorn.Server):
    """One that leaves signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are the test's."""
        yield


@contextlib.asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, on a port of its own."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=20) as client:
            yield client
        server.should_exit = True
        await serving


@pytest.fixture
async def cache() -> AsyncIterator[ToolCache]:
    """Where pages are."""
    async with ToolCache(files=False) as made:
        yield made


@pytest.fixture
async def shop(tmp_path: Path) -> Shop:
    """The application."""
    return Shop(tmp_path)


@pytest.fixture
async def client(shop: Shop, cache: ToolCache) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it, the cache between them."""
    layers = [Middleware(GZipMiddleware, minimum_size=500), Middleware(CacheMiddleware, cache=cache)]
    async with served(Starlette(routes=shop.routes(), middleware=layers)) as client:
        yield client


async def test_pages_are_served_from_the_cache(client: httpx.AsyncClient, shop: Shop, cache: ToolCache) -> None:
    """C16: Starlette's pages are answered without it, with age and validator, until they are changed or forgotten."""
    responses = [await client.get("/price") for _ in range(3)]
    assert [response.json() for response in responses] == [{"price": 5}] * 3
    assert shop.asked["/price"] == 1
    assert shop.after == ["/price"]
    assert responses[0].headers["cache-status"] == "toolcache; fwd=miss; stored"
    assert responses[1].headers["age"] == "0"
    known = await client.get("/price", headers={"If-None-Match": responses[0].headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    head = await client.head("/price")
    assert (head.content, head.headers["content-length"]) == (b"", "11")
    assert (await client.put("/price", content="7")).status_code == 204
    assert (await client.get("/price")).json() == {"price": 7}
    shop.price = 9
    await cache.invalidate(tags=[page_tag("/price")])
    assert (await client.get("/price")).json() == {"price": 9}
    assert (await client.get("/absent")).status_code == 404
    assert cache.stats().domains["http"].hits >= 4


async def test_many_clients_are_answered_by_one_request(client: httpx.AsyncClient, shop: Shop) -> None:
    """C16: twenty clients at once have one page made."""
    responses = await asyncio.gather(*(client.get("/slow") for _ in range(20)))
    assert {response.text for response in responses} == {"at last"}
    assert shop.asked["/slow"] == 1


async def test_a_stream_reaches_its_client_and_ends_with_it(client: httpx.AsyncClient, shop: Shop) -> None:
    """C16: server-sent events flow, are not kept, and the application hears that the client has gone."""
    async with client.stream("GET", "/stream") as response:
        assert response.headers["cache-status"] == "toolcache; fwd=miss"
        async for line in response.aiter_lines():
            assert line == "word"
            break
    await asyncio.wait_for(shop.left.wait(), 20)


async def test_cookies_are_given_to_one_alone(client: httpx.AsyncClient, shop: Shop) -> None:
    """BUG-111: a response that sets a cookie is made for each, whole."""
    for _ in range(2):
        client.cookies.clear()
        response = await client.get("/login")
        assert (response.text, response.cookies["session"]) == ("welcome", "secret")
    assert shop.asked["/login"] == 2


async def test_files_are_kept_with_their_validators(client: httpx.AsyncClient, shop: Shop) -> None:
    """C16: a file keeps its own validators; a part of it comes from the application."""
    first = await client.get("/list")
    again = await client.get("/list", headers={"If-Modified-Since": first.headers["last-modified"]})
    assert (first.text, again.status_code, shop.asked["/list"]) == ("a list", 304, 1)
    part = await client.get("/list", headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.text) == (206, "list")
    assert (await client.get("/list")).text == "a list"


async def test_compression_stands_before_the_cache(client: httpx.AsyncClient, shop: Shop) -> None:
    """C16: one page is kept, and compressed for those who want it so."""
    for encoding in ("gzip", "identity", "gzip"):
        response = await client.get("/large", headers={"Accept-Encoding": encoding})
        assert response.text == "large " * 1000
        assert response.headers.get("content-encoding", "identity") == encoding
    assert shop.asked["/large"] == 1
