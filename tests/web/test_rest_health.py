"""Whether the cache is well, as whoever asks is told; and that each answer comes in the same dress."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from rest import ADMIN, READ, asking, bearer
from starlette.applications import Starlette
from starlette.routing import Mount

from toolcache import ToolCache
from toolcache.web.app import app


@pytest.fixture
async def cache() -> AsyncIterator[ToolCache]:
    async with ToolCache(files=False, namespace="shop") as made:
        yield made


@pytest.mark.parametrize("path", ["/health", "/api/v1/health"])
async def test_health_tells_little_to_anybody_and_all_to_readers(cache: ToolCache, path: str) -> None:
    """D9: who watches a server needs the word alone, and no token; who may read sees each layer."""
    async with asking(cache, token=None, tokens={READ: "read"}) as client:
        assert (await client.get(path)).json() == {"status": "ok"}
        whole = (await client.get(path, headers=bearer(READ))).json()
        assert (whole["status"], whole["namespace"], whole["redis"]) == ("ok", "shop", None)


async def test_health_is_503_while_a_layer_cannot_be_used() -> None:
    """D9: a cache whose Redis is away is degraded, and its health says so with its status."""
    async with ToolCache(files=False, redis_url="redis://127.0.0.1:1") as cache, asking(cache) as client:
        answer = await client.get("/health")
        assert answer.status_code == 503
        assert answer.json()["status"] == "degraded"
        assert answer.json()["redis"]["usable"] is False


async def test_many_who_ask_for_health_have_it_probed_once(cache: ToolCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """D9: requests that anybody may send do not become as many reads of a store."""
    asked = 0
    real = cache.health

    async def counting() -> object:
        nonlocal asked
        asked += 1
        return await real()

    monkeypatch.setattr(cache, "health", counting)
    async with asking(cache) as client:
        for _ in range(5):
            assert (await client.get("/health")).status_code == 200
    assert asked == 1


async def test_every_answer_has_the_fields_of_safety(cache: ToolCache) -> None:
    """D9: what is told is not kept, not sniffed, not framed, and runs nothing; and can be found in the log."""
    async with asking(cache) as client:
        for path in ("/health", "/api/v1/cache/domains", "/nothing", "/api/v1/cache/domains?x=1"):
            fields = (await client.get(path)).headers
            assert fields["cache-control"] == "no-store"
            assert fields["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in fields["content-security-policy"]
            assert fields["referrer-policy"] == "no-referrer"
            assert fields["x-frame-options"] == "DENY"
            assert len(fields["x-request-id"]) == 16
            assert "server" not in fields


async def test_head_is_get_without_its_body(cache: ToolCache) -> None:
    """D9: HEAD answers with the fields of GET."""
    async with asking(cache) as client:
        whole, head = await client.get("/api/v1/cache/domains"), await client.head("/api/v1/cache/domains")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == whole.headers["content-length"] != "0"


async def test_nothing_follows_the_fields_of_an_answer_to_head(cache: ToolCache) -> None:
    """D9: the application itself sends no content to HEAD, whatever the server around would do about it."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "HEAD",
        "path": "/health",
        "headers": [(b"host", b"localhost")],
        "scheme": "http",
    }
    await app(cache, tokens={})(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert (sent[0]["status"], sent[1]["body"]) == (200, b"")
    assert (b"content-length", b"15") in sent[0]["headers"]


async def test_a_request_has_one_length(cache: ToolCache) -> None:
    """D9: request smuggling: both a length and a coding that tells it are refused, and the connection with them."""
    async with asking(cache) as client:
        both = {"Content-Length": "0", "Transfer-Encoding": "chunked"}
        refused = await client.get("/health", headers=both)
        assert (refused.status_code, refused.headers["connection"]) == (400, "close")


async def test_what_is_not_there_and_what_cannot_be_done(cache: ToolCache) -> None:
    """D9: 404, 405 with Allow, 406 and 422 are problems of one shape."""
    async with asking(cache) as client:
        for method, path, fields, status in (
            ("GET", "/nothing", {}, 404),
            ("GET", "/api/v2/cache/stats", {}, 404),
            ("POST", "/api/v1/cache/domains", {}, 405),
            ("TRACE", "/api/v1/cache/domains", {}, 405),
            ("GET", "/api/v1/cache/domains", {"Accept": "text/html"}, 406),
            ("GET", "/api/v1/cache/domains", {"Accept": "application/json;q=0"}, 406),
            ("GET", "/api/v1/cache/domains?unknown=1", {}, 422),
            ("GET", "/api/v1/cache/metrics?period=1h&period=2h", {}, 422),
            ("GET", "/api/v1/cache/metrics?period=", {}, 422),
            ("GET", "/api/v1/cache/metrics?period=%FF", {}, 400),
            ("GET", "/api/v1/cache/%FF", {}, 400),
            ("GET", "/api/v1/cache/metrics?" + "&".join(f"a{n}=1" for n in range(30)), {}, 400),
        ):
            answer = await client.request(method, path, headers=fields)
            assert answer.status_code == status, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            said = answer.json()
            assert (said["type"], said["status"]) == ("about:blank", status)
            assert said["request_id"] == answer.headers["x-request-id"]
            if status == 405:
                assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "accept", ["*/*", "application/*", "text/html, application/json;q=0.1", "application/json;q=1.0"]
)
async def test_what_the_client_takes(cache: ToolCache, accept: str) -> None:
    """D9: a client that takes JSON among others gets it."""
    async with asking(cache) as client:
        assert (await client.get("/api/v1/cache/domains", headers={"Accept": accept})).status_code == 200


