"""The cache before an ASGI application: what is kept, for whom, and what becomes of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, MutableMapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hearing import until
from origin import Answer, Client, Origin

from toolcache import ToolCache
from toolcache.http.fields import date
from toolcache.integrations.asgi import HTTP, CacheMiddleware, page_tag
from toolcache.testing import FakeClock

Make = Callable[..., Client]


@pytest.fixture
async def cache(clock: FakeClock) -> AsyncIterator[ToolCache]:
    """Where pages are."""
    async with ToolCache(files=False, clock=clock) as made:
        yield made


@pytest.fixture
async def origin() -> Origin:
    """The application."""
    return Origin()


@pytest.fixture
def site(cache: ToolCache, origin: Origin, clock: FakeClock) -> Make:
    """A client of the application behind the cache, with these options."""
    return lambda **options: Client(CacheMiddleware(origin, cache=cache, clock=clock, **options))


# -- hits and misses -------------------------------------------------------------------------------------------------


async def test_the_second_client_gets_the_page_of_the_first(site: Make, origin: Origin, clock: FakeClock) -> None:
    """C16: a response that says how long it is good is kept so long, and tells its age."""
    client = site()
    origin.says(b"hello", Cache_Control="max-age=60", Content_Type="text/plain")
    first = await client.get("/a")
    assert (first.body, first.cache, first.get("age")) == (b"hello", "fwd=miss; stored", None)
    clock.advance(20)
    second = await client.get("/a")
    assert (second.body, second["content-type"], second["age"], second.cache) == (
        b"hello",
        "text/plain",
        "20",
        "hit; ttl=40",
    )
    assert second["etag"] == first["etag"]
    clock.advance(41)
    assert (await client.get("/a")).cache.startswith("fwd=miss")
    assert len(origin.asked) == 2


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"cache-control": "no-store, max-age=60"}, 200),
        ({"cache-control": "no-cache, max-age=60"}, 200),
        ({"cache-control": 'no-cache="x, y", max-age=60'}, 200),
        ({"cache-control": "private, max-age=60"}, 200),
        ({"cache-control": "max-age=0"}, 200),
        ({"cache-control": "max-age=soon"}, 200),
        ({"cache-control": "max-age=60, s-maxage=0"}, 200),
        ({"cache-control": "max-age=60", "set-cookie": "a=b"}, 200),
        ({"cache-control": "max-age=60", "vary": "*"}, 200),
        ({"cache-control": "max-age=60", "vary": "accept, *"}, 200),
        ({"cache-control": "max-age=60", "content-range": "bytes 0-3/9"}, 200),
        ({"cache-control": "max-age=60", "content-type": "text/event-stream"}, 200),
        ({"cache-control": "max-age=60", "content-length": "99"}, 200),
        ({"cache-control": "max-age=60", "age": "60"}, 200),
        ({"expires": "0"}, 200),
        ({"expires": formatdate(0, usegmt=True)}, 200),
        ({"cache-control": "max-age=60"}, 206),
        ({"cache-control": "max-age=60"}, 302),
        ({"cache-control": "max-age=60"}, 404),
        ({"cache-control": "max-age=60"}, 500),
    ],
)
async def test_what_is_not_kept(site: Make, origin: Origin, fields: dict[str, str], status: int) -> None:
    """C16: what may not be kept, is no whole page or says nothing of it goes to its client as it is, each time anew."""
    client = site()
    origin.answer = lambda _scope: Answer(b"mine", fields, status)
    for _ in range(2):
        response = await client.get("/a")
        assert (response.status, response.body) == (status, b"mine")
        assert {name: response[name] for name in fields} == fields
        assert "stored" not in response.cache
        assert "hit" not in response.cache
    assert len(origin.asked) == 2


@pytest.mark.parametrize(
    ("control", "seconds"),
    [
        ("max-age=60", 60),
        ("max-age=5, s-maxage=60", 60),
        ("public, MAX-AGE=60, max-age=5", 60),
        ('foo="no-store, private", max-age = "60"', 60),
        ("max-age=99999999999999999999999", 10**6),
    ],
)
async def test_how_long_pages_are_good(
    site: Make, origin: Origin, clock: FakeClock, control: str, seconds: int
) -> None:
    """C16: directives are read as RFC 9111 has them: quoted, in any case, the first of several, s-maxage first of all."""
    client = site()
    origin.says(Cache_Control=control)
    await client.get()
    clock.advance(seconds - 1)
    assert "hit" in (await client.get()).cache
    clock.advance(2)
    assert ("hit" in (await client.get()).cache) is (seconds == 10**6)


async def test_expires_counts_from_the_date_of_the_response(site: Make, origin: Origin, clock: FakeClock) -> None:
    """C16: ``Expires`` is a span from ``Date``, and from now without it."""
    client = site()
    made = clock.time() - 1000  # the clock of the one who made it is slow
    origin.says(Date=formatdate(made, usegmt=True), Expires=formatdate(made + 60, usegmt=True))
    await client.get("/dated")
    origin.says(Expires=formatdate(clock.time() + 61, usegmt=True))
    await client.get("/undated")
    clock.advance(59)
    assert ["hit" in (await client.get(path)).cache for path in ("/dated", "/undated")] == [True, True]
    clock.advance(3)
    assert ["hit" in (await client.get(path)).cache for path in ("/dated", "/undated")] == [False, False]


def test_a_date_without_a_zone_is_of_greenwich(monkeypatch: pytest.MonkeyPatch) -> None:
    """C16: of the three forms of a date the one of ``asctime`` means the same instant, wherever the server stands."""
    try:
        monkeypatch.setenv("TZ", "America/New_York")
        time.tzset()
        forms = (b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994")
        assert [date(form) for form in forms] == [784111777] * 3
    finally:
        monkeypatch.undo()
        time.tzset()
    assert date(b"0") is None


async def test_a_page_brings_its_age_along(site: Make, origin: Origin, clock: FakeClock) -> None:
    """C16: what came out of another cache is as old as that says."""
    client = site()
    origin.says(Cache_Control="max-age=60", Age="50")
    assert (await client.get())["age"] == "50"
    clock.advance(9)
    assert (await client.get())["age"] == "59"
    clock.advance(2)
    assert "hit" not in (await client.get()).cache


async def test_pages_do_without_what_belongs_to_a_connection(site: Make, origin: Origin) -> None:
    """C16: fields of one connection are not kept, those that ``Connection`` names among them."""
    client = site()
    fields = {"connection": "x-hop", "x-hop": "1", "keep-alive": "5", "x-end": "2", "cache-control": "max-age=60"}
    origin.answer = lambda _scope: Answer(b"a", fields)
    await client.get()
    names = {name for name, _ in (await client.get()).fields}
    assert names == {"x-end", "cache-control", "content-length", "etag", "age", "cache-status"}


@pytest.mark.parametrize("layering", ["memory+file", "memory+redis+file"])
async def test_pages_are_shared_by_processes(
    layering: str, origin: Origin, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """C16: what one process has made another one answers with, and what one forgets is forgotten by the other."""
    url = request.getfixturevalue("redis_server").url if "redis" in layering else None
    options: dict[str, Any] = {"redis_url": url, "directory": tmp_path, "op_timeout": 10, "file_timeout": 20}
    origin.says(b"\x00page\xff", Cache_Control="max-age=60", Vary="accept", X_Name="caf\xe9")
    async with ToolCache(**options) as one, ToolCache(**options) as other:
        here, there = (Client(CacheMiddleware(origin, cache=cache)) for cache in (one, other))
        first = await here.get()
        await one._machine.homes.settle(20)
        again = await there.get()
        assert "hit" in again.cache
        assert (again.body, again["x-name"], again["etag"]) == (first.body, "caf\xe9", first["etag"])
        await here.ask("DELETE", "/")
        await until(lambda: len(origin.asked) == 2)
        for _ in range(2000):  # until it has heard
            if "hit" not in (await there.get()).cache:
                break
            await asyncio.sleep(0.01)
        assert len(origin.asked) == 3


# -- what belongs to whom --------------------------------------------------------------------------------------------


async def test_what_makes_another_page(site: Make, origin: Origin) -> None:
    """BUG-111: host, scheme, path and query are another page each, as they are written."""
    client = site(ttl=60)
    origin.answer = lambda scope: Answer(
        repr([scope.get(name) for name in ("scheme", "headers", "root_path", "raw_path", "query_string")]).encode()
    )
    urls = ["/a", "/A", "/a/", "/a?", "/a?x=1", "/a?x=1&y=2", "/a?y=2&x=1", "/a%2Fb", "/a/b"]
    ways: list[dict[str, Any]] = [{"url": url} for url in urls]
    ways += [
        {"url": "/a", "scheme": "https"},
        {"url": "/a", "root_path": "/shop"},
        {"url": "/a", "headers": [(b"host", b"other.example")]},
    ]
    bodies = [(await client.get(**way)).body for way in ways for _ in range(2)]
    assert bodies[::2] == bodies[1::2]
    assert len(set(bodies)) == len(ways) - 1  # "/a?" is "/a"


@pytest.mark.parametrize("said", [{"authorization": "Bearer a"}, {"cookie": "session=a"}, {"x-api-key": "a"}])
@pytest.mark.parametrize(
    ("control", "shared"),
    [
        ("max-age=60", False),
        ("public, max-age=60", True),
        ("s-maxage=60", True),
        ("private, max-age=60", False),
        ("", False),
    ],
)
async def test_who_say_who_they_are(
    site: Make, origin: Origin, said: dict[str, str], control: str, shared: bool
) -> None:
    """BUG-111: a response to somebody who says who they are is shared only if it is for all, and nobody gets another's."""
    client = site(ttl=60)
    origin.answer = lambda scope: Answer(repr(scope["headers"]).encode(), {"cache-control": control} if control else {})
    mine = await client.get("/me", said)
    theirs = await client.get("/me", {name: content.replace("a", "b") for name, content in said.items()})
    nobodys = await client.get("/me")
    assert (theirs.body == mine.body) is shared
    assert (nobodys.body == mine.body) is shared
    again = await client.get("/me", said)
    assert again.body == mine.body
    assert ("hit" in again.cache) is shared


