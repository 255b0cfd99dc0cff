"""What somebody may try who is not let in, or not as far as they would like."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import httpx
import pytest
from rest import ADMIN, READ, WRITE, asking, bearer
from starlette.applications import Starlette
from starlette.routing import Mount
from uvicorn.server import ServerState

from toolcache import ToolCache
from toolcache.metrics.snapshot import Snapshot
from toolcache.web.app import app
from toolcache.web.gate import Gate
from toolcache.web.statistics import summed
from toolcache.web.wire import TAKE_BYTES, TAKE_SECONDS, Wire, config

_PAGE = ("/api/v1/events", "/api/v1/page/advice")


@pytest.mark.parametrize("mount", ["", "/cache"])
@pytest.mark.parametrize(
    "path", [path.replace("/api/", odd) for path in _PAGE for odd in ("/%61pi/", "/a%70i/", "/api%2F")]
)
async def test_no_spelling_of_a_path_opens_what_the_page_lives_on(path: str, mount: str) -> None:
    """D8: a path is judged as it is read, so an encoded letter in it does not make ``/api/`` a page for anybody."""
    async with ToolCache(files=False) as cache:
        inner = app(cache, tokens={"a-long-random-secret": "read"})
        transport = httpx.ASGITransport(Starlette(routes=[Mount(mount, inner)]) if mount else inner)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.head(mount + path)).status_code == 401


class Heavy(ToolCache):
    """One whose analysis, and whatever reads more than an hour, goes on until it is let go."""

    def __init__(self) -> None:
        super().__init__(files=False, namespace="shop")
        self.going = 0
        self.two, self.enough = asyncio.Event(), asyncio.Event()

    async def metrics(self, period: Any = "1h", **options: Any) -> Any:
        return await (super().metrics(period, **options) if period == "1h" else self.analyze())

    async def savings(self, *_: Any) -> Any:
        await self.analyze()

    async def analyze(self, *_: Any, **__: Any) -> Any:
        self.going += 1
        if self.going >= 2:
            self.two.set()
        await self.enough.wait()
        raise ValueError


_LONG = ("metrics?period=6h", "metrics?period=400d", "stats?period=8d", "stats?period=399d", "savings?period=1h")


@pytest.mark.parametrize(
    "paths",
    [("cache/analyze",) * 5, ("page/advice",) * 5, tuple(f"cache/{one}" for one in _LONG)],
    ids=["analyze", "advice", "long"],
)
async def test_who_may_read_holds_up_nobody_who_has_something_forgotten(paths: tuple[str, ...]) -> None:
    """D8: of what goes through everything, or reads hundreds of spans, few run at a time, for each scope of its own."""
    async with Heavy() as cache, asking(cache, token=READ) as client:
        several = [asyncio.ensure_future(client.get(f"/api/v1/{path}")) for path in paths]
        await cache.two.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert cache.going == 2
        for what in ("stats", "metrics"):  # of an hour: who watches the fleet does not wait for those
            assert (await client.get(f"/api/v1/cache/{what}?period=1h")).status_code == 200
        for token, what, body in ((WRITE, "invalidate", {"tags": ["a"]}), (ADMIN, "clear", {"namespace": "shop"})):
            answer = await client.post(f"/api/v1/cache/{what}", json=body, headers=bearer(token))
            assert answer.status_code == 200
        cache.enough.set()
        assert {answer.status_code for answer in await asyncio.gather(*several)} == {500}
        assert cache.going == 5


async def test_a_number_of_thousands_of_digits_is_told_by_its_type() -> None:
    """D8: a value that Python itself does not write down is no failure of the server."""
    async with ToolCache(files=False) as cache, asking(cache, values=True) as client:
        await cache.set("long", 10**5_000)
        answer = await client.get("/api/v1/cache/keys/long")
        assert (answer.status_code, answer.json()["value"]) == (200, {"$type": "int"})


class Peer(asyncio.Transport):
    """The other end of a connection, which has so much of an answer left to take."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.limit: int | None = None
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del low
        self.limit = high

    def get_write_buffer_size(self) -> int:
        return self.left

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        """Nothing else is to end it."""


class Later:
    """A loop of which one knows what it is to do later."""

    def __init__(self) -> None:
        self.calls: list[asyncio.TimerHandle] = []

    def call_later(self, seconds: float, call: Callable[..., None], *arguments: Any) -> asyncio.TimerHandle:
        self.calls.append(asyncio.TimerHandle(seconds, call, arguments, asyncio.get_running_loop()))
        return self.calls[-1]


@pytest.mark.parametrize(("taken", "aborted"), [(0, True), (TAKE_BYTES - 1, True), (TAKE_BYTES, False)])
async def test_who_takes_nothing_of_an_answer_is_hung_up_on(taken: int, aborted: bool) -> None:
    """D9: a client that does not read what it has asked for does not hold its connection for ever; a slow one is served."""
    peer, later = Peer(), Later()
    wire = Wire(config(Gate), ServerState(), {}, cast("Any", later))
    wire.connection_made(peer)
    assert peer.limit == 0  # or else the end of an answer would wait unheard of
    peer.left = 3 * TAKE_BYTES
    wire.pause_writing()
    for _ in range(2):
        peer.left -= taken
        assert later.calls[-1].when() == TAKE_SECONDS
        later.calls[-1]._run()
    assert peer.aborted is aborted
    wire.resume_writing()
    assert aborted or later.calls[-1].cancelled()
    wire.connection_lost(None)


async def test_nobody_looks_after_a_connection_that_is_lost() -> None:
    """D9: what was to look whether a client takes its answer ends with the connection."""
    peer, later = Peer(), Later()
    wire = Wire(config(Gate), ServerState(), {}, cast("Any", later))
    wire.connection_made(peer)
    wire.pause_writing()
    wire.connection_lost(None)
    assert all(call.cancelled() for call in later.calls)


_FIELDS = (
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Real-IP",
    "Via",
    "CF-Connecting-IP",
)


@pytest.mark.parametrize("field", _FIELDS)
async def test_what_a_proxy_passes_on_is_not_from_this_machine(field: str) -> None:
    """D8: whoever comes through a proxy on this machine is not let in as somebody who is on it."""
    async with ToolCache(files=False) as cache, asking(cache, token=None) as client:
        assert (await client.get("/api/v1/cache/domains")).status_code == 200
        assert (await client.get("/api/v1/cache/domains", headers={field: "198.51.100.7"})).status_code == 401


async def test_many_points_leave_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """D8: an answer of hundreds of points is made point by point, so that the server answers others meanwhile."""
    now = most = 0

    async def others() -> None:
        nonlocal now
        while True:
            now = 0
            await asyncio.sleep(0)

    def counted(snapshot: Snapshot) -> dict[str, Any]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        return summed(snapshot)

    monkeypatch.setattr("toolcache.web.statistics.summed", counted)
    async with ToolCache(files=False) as cache, asking(cache) as client:
        live = asyncio.create_task(others())
        answer = await client.get("/api/v1/cache/metrics", params={"period": "2h", "by": "domain"})
        live.cancel()
        assert len(answer.json()["points"]) == 120
        assert most <= 2  # the whole, and a point
