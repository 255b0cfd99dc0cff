"""Any value, on every layering."""

import asyncio
import datetime as dt
import math
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from rig import Rig, far

from toolcache.cache import Cache
from toolcache.entry import MISSING, Durability
from toolcache.errors import CacheClosedError, SerializationError, UnsupportedKeyError, ValueTooLargeError
from toolcache.events import ValueNotStored
from toolcache.testing import FakeClock

VALUES: list[Any] = [
    None,
    False,
    0,
    "",
    b"",
    [],
    {},
    (),
    set(),
    frozenset({1}),
    1.5,
    -0.0,
    2**80,
    "123",
    "null",
    "\ud800 lone",
    b"\x00\xff",
    (1, (2, 3)),
    {"a": [1, {"b": (2,)}], 1: "int", (1, 2): "tuple"},
    {1, 2, 3},
    Decimal("1.10"),
    UUID(int=7),
    dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
    dt.date(2026, 1, 2),
]


async def fresh_reader(rig: Rig, cache: Cache) -> Cache:
    """One that must ask the layers, where there are any."""
    return await rig.open() if rig.far else cache


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_values_come_back_equal_and_of_the_same_type(rig: Rig, cache: Cache, value: Any) -> None:
    """BUG-77, BUG-78, LR-04: falsy values are hits; what comes back has the type that went in, near and far."""
    await cache.set("key", value)
    for reader in (cache, await fresh_reader(rig, cache)):
        got = await reader.get("key", MISSING)
        assert got is not MISSING
        assert got == value
        assert type(got) is type(value)
        assert math.copysign(1, got) == math.copysign(1, value) if isinstance(value, float) else True


async def test_none_is_a_hit_and_is_not_computed_again(rig: Rig, cache: Cache, counted: Any) -> None:
    """LR-04: a stored None answers; the computation does not run."""
    compute = counted("other")
    await cache.set("key", None)
    assert await (await fresh_reader(rig, cache)).get_or_set("key", compute) is None
    assert compute.runs == 0


async def test_nobody_spoils_anothers_copy(cache: Cache) -> None:
    """BUG-79, LR-08: changing what was stored, or what was returned, changes nothing in the cache."""
    value = {"list": [1]}
    await cache.set("key", value)
    value["list"].append(2)
    first = await cache.get("key")
    first["list"].append(3)
    assert await cache.get("key") == {"list": [1]}


async def test_an_unserializable_value_changes_nothing(rig: Rig, cache: Cache) -> None:
    """LR-06: SerializationError at set; the value that was there is still read, in every layer."""
    await cache.set("key", "old")
    with pytest.raises(SerializationError):
        await cache.set("key", {"bad": object()})
    assert await cache.get("key") == "old"
    assert await (await fresh_reader(rig, cache)).get("key") == "old"


async def test_a_value_that_cannot_be_stored_reaches_its_callers(rig: Rig, cache: Cache, counted: Any) -> None:
    """BUG-84: get_or_set returns what cannot be stored, and says so by an event."""
    thing = object()
    compute = counted(thing)
    assert await cache.get_or_set("key", compute) is thing
    assert [event.domain for event in rig.recorder.of(ValueNotStored)] == ["general"]
    assert await cache.get("key", MISSING) is MISSING


async def test_an_oversized_value_is_refused_loudly(rig: Rig) -> None:
    """BUG-85: too large a value is an error that says how large and what to do; computed ones reach their callers."""
    from toolcache.codec.envelope import Envelope

    cache = await rig.open(envelope=Envelope(max_entry=1000))
    with pytest.raises(ValueTooLargeError, match="max_entry"):
        await cache.set("key", "x" * 2000)
    assert await cache.get_or_set("key", lambda: "x" * 2000) == "x" * 2000
    assert cache.stats().domains["general"].not_stored == 1


@pytest.mark.parametrize("ttl", [0, -1, math.nan, math.inf, True, "soon"])
async def test_a_ttl_that_is_none_is_refused_before_anything_changes(cache: Cache, ttl: Any) -> None:
    """LR-05, BUG-94: 0, negative, NaN, inf and bool are refused; the previous value is intact."""
    await cache.set("key", "old")
    with pytest.raises(ValueError, match="ttl"):
        await cache.set("key", "new", ttl=ttl)
    assert await cache.get("key") == "old"