async def test_what_nobody_in_particular_asked_for(site: Make, origin: Origin) -> None:
    """BUG-111: the page that was made for somebody unknown is not given to those who say who they are, unless it is public."""
    client = site(ttl=60)
    origin.says(b"please log in")
    await client.get("/me")
    origin.says(b"hello Ada")
    assert (await client.get("/me", {"cookie": "session=ada"})).body == b"hello Ada"
    assert (await client.get("/me")).body == b"please log in"
    origin.says(b"for all", Cache_Control="public, max-age=60")
    await client.get("/logo")
    assert "hit" in (await client.get("/logo", {"cookie": "session=ada"})).cache


async def test_groups_have_pages_of_their_own(site: Make, origin: Origin) -> None:
    """BUG-111: with ``group`` pages are shared within a tenant and never beyond; unknown ones have no part in any."""
    tenants = {"ada": "a", "bob": "a", "eve": "b"}

    def group(scope: MutableMapping[str, Any]) -> str | None:
        told = dict(scope["headers"]).get(b"authorization", b"").decode()
        return tenants.get(told)

    client = site(ttl=60, group=group)
    origin.answer = lambda scope: Answer(dict(scope["headers"]).get(b"authorization", b"nobody"))
    bodies = [(await client.get("/", {"authorization": who})).body for who in ("ada", "bob", "eve", "mallory", "ada")]
    assert bodies == [b"ada", b"ada", b"eve", b"mallory", b"ada"]
    assert (await client.get("/")).body == b"nobody"
    assert (await client.get("/", {"authorization": "mallory"})).body == b"mallory"
    unnamed = site(ttl=60, group=lambda _scope: "")
    assert (await unnamed.get("/", {"authorization": "trudy"})).body == b"trudy"
    with pytest.raises(TypeError, match="group returns a text or None, not int"):
        await site(group=lambda _scope: 7).get("/")


