"""What changes many entries over HTTP; and what a hostile body comes to."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from rest import ADMIN, READ, WRITE, asking, bearer

from toolcache import ToolCache, WarmPlan
from toolcache.web import bodies, house

CACHE = "/api/v1/cache"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def cache() -> AsyncIterator[ToolCache]:
    async with ToolCache(files=False, namespace="shop") as made:
        yield made


async def test_forgetting_by_what_entries_have_in_common(cache: ToolCache) -> None:
    """D9: tags, a domain, an agent, a pattern, a tool or a version of a catalog: what belongs to it is gone, the rest stays."""
    faq = cache.for_agent("faq")

    async def fill() -> None:
        await cache.set("weather_oslo", 1)
        await cache.set("phone", 1, tags=["products:phones"])
        await cache.set_search_results("shoes", ["shoe"], catalog_version="v2")
        await cache.set_metadata("search", {"name": "search"})
        await faq.set("own", 1)

    async def there() -> set[str]:
        held = {
            "pattern": await cache.get("weather_oslo"),
            "tags": await cache.get("phone"),
            "catalog_version": await cache.get_search_results("shoes", catalog_version="v2"),
            "tool": await cache.get_metadata("search"),
            "agent": await faq.get("own"),
        }
        return {name for name, value in held.items() if value is not None}

    everything = {"pattern", "tags", "catalog_version", "tool", "agent"}
    async with asking(cache, token=WRITE) as client:
        for body, gone in (
            ({"tags": ["products"]}, "tags"),
            ({"domain": "search"}, "catalog_version"),
            ({"agent": "faq"}, "agent"),
            ({"pattern": "weather_*"}, "pattern"),
            ({"tool": "search"}, "tool"),
            ({"catalog_version": "v2"}, "catalog_version"),
        ):
            await fill()
            answer = await client.post(f"{CACHE}/invalidate", json=body)
            assert answer.status_code == 200, answer.text
            assert (answer.json()["memory"], answer.json()["redis"]) == ("done", None)
            assert await there() == everything - {gone}
        assert (await client.post(f"{CACHE}/invalidate", json={"pattern": "phone"})).json()["removed"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tags": ["a"], "domain": "search"},
        {"tags": []},
        {"tags": ["@n"]},
        {"domain": 7},
        {"agent": ""},
        {"pattern": "["},
        {"pattern": "[z-a]"},
        {"where": "True"},
        {"unknown": 1},
        [],
    ],
    ids=repr,
)
async def test_what_cannot_be_forgotten(cache: ToolCache, body: object) -> None:
    """D9: nothing, two kinds, no such domain, no such pattern: 422, and everything stays."""
    await cache.set("key", 1, tags=["a"])
    async with asking(cache) as client:
        refused = await client.post(f"{CACHE}/invalidate", json=body)
        assert refused.status_code == 422, refused.text
        assert refused.json()["at"].startswith("body")
        assert await cache.get("key") == 1


@pytest.mark.parametrize("name", ["serch", "general", "idempotency"])
async def test_domains_that_cannot_be_forgotten(cache: ToolCache, name: str) -> None:
    """D9: a domain that there is not, with the name that was probably meant; and those that are forgotten otherwise."""
    await cache.set("key", 1)
    async with asking(cache) as client:
        refused = await client.post(f"{CACHE}/invalidate", json={"domain": name})
        assert refused.status_code == 404
        assert (name != "serch") or "did you mean 'search'" in refused.json()["detail"]
        assert await cache.get("key") == 1


async def test_warming_with_values_stores_what_is_not_there(cache: ToolCache) -> None:
    """D9: items come with their values; what is there stays, what is not is stored with its ttl and tags."""
    await cache.set("there", "as before")
    async with asking(cache) as client:
        items = [
            {"key": "there", "value": "new"},
            {"key": "new", "value": {"$type": "tuple", "items": [1]}, "ttl": "30m", "tags": ["news"]},
            {"key": "for ever", "value": None, "ttl": None},
        ]
        said = (await client.post(f"{CACHE}/warm", json={"items": items})).json()
        assert (said["asked"], said["there"], said["computed"], said["failed"]) == (3, 1, 2, {})
        assert await cache.get_many(["there", "new", "for ever"]) == {
            "there": "as before",
            "new": (1,),
            "for ever": None,
        }
        assert await cache.ttl("new") == pytest.approx(1800, abs=2)
        assert await cache.ttl("for ever") == float("inf")
        await cache.invalidate(tags=["news"])
        assert not await cache.exists("new")


async def test_warming_by_a_plan_of_the_server(cache: ToolCache) -> None:
    """D9: a plan that the application was given runs by its name; no other does."""
    plan = WarmPlan(queries=["a", "b"], compute=str.upper, name="letters")
    async with asking(cache, plans={"letters": plan}) as client:
        said = (await client.post(f"{CACHE}/warm", json={"plan": "letters"})).json()
        assert (said["name"], said["computed"]) == ("letters", 2)
        assert await cache.get("b") == "B"
        missing = await client.post(f"{CACHE}/warm", json={"plan": "others"})
        assert missing.status_code == 404
        assert "letters" in missing.json()["detail"]


async def test_warming_this_memory(cache: ToolCache) -> None:
    """D9: keys are read, so that the memory of the process that serves holds them."""
    await cache.set("there", 1)
    async with asking(cache) as client:
        said = (await client.post(f"{CACHE}/warm", json={"keys": ["there", "absent"]})).json()
        assert (said["asked"], said["there"], said["missing"]) == (2, 1, 1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"items": []},
        {"items": [{"key": "a"}]},
        {"items": [{"key": "", "value": 1}]},
        {"items": [{"key": "a", "value": 1, "compute": "os.system"}]},
        {"items": [{"key": "a", "value": {"$type": "no"}}]},
        {"keys": ["a"], "plan": "b"},
        {"queries": ["a"]},
        {"file": "/etc/passwd"},
        {"keys": ["a"] * 501},
    ],
    ids=lambda body: repr(body)[:40],
)
async def test_what_cannot_be_warmed(cache: ToolCache, body: object) -> None:
    """D9: neither code nor files can be named, and what is wrong in one item stores none."""
    async with asking(cache) as client:
        assert (await client.post(f"{CACHE}/warm", json=body)).status_code == 422
        assert [info async for info in cache.scan()] == []


async def test_cleaning_up_and_clearing(cache: ToolCache) -> None:
    """D9: ``clear`` needs the scope admin and the name of the namespace; ``cleanup`` loses nothing that can be served."""
    await cache.set_many({"a": 1, "b": 2})
    async with asking(cache, token=WRITE) as client:
        assert (await client.post(f"{CACHE}/cleanup", json={})).json() == {"memory": 0, "files": None, "epochs": 0}
        assert (await client.post(f"{CACHE}/clear", json={"namespace": "shop"})).status_code == 403
        wrong = await client.post(f"{CACHE}/clear", json={"namespace": "default"}, headers=bearer(ADMIN))
        assert wrong.status_code == 409
        assert await cache.get("a") == 1
        done = await client.post(f"{CACHE}/clear", json={"namespace": "shop"}, headers=bearer(ADMIN))
        assert (done.status_code, done.json()["memory"]) == (200, "done")
        assert await cache.get("a") is None


@pytest.mark.parametrize(
    ("path", "body"), [("invalidate", {"pattern": "*"}), ("warm", {"keys": ["a"]}), ("cleanup", {})]
)
async def test_changes_need_the_scope_write(cache: ToolCache, path: str, body: object) -> None:
    """D9: who may read changes nothing."""
    async with asking(cache, token=READ) as client:
        assert (await client.post(f"{CACHE}/{path}", json=body)).status_code == 403


async def test_what_a_form_of_another_page_can_send_changes_nothing(cache: ToolCache) -> None:
    """D9: CSRF: where no token is asked for, a change needs JSON, which no form sends, and no page of another origin."""
    await cache.set("key", 1)
    body = json.dumps({"pattern": "*"})
    async with asking(cache, token=None, anonymous="admin") as client:
        for fields, status in (
            ({"Content-Type": "text/plain"}, 415),
            ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
            ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
            ({}, 415),
            (JSON | {"Origin": "https://evil.example"}, 403),
            (JSON | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
            (JSON | {"Content-Encoding": "gzip"}, 415),
        ):
            assert (await client.post(f"{CACHE}/invalidate", content=body, headers=fields)).status_code == status, (
                fields
            )
        assert await cache.get("key") == 1
        cross = {"Origin": "https://evil.example"}
        assert (await client.delete(f"{CACHE}/key", headers=cross)).status_code == 403
        fine = await client.post(f"{CACHE}/invalidate", content=body, headers=JSON | {"Origin": "http://localhost"})
        assert fine.status_code == 200
        assert await cache.get("key") is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"pattern": "*"',
        b'{"pattern": "*"}}',
        b'{"pattern": NaN}',
        b'{"pattern": "a", "pattern": "*"}',
        b'{"agent": "\xff"}',
        b'{"agent": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"\xef\xbb\xbf{}",
        b"9" * 5_000,
    ],
    ids=lambda raw: repr(raw[:20]),
)
async def test_what_is_no_json(cache: ToolCache, raw: bytes) -> None:
    """D9: JSON that is cut off, too deep, ambiguous or no UTF-8 is 400, and never an error of the server."""
    async with asking(cache) as client:
        assert (await client.post(f"{CACHE}/invalidate", content=raw, headers=JSON)).status_code in {400, 422}


@pytest.mark.parametrize("raw", [b'{"value": NaN}', b'{"value": -Infinity}', b'{"value": 1, "value": 2}'])
async def test_what_python_alone_takes_for_json(cache: ToolCache, raw: bytes) -> None:
    """D9: numbers that JSON has no word for, and names that come twice, are no JSON: what others read there is another thing."""
    async with asking(cache) as client:
        assert (await client.put(f"{CACHE}/key", content=raw, headers=JSON)).status_code == 400
        assert not await cache.exists("key")


async def test_a_deep_value_is_refused(cache: ToolCache) -> None:
    """D9: a value that is nested so deep that it cannot be walked is refused like any other that cannot be stored."""
    for depth in (300, 900, 5_000):
        async with asking(cache) as client:
            raw = b'{"value":' + b"[" * depth + b"]" * depth + b"}"
            answer = await client.put(f"{CACHE}/key", content=raw, headers=JSON)
            assert answer.status_code in {200, 400, 422}, depth
            assert (await client.get(f"{CACHE}/key")).status_code in {200, 404}
    async with asking(cache, values=True) as client:
        assert (await client.get(f"{CACHE}/key")).status_code in {200, 404}


async def test_bodies_have_a_limit(cache: ToolCache) -> None:
    """D9: a body above ``max_body`` is refused: by what it says it is, and by what comes where it says nothing."""
    async with asking(cache, max_body="1kB") as client:
        said = await client.put(f"{CACHE}/key", content=b'{"value":"' + b"x" * 2_000 + b'"}', headers=JSON)
        assert said.status_code == 413
        taken = 0

        def endless() -> Iterator[bytes]:
            nonlocal taken
            while True:
                taken += 100
                yield b"x" * 100

        async def chunks() -> AsyncIterator[bytes]:
            for chunk in endless():
                yield chunk

        unsaid = await client.put(f"{CACHE}/key", content=chunks(), headers=JSON)
        assert unsaid.status_code == 413
        assert taken < 3_000
        assert (await client.put(f"{CACHE}/key", json={"value": "x" * 900})).status_code == 200
        lied = await client.put(f"{CACHE}/key", content=b"{}", headers=JSON | {"Content-Length": "9" * 400})
        assert lied.status_code == 413


async def test_a_value_above_max_entry_is_too_large() -> None:
    """D9: what the cache itself would not take is 413 as well."""
    async with ToolCache(files=False, max_entry="1kB") as cache, asking(cache) as client:
        assert (await client.put(f"{CACHE}/key", json={"value": "x" * 2_000})).status_code == 413


async def test_a_slow_body_is_given_up(cache: ToolCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """D9: a body that does not come is not waited for."""
    monkeypatch.setattr(bodies, "SLOWEST", 0.02)

    async def drops() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    async with asking(cache) as client:
        assert (await client.put(f"{CACHE}/key", content=drops(), headers=JSON)).status_code == 408


async def test_an_answer_that_takes_too_long_is_given_up(cache: ToolCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """D9: a request that goes on and on ends as 503, and its work with it."""
    monkeypatch.setattr(house, "PATIENCE", 0.02)
    ended = asyncio.Event()

    async def compute(_query: str) -> None:
        try:
            await asyncio.sleep(5)
        finally:
            ended.set()

    async with asking(cache, plans={"slow": WarmPlan(queries=["a"], compute=compute)}) as client:
        answer = await client.post(f"{CACHE}/warm", json={"plan": "slow"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_closed_cache_is_no_fault_of_the_server() -> None:
    """D9: an application whose cache was closed answers 503."""
    async with ToolCache(files=False) as cache:
        pass
    async with asking(cache) as client:
        assert (await client.get(f"{CACHE}/key")).status_code == 503
        assert (await client.get(f"{CACHE}/keys")).status_code == 503