async def test_a_failure_tells_nothing_of_itself(
    cache: ToolCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """D9: an error of the server is 500 with an id; what it says stays out of the answer and of the log."""

    async def fails() -> object:
        raise RuntimeError("secret-value")

    monkeypatch.setattr(cache, "health", fails)
    async with asking(cache) as client:
        answer = await client.get("/health")
    assert answer.status_code == 500
    assert answer.json()["title"] == "Internal Server Error"
    assert "secret-value" not in answer.text + caplog.text
    assert "RuntimeError" in caplog.text
    assert answer.json()["request_id"] in caplog.text


@pytest.mark.parametrize("prefix", ["/cache", "/ops/für uns/%41"])
async def test_mounted_in_another_application(cache: ToolCache, prefix: str) -> None:
    """D9: beneath any prefix of another application the paths are the same, and its errors are the cache's own."""
    site = Starlette(routes=[Mount(prefix, app(cache, tokens={ADMIN: "admin"}))])
    transport = httpx.ASGITransport(site)
    quoted = prefix.replace("%", "%25").replace("ü", "%C3%BC").replace(" ", "%20")
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=bearer(ADMIN)) as client:
        assert (await client.get(f"{quoted}/health")).status_code == 200
        assert (await client.get(f"{quoted}/api/v1/cache/domains")).json()["domains"]["search"]["ttl"] == 3600
        missing = await client.get(f"{quoted}/nothing")
        assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


async def test_the_cache_stays_its_callers(cache: ToolCache) -> None:
    """D9: the end of the application's lifespan leaves the cache open; a websocket is declined."""
    served = app(cache, tokens={})
    told: list[str] = []

    async def run(scope: dict[str, object], *messages: str) -> None:
        coming = iter([{"type": one} for one in messages])

        async def receive() -> dict[str, object]:
            return dict(next(coming))

        async def send(message: object) -> None:
            assert isinstance(message, dict)
            told.append(message["type"])

        await served(scope, receive, send)

    await run({"type": "lifespan"}, "lifespan.startup", "lifespan.shutdown")
    await run({"type": "websocket", "path": "/", "headers": []}, "websocket.connect")
    assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]
    assert not cache.closed