async def test_private_pages_are_for_one_client(site: Make, origin: Origin) -> None:
    """BUG-111: with ``private`` what is for one client is kept for that one, told by its credentials; without, for nobody."""
    client = site(private=True)
    origin.answer = lambda scope: Answer(dict(scope["headers"])[b"cookie"], {"cache-control": "private, max-age=60"})
    for name in ("ada", "eve", "ada", "eve"):
        assert (await client.get("/", {"cookie": name})).body == name.encode()
    assert len(origin.asked) == 2
    origin.says(b"nobody", Cache_Control="private, max-age=60")
    assert (await client.get("/")).body == b"nobody"
    assert (await client.get("/")).cache == "fwd=miss"
    public = site(private=True)
    origin.says(b"logo", Cache_Control="public, max-age=60")
    await public.get("/logo")
    assert "hit" in (await public.get("/logo", {"cookie": "ada"})).cache


async def test_what_is_private_never_takes_the_place_of_what_is_for_all(
    site: Make, origin: Origin, clock: FakeClock
) -> None:
    """BUG-111: a client's own response to a request that found a page for all is not given to the others."""
    client = site(private=True)

    def answer(scope: MutableMapping[str, Any]) -> Answer:
        who = dict(scope["headers"]).get(b"cookie", b"")
        return Answer(b"for " + who, {"cache-control": f"{'private' if who else 'public'}, max-age=60"})

    origin.answer = answer
    await client.get()
    assert (await client.get("/", {"cookie": "ada", "cache-control": "no-cache"})).body == b"for ada"
    assert (await client.get()).body == b"for "
    clock.advance(61)
    assert (await client.get("/", {"cookie": "ada"})).body == b"for ada"
    assert (await client.get("/", {"cookie": "eve"})).body == b"for eve"
    assert (await client.get()).body == b"for "


async def test_what_others_have_does_not_keep_a_client_from_its_own(site: Make, origin: Origin) -> None:
    """BUG-106: ``private`` keeps what is for one client also where there is a page for those whom nobody knows."""
    client = site(private=True, ttl=60)
    await client.get()
    caches = [(await client.get("/", {"cookie": "ada"})).cache for _ in range(2)]
    assert caches == ["fwd=miss; stored", "hit; ttl=60"]


async def test_pages_are_told_apart_by_where_they_are_routed(
    cache: ToolCache, origin: Origin, clock: FakeClock
) -> None:
    """BUG-111: what stands before the cache may send some clients to another path than the one they have asked for."""
    origin.answer = lambda scope: Answer(scope["path"].encode(), {"cache-control": "max-age=60"})
    inner = CacheMiddleware(origin, cache=cache, clock=clock)

    async def rewriting(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        tried = b"x-beta" in dict(scope["headers"])
        await inner({**scope, "path": f"/beta{scope['path']}"} if tried else scope, receive, send)

    client = Client(rewriting)
    assert [(await client.get("/a", fields)).body for fields in ({}, {"x-beta": "1"})] == [b"/a", b"/beta/a"]


async def test_other_fields_may_say_who_a_client_is(site: Make, origin: Origin) -> None:
    """BUG-106: ``credentials`` names the fields that say who a client is; others do not."""
    client = site(ttl=60, credentials=["X-Token"])
    await client.get("/")
    assert "hit" not in (await client.get("/", {"x-token": "ada"})).cache
    assert "hit" in (await client.get("/", {"authorization": "ada"})).cache


async def test_some_cookies_say_nothing(site: Make, origin: Origin) -> None:
    """BUG-106: with ``cookies`` only those named say who a client is."""
    client = site(ttl=60, cookies=["session"])
    await client.get("/")
    assert "hit" in (await client.get("/", {"cookie": "seen=1; theme=dark"})).cache
    assert "hit" not in (await client.get("/", {"cookie": "seen=1; session=ada"})).cache
    assert "hit" not in (await site(ttl=60).get("/", {"cookie": "seen=1"})).cache


async def test_pages_vary(site: Make, origin: Origin) -> None:
    """C16: a page that depends on fields of the request is another one for other requests, in whatever order they come."""
    client = site()

    def answer(scope: MutableMapping[str, Any]) -> Answer:
        asked = dict(scope["headers"])
        body = asked.get(b"accept-language", b"none") + b"/" + asked.get(b"accept", b"none")
        return Answer(body, [("vary", "Accept-Language"), ("vary", "accept"), ("cache-control", "max-age=60")])

    origin.answer = answer
    ways = [
        {},
        {"accept-language": "de"},
        {"accept-language": "en"},
        {"accept-language": "en", "accept": "text/html, */*"},
    ]
    for _ in range(3):
        for way in ways:
            response = await client.get("/", way)
            assert response.body == f"{way.get('accept-language', 'none')}/{way.get('accept', 'none')}".encode()
    assert len(origin.asked) == len(ways)
    spaced = await client.get("/", {"accept-language": "en", "accept": "text/html,*/*"})
    assert "hit" in spaced.cache


async def test_pages_may_vary_by_what_they_do_not_say(site: Make, origin: Origin) -> None:
    """BUG-106: with ``vary`` every page depends on these fields."""
    origin.answer = lambda scope: Answer(dict(scope["headers"]).get(b"x-plan", b"none"))
    client = site(ttl=60, vary=["X-Plan"])
    assert [(await client.get("/", {"x-plan": plan})).body for plan in ("a", "b", "a")] == [b"a", b"b", b"a"]
    assert len(origin.asked) == 2


@pytest.mark.parametrize(
    ("query", "same", "other"),
    [
        ("kept", ["/?a=1&b=2"], ["/?b=2&a=1", "/?a=1&b=2&c=3", "/?a=1"]),
        ("sorted", ["/?a=1&b=2", "/?b=2&a=1", "/?b=%32&a=1"], ["/?a=1&b=2&c=3", "/?a=2&b=1", "/?a=1"]),
        (["a"], ["/?a=1&b=2", "/?b=7&a=1", "/?a=1&utm=x"], ["/?a=2", "/?b=2", "/?a=1&a=2", "/?a=2&a=1", "/?a="]),
        (["größe"], ["/?gr%C3%B6%C3%9Fe=%C3%BC&b=2", "/?gr%c3%b6%c3%9fe=%c3%bc"], ["/?gr%C3%B6%C3%9Fe=%FC"]),
        ("sorted", ["/?a=%FC"], ["/?a=%FD", "/?a=%EF%BF%BD", "/?a=%C3%BC"]),
    ],
)
async def test_queries(site: Make, origin: Origin, query: Any, same: list[str], other: list[str]) -> None:
    """BUG-106: ``query`` says which parameters make another page, and whether their order does."""
    client = site(ttl=60, query=query)
    for url in same:
        await client.get(url)
    assert len(origin.asked) == 1
    for url in other:
        await client.get(url)
    assert len(origin.asked) == 1 + len(other)


# -- what clients say ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "hit"),
    [
        ({"cache-control": "no-cache"}, False),
        ({"pragma": "no-cache"}, False),
        ({"pragma": "no-cache", "cache-control": "max-age=99"}, True),
        ({"cache-control": "no-store"}, False),
        ({"cache-control": "max-age=30"}, True),
        ({"cache-control": "max-age=29"}, False),
        ({"cache-control": "min-fresh=30"}, True),
        ({"cache-control": "min-fresh=31"}, False),
        ({"cache-control": "only-if-cached"}, True),
        ({"range": "bytes=0-1"}, False),
        ({"if-match": '"x"'}, False),
        ({"content-length": "3"}, False),
        ({"transfer-encoding": "chunked"}, False),
    ],
)
async def test_what_a_client_wants(
    site: Make, origin: Origin, clock: FakeClock, said: dict[str, str], hit: bool
) -> None:
    """C16: a client that wants no page, or a newer one, has it made; and one that wants a part asks the application."""
    client = site()
    origin.says(Cache_Control="max-age=60")
    await client.get()
    clock.advance(30)
    assert ("hit" in (await client.get("/", said)).cache) is hit
    stubborn = site(client_control=False)
    control = said.keys() & {"cache-control", "pragma"}
    assert ("hit" in (await stubborn.get("/", said)).cache) is bool(control)


