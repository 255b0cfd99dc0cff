"""The application behind a real server, asked through real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from rest import ADMIN, bearer

from toolcache import ToolCache
from toolcache.web import wire
from toolcache.web.serving import serve


@asynccontextmanager
async def served(cache: ToolCache, **options: Any) -> AsyncIterator[str]:
    """The URL of a server of the cache."""
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    options.setdefault("tokens", {ADMIN: "admin"})
    serving = asyncio.create_task(serve(cache, port=0, on_listening=listening.set_result, **options))
    waited: list[asyncio.Future[Any]] = [listening, serving]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
    try:
        yield listening.result()
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


async def said(url: str, *parts: bytes, patience: float = 20) -> bytes:
    """What a server answers to bytes, until it hangs up."""
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        answer = b""
        for at, part in enumerate(parts):
            writer.write(part)
            await writer.drain()
            if part.endswith(b"\r\n\r\n") and at < len(parts) - 1 and b"chunked" not in part:
                answer += await asyncio.wait_for(reader.readuntil(b"}"), patience)
        return answer + await asyncio.wait_for(reader.read(), patience)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def cache() -> AsyncIterator[ToolCache]:
    async with ToolCache(files=False, namespace="shop") as made:
        yield made


async def test_served_on_loopback(cache: ToolCache) -> None:
    """D9: ``serve`` answers on a free port of this machine, and ends with its task, leaving the cache open."""
    async with served(cache) as url, httpx.AsyncClient(base_url=url, headers=bearer(ADMIN)) as client:
        assert url.startswith("http://127.0.0.1:")
        answer = await client.get("/api/v1/cache/domains")
        assert answer.status_code == 200
        assert "server" not in answer.headers
        assert (await client.head("/health")).status_code == 200
    assert not cache.closed


async def test_who_says_nothing_is_hung_up_on(cache: ToolCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """D9: a client that does not say what it wants does not hold its connection for ever."""
    monkeypatch.setattr(wire, "HEAD_SECONDS", 0.05)
    async with served(cache) as url:
        assert await said(url) == b""
        assert await said(url, b"GET /health HTTP/1.1\r\nHost: localh") == b""
        assert b" 200 OK" in await said(url, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        began = asyncio.get_running_loop().time()
        assert (await said(url, whole, b"GET /health HTTP/1.1\r\nHost: loc")).count(b" 200 OK") == 1
        assert asyncio.get_running_loop().time() - began < 4  # of the five seconds of a connection that rests


async def test_what_is_no_request(cache: ToolCache) -> None:
    """D9: what two servers in a row could read differently is refused, and the connection ended; so is what has no end."""
    requests = [
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET /health\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: b\x00c\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000,
        b"\x16\x03\x01\x02\x00\x01",
    ]
    async with served(cache) as url:
        for request in requests:
            answer = await said(url, request)
            assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")), (request[:60], answer[:200])
            assert answer.count(b"HTTP/1.1") == 1


async def test_bodies_without_an_end(cache: ToolCache) -> None:
    """D9: a body in chunks is read as far as the limit, then the client is told and the connection ended."""
    head = (
        f"PUT /api/v1/cache/key HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    chunk = b"400\r\n" + b"x" * 0x400 + b"\r\n"
    async with served(cache, max_body="3kB") as url:
        answer = await said(url, head, chunk * 3)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer.lower()
        assert await cache.get("key") is None


async def test_a_stream_does_not_keep_the_server(cache: ToolCache, caplog: pytest.LogCaptureFixture) -> None:
    """D9: who listens to the page's events is let go when the server ends, at once and without a complaint."""
    loop = asyncio.get_running_loop()
    async with httpx.AsyncClient(headers=bearer(ADMIN)) as client:
        async with served(cache) as url:
            request = client.build_request("GET", f"{url}api/v1/events")
            stream = await client.send(request, stream=True)
            lines = stream.aiter_lines()
            assert (await anext(lines)).startswith("data: ")
            ended = loop.time()
        assert loop.time() - ended < 2
        assert all([not line or line.startswith("data: ") async for line in lines])
        await stream.aclose()
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]
