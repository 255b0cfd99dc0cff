"""Functions whose results are kept, over every layering: who may have them, how long, and how they are forgotten."""

import asyncio
from typing import Any

import pytest
from hearing import until
from rig import Rig, far

from toolcache import Domain, StoredCallError, make_tag, scope
from toolcache.cache import Cache
from toolcache.testing import FakeClock


async def settle(cache: Cache) -> None:
    """All that was to be written behind is written."""
    home = cache._machine.homes.here()
    await until(lambda: not home._tasks and not len(home.flights))
    await cache._machine._follower.catch_up()  # who hears of a write late takes what is computed since for overtaken


async def test_tenants_never_share_a_result(rig: Rig) -> None:
    """BUG-111: of what varies by tenant and user, nobody gets what is another's, in memory or below, nor forgets it."""
    caches = [await rig.open(), await rig.open()]
    runs: list[str] = []

    def asker(cache: Cache) -> Any:
        @cache.cached(key_prefix="ask", vary=["tenant", "user"], strict_scope=True)
        async def ask(question: str, answer: str) -> str:
            runs.append(answer)
            return answer

        return ask

    first, second = map(asker, caches)
    who = [{"tenant": "a", "user": "b"}, {"tenant": "b", "user": "a"}, {"tenant": "a:b", "user": "b"}]
    for number, said in enumerate(who):
        with scope(**said):
            assert await first("?", answer="same") == "same"
            assert await first.invalidate("?", answer="same") is True
            assert await first("?", answer="same") == "same"
        assert len(runs) == 2 * (number + 1)
    for cache in caches:
        await settle(cache)
    runs.clear()
    for said in who:
        with scope(**said):
            assert await second("?", answer="same") == "same"
    assert len(runs) == (0 if rig.far else 3)


async def test_all_results_of_a_function_are_forgotten_at_once(rig: Rig) -> None:
    """C1, BUG-35: in every layer and process, those of other functions stay; a method's too; what is being computed as well."""
    ours, theirs = await rig.open(), await rig.open()
    runs: list[int] = []
    gate = asyncio.Event()
    gate.set()

    def counter(cache: Cache, name: str) -> Any:
        @cache.cached(key_prefix=name)
        async def count(number: int) -> int:
            runs.append(number)
            await gate.wait()
            return number

        return count

    here, there, other = counter(ours, "one"), counter(theirs, "one"), counter(ours, "two")
    for number in range(3):
        await here(number)
        await other(number)
    await settle(ours)
    await there(0)
    gate.clear()
    late = asyncio.ensure_future(here(7))
    await until(lambda: 7 in runs)
    receipt = await here.cache_clear()
    assert (receipt.scope, receipt.memory) == ("function", "done")
    gate.set()
    assert await late == 7
    await settle(ours)
    runs.clear()
    rig.clock.advance(6)  # what another process remembers without having been told
    for number in (0, 1, 2, 7):
        await here(number)
        await other(number)
    assert runs == [0, 1, 2, 7, 7]
    await settle(ours)
    if rig.far:
        await there(0)
        assert runs == [0, 1, 2, 7, 7]


async def test_tags_are_made_of_arguments(cache: Cache) -> None:
    """C3: what one user has is forgotten, and nobody else's, whatever their names are."""
    runs: list[Any] = []

    @cache.cached(tags=["answers", "user:{user_id}", "lang:{filters.lang}"])
    async def ask(question: str, user_id: Any, filters: Any) -> int:
        runs.append(user_id)
        return len(runs)

    users = ["ada", "ada:admin", "", 7, "@n"]
    for user in users:
        await ask("?", user, {"lang": "no"})
    await cache.invalidate(tags=["user:ada:admin"])  # nobody's: a value is one level
    await cache.invalidate(tags=[make_tag("user", "ada:admin"), "user:7"])
    runs.clear()
    for user in users:
        await ask("?", user, {"lang": "no"})
    await settle(cache)
    assert runs == ["ada:admin", 7]
    await cache.invalidate(tags=["lang:no"])
    runs.clear()
    await ask("?", "ada", {"lang": "no"})
    assert runs == ["ada"]
    await cache.invalidate(tags=["user"])
    await ask("?", "ada", {"lang": "no"})
    assert runs == ["ada"] * 2