async def test_what_is_made_for_one_who_wants_it_new_is_new_for_all(site: Make, origin: Origin) -> None:
    """C16: ``no-cache`` has the page made, and kept; ``no-store`` has nothing kept."""
    client = site(ttl=60)
    origin.says(b"old")
    await client.get()
    origin.says(b"new")
    assert (await client.get("/", {"cache-control": "no-store"})).cache == "fwd=request"
    assert (await client.get()).body == b"old"
    assert (await client.get("/", {"cache-control": "no-cache"})).cache == "fwd=request; stored"
    assert (await client.get()).body == b"new"


async def test_only_if_cached(site: Make, origin: Origin) -> None:
    """C16: a client that wants a page only if there is one is told if there is none."""
    response = await site().get("/", {"cache-control": "only-if-cached"})
    assert (response.status, response.body, response.cache) == (504, b"", "detail=only-if-cached")
    assert not origin.asked


async def test_a_client_may_take_what_is_old(site: Make, origin: Origin, clock: FakeClock) -> None:
    """C16: ``max-stale`` takes a page past its time, if it is there and not forbidden to be given."""
    client = site(grace=100)
    strict = {"/a": "", "/b": ", must-revalidate"}
    origin.answer = lambda scope: Answer(
        fields={"cache-control": f"max-age=10, stale-while-revalidate=0{strict[scope['path']]}"}
    )
    await client.get("/a")
    await client.get("/b")
    clock.advance(30)
    assert "hit" not in (await client.get("/b", {"cache-control": "max-stale"})).cache
    assert "hit" not in (await client.get("/a", {"cache-control": "max-stale=19"})).cache
    clock.advance(30)
    assert "hit; ttl=-20" in (await client.get("/a", {"cache-control": "max-stale=20"})).cache
    assert "hit; ttl=-20" in (await client.get("/a", {"cache-control": "max-stale"})).cache


# -- validators ------------------------------------------------------------------------------------------------------


async def test_a_client_that_has_the_page_is_told_so(site: Make, origin: Origin) -> None:
    """C16: a page without a validator has a strong one, made of its content; who knows it gets 304 and no content."""
    client = site()
    origin.says(b"hello", Cache_Control="max-age=60", Content_Type="text/plain", Vary="accept")
    tag = (await client.get())["etag"]
    assert tag.startswith('"')
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = await client.get("/", {"if-none-match": known})
        assert (response.status, response.body) == (304, b"")
        assert {name for name, _ in response.fields} == {"cache-control", "etag", "vary", "age", "cache-status"}
    changed = await client.get("/", {"if-none-match": '"other"', "if-modified-since": formatdate(2e9, usegmt=True)})
    assert (changed.status, changed.body) == (200, b"hello")
    origin.says(b"other", Cache_Control="max-age=60")
    assert (await client.get("/other"))["etag"] != tag
    first = await client.get("/third", {"if-none-match": (await client.get("/other"))["etag"]})
    assert first.status == 304, "the page was made whole, and its client has it"
    assert "if-none-match" not in str(origin.asked[-1]["headers"])


async def test_a_page_with_a_date_is_known_by_it(site: Make, origin: Origin) -> None:
    """C16: ``If-Modified-Since`` counts where the page says when it was changed."""
    client = site()
    origin.says(Cache_Control="max-age=60", Last_Modified=formatdate(1e9, usegmt=True), ETag='"own"')
    assert (await client.get())["etag"] == '"own"'
    for since, status in ((1e9, 304), (1e9 + 1, 304), (1e9 - 1, 200)):
        assert (await client.get("/", {"if-modified-since": formatdate(since, usegmt=True)})).status == status
    assert (await client.get("/", {"if-modified-since": "yesterday"})).status == 200


