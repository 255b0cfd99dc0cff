"""Single entries over HTTP, and lists of them: whatever their keys and values are."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest import READ, WRITE, asking, bearer
from servers import RedisServer

from toolcache import ToolCache
from toolcache.catalogue import Scan
from toolcache.testing import FakeClock
from toolcache.web import listings, plain
from toolcache.web.paths import encoded

CACHE = "/api/v1/cache"
KEYS = f"{CACHE}/keys"
ODD = [
    "plain",
    "a/b/c",
    "/",
    "//a//",
    "..",
    "../../etc/passwd",
    ".",
    "%",
    "%2F",
    "a%20b",
    "a b+c?d=e&f#g",
    "naïve ключ 鍵 🔑",
    "nul\x00byte",
    "line\r\nend",
    "stats",
    "keys",
    "keys/stats",
    "half \ud800",
    "x" * 300,
    "é" * 150,
    "{key}",
    "*",
]


@pytest.fixture
async def cache() -> AsyncIterator[ToolCache]:
    async with ToolCache(files=False, namespace="shop") as made:
        yield made


@pytest.mark.parametrize("key", ODD, ids=repr)
async def test_any_key_can_be_written_read_and_removed(cache: ToolCache, key: str) -> None:
    """D9: a key may hold slashes, dots, percent signs, NUL and what else: percent-encoded, it is that key and no other."""
    path = f"{KEYS}/{encoded(key)}"
    async with asking(cache, values=True) as client:
        assert (await client.get(path)).status_code == 404
        stored = await client.put(path, json={"value": [key.encode("utf-8", "replace").decode()], "ttl": "1h"})
        assert (stored.status_code, stored.json()) == (200, {"stored": "memory"})
        assert [info.key async for info in cache.scan()] == [key] or len(key) > 100
        assert await cache.get(key) == [key.encode("utf-8", "replace").decode()]
        found = (await client.get(path)).json()
        assert (found["key"], found["value"], found["stale"]) == (key, [key.encode("utf-8", "replace").decode()], False)
        assert (await client.head(path)).status_code == 200
        listed = (await client.get(KEYS)).json()["keys"]
        assert len(listed) == 1
        assert (await client.get(listed[0]["href"])).json()["value"] == found["value"]
        assert (await client.delete(listed[0]["href"])).json() == {"deleted": True}
        assert (await client.delete(path)).json() == {"deleted": False}
        assert not await cache.exists(key)


async def test_the_short_form_is_for_keys_that_are_no_words(cache: ToolCache) -> None:
    """D9: ``/cache/{key}`` is the entry of most keys; a word of the interface is that word."""
    await cache.set("weather/oslo", "rain")
    await cache.set("stats", "a value")
    async with asking(cache, values=True) as client:
        assert (await client.get(f"{CACHE}/weather/oslo")).json()["value"] == "rain"
        assert (await client.get(f"{CACHE}/weather%2Foslo")).json()["value"] == "rain"
        assert "fleet" in (await client.get(f"{CACHE}/stats")).json()
        assert (await client.delete(f"{CACHE}/stats")).status_code == 405
        assert (await client.get(f"{KEYS}/stats")).json()["value"] == "a value"
        assert (await client.delete(f"{CACHE}/weather/oslo")).json() == {"deleted": True}


async def test_keys_of_domains_are_found_by_what_is_listed(cache: ToolCache) -> None:
    """D9: an entry that a domain has made is found by the address that the list gives."""
    await cache.set_embedding("text", "llama3:8b", [0.5, 0.25])
    async with asking(cache, values=True) as client:
        (listed,) = (await client.get(KEYS, params={"pattern": "embedding:*"})).json()["keys"]
        assert (listed["domain"], listed["encoded"]) == ("embedding", True)
        found = (await client.get(listed["href"])).json()
        assert (found["value"], found["type"]) == ([0.5, 0.25], "list")
        for method in ("GET", "DELETE"):
            assert (await client.request(method, f"{KEYS}/a%20b?encoded=true")).status_code == 404


async def test_values_are_shown_only_where_the_server_was_told_to(cache: ToolCache) -> None:
    """D9: without ``values=True`` an entry is described, and its value, which may be a secret, is not told."""
    await cache.set("key", "secret-value", tags=["news"])
    async with asking(cache, token=READ) as client:
        found = await client.get(f"{CACHE}/key")
        assert "secret-value" not in found.text
        said = found.json()
        assert (said["type"], said["tags"], said["layer"]) == ("str", ["news"], "memory")
        assert "value" not in said
        assert "secret-value" not in (await client.get(KEYS)).text
    async with asking(cache, token=READ, values=True) as client:
        assert (await client.get(f"{CACHE}/key")).json()["value"] == "secret-value"


async def test_who_may_read_may_not_write(cache: ToolCache) -> None:
    """D9: storing and removing need the scope write, and nothing happens without it."""
    await cache.set("key", 1)
    async with asking(cache, token=READ) as client:
        for method in ("PUT", "DELETE"):
            refused = await client.request(method, f"{CACHE}/key", json={"value": 2})
            assert refused.status_code == 403
            assert 'scope="write"' in refused.headers["www-authenticate"]
        assert await cache.get("key") == 1
        assert (await client.delete(f"{CACHE}/key", headers=bearer(WRITE))).json() == {"deleted": True}


async def test_what_is_stored_has_its_ttl_and_tags(cache: ToolCache) -> None:
    """D9: ``ttl`` is seconds, text, or null for ever; unless given, what the cache has; tags are kept with it."""
    async with asking(cache) as client:
        for ttl, seconds in (("30m", 1800), (90, 90), (None, float("inf")), (..., 3600)):
            body = {"value": 1, "tags": ["products:phones"]} | ({} if ttl is ... else {"ttl": ttl})
            assert (await client.put(f"{CACHE}/key", json=body)).status_code == 200
            assert await cache.ttl("key") == pytest.approx(seconds, abs=1)
        await cache.invalidate(tags=["products"])
        assert (await client.get(f"{CACHE}/key")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"value": 1, "unknown": 2},
        {"value": 1, "ttl": 0},
        {"value": 1, "ttl": -1},
        {"value": 1, "ttl": "soon"},
        {"value": 1, "ttl": "1h\n"},
        {"value": 1, "ttl": True},
        {"value": 1, "tags": "news"},
        {"value": 1, "tags": ["@d:search"]},
        {"value": 1, "tags": [""]},
        {"value": 1, "tags": [str(n) for n in range(17)]},
        {"value": 1, "tags": ["a:b:c:d:e:f:g:h:i"]},
        {"value": {"$type": "function"}},
        {"value": {"$type": "bytes", "base64": "?"}},
        {"value": {"$type": "bytes", "base64": "AA==", "more": 1}},
        {"value": {"$type": "tuple", "items": "ab"}},
        {"value": {"$type": "dict", "items": [[[1], 2]]}},
        {"value": {"$type": "timedelta", "seconds": 1e300}},
        {"value": {"$type": "ndarray", "dtype": "object", "items": []}},
        {"value": {"$type": "decimal", "text": "one"}},
        [],
        "text",
    ],
    ids=repr,
)
async def test_what_cannot_be_stored_is_refused(cache: ToolCache, body: object) -> None:
    """D9: a body that is not as the document says is 422, which tells where, and changes nothing."""
    await cache.set("key", "as before")
    async with asking(cache) as client:
        refused = await client.put(f"{CACHE}/key", json=body)
        assert refused.status_code == 422, refused.text
        assert refused.json()["at"].startswith("body")
        assert await cache.get("key") == "as before"


VALUES: list[Any] = [
    None,
    True,
    0,
    -(1 << 80),
    1 << 53,
    0.5,
    float("inf"),
    "text",
    "\x00",
    b"\x00\xff",
    [1, [2, [3]]],
    (1, (2,)),
    {1, 2},
    frozenset({"a"}),
    {"a": {"b": [b"c"]}},
    {1: "one", (2, 3): "pair", None: "none"},
    {"$type": "a key of the user's"},
    datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    datetime(2026, 1, 2),  # noqa: DTZ001 - kept as it is
    date(2026, 1, 2),
    time(3, 4),
    timedelta(days=-1, microseconds=5),
    Decimal("1.10"),
    UUID(int=7),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_a_value_comes_back_equal_and_of_its_type(cache: ToolCache, value: Any) -> None:
    """D9: what JSON has no word for is told with its type, and stored from that it is the same."""
    await cache.set("key", value)
    async with asking(cache, values=True) as client:
        said = (await client.get(f"{CACHE}/key")).json()["value"]
        await client.put(f"{CACHE}/copy", json={"value": said})
        copy = await cache.get("copy")
        assert (type(copy), copy) == (type(value), value)


def test_what_readers_of_json_would_lose_is_told_as_text() -> None:
    """D9: whole numbers beyond 2^53 and what is no number are text, of which no reader loses a digit; others are as they are."""
    assert [plain.told(one) for one in (5, -5, (1 << 53) - 1, 0.1, True)] == [5, -5, (1 << 53) - 1, 0.1, True]
    assert plain.told(1 << 53) == {"$type": "int", "text": "9007199254740992"}
    assert plain.told(-(1 << 53)) == {"$type": "int", "text": "-9007199254740992"}
    assert plain.told(float("-inf")) == {"$type": "float", "text": "-inf"}


async def test_arrays_come_back() -> None:
    """D9: a NumPy array is told with its type of numbers, and is the same array when it is stored from that."""
    for kind in ("float16", "float32", "float64"):
        array = np.array([0.5, -1.0, 3.25], dtype=kind)
        back = plain.meant(plain.told(array))
        assert back.dtype == array.dtype
        assert (back == array).all()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.just("$type"), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_told_and_meant_are_each_others_reverse(value: object) -> None:
    """D9: for any nesting of types, reading what is told gives the value back."""
    assert plain.meant(plain.told(value)) == value


async def test_a_large_value_is_told_without_holding_up_others(cache: ToolCache) -> None:
    """D9: a value of a megabyte comes whole."""
    value = {"rows": ["x" * 100] * 10_000, "end": (1,)}
    await cache.set("key", value)
    async with asking(cache, values=True) as client:
        said = (await client.get(f"{CACHE}/key")).json()["value"]
        assert plain.meant(said) == value


async def all_pages(client: Any, first: Any = None, **query: Any) -> list[Any]:
    """The pages of a list, or those that follow its first one."""
    pages = [first or (await client.get(KEYS, params=query)).json()]
    while cursor := pages[-1]["cursor"]:
        pages.append((await client.get(KEYS, params={**query, "cursor": cursor})).json())
    return pages


@pytest.mark.parametrize(("number", "limit"), [(0, 5), (1, 5), (5, 5), (12, 5), (250, 100)])
async def test_pages_of_keys_are_all_of_them_once(cache: ToolCache, number: int, limit: int) -> None:
    """D9: page after page each key comes once, no page has more than its limit, and the last one has no cursor."""
    await cache.set_many({f"user:{n}": n for n in range(number)})
    await cache.set("other", 1)
    async with asking(cache) as client:
        told = await all_pages(client, pattern="user:*", limit=limit)
        assert all(page["complete"] for page in told)
        pages = [[one["key"] for one in page["keys"]] for page in told]
        assert sorted(key for page in pages for key in page) == sorted(f"user:{n}" for n in range(number))
        assert all(len(page) <= limit for page in pages)


async def test_a_page_may_be_asked_for_again(cache: ToolCache) -> None:
    """D9: the same cursor gives the same page, as after an answer that was lost; the one before it is past."""
    await cache.set_many({f"user:{n}": n for n in range(9)})
    async with asking(cache) as client:
        first = (await client.get(KEYS, params={"limit": 3})).json()
        second, again = [
            (await client.get(KEYS, params={"limit": 3, "cursor": first["cursor"]})).json() for _ in range(2)
        ]
        assert second == again
        third = (await client.get(KEYS, params={"limit": 3, "cursor": second["cursor"]})).json()
        assert (
            third["cursor"] is None or (await client.get(KEYS, params={"cursor": third["cursor"]})).json()["keys"] == []
        )
        assert (await client.get(KEYS, params={"cursor": first["cursor"]})).status_code == 410


async def test_a_cursor_is_of_who_asked_and_for_a_while(cache: ToolCache) -> None:
    """D9: another token, another pattern, an invented cursor and one that rested for a minute are refused."""
    clock = FakeClock()
    await cache.set_many({f"user:{n}": n for n in range(9)})
    async with asking(cache, clock=clock) as client:
        cursor = (await client.get(KEYS, params={"limit": 2})).json()["cursor"]
        asked = {"limit": "2", "cursor": cursor}
        assert (await client.get(KEYS, params=asked, headers=bearer(READ))).status_code == 410
        assert (await client.get(KEYS, params=asked | {"pattern": "user:*"})).status_code == 410
        name = cursor.partition(".")[0]
        for invented in ("x.y", name, f"{name}.", f"{name}.other"):
            assert (await client.get(KEYS, params=asked | {"cursor": invented})).status_code == 410
        assert (await client.get(KEYS, params=asked | {"cursor": "not/possible"})).status_code == 422
        assert (await client.get(KEYS, params=asked)).status_code == 200
        clock.advance(listings.KEPT + 1)
        assert (await client.get(KEYS, params=asked)).status_code == 410


async def test_lists_under_way_are_bounded(cache: ToolCache) -> None:
    """D9: who begins lists and does not read them to their end takes the room of the oldest of them, and no more."""
    await cache.set_many({f"user:{n}": n for n in range(9)})
    async with asking(cache) as client:
        cursors = [(await client.get(KEYS, params={"limit": 2})).json()["cursor"] for _ in range(listings.MOST + 3)]
        statuses = [(await client.get(KEYS, params={"limit": 2, "cursor": cursor})).status_code for cursor in cursors]
        assert statuses == [410] * 3 + [200] * listings.MOST


async def test_a_list_that_makes_room_while_it_is_asked_does_not_end_early(
    cache: ToolCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D9: who is being answered gets the answer; the next page is refused, instead of being told as the end."""
    await cache.set_many({f"user:{n}": n for n in range(6)})
    infos = [info async for info in cache.scan()]
    waited, gate = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncGenerator[Any, None]:
        for number, info in enumerate(infos):
            if number == 2:
                waited.set()
                await gate.wait()
            yield info

    monkeypatch.setattr(listings, "MOST", 1)
    async with asking(cache) as client:
        with monkeypatch.context() as slowly:
            slowly.setattr(cache, "scan", lambda _pattern: Scan(slow(), []))
            begun = (await client.get(KEYS, params={"limit": 2})).json()
        asked = {"limit": 2, "cursor": begun["cursor"]}
        asking_on = asyncio.create_task(client.get(KEYS, params=asked))
        await waited.wait()
        other = asyncio.create_task(client.get(KEYS, params={"limit": 2}))
        for _ in range(50):
            await asyncio.sleep(0)
        gate.set()
        page = (await asking_on).json()
        assert [one["key"] for one in page["keys"]] == [info.key for info in infos[2:4]]
        assert (await client.get(KEYS, params={"limit": 2, "cursor": page["cursor"]})).status_code == 410
        assert (await other).json()["cursor"]


