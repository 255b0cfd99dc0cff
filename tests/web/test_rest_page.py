"""Routes of a page beside the table: let in, dressed and refused by the same gate."""

import traceback
from collections.abc import AsyncIterator

import httpx
import pytest
from rest import READ, TOKENS, asking, bearer
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from toolcache import CacheClosedError, ToolCache
from toolcache.web.admission import Rules
from toolcache.web.app import app
from toolcache.web.gate import BrokenOffError, Gate
from toolcache.web.house import House
from toolcache.web.problems import Problem
from toolcache.web.table import TABLE, Routes
from toolcache.web.tokens import Tokens


async def shown(request: Request) -> Response:
    return PlainTextResponse(
        "page", headers={"Cache-Control": "max-age=60", "Content-Security-Policy": "default-src 'self'"}
    )


async def breaks(request: Request) -> Response:
    async def words() -> AsyncIterator[str]:
        yield "word"
        raise RuntimeError("secret")

    return StreamingResponse(words())


async def fails(request: Request) -> Response:
    kind = request.path_params["kind"]
    if kind == "problem":
        raise Problem(409, "told")
    if kind == "cache":
        raise CacheClosedError
    if kind == "starlette":
        raise HTTPException(418)
    raise RuntimeError("secret")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    routes = [
        Route("/", shown),
        Route("/page/{file:path}", shown),
        Route("/fails/{kind}", fails),
        Route("/breaks", breaks),
    ]
    async with ToolCache(files=False) as cache:
        gate = Gate(House(cache, TABLE), Routes(TABLE), Rules(Tokens(TOKENS)), routes)
        transport = httpx.ASGITransport(gate)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as made:
            yield made


async def test_the_page_is_for_anybody_and_what_it_lives_on_is_not(client: httpx.AsyncClient) -> None:
    """D9: static files need no token, what tells of the cache needs one."""
    assert (await client.get("/")).text == "page"
    assert (await client.get("/page/a/b.js")).status_code == 200
    for path in ("/api/v1/events", "/api/v1/page/advice"):
        assert (await client.get(path)).status_code == 401
        assert (await client.head(path, headers=bearer(READ))).status_code == 200


async def test_a_page_has_its_own_fields_and_those_that_it_lacks(client: httpx.AsyncClient) -> None:
    """D9: what a route says of caching and of scripts holds, the rest comes from the gate."""
    fields = (await client.get("/")).headers
    assert (fields["cache-control"], fields["content-security-policy"]) == ("max-age=60", "default-src 'self'")
    assert fields["x-content-type-options"] == "nosniff"
    assert len(fields["x-request-id"]) == 16


@pytest.mark.parametrize(("kind", "status"), [("problem", 409), ("cache", 503), ("starlette", 418), ("other", 500)])
async def test_what_a_route_raises_is_a_problem(client: httpx.AsyncClient, kind: str, status: int) -> None:
    """D9: errors of a page's routes are told in the one shape, and tell nothing of the server."""
    answer = await client.get(f"/fails/{kind}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "secret" not in answer.text


async def test_what_is_no_page(client: httpx.AsyncClient) -> None:
    """D9: 404 and 405 are problems also where Starlette's router finds nothing; another site's page may not ask."""
    assert (await client.get("/nothing")).headers["content-type"] == "application/problem+json"
    wrong = await client.post("/")
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json")
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert (await client.get("/page/a.js", headers={"Origin": "https://evil.example"})).status_code == 403
    assert (await client.head("/")).content == b""


async def test_an_answer_that_breaks_off_tells_nothing(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """D9: what fails in the middle ends the connection; the server around is not handed what the error says, to write it down."""
    with pytest.raises(BrokenOffError) as broken:
        await client.get("/breaks")
    assert "secret" not in "".join(traceback.format_exception(broken.value)) + caplog.text
    assert "RuntimeError" in caplog.text


async def test_an_application_around_does_not_speak_for_the_page() -> None:
    """D9: mounted in another application, errors of a page's routes are told by the gate, not by what is around it."""
    async with ToolCache(files=False) as cache:
        gate = Gate(House(cache, TABLE), Routes(TABLE), Rules(Tokens(TOKENS)), [Route("/fails/{kind}", fails)])
        transport = httpx.ASGITransport(Starlette(routes=[Mount("/cache", gate)]))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/cache") as client:
            answer = await client.get("/fails/starlette")
            assert (answer.status_code, answer.headers["content-type"]) == (418, "application/problem+json")


async def test_no_path_of_the_page_leads_out_of_where_it_is_mounted() -> None:
    """D9: a slash too few or too many is nothing, instead of being sent to a path of the application around."""
    async with ToolCache(files=False) as cache:
        transport = httpx.ASGITransport(Starlette(routes=[Mount("/cache", app(cache, tokens=TOKENS))]))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/cache") as client:
            for path, status in (("/page", 404), ("/page/", 404), ("/page/index.html", 200), ("/", 200)):
                assert (await client.get(path)).status_code == status


async def test_the_page_can_be_left_out() -> None:
    """D9: with ``page=False`` there is the API alone; otherwise the page is at its root, with a policy of its own."""
    async with ToolCache(files=False) as cache:
        async with asking(cache) as client:
            whole = await client.get("/")
            assert (whole.status_code, whole.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert "script-src 'self'" in whole.headers["content-security-policy"]
        async with asking(cache, page=False) as client:
            assert (await client.get("/")).status_code == 404
            assert (await client.get("/api/v1/events")).status_code == 404
            assert (await client.get("/health")).status_code == 200