async def test_an_old_page_may_still_be_right(site: Make, origin: Origin, clock: FakeClock) -> None:
    """C16: the application is asked whether its page has changed, and if not, the page is good for as long as it says now."""
    client = site(grace=100)
    fields = {"cache-control": "max-age=10, stale-while-revalidate=0", "etag": '"v1"', "x-from": "first"}
    origin.answer = lambda _scope: Answer(b"whole", fields)
    await client.get()

    def answer(scope: MutableMapping[str, Any]) -> Answer:
        assert dict(scope["headers"])[b"if-none-match"] == b'"v1"'
        return Answer(b"", fields | {"cache-control": "max-age=20", "x-from": "second"}, 304)

    origin.answer = answer
    clock.advance(11)
    for _ in range(2):
        response = await client.get("/", {"if-none-match": '"v0"'})
        assert (response.status, response.body, response["x-from"]) == (200, b"whole", "second")
    assert len(origin.asked) == 2
    clock.advance(19)
    assert (await client.get()).cache == "hit; ttl=1"


@pytest.mark.parametrize(
    "more", [{"set-cookie": "seen=1"}, {"cache-control": "no-store"}, {"cache-control": "private"}, {"vary": "*"}]
)
async def test_a_client_is_never_told_that_it_has_what_it_has_not(
    site: Make, origin: Origin, clock: FakeClock, more: dict[str, str]
) -> None:
    """C16: a 304 that cannot be kept is whole for a client that did not ask for one, and a 304 for one that did."""
    client = site()
    fields = {"cache-control": "max-age=10, stale-if-error=90", "etag": '"v1"'}
    origin.answer = lambda _scope: Answer(b"whole", fields)
    paths = ("/a", "/b")
    for path in paths:
        await client.get(path)
    origin.answer = lambda _scope: Answer(b"", fields | more, 304)
    clock.advance(11)
    response, known = await client.get("/a"), await client.get("/b", {"if-none-match": '"v1"'})
    assert (response.status, response.body, response["content-length"]) == (200, b"whole", "5")
    assert (known.status, known.body) == (304, b"")
    for name, content in more.items():
        assert response[name] == known[name] == content


async def test_head_is_answered_from_the_page(site: Make, origin: Origin) -> None:
    """C16: HEAD gets the fields of the page; where there is none it goes to the application and makes none."""
    client = site(ttl=60)
    assert (await client.ask("HEAD", "/")).cache == "fwd=miss"
    page = await client.get()
    head = await client.ask("HEAD", "/")
    assert (head.body, head["content-length"], head["etag"]) == (b"", "4", page["etag"])
    assert head.cache == "hit; ttl=60"
    assert (await site(ttl=60, methods=["GET"]).ask("HEAD", "/")).cache == "fwd=method"


# -- old pages that stand in -----------------------------------------------------------------------------------------


async def test_an_old_page_stands_in_while_another_is_made(site: Make, origin: Origin, clock: FakeClock) -> None:
    """C16: ``stale-while-revalidate``, or ``grace``: the client has the old page at once, the next the new one."""
    for client, control in ((site(), "max-age=10, stale-while-revalidate=20"), (site(grace=20), "max-age=10")):
        path = f"/{control}"
        origin.says(b"old", Cache_Control=control)
        await client.get(path)
        origin.says(b"new", Cache_Control=control)
        clock.advance(15)
        origin.gate.clear()
        asked = len(origin.asked)
        for _ in range(5):
            response = await client.get(path)
            assert (response.body, response.cache) == (b"old", "hit; ttl=-5")
        origin.gate.set()
        await settled(client)
        assert len(origin.asked) == asked + 1
        assert (await client.get(path)).body == b"new"
        clock.advance(31)
        assert "hit" not in (await client.get(path)).cache


async def test_head_may_have_a_page_made_anew(site: Make, origin: Origin, clock: FakeClock) -> None:
    """C16: what HEAD has found old is made anew with its content, as GET gets it."""
    client = site(grace=20)
    origin.answer = lambda scope: Answer(b"page" if scope["method"] == "GET" else b"", {"cache-control": "max-age=10"})
    await client.get()
    clock.advance(15)
    assert (await client.ask("HEAD", "/")).cache == "hit; ttl=-5"
    await settled(client)
    page = await client.get()
    assert (page.body, page.cache) == (b"page", "hit; ttl=10")


async def test_an_old_page_stands_in_for_a_failure(site: Make, origin: Origin, clock: FakeClock) -> None:
    """C16: ``stale-if-error``: where the application answers 500, or raises, the old page is given for a while."""
    client = site()
    origin.says(b"old", Cache_Control="max-age=10, stale-if-error=100")
    await client.get()
    clock.advance(50)
    origin.says(b"out of order", status=503)
    response = await client.get()
    assert (response.status, response.body, response.cache) == (200, b"old", "hit; fwd=stale; ttl=-40")
    asked = origin.answer
    origin.answer = lambda _scope: Answer(error=KeyError("shelf"))
    with pytest.raises(KeyError):  # after the response, for whoever keeps the log
        await client.get()
    origin.answer = asked
    clock.advance(61)
    assert (await client.get()).status == 503


async def test_what_fails_in_the_background_is_told(site: Make, origin: Origin, clock: FakeClock) -> None:
    """C16: an application that raises while a page is made anew is heard of by the handler of the loop."""
    client = site(grace=20)
    origin.says(b"old", Cache_Control="max-age=10")
    await client.get()
    clock.advance(15)
    origin.answer = lambda _scope: Answer(error=KeyError("shelf"))
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    assert (await client.get()).body == b"old"
    await settled(client)
    assert [type(error) for error in told] == [KeyError]


async def settled(client: Client) -> None:
    """Wait for what is made in the background."""
    await until(lambda: not client._app._house.refreshing)