async def test_a_list_that_fails_is_not_at_its_end(cache: ToolCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """D9: who asks again after an error is told to begin anew, instead of that there is no more."""
    await cache.set_many({f"user:{n}": n for n in range(6)})
    infos = [info async for info in cache.scan()]

    async def fails() -> AsyncGenerator[Any, None]:
        for info in infos[:3]:
            yield info
        raise RuntimeError

    monkeypatch.setattr(cache, "scan", lambda _pattern: Scan(fails(), []))
    async with asking(cache) as client:
        cursor = (await client.get(KEYS, params={"limit": 2})).json()["cursor"]
        statuses = [(await client.get(KEYS, params={"cursor": cursor})).status_code for _ in range(2)]
        assert statuses == [500, 410]


async def test_a_slow_layer_makes_short_pages(cache: ToolCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """D9: a list answers within its turn with what was found, and goes on from there; no page has more than its limit."""
    await cache.set_many({f"user:{n}": n for n in range(4)})
    infos = [info async for info in cache.scan()]
    gate = asyncio.Event()

    async def slow(_pattern: str) -> AsyncGenerator[Any, None]:
        yield infos[0]
        await gate.wait()
        for info in infos[1:]:
            yield info

    monkeypatch.setattr(cache, "scan", lambda pattern: Scan(slow(pattern), []))
    monkeypatch.setattr(listings, "TURN", 0.01)
    async with asking(cache) as client:
        said = (await client.get(KEYS)).json()
        names = [one["key"] for one in said["keys"]]
        assert len(names) == 1
        said = (await client.get(KEYS, params={"cursor": said["cursor"]})).json()
        assert said["keys"] == []
        gate.set()
        monkeypatch.setattr(listings, "TURN", 5.0)
        while said["cursor"]:
            said = (await client.get(KEYS, params={"cursor": said["cursor"], "limit": 1})).json()
            assert len(said["keys"]) <= 1
            names += [one["key"] for one in said["keys"]]
        assert names == [info.key for info in infos]


@pytest.mark.parametrize("how", ["freeze", "stop"])
async def test_a_list_says_whether_it_is_all(own_redis: RedisServer, how: str) -> None:
    """D9: of a Redis that is frozen or killed before the list, or while it is read, the list says that it is not all."""
    at: dict[str, Any] = {"redis_url": own_redis.url, "files": False}
    async with ToolCache(**at) as other, ToolCache(**at) as cache, asking(cache) as client:
        for start in range(0, 1_500, 100):
            await other.set_many({f"user:{n}": n for n in range(start, start + 100)})
        pages = await all_pages(client, limit=1000)
        assert sum(len(page["keys"]) for page in pages) == 1_500
        assert all(page["complete"] for page in pages)
        begun = (await client.get(KEYS, params={"limit": 2})).json()
        await cache.get("user:7")
        await asyncio.to_thread(getattr(own_redis, how))
        assert begun["complete"]
        for first in (begun, None):
            pages = await all_pages(client, first, limit=1000)
            assert not pages[-1]["complete"]
            assert sum(len(page["keys"]) for page in pages) < 1_500
        assert "user:7" in [one["key"] for page in pages for one in page["keys"]]  # which memory knows


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=1.5", "pattern=", "pattern=%5Ba", "pattern=" + "x" * 1025]
)
async def test_what_cannot_be_listed(cache: ToolCache, query: str) -> None:
    """D9: a limit or a pattern that cannot be is refused."""
    async with asking(cache) as client:
        assert (await client.get(f"{KEYS}?{query}")).status_code == 422