async def test_ttls_end_everywhere(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """BUG-92, BUG-94, BUG-96: sub-second spans are honoured, an overwrite replaces the span, ttl() says what remains."""
    await cache.set("short", 1, ttl=30.25)  # Redis' own time goes on meanwhile
    await cache.set("long", 1, ttl="40d")
    await cache.set("ever", 1, ttl=None)
    await cache.set("renewed", 1, ttl=30.25)
    await cache.set("renewed", 2, ttl=90)
    reader = await fresh_reader(rig, cache)
    assert await reader.get("short") == 1
    clock.advance(30.2)
    assert await cache.get("short") == 1
    clock.advance(0.1)
    for each in (cache, reader):
        assert await each.get("short", MISSING) is MISSING
        assert await each.get("renewed") == 2
        assert await each.ttl("ever") == math.inf
        assert await each.ttl("short") is None
        assert await each.ttl("renewed") == pytest.approx(59.7, abs=0.1)
        assert await each.ttl("long") == pytest.approx(40 * 86_400, rel=0.01)


async def test_the_default_ttl_reaches_every_way_of_writing(rig: Rig) -> None:
    """BUG-101: set, set_many, add and get_or_set all take the default TTL."""
    cache = await rig.open(default_ttl=120.0)
    await cache.set("set", 1)
    await cache.set_many({"many": 1})
    await cache.add("add", 1)
    await cache.get_or_set("computed", lambda: 1)
    for key in ("set", "many", "add", "computed"):
        assert await cache.ttl(key) == pytest.approx(120, abs=1), key


async def test_a_clock_set_back_lengthens_no_life(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """LR-24: an hour back, and an entry of 60 s is readable for 60 s more at the most."""
    await cache.set("key", 1, ttl=60)
    clock.step_wall(-3600)
    reader = await fresh_reader(rig, cache)
    assert await reader.get("key") == 1
    assert (await reader.ttl("key") or 0) <= 60
    if not rig.far:  # what lies below counts from its own read; a server ends lives by its own clock
        clock.advance(61)
        assert await cache.get("key", MISSING) is MISSING


async def test_a_clock_set_forward_is_a_miss_and_no_error(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """LR-25: an hour forward, and an entry of 60 s is a miss for whoever reads it anew."""
    await cache.set("key", 1, ttl=60)
    clock.step_wall(3600)
    if rig.far:
        assert await (await rig.open()).get("key", MISSING) is MISSING
    else:
        clock.advance(60)
        assert await cache.get("key", MISSING) is MISSING


async def test_delete_says_whether_a_value_was_there(rig: Rig, cache: Cache) -> None:
    """LR-12, BUG-43: True, then False; a cached None counts as a value; others see it gone."""
    await cache.set("key", None)
    other = await fresh_reader(rig, cache)
    assert await other.delete("key") is True
    assert await other.delete("key") is False
    assert await other.get("key", MISSING) is MISSING
    assert await other.delete("never") is False


async def test_batches(rig: Rig, cache: Cache) -> None:
    """Batch forms do what the single ones do, and keep the order asked for."""
    durabilities = await cache.set_many({"a": 1, "b": None, "c": [3]}, ttl="1h")
    expected = Durability.REDIS if rig.shared else Durability.FILE if rig.far else Durability.MEMORY
    assert durabilities == dict.fromkeys("abc", expected)
    reader = await fresh_reader(rig, cache)
    assert list((await reader.get_many(["c", "x", "a", "b", "a"])).items()) == [("c", [3]), ("a", 1), ("b", None)]
    assert await reader.delete_many(["a", "x"]) == {"a": True, "x": False}
    assert await reader.get_many(["a", "b"]) == {"b": None}


async def test_durability_says_where_a_write_is_safe(rig: Rig, cache: Cache) -> None:
    """Set returns the most widely shared layer that took the value."""
    expected = Durability.REDIS if rig.shared else Durability.FILE if rig.far else Durability.MEMORY
    assert await cache.set("key", 1) is expected


async def test_add_stores_only_what_is_absent(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """BUG-95: add succeeds on an absent, a deleted and an expired key, and on no other."""
    other = await fresh_reader(rig, cache)
    assert await cache.add("key", 1, ttl=5) is True
    assert await other.add("key", 2) is False
    assert await other.get("key") == 1
    if not rig.shared:  # a server ends lives by its own clock, which no test can move
        clock.advance(6)
        assert await other.add("key", 3) is True
    await other.delete("key")
    assert await other.add("key", 4) is True
    assert await other.get("key") == 4


async def test_exists_agrees_with_get_and_counts_nothing(rig: Rig, cache: Cache) -> None:
    """BUG-38: exists says what get would find; it is no hit and no miss."""
    assert await cache.exists("key") is False
    await cache.set("key", 0)
    assert await (await fresh_reader(rig, cache)).exists("key") is True
    await cache.delete("key")
    assert await cache.exists("key") is False
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (0, 0)


async def test_an_entry_tells_its_story(rig: Rig, cache: Cache, clock: FakeClock) -> None:
    """get_entry: instants, tags, layer, hits and size of the entry found."""
    await cache.set("key", {"a": 1}, ttl=100, tags=["products:phones", "new"])
    clock.advance(10)
    await cache.get("key")
    reader = await fresh_reader(rig, cache)
    entry = await reader.get_entry("key")
    assert entry is not None
    assert entry.value == {"a": 1}
    assert entry.tags == ("products:phones", "new")
    assert entry.age == pytest.approx(10, abs=0.1)
    assert entry.ttl == pytest.approx(90, abs=0.1)
    assert entry.expires_at - entry.created_at == pytest.approx(100)
    assert entry.layer == ("redis" if rig.shared else "file" if rig.far else "memory")
    assert entry.hits == (0 if rig.far else 1)
    assert entry.size > 0
    assert await reader.get_entry("none") is None


async def test_keys_are_text(cache: Cache) -> None:
    """A key of another type is refused with what to do instead, by every method."""
    for call in (cache.get(1), cache.set(1, 2), cache.delete(1), cache.get_or_set(1, lambda: 1)):  # type: ignore[arg-type]  # on purpose
        with pytest.raises(UnsupportedKeyError, match="make_key"):
            await call


@pytest.mark.parametrize(
    "key", ["", "a b", "\r\nFLUSHALL\r\n", "../../etc", "\x00", "{tag}*?", "x" * 10_000, "\ud800", "ключ"]
)
async def test_hostile_keys_are_harmless(rig: Rig, cache: Cache, key: str) -> None:
    """BUG-90: any text is a key, distinct from every other."""
    await cache.set(key, "mine")
    await cache.set(key + "x", "other")
    reader = await fresh_reader(rig, cache)
    assert await reader.get(key) == "mine"
    assert await reader.delete(key) is True
    assert await reader.get(key + "x") == "other"


async def test_clear_forgets_this_namespace_alone(rig: Rig) -> None:
    """BUG-39, LR-14, A10: clear is exact; what is set afterwards stays; `users` is not `usersAbc`."""
    users, others = await rig.open(namespace="users"), await rig.open(namespace="usersAbc")
    for cache in (users, others):
        await cache.set_many({"a": 1, "b": 2})
    receipt = await users.clear()
    assert receipt.memory == "done"
    assert receipt.redis == ("done" if rig.shared else None)
    assert await users.get_many(["a", "b"]) == {}
    await users.set("a", 3)
    assert await users.get("a") == 3
    assert await others.get_many(["a", "b"]) == {"a": 1, "b": 2}
    if rig.far:
        late = await rig.open(namespace="users")
        assert await late.get_many(["a", "b"]) == {"a": 3}


async def test_two_namespaces_never_meet(rig: Rig) -> None:
    """KY-05, A10: the same key in two namespaces is two entries."""
    one, two = await rig.open(namespace="a"), await rig.open(namespace="a.b")
    await one.set("key", 1)
    assert await two.get("key", MISSING) is MISSING
    await two.delete("key")
    assert await one.get("key") == 1


async def test_a_closed_cache_refuses(rig: Rig) -> None:
    """Aclose may be called twice; every later call of a cache says that it is closed."""
    cache = Cache(rig.parts())
    await cache.set("key", 1)
    await asyncio.gather(cache.aclose(), cache.aclose())
    await cache.aclose()
    for call in (cache.get("other"), cache.set("key", 1), cache.delete("key"), cache.clear()):
        with pytest.raises(CacheClosedError):
            await call


@far
async def test_what_is_closed_and_opened_again_is_still_there(rig: Rig) -> None:
    """B4: files and Redis keep entries across restarts."""
    async with Cache(rig.parts()) as cache:
        await cache.set("key", [1, 2])
        await cache.delete("gone")
    assert await (await rig.open()).get("key") == [1, 2]


async def test_memory_holds_its_bound(rig: Rig) -> None:
    """LR-27: 10,000 keys through a memory of 1,000; what lies below still answers for all."""
    cache = await rig.open(max_entries=1000)
    for start in range(0, 10_000, 500):
        await cache.set_many({f"key{i}": i for i in range(start, start + 500)})
    assert cache.stats().entries <= 1000
    if rig.far:
        got = await cache.get_many([f"key{i}" for i in range(10_000)])
        assert got == {f"key{i}": i for i in range(10_000)}


async def test_a_cache_switched_off_computes_and_stores_nothing(rig: Rig, counted: Any) -> None:
    """C4: enabled=False misses, computes each time and writes nothing."""
    cache = await rig.open(enabled=False)
    compute = counted(1)
    assert await cache.set("key", 1) is Durability.MEMORY
    assert await cache.get("key", MISSING) is MISSING
    assert [await cache.get_or_set("key", compute) for _ in range(2)] == [1, 1]
    assert compute.runs == 2
    assert await cache.add("key", 1) is False


@pytest.mark.parametrize("key", ["plain", "with a space", "f.<locals>.g:1", "ключ", "~" * 300])
async def test_a_hit_is_a_hit_whatever_the_key_is_made_of(cache: Cache, key: str) -> None:
    """Keys that have to be encoded are answered by memory itself, as plain ones are."""
    await cache.set(key, {"a": 1})
    await cache.exists(key)
    for _ in range(3):
        assert await cache.get(key) == {"a": 1}
        assert await cache.get_or_set(key, lambda: None) == {"a": 1}
        assert await cache.get_many([key]) == {key: {"a": 1}}
    assert cache.stats().layers["memory"].hits == 9