# -- forgetting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status", "forgets"),
    [
        ("POST", 201, True),
        ("DELETE", 204, True),
        ("PATCH", 303, True),
        ("PUT", 409, False),
        ("POST", 500, False),
        ("OPTIONS", 200, False),
        ("BREW", 200, True),
    ],
)
async def test_what_changes_a_page_forgets_it(
    site: Make, origin: Origin, method: str, status: int, forgets: bool
) -> None:
    """C16: a request that changes something and succeeds forgets all pages of its path, and none beneath it."""
    client = site(ttl=60)
    urls = ["/products", "/products?page=2", "/products/7", "/"]
    for url in urls:
        await client.get(url)
    origin.says(b"done", status=status)
    await client.ask(method, "/products")
    origin.says(b"page")
    hits = ["hit" in (await client.get(url)).cache for url in urls]
    assert hits == [not forgets, not forgets, True, True]


async def test_pages_have_tags(site: Make, origin: Origin, cache: ToolCache) -> None:
    """C16: pages are forgotten by path and all beneath it, by what the response or the program says, and all at once."""
    client = site(tags=lambda scope: [f"lang:{scope['path'][-2:]}"], tag_field="X-Tags")
    urls = ["/docs/en", "/docs/de", "/shop/de", "/docs"]
    origin.says(Cache_Control="max-age=60", X_Tags="release:7 , all")

    async def hits() -> list[bool]:
        return ["hit" in (await client.get(url)).cache for url in urls]

    await hits()
    for tag, left in (
        (page_tag("/docs/"), [False, False, True, False]),
        ("lang:de", [True, False, False, True]),
        ("release", [False] * 4),
        ("none", [True] * 4),
    ):
        await cache.invalidate(tags=[tag])
        assert await hits() == left
    assert page_tag("/") == "http"
    assert page_tag("/a b/c:d") == "http:a%20b:c%3Ad"
    assert page_tag("/1/2/3/4/5/6/7/8/9") == "http:1:2:3:4:5:6:7"
    assert len(page_tag("/" + "x" * 500)) <= 128


async def test_what_is_committed_after_the_response_is_seen(cache: ToolCache, clock: FakeClock) -> None:
    """C16: a page that was made between the response to a change and the change itself is forgotten, too."""
    price, answered, commit = [b"30"], asyncio.Event(), asyncio.Event()

    async def app(scope: MutableMapping[str, Any], _receive: Any, send: Any) -> None:
        body = price[0] if scope["method"] == "GET" else b""
        fields = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": body})
        if scope["method"] == "PUT":
            answered.set()
            await commit.wait()
            price[0] = b"25"

    client = Client(CacheMiddleware(app, cache=cache, clock=clock, ttl=60))
    changing = asyncio.create_task(client.ask("PUT", "/price"))
    await answered.wait()
    assert (await client.get("/price")).body == b"30"
    commit.set()
    await changing
    assert (await client.get("/price")).body == b"25"


async def test_a_tag_is_not_taken_for_its_letters(site: Make, origin: Origin) -> None:
    """BUG-106: ``tags`` returns a list: a text would be a tag for each of its letters, and be forgotten by none of its own."""
    with pytest.raises(TypeError, match="tags returns several texts"):
        await site(ttl=60, tags=lambda _scope: "shop").get()


async def test_a_page_whose_tags_cannot_be_is_not_kept(site: Make, origin: Origin) -> None:
    """C16: what could not be forgotten is not kept, and its client has it all the same."""
    client = site()
    origin.says(b"page", Cache_Control="max-age=60", Cache_Tag="x" * 200)
    assert (await client.get()).body == b"page"
    assert "hit" not in (await client.get()).cache


async def test_a_page_made_while_it_is_forgotten_is_not_kept(site: Make, origin: Origin, cache: ToolCache) -> None:
    """C16: what was read before a change is given to who waits for it, and to nobody later."""
    client = site(ttl=60)
    await client.get("/other")  # the tag of the path is known
    origin.gate.clear()
    asking = asyncio.create_task(client.get("/a"))
    await until(lambda: len(origin.asked) == 2)
    await cache.invalidate(tags=[page_tag("/a")])
    origin.gate.set()
    assert (await asking).body == b"page"
    assert "hit" not in (await client.get("/a")).cache


# -- one for all -----------------------------------------------------------------------------------------------------


async def crowd(client: Client, origin: Origin, ways: list[dict[str, str]]) -> list[Any]:
    """What many get who ask at once."""
    origin.gate.clear()
    asking = [asyncio.create_task(client.get("/", way)) for way in ways]
    for _ in range(100):
        await asyncio.sleep(0)
    origin.gate.set()
    return await asyncio.gather(*asking, return_exceptions=True)


async def test_one_request_is_made_for_all(site: Make, origin: Origin) -> None:
    """C16: of many who want a page that is missing one asks the application; the others get the same."""
    got = await crowd(site(ttl=60), origin, [{}] * 20)
    assert {response.body for response in got} == {b"page"}
    assert sorted(response.cache for response in got) == ["fwd=miss; collapsed"] * 19 + ["fwd=miss; stored"]
    assert len(origin.asked) == 1


async def test_what_is_no_page_is_nobody_elses(site: Make, origin: Origin) -> None:
    """BUG-111: a response that turns out not to be kept goes to its own client; each of the others has its own made."""
    count = iter(range(100))
    origin.answer = lambda _scope: Answer(b"%d" % next(count), {"set-cookie": "session=x"})
    got = await crowd(site(ttl=60), origin, [{}] * 10)
    assert sorted(int(response.body) for response in got) == list(range(10))


async def test_a_failure_is_nobody_elses(site: Make, origin: Origin) -> None:
    """C16: an exception of the application reaches its own client; the others ask for themselves."""
    first = iter([True])
    origin.answer = lambda _scope: Answer(b"page", error=KeyError("shelf") if next(first, False) else None)
    got = await crowd(site(ttl=60), origin, [{}] * 5)
    assert sorted(str(type(one).__name__) for one in got) == ["KeyError"] + ["Response"] * 4


async def test_what_varies_is_not_mixed_up(site: Make, origin: Origin) -> None:
    """BUG-111: clients that want various representations at once each get their own."""
    origin.answer = lambda scope: Answer(dict(scope["headers"])[b"accept-language"], {"vary": "accept-language"})
    ways = [{"accept-language": language} for language in ("de", "en", "fr") * 4]
    got = await crowd(site(ttl=60), origin, ways)
    assert [response.body.decode() for response in got] == [way["accept-language"] for way in ways]