async def test_a_refresh_does_not_bring_back_what_was_forgotten(cache: Cache) -> None:
    """BUG-7: an invalidation while a refresh computes wins over it."""
    source, gate = ["old"], asyncio.Event()

    @cache.cached(tags=["news"])
    async def read() -> str:
        value = source[0]
        if value == "middle":
            await gate.wait()
        return value

    assert await read() == "old"
    source[0] = "middle"
    late = asyncio.ensure_future(read.refresh())
    for _ in range(50):
        await asyncio.sleep(0)
    source[0] = "new"
    await cache.invalidate(tags=["news"])
    gate.set()
    assert await late == "middle"
    await settle(cache)
    assert await read() == "new"


async def test_errors_are_kept_where_that_is_asked_for(rig: Rig) -> None:
    """BUG-108: with a lifetime of their own, as texts, in every layer; other errors and results are as ever."""
    ours, theirs = await rig.open(), await rig.open()
    outcomes: dict[str, Any] = {}
    runs: list[str] = []

    def finder(cache: Cache, errors: Any) -> Any:
        @cache.cached("1h", key_prefix="find", cache_errors=errors, error_ttl="10s", tags=["kb"])
        async def find(name: str) -> str:
            runs.append(name)
            outcome = outcomes[name]
            if isinstance(outcome, Exception):
                raise outcome
            return str(outcome)

        return find

    find, there = finder(ours, (LookupError,)), finder(theirs, {LookupError: KeyError})
    outcomes |= {"gone": KeyError("gone"), "broken": ValueError("broken"), "found": "found"}
    with pytest.raises(KeyError, match="gone"):
        await find("gone")
    for _ in range(2):
        with pytest.raises(StoredCallError, match="KeyError: 'gone'") as caught:
            await find("gone")
        assert (caught.value.type, caught.value.message) == ("KeyError", "'gone'")
        with pytest.raises(ValueError, match="broken"):
            await find("broken")
        assert await find("found") == "found"
    assert runs == ["gone", "broken", "found", "broken"]
    await settle(ours)
    with pytest.raises(KeyError):
        await there("gone")
    assert runs.count("gone") == (1 if rig.far else 2)
    outcomes["gone"] = "back"
    rig.clock.advance(9)
    with pytest.raises(StoredCallError):
        await find("gone")
    rig.clock.advance(2)
    assert await find("gone") == "back"
    await settle(ours)
    rig.clock.advance(60)
    assert await find("gone") == "back"


@pytest.mark.parametrize("how", ["invalidate", "cache_clear", "tags"])
async def test_a_kept_error_is_forgotten_as_a_result_is(cache: Cache, how: str) -> None:
    """BUG-108: the one call, all of the function, a tag; also while it is being made; and refresh calls anew."""
    runs: list[int] = []
    gate = asyncio.Event()
    gate.set()

    @cache.cached(cache_errors=(LookupError,), tags=["kb"])
    async def find(name: str) -> str:
        runs.append(0)
        await gate.wait()
        raise LookupError(name)

    async def forget() -> None:
        if how == "tags":
            await cache.invalidate(tags=["kb"])
        elif how == "cache_clear":
            await find.cache_clear()
        else:
            await find.invalidate("x")

    async def fails(error: type[Exception]) -> None:
        with pytest.raises(error):
            await find("x")

    await fails(LookupError)
    await fails(StoredCallError)
    await forget()
    gate.clear()
    late = asyncio.ensure_future(fails(LookupError))
    await until(lambda: len(runs) == 2)
    await forget()
    gate.set()
    await late
    await settle(cache)
    await fails(LookupError)
    assert len(runs) == 3
    with pytest.raises(LookupError):
        await find.refresh("x")
    assert len(runs) == 4
    await fails(StoredCallError)


async def test_what_is_kept_depends_on_the_result(cache: Cache, clock: FakeClock) -> None:
    """A3, BUG-94: a ttl that is a function of it, and a condition; for refreshed ones too."""
    runs: list[Any] = []

    @cache.cached(ttl=lambda result: result["max_age"], condition=lambda result: not result["partial"])
    async def fetch(max_age: Any, partial: bool = False) -> Any:
        runs.append(max_age)
        return {"max_age": max_age, "partial": partial}

    for _ in range(2):
        await fetch(5)
        await fetch("1m")
        await fetch(None)
        await fetch(5, partial=True)
    assert runs == [5, "1m", None, 5, 5]
    await settle(cache)
    clock.advance(6)
    runs.clear()
    await fetch.refresh("1m")
    await settle(cache)
    clock.advance(30)
    for age in (5, "1m", None):
        await fetch(age)
    assert runs == ["1m", 5]
    await settle(cache)
    clock.advance(100_000)
    await fetch(None)
    assert runs == ["1m", 5]