async def test_public_and_private_are_not_mixed_up(site: Make, origin: Origin) -> None:
    """BUG-111: who says who they are, and waits for the page of somebody unknown, gets their own."""
    origin.answer = lambda scope: Answer(dict(scope["headers"]).get(b"cookie", b"nobody"))
    ways = [{}, {"cookie": "ada"}, {}, {"cookie": "eve"}]
    got = await crowd(site(ttl=60), origin, ways)
    assert [response.body for response in got] == [b"nobody", b"ada", b"nobody", b"eve"]


async def test_where_there_is_no_page_nobody_waits(site: Make, origin: Origin, clock: FakeClock) -> None:
    """C16: for a while after a response that could not be kept, all who ask go to the application at once."""
    client = site(ttl=60)
    origin.says(Set_Cookie="a=b")
    await client.get()
    origin.gate.clear()
    asking = [asyncio.create_task(client.get()) for _ in range(5)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(origin.asked) == 6
    origin.gate.set()
    await asyncio.gather(*asking)
    clock.advance(11)
    origin.says()
    await client.get()
    assert "hit" in (await client.get()).cache


async def test_somebody_known_does_not_keep_pages_from_those_unknown(site: Make, origin: Origin) -> None:
    """C16: that a response was for one client alone says nothing of the next, which is for all."""
    client = site(ttl=60)
    assert (await client.get("/", {"cookie": "ada"})).cache == "fwd=miss"
    assert [(await client.get()).cache for _ in range(2)] == ["fwd=miss; stored", "hit; ttl=60"]


async def test_nobody_waits_for_ever(site: Make, origin: Origin) -> None:
    """BUG-106: after ``wait`` a request goes to the application itself; the first goes on."""
    client = site(ttl=60, wait=0.01)
    origin.gate.clear()
    first = asyncio.create_task(client.get())
    await until(lambda: origin.asked)
    second = asyncio.create_task(client.get())
    await until(lambda: len(origin.asked) == 2)
    origin.gate.set()
    assert [(await first).cache, (await second).cache] == ["fwd=miss; stored", "fwd=miss"]


async def test_a_page_that_is_made_of_itself(cache: ToolCache, clock: FakeClock) -> None:
    """C16: an application that asks itself for the same page does not wait for its own answer."""
    depth: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        depth.append(len(depth))
        if len(depth) < 3:
            await client.get("/")
        await Origin()(scope, receive, send)

    client = Client(CacheMiddleware(app, cache=cache, clock=clock, ttl=60))
    async with asyncio.timeout(20):
        assert (await client.get("/")).body == b"page"


async def test_a_client_that_leaves_leaves_alone(site: Make, origin: Origin) -> None:
    """C16: the page is made for those who still wait; when the last has left, the application is told to stop."""
    client = site(ttl=60)
    origin.gate.clear()
    asking = [asyncio.create_task(client.get()) for _ in range(3)]
    await until(lambda: origin.asked)
    for _ in range(20):
        await asyncio.sleep(0)
    asking[0].cancel()
    asking[1].cancel()
    await asyncio.wait(asking[:2])
    origin.gate.set()
    assert (await asking[2]).cache == "fwd=miss; collapsed"
    assert len(origin.asked) == 1

    origin.gate.clear()
    alone = asyncio.create_task(client.get("/alone"))
    await until(lambda: len(origin.asked) == 2)
    alone.cancel()
    await asyncio.wait([alone])
    origin.gate.set()
    assert (await client.get("/alone")).cache == "fwd=miss; stored"


# -- streams and the rest --------------------------------------------------------------------------------------------


async def test_streams_flow(site: Make, origin: Origin) -> None:
    """C16: a response in pieces, whose length nobody knows, reaches its client piece by piece and is not kept."""
    client = site(ttl=60)
    origin.says(b"abc", pieces=3)
    for _ in range(2):
        response = await client.get()
        assert (response.body, response.pieces) == (b"abc", 3)
    origin.answer = lambda _scope: Answer(b"abc", {"content-length": "3"}, pieces=3)
    await client.get("/told")
    assert (await client.get("/told")).cache == "hit; ttl=60"


async def test_large_pages_are_not_kept(site: Make, origin: Origin) -> None:
    """BUG-106: ``max_body`` is the most that is kept, whether the length is told or found out."""
    client = site(ttl=60, max_body=10)
    for fields, pieces in (({}, 1), ({"content-length": "11"}, 2)):
        origin.answer = lambda _scope, fields=fields, pieces=pieces: Answer(b"x" * 11, fields, pieces=pieces)  # type: ignore[misc]  # bound now
        for _ in range(2):
            response = await client.get(f"/{pieces}")
            assert response.body == b"x" * 11
            assert "hit" not in response.cache
    origin.says(b"x" * 10)
    await client.get("/fits")
    assert "hit" in (await client.get("/fits")).cache


@pytest.mark.parametrize("kind", ["http.response.pathsend", "http.response.debug", "http.response.trailers"])
async def test_what_is_unknown_passes_through(cache: ToolCache, clock: FakeClock, kind: str) -> None:
    """C16: messages of extensions reach the server as they are, and nothing of such a response is kept."""
    messages: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": kind, "path": "/file"})

    async def send(message: Any) -> None:
        messages.append(message["type"])

    middleware = CacheMiddleware(app, cache=cache, clock=clock, ttl=60)
    for _ in range(2):
        await middleware(Client.scope("GET", "/"), None, send)  # type: ignore[arg-type]  # nothing is received
    assert messages == ["http.response.start", kind] * 2


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_is_no_request_passes_through(cache: ToolCache, kind: str) -> None:
    """C16: websockets and the lifespan are the application's."""
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.append(arguments)

    arguments: Any = ({"type": kind}, object(), object())
    await CacheMiddleware(app, cache=cache)(*arguments)
    assert seen == [arguments]


async def test_a_client_of_a_stream_is_heard(cache: ToolCache, clock: FakeClock) -> None:
    """C16: an application that sends without end hears that its client has gone."""
    heard: list[str] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        heard.append((await receive())["type"])
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    await Client(CacheMiddleware(app, cache=cache, clock=clock, ttl=60)).get()
    assert heard == ["http.disconnect"]


async def test_what_comes_after_the_response_is_waited_for(cache: ToolCache, clock: FakeClock) -> None:
    """C16: the client has its page although the application has still something to do, which is done."""
    done, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Origin()(scope, receive, send)
        await go_on.wait()
        done.set()

    client = Client(CacheMiddleware(app, cache=cache, clock=clock, ttl=60))
    asking = asyncio.create_task(client.get())
    await until(lambda: len(cache._parts.memory))
    assert "hit" in (await client.get()).cache
    go_on.set()
    assert "stored" in (await asking).cache
    assert done.is_set()


async def test_a_cache_that_is_off_or_closed_is_in_nobodys_way(origin: Origin, clock: FakeClock) -> None:
    """C16: with the cache switched off, or closed, the application answers."""
    async with ToolCache(files=False, enabled=False) as off:
        client = Client(CacheMiddleware(origin, cache=off, clock=clock, ttl=60))
        assert [(await client.get()).cache for _ in range(2)] == ["fwd=bypass"] * 2
    closed = ToolCache(files=False)
    await closed.set("a", 1)
    await closed.aclose()
    client = Client(CacheMiddleware(origin, cache=closed, clock=clock, ttl=60))
    assert [(await client.get()).cache for _ in range(2)] == ["fwd=bypass"] * 2
    assert (await client.ask("POST", "/")).status == 200


async def test_it_says_what_it_has_done_under_its_name(site: Make, origin: Origin) -> None:
    """BUG-106: ``name`` stands in Cache-Status; without one there is no such field. What others have said of theirs stays."""
    origin.says(Cache_Status="origin; hit", Cache_Control="no-store")
    named = await site(name="front").get()
    told = [content for name, content in named.fields if name == "cache-status"]
    assert told == ["origin; hit", "front; fwd=miss"]
    origin.says()
    assert [name for name, _ in (await site(ttl=60, name=None).get()).fields if name == "cache-status"] == []


async def test_kept_statuses_can_be_chosen(site: Make, origin: Origin) -> None:
    """BUG-106: ``statuses`` are those that are kept."""
    client = site(ttl=60, statuses=[404])
    origin.says(status=404)
    await client.get("/absent")
    assert (await client.get("/absent")).status == 404
    assert len(origin.asked) == 1
    origin.says()
    await client.get("/there")
    assert "hit" not in (await client.get("/there")).cache


async def test_a_page_without_content_tells_no_length(site: Make, origin: Origin) -> None:
    """C16: 204 has no ``Content-Length``, out of the cache either."""
    client = site(ttl=60, statuses=[204])
    origin.answer = lambda _scope: Answer(b"", {}, 204, pieces=2)
    caches = [await client.get() for _ in range(2)]
    assert [(one.status, one.get("content-length")) for one in caches] == [(204, None)] * 2
    assert "hit" in caches[1].cache


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"methods": ["POST"]}, "methods are"),
        ({"query": "first"}, "query is"),
        ({"ttl": -1}, "ttl"),
        ({"grace": "soon"}, "grace"),
        ({"max_body": "big"}, "max_body"),
        ({"wait": 0}, "wait"),
    ],
)
async def test_options_that_cannot_be_are_refused(site: Make, options: dict[str, Any], match: str) -> None:
    """BUG-106: an option that cannot be is refused where it is given, by its name; an unknown one too."""
    with pytest.raises(ValueError, match=match):
        site(**options)
    for name in ("vary", "cookies", "credentials"):
        with pytest.raises(TypeError, match=name):
            site(**{name: "accept"})
    with pytest.raises(TypeError, match="tll"):
        site(tll=5)