async def test_a_refresh_that_is_not_to_be_kept_leaves_what_is_there(cache: Cache) -> None:
    """BUG-108: a partial result replaces no whole one."""
    answers = ["partial", "whole"]

    @cache.cached(condition=lambda result: result == "whole")
    async def ask() -> str:
        return answers.pop()

    assert await ask() == "whole"
    assert await ask.refresh() == "partial"
    assert await ask() == "whole"


WEATHER = Domain("weather", ttl="10s", cost_usd=0.5)


async def test_results_belong_to_a_domain(cache: Cache, clock: FakeClock) -> None:
    """A3, BUG-101: its lifetime is theirs, and its statistics count them."""
    runs: list[str] = []

    @cache.cached(domain=WEATHER)
    async def forecast(place: str) -> str:
        runs.append(place)
        return "rain"

    @cache.cached(domain="search")
    async def search(query: str) -> str:
        return query

    await forecast("Oslo")
    await forecast("Oslo")
    await search("q")
    told = cache.stats().domains
    assert (told["weather"].hits, told["weather"].computed, told["weather"].dollars_saved) == (1, 1, 0.5)
    assert told["search"].computed == 1
    await settle(cache)
    clock.advance(11)
    await forecast("Oslo")
    await settle(cache)
    assert len(runs) == 2
    assert await forecast.invalidate("Oslo")


async def test_a_domain_is_forgotten_with_its_results(cache: Cache) -> None:
    """C3, BUG-108: what was found, what has failed and what is being looked for; other results stay."""
    runs: list[str] = []

    async def find(query: str) -> str:
        runs.append(query)
        if query == "gone":
            raise LookupError(query)
        return query

    searched = cache.cached(domain="search", key_prefix="searched", cache_errors=(LookupError,))(find)
    other = cache.cached(key_prefix="other")(find)

    async def all_of_them() -> list[str]:
        runs.clear()
        assert [await searched("q"), await other("q")] == ["q", "q"]
        with pytest.raises((LookupError, StoredCallError)):
            await searched("gone")
        await settle(cache)
        return [*runs]

    assert await all_of_them() == ["q", "q", "gone"]
    assert await all_of_them() == []
    await cache.invalidate(domain="search")
    assert await all_of_them() == ["q", "gone"]


async def test_freshness_options_reach_the_results(cache: Cache, clock: FakeClock) -> None:
    """BUG-106, BUG-45: with grace an old result stands in for a failure, and without it the failure is raised."""
    outcomes: list[Any] = []

    async def read() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    graceful = cache.cached("10s", grace="1m", key_prefix="graceful")(read)
    strict = cache.cached("10s", key_prefix="strict")(read)
    outcomes += ["old", "old", OSError("down"), OSError("down")]
    assert [await graceful(), await strict()] == ["old", "old"]
    await settle(cache)
    clock.advance(20)
    assert await graceful() == "old"
    with pytest.raises(OSError, match="down"):
        await strict()


@far
async def test_processes_wait_for_one_another_as_they_are_told(rig: Rig) -> None:
    """BUG-106, BUG-18: with ``lock`` one of two processes computes; without, each does."""
    caches = [await rig.open(), await rig.open()]
    for lock, computed in ((True, 1), (False, 2)):
        assert await runs_of_two(caches, lock=lock) == computed


async def runs_of_two(caches: list[Cache], *, lock: bool) -> int:
    """How many of two processes compute a result that both want."""
    runs: list[int] = []
    gate = asyncio.Event()

    async def count() -> int:
        runs.append(0)
        await gate.wait()
        return 7

    first, second = (cache.cached(key_prefix=f"count {lock}", lock=lock)(count) for cache in caches)
    one = asyncio.ensure_future(first())
    await until(lambda: bool(runs))
    other = asyncio.ensure_future(second())
    if lock:
        await asyncio.sleep(0.05)  # until it waits; sooner would prove less, never more
    else:
        await until(lambda: len(runs) > 1)
    computed = len(runs)
    gate.set()
    assert [await one, await other] == [7, 7]
    for cache in caches:
        await settle(cache)
    return computed