async def test_secrets_are_not_kept(site: Make, origin: Origin, cache: ToolCache) -> None:
    """BUG-107: neither credentials nor what a page varies by are stored as they came."""
    client = site(ttl=60, private=True)
    origin.says(Vary="Cookie, X-Key", Cache_Control="private, max-age=60")
    fields = {"cookie": "session=hush", "authorization": "Bearer hush", "x-key": "hush"}
    await client.get("/", fields)
    assert "hit" in (await client.get("/", fields)).cache
    memory = cache._parts.memory
    held = [(key, memory.find(key)) for key in list(memory.keys())]
    assert held
    assert "hush" not in repr([(key, one and one.value) for key, one in held])


def broken(page: tuple[Any, ...]) -> list[Any]:
    """What is no page, though it looks like one."""
    shape, status, fields, *rest = page
    others = [(shape, "200", fields, *rest), (shape, status, [*fields], *rest), (shape, status, ((b"a", "b"),), *rest)]
    others += [
        (shape, status, ((b"a",),), *rest),
        (shape, status, 7, *rest),
        page[:-1],
        (*page, 1),
        ("page/0", *page[1:]),
    ]
    others += [(*page[:at], None, *page[at + 1 :]) for at in range(3, len(page))]
    return [*others, None, 7, [], {}, "page"]


async def test_what_is_no_page_is_not_believed(site: Make, origin: Origin, cache: ToolCache) -> None:
    """C16: whatever lies where a page should is a miss, and is replaced."""
    client, pages = site(ttl=60), cache[HTTP]
    origin.says(b"page")
    await client.get()
    place: dict[str, Any] = {"url": ("http", "shop.example", "", "/", "/", ""), "audience": ("", ""), "varied": ()}
    page = await pages.get(**place)
    assert page is not None
    for other in broken(page):
        await pages.set(other, **place)
        assert (await client.get()).body == b"page"
        assert "hit" not in (await client.get("/", {"cache-control": "no-cache"})).cache
        await pages.set(page, **place)
        assert "hit" in (await client.get()).cache
