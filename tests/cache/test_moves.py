"""Export, import and copy, on every layering: what a read would answer with goes out, and comes back with the life it had left."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import date
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import pytest
from rig import Rig

from toolcache import Domain, ToolCache
from toolcache.archive import Head
from toolcache.archive_writer import ArchiveWriter
from toolcache.backup import Meter
from toolcache.blob import EPOCH, RECORD, TOMBSTONE
from toolcache.cache import Cache
from toolcache.codec.envelope import Envelope
from toolcache.domains import EMBEDDING
from toolcache.encoded import Encoded
from toolcache.errors import BackupError
from toolcache.keys.text import key_digest, store_key
from toolcache.session import Session
from toolcache.testing import FakeClock
from toolcache.transfer import Transfer

T = TypeVar("T")

VALUES: dict[str, Any] = {
    "none": None,
    "zero": 0,
    "text": "häuser",
    "a key with spaces, ümläuts: and / .. %2F": [1, {"two": (3.5, b"\x00\xff")}],
    "x" * 5_000: "a key that is cut",
    "date": date(2026, 2, 3),
    "large": {"page": "word " * 60_000},
    "noise": random.Random(1).randbytes(300_000),
    "vector": [0.5, 0.25, -1.0],
    "": "the empty key",
}


@pytest.fixture(autouse=True)
def real_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy may be late to answer: who waits for the layers to come round does so in real time."""

    async def pause(_clock: object, tries: int) -> None:
        await asyncio.sleep(0.02 * 4**tries)

    monkeypatch.setattr("toolcache.gatherer.pause", pause)
    monkeypatch.setattr("toolcache.restorer.pause", pause)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a backup goes."""
    return tmp_path / "cache.backup"


@pytest.fixture
async def filled(cache: Cache) -> Cache:
    """A cache with values of all kinds, most of which memory has let go of where there is anything else."""
    for key, value in VALUES.items():
        await cache.set(key, value, ttl=None if key == "date" else "1h", tags=["all", "all:some"] if key else ())
    await cache.get_or_set("stale", lambda: "old", ttl="10s", grace="1h")
    return cache


async def told(cache: Cache, keys: list[str]) -> dict[str, Any]:
    """What is told of entries, but for what depends on when and where it is asked."""
    entries = {key: await cache.get_entry(key) for key in keys}
    return {
        key: entry and (entry.value, type(entry.value), entry.created_at, entry.expires_at, entry.tags, entry.stale)
        for key, entry in entries.items()
    }


async def with_sleep(clock: FakeClock, doing: Awaitable[T]) -> T:
    """Let what sleeps on the clock come to an end at once."""
    task = asyncio.ensure_future(doing)
    while not task.done():
        await asyncio.sleep(0.001)
        if clock._sleepers:
            clock.advance(0.3)
    return await task


def is_there(path: Path) -> bool:
    return path.exists()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def damage(path: Path, at: int) -> None:
    """Change one byte."""
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def leave_unfinished(path: Path) -> None:
    """As a kill in the last moment would."""
    path.rename(path.with_name(path.name + ".part"))


# -- there and back ------------------------------------------------------------------------------------------------


async def test_there_and_back(rig: Rig, filled: Cache, clock: FakeClock, path: Path) -> None:
    """B12: values, instants, tags, grace and costs come back as they were, in another namespace, on every layering."""
    keys = [*VALUES, "stale"]
    clock.advance(20)
    before = await told(filled, keys)
    assert (before["stale"][0], before["stale"][-1]) == ("old", True)
    report = await filled.export(path)
    assert (report.entries, report.total, report.skipped, report.resumed) == (len(keys), len(keys), {}, 0)
    assert report.bytes > 300_000
    other = await rig.open(namespace="other")
    clock.advance(100)
    report = await other.import_(path)
    assert (report.entries, report.total, report.skipped) == (len(keys), len(keys), {})
    assert await told(other, keys) == before
    assert await other.ttl("zero") == pytest.approx(3_480, abs=1)
    assert await other.ttl("date") == inf
    assert await other.get("stale") is None
    assert await filled.get_many(VALUES) == VALUES


async def test_what_is_not_there_does_not_go_out(rig: Rig, cache: Cache, clock: FakeClock, path: Path) -> None:
    """Neither what was deleted, invalidated or has ended, nor what lies before a clear; nor another namespace, nor results."""
    await cache.set("cleared", 1)
    await cache.clear()
    await cache.set("deleted", 1)
    await cache.set("ended", 1, ttl="5s")
    await cache.set("tagged", 1, tags=["news:today"])
    await cache.set("kept", 1, tags=["newspaper"])
    await (await rig.open(namespace="other")).set("theirs", 1)
    await cache.once("job", lambda: "done")
    await cache.delete("deleted")
    await cache.invalidate(tags=["news"])
    clock.advance(6)
    assert (await cache.export(path)).entries == 1
    target = await rig.open(namespace="third")
    assert (await target.import_(path)).entries == 1
    assert await target.get("kept") == 1


async def test_each_key_once_whichever_layer_has_it(rig: Rig, clock: FakeClock, path: Path) -> None:
    """What memory has let go of, what only memory holds and what several layers hold go out once, in the newest version."""
    cache = await rig.open(max_entries=5 if rig.far else None)
    await cache.set_many({f"k{i}": i for i in range(500)})
    await cache.set_many({f"k{i}": -i for i in range(490, 500)})
    writers = [layer.store for layer in (cache._parts.redis, cache._parts.files) if layer is not None]
    for store in writers:
        store.fail_with(ConnectionResetError, on=["put_many"])  # type: ignore[attr-defined]  # of the rig's
    await cache.set("k499", "memory's")
    for store in writers:
        store.heal()  # type: ignore[attr-defined]  # of the rig's
    report = await with_sleep(clock, cache.export(path))
    other = await rig.open(namespace="other", max_entries=None)
    steps: list[Transfer] = []
    assert (await other.import_(path, on_progress=steps.append)).entries == report.entries
    assert report.entries == 500
    expected: dict[str, Any] = {f"k{i}": i if i < 490 else -i for i in range(499)} | {"k499": "memory's"}
    assert await other.get_many(f"k{i}" for i in range(500)) == expected
    assert len(steps) >= 3


async def test_an_export_brings_nothing_into_memory(rig: Rig, path: Path) -> None:
    """What was hot stays hot: memory holds the same entries before and after, here and, with other layers, where it was imported."""
    cache = await rig.open(max_entries=20)
    await cache.set_many({f"k{i}": i for i in range(100)})
    before = sorted(cache._parts.memory.keys())
    report = await cache.export(path)
    assert sorted(cache._parts.memory.keys()) == before
    other = await rig.open(namespace="other", max_entries=20)
    await other.import_(path)
    assert len(other._parts.memory) == (0 if rig.far else 20)
    assert report.entries == (100 if rig.far else 20)


async def test_what_redis_is_owed_goes_out(hosts: Rig, path: Path) -> None:
    """What stands on file because Redis was away is exported, and what Redis was not told to delete is not."""
    cache = await hosts.open()
    await cache.set_many({"deleted": 1, "changed": 1, "kept": 1})
    assert cache._parts.redis is not None
    cache._parts.redis.store.fail_with(ConnectionResetError, on=["put_many"])  # type: ignore[attr-defined]  # of the rig's
    await cache.delete("deleted")
    await cache.set("changed", 2)
    await cache.set("new", 3)
    cache._parts.memory.clear()
    report = await cache.export(path)
    other = await hosts.open(namespace="other")
    cache._parts.redis.store.heal()  # type: ignore[attr-defined]  # of the rig's
    await other.import_(path)
    assert await other.get_many(["deleted", "changed", "kept", "new"]) == {"changed": 2, "kept": 1, "new": 3}
    assert report.entries == 3


# -- what an import does to what is there --------------------------------------------------------------------------


@pytest.mark.parametrize("undone", ["set", "delete", "invalidate", "clear"])
async def test_an_import_is_a_live_write(rig: Rig, cache: Cache, path: Path, undone: str) -> None:
    """B12: it takes the place of what was written, deleted, invalidated or cleared since, here and in other processes."""
    await cache.set_many({"a": 1, "b": 2}, tags=["news"])
    await cache.export(path)
    await change(cache, undone)
    other = await rig.open() if rig.far else cache
    assert await other.get("a") == (5 if undone == "set" else None)
    assert (await cache.import_(path)).entries == 2
    fresh = await rig.open() if rig.far else cache
    assert await cache.get_many(["a", "b"]) == await fresh.get_many(["a", "b"]) == {"a": 1, "b": 2}
    await cache.set("a", 7)
    assert await cache.get("a") == 7
    await cache.invalidate(tags=["news"])
    assert await (await rig.open() if rig.far else cache).get_many(["a", "b"]) == {"a": 7}


@pytest.mark.parametrize("done", ["set", "delete", "invalidate", "clear"])
async def test_keep_newer_undoes_nothing(rig: Rig, cache: Cache, clock: FakeClock, path: Path, done: str) -> None:
    """BUG-106: `keep_newer=True` takes only what is newer than what is there; a second time it changes nothing either."""
    await cache.set_many({"a": 1, "b": 2}, tags=["news"])
    await cache.export(path)
    clock.advance(1)
    await change(cache, done)
    before = await cache.get_many(["a", "b"])
    taken = {"set": 1, "delete": 1, "invalidate": 0, "clear": 0}[done]
    if done == "delete" and not rig.far:
        taken = 2  # memory remembers no deletes
    for _ in range(2):
        report = await (await rig.open() if rig.far else cache).import_(path, keep_newer=True)
        assert (report.entries, sum(report.skipped.values())) == (taken, 2 - taken)
        assert set(report.skipped) <= {"newer there"}
    fresh = await rig.open() if rig.far else cache
    expected = {"a": 1, "b": 2} if taken == 2 else before
    assert await cache.get_many(["a", "b"]) == await fresh.get_many(["a", "b"]) == expected


async def change(cache: Cache, what: str) -> None:
    """Do something to what is there."""
    if what == "set":
        await cache.set("a", 5)
    elif what == "delete":
        await cache.delete("a")
    elif what == "invalidate":
        await cache.invalidate(tags=["news"])
    else:
        await cache.clear()


async def test_keep_newer_replaces_what_is_older(rig: Rig, cache: Cache, clock: FakeClock, path: Path) -> None:
    """What is there, and is older than the file's, makes room."""
    target = await rig.open(namespace="target")
    await target.set("a", "old")
    clock.advance(1)
    await cache.set("a", "new")
    await cache.export(path)
    assert (await target.import_(path, keep_newer=True)).entries == 1
    assert await target.get("a") == "new"


async def test_what_has_ended_meanwhile_stays_out(rig: Rig, cache: Cache, clock: FakeClock, path: Path) -> None:
    """A life goes on while the entry lies in a file; at its end it is skipped, and counted."""
    await cache.set("short", 1, ttl="1m")
    await cache.set("long", 1, ttl="1h")
    await cache.export(path)
    clock.advance(61)
    report = await (await rig.open(namespace="other")).import_(path)
    assert (report.entries, report.skipped) == (1, {"expired": 1})
    assert str(report) == "1 of 2 entries, 0.0 MB, 1 skipped (1 expired)"


async def test_a_smaller_cache_takes_what_it_can(rig: Rig, cache: Cache, path: Path) -> None:
    """Values above `max_entry` of the cache that imports are skipped, compressed or not, and counted."""
    await cache.set_many({"small": 1, "zeros": b"0" * 100_000, "noise": random.Random(2).randbytes(100_000)})
    await cache.export(path)
    other = await rig.open(namespace="other", envelope=Envelope(max_entry=10_000))
    report = await other.import_(path)
    assert (report.entries, report.skipped) == (1, {"too large": 2})
    assert (await cache.copy_to(other)).skipped == {"too large": 2}


# -- layers that fail ----------------------------------------------------------------------------------------------


async def test_an_export_goes_on_where_it_was(rig: Rig, clock: FakeClock, path: Path) -> None:
    """A layer that does not answer ends it with an error that says so; called again, it writes what is lacking."""
    cache = await rig.open()
    await cache.set_many({f"k{i}": i for i in range(600)})
    layer = cache._parts.redis or cache._parts.files
    if layer is None:
        assert (await cache.export(path)).entries == 600
        return
    steps: list[Transfer] = []

    def fail(step: Transfer) -> None:
        steps.append(step)
        if step.entries > 200:
            layer.store.fail_with(ConnectionResetError)  # type: ignore[attr-defined]  # of the rig's

    with pytest.raises(BackupError, match=f"{layer.name} cannot be listed, or does not answer"):
        await with_sleep(clock, cache.export(path, on_progress=fail))
    assert not is_there(path)
    assert 200 < steps[-1].entries < 600
    layer.store.heal()  # type: ignore[attr-defined]  # of the rig's
    layer.guard.reset()
    await cache.set("k0", "changed")
    report = await cache.export(path)
    assert report.resumed == steps[-1].entries
    assert report.entries in {600, 601}
    assert not is_there(path.with_name(path.name + ".part"))
    other = await rig.open(namespace="other")
    await other.import_(path)
    assert await other.get_many(f"k{i}" for i in range(600)) == {f"k{i}": i or "changed" for i in range(600)}


async def test_a_layer_that_falters_is_asked_again(rig: Rig, clock: FakeClock, path: Path) -> None:
    """A fault that passes ends neither an export nor an import, and no entry is told twice."""
    cache = await rig.open()
    await cache.set_many({f"k{i}": i for i in range(500)})
    for layer in filter(None, (cache._parts.redis, cache._parts.files)):
        layer.store.fail_with(ConnectionResetError, every=4)  # type: ignore[attr-defined]  # of the rig's
    assert (await with_sleep(clock, cache.export(path))).entries == 500
    other = await rig.open(namespace="other")
    for layer in filter(None, (other._parts.redis, other._parts.files)):
        layer.store.fail_with(ConnectionResetError, every=4)  # type: ignore[attr-defined]  # of the rig's
    assert (await with_sleep(clock, other.import_(path))).entries == 500
    for layer in filter(None, (other._parts.redis, other._parts.files)):
        layer.store.heal()  # type: ignore[attr-defined]  # of the rig's
        layer.guard.reset()
    assert len(await other.get_many(f"k{i}" for i in range(500))) == 500


async def test_an_import_that_no_layer_takes_is_an_error(rig: Rig, clock: FakeClock, path: Path) -> None:
    """It says which layers, and that it may be called again; memory is not filled in their place."""
    cache = await rig.open()
    await cache.set_many({f"k{i}": i for i in range(10)})
    await cache.export(path)
    other = await rig.open(namespace="other")
    layers = [layer for layer in (other._parts.redis, other._parts.files) if layer is not None]
    for layer in layers:
        layer.store.fail_with(OSError, on=["put_many"])  # type: ignore[attr-defined]  # of the rig's
    if layers:
        with pytest.raises(BackupError, match="took nothing any more: call again when they do"):
            await with_sleep(clock, other.import_(path))
        assert await other.get("k1") is None
    for layer in layers:
        layer.store.heal()  # type: ignore[attr-defined]  # of the rig's
        layer.guard.reset()
    assert (await other.import_(path)).entries == 10
    assert await other.get("k1") == 1


async def test_a_damaged_file_changes_nothing(rig: Rig, cache: Cache, path: Path) -> None:
    """BUG-82: damage anywhere is told before anything is written, on every layering."""
    await cache.set_many({f"k{i}": i for i in range(10)})
    await cache.export(path)
    damage(path, -60)
    other = await rig.open(namespace="other")
    with pytest.raises(BackupError, match="damaged or cut off after entry 9, at byte"):
        await other.import_(path)
    assert await other.get_many(f"k{i}" for i in range(10)) == {}


# -- copies --------------------------------------------------------------------------------------------------------


async def test_a_copy(rig: Rig, filled: Cache, clock: FakeClock, tmp_path: Path) -> None:
    """B12: what one cache holds, another has: files of its own, another secret, less memory."""
    keys = [*VALUES, "stale"]
    clock.advance(20)
    before = await told(filled, keys)
    options: dict[str, Any] = {"directory": tmp_path / "elsewhere"} if rig.far else {}
    other = await rig.open(namespace="copy", envelope=Envelope(secret=b"s" * 16, compress_above=None), **options)
    steps: list[Transfer] = []
    report = await filled.copy_to(other, on_progress=steps.append)
    assert (report.entries, report.skipped, report.total) == (len(keys), {}, len(keys))
    assert steps[-1] == report
    assert await told(other, keys) == before
    await other.set("zero", "theirs")
    clock.advance(1)
    report = await filled.copy_to(other, keep_newer=True)
    assert (report.skipped, report.total) == ({"newer there": len(keys)}, len(keys))
    assert await other.get("zero") == "theirs"
    await filled.copy_to(other)
    assert await other.get("zero") == 0


async def test_a_cache_is_not_copied_to_itself_or_into_one_that_is_off(rig: Rig, cache: Cache, path: Path) -> None:
    """What cannot be meant is refused."""
    with pytest.raises(ValueError, match="not copied to itself"):
        await cache.copy_to(cache)
    off = await rig.open(enabled=False)
    await cache.export(path)
    for doing in (cache.copy_to(off), off.import_(path)):
        with pytest.raises(BackupError, match="open it with enabled=True"):
            await doing


# -- secrets and options -------------------------------------------------------------------------------------------


async def test_a_secret_is_kept(rig: Rig, path: Path) -> None:
    """BUG-82: what was written under a secret is believed under the same one alone, and what was written without under none."""
    mine, theirs = Envelope(secret=b"m" * 16), Envelope(secret=b"t" * 16)
    cache = await rig.open(envelope=mine)
    await cache.set("k", "v")
    await cache.export(path)
    assert (await (await rig.open(namespace="other", envelope=mine)).import_(path)).entries == 1
    with pytest.raises(BackupError, match="damaged, or it was written with another secret"):
        await (await rig.open(namespace="b", envelope=theirs)).import_(path)
    with pytest.raises(BackupError, match="was written with a secret, and this cache has none"):
        await (await rig.open(namespace="c")).import_(path)
    plain = await rig.open(namespace="d")
    await plain.set("k", "v")
    await plain.export(path)
    with pytest.raises(BackupError, match="was written without a secret, but this cache believes only"):
        await cache.import_(path)


async def test_rate(cache: Cache, rig: Rig, clock: FakeClock, path: Path) -> None:
    """BUG-106: no more entries a second than `rate` are exported, imported or copied."""
    await cache.set_many({f"k{i}": i for i in range(450)})
    other = await rig.open(namespace="other")
    moves: list[Callable[[], Awaitable[Transfer]]] = [
        lambda: cache.export(path, rate=10),
        lambda: other.import_(path, rate=10),
        lambda: cache.copy_to(other, rate=10),
    ]
    for move in moves:
        before = clock.monotonic()
        report = await with_sleep(clock, move())
        assert report.entries == 450
        assert 45 <= clock.monotonic() - before < 60
        assert report.seconds >= 45
    with pytest.raises(ValueError, match="rate is entries a second"):
        await cache.export(path, rate=0)


async def test_progress(cache: Cache, path: Path) -> None:
    """BUG-106: each step tells more than the one before; what it raises is counted and goes nowhere."""
    await cache.set_many({f"k{i}": i for i in range(450)})
    steps: list[Transfer] = []

    def tell(step: Transfer) -> None:
        steps.append(step)
        raise RuntimeError

    for move in (cache.export, cache.import_):
        steps.clear()
        report = await move(path, on_progress=tell)
        assert steps[-1] == report
        assert [step.entries for step in steps] == sorted(step.entries for step in steps)
        assert len({step.entries for step in steps}) >= 3
        assert steps[-1].total == 450
    assert cache._parts.announce.listener_errors > 5


async def test_resume_false_and_a_day_begin_anew(rig: Rig, cache: Cache, clock: FakeClock, path: Path) -> None:
    """BUG-106: what was left unfinished is gone on with, unless it is told otherwise, or a day old."""
    await cache.set("k", 1, ttl=None)
    for wait, resume, resumed in ((0, True, 1), (0, False, 0), (86_000, True, 1), (87_000, True, 0)):
        await cache.export(path)
        leave_unfinished(path)
        clock.advance(wait)
        report = await cache.export(path, resume=resume)
        assert (report.resumed, report.entries) == (resumed, 1)
    leave_unfinished(path)
    other = await rig.open(namespace="other")
    await other.set("theirs", 1)
    assert (await other.export(path)).resumed == 0  # what was left is another namespace's


async def test_vectors_of_memory_go_out_as_vectors(rig: Rig, path: Path) -> None:
    """An embedding takes four bytes an element in a file, too, whichever layer it came from."""
    cache = await rig.open()
    vector = [0.5] * 10_000
    await cache._machine.set("embedding:m:x", vector, EMBEDDING)
    assert 40_000 < (await cache.export(path)).bytes < 41_000
    other = await rig.open(namespace="other")
    await other.import_(path)
    assert await other.get("embedding:m:x") == vector


async def test_few_are_on_their_way_at_a_time(
    rig: Rig, cache: Cache, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large entries are, a megabyte of them is read and not written yet, or one; the file is for its owner alone."""
    most = 0

    class Watched(Meter):
        async def add(self, entries: int, size: int, skipped: dict[str, int], *, passed: int) -> None:
            nonlocal most
            most = max(most, size)
            await super().add(entries, size, skipped, passed=passed)

    await cache.set_many({f"k{i}": random.Random(i).randbytes(60_000) for i in range(60)})
    monkeypatch.setattr("toolcache.backup.Meter", Watched)
    assert (await cache.export(path)).entries == 60
    await (await rig.open(namespace="other")).import_(path)
    assert 60_000 < most < 1_150_000
    assert mode(path) == 0o600


async def test_mirrored_domains_are_mirrored(rig: Rig, path: Path) -> None:
    """What belongs to a domain that is written to files, too, stands there after an import."""
    cache = await rig.open()
    await cache._machine.set("embedding:m:x", [0.5], EMBEDDING)
    await cache.set("other", 1)
    await cache.export(path)
    target = await rig.open(namespace="target", mirror=frozenset({"embedding"}))
    await target.import_(path)
    if rig.shared and target._parts.files is not None:
        blobs = await target._parts.files.read(["tc1:v:target:embedding:m:x", "tc1:v:target:other"])
        assert blobs is not None
        assert [blob is not None for blob in blobs] == [True, False]
    assert await target.get_many(["embedding:m:x", "other"]) == {"embedding:m:x": [0.5], "other": 1}


async def test_whoever_writes_meanwhile_is_not_held_up(rig: Rig, cache: Cache, path: Path) -> None:
    """Writes and deletes go on while an export and an import run; what is written after an import stays."""
    await cache.set_many({f"k{i}": 0 for i in range(400)})
    stop = False

    async def write() -> int:
        count = 0
        while not stop:
            count += 1
            await cache.set(f"k{count % 400}", count)
            await cache.delete(f"gone{count % 50}")
            await asyncio.sleep(0)
        return count

    writer = asyncio.ensure_future(write())
    exported = await cache.export(path)
    imported = await (await rig.open(namespace="other")).import_(path)
    again = await cache.import_(path, keep_newer=True)
    stop = True
    last = await writer
    assert last > 3
    assert exported.entries == imported.entries >= 400
    assert again.entries + again.skipped.get("newer there", 0) == exported.entries
    assert await cache.get(f"k{last % 400}") == last


async def test_what_has_no_entry_stays(tmp_path: Path) -> None:
    """Sessions and results of what ran once are not exported, agents' entries are; a view is no other cache."""
    async with ToolCache(files=False) as cache:
        await cache.sessions.save(Session("s"))
        await cache.once("job", lambda: "done")
        view = cache.for_agent("faq")
        await view.set("k", "the agent's")
        await cache.set("k", "all's")
        assert (await cache.export(tmp_path / "b")).entries == (await view.export(tmp_path / "b")).entries == 2
        with pytest.raises(ValueError, match="not copied to itself"):
            await cache.copy_to(view)
        async with ToolCache(files=False, namespace="other") as other:
            await other.import_(tmp_path / "b")
            assert (await other.get("k"), await other.for_agent("faq").get("k")) == ("all's", "the agent's")
            await other.invalidate(agent="faq")
            assert (await other.get("k"), await other.for_agent("faq").get("k")) == ("all's", None)


@pytest.mark.parametrize("way", ["import", "copy"])
async def test_what_comes_in_counts_for_its_domain(tmp_path: Path, way: str) -> None:
    """BUG-106: hits of what was imported are hits of its domain, built in or of one's own, at the costs that this cache was told."""
    weather = Domain[str]("weather", ttl="5m", key=("city",), cost_usd=0.5)
    async with (
        ToolCache(files=False) as cache,
        ToolCache(files=False, namespace="other", costs={"search": 2.0}) as other,
    ):
        await cache[weather].set("rain", city="Oslo")
        await cache.set_search_results("q", ["hit"])
        found = other[weather]
        if way == "copy":
            await cache.copy_to(other)
        else:
            await cache.export(tmp_path / "b")
            await other.import_(tmp_path / "b")
        assert (await found.get(city="Oslo"), await other.get_search_results("q")) == ("rain", ["hit"])
        domains = other.stats().domains
        told = {name: (row.hits, row.entries, row.dollars_saved) for name, row in domains.items() if row.entries}
        assert told == {"weather": (1, 1, 0.5), "search": (1, 1, 2.0)}


async def test_what_is_not_ours_is_left_alone(rig: Rig, cache: Cache, path: Path) -> None:
    """Where another program's data has a key in Redis, it stays; the entry goes to files if there are some, else it is counted."""
    await cache.set_many({"a": 1, "b": 2})
    await cache.export(path)
    target = await rig.open(namespace="target")
    if rig.server is not None:
        rig.server.command("RPUSH", "tc1:v:target:a", "theirs")
    report = await target.import_(path)
    alone = rig.layering == "memory+redis"
    assert (report.entries, report.skipped) == ((1, {"in the way": 1}) if alone else (2, {}))
    if rig.server is not None:
        assert rig.server.command("LRANGE", "tc1:v:target:a", "0", "-1") == [b"theirs"]


def forge(path: Path, envelope: Envelope, now_ms: int) -> dict[str, str]:
    """A file with valid links and blobs that no export has written; what is to become of each key."""
    good: dict[str, Any] = {
        "version": bytes(16),
        "created_ms": now_ms,
        "fresh_until_ms": now_ms + 9_000,
        "gone_ms": now_ms + 9_000,
    }
    value = Encoded(b"\xa4good", "m")
    forged: dict[str, tuple[Encoded | None, dict[str, Any], str]] = {
        "good": (value, {}, "taken"),
        "ended": (value, {"gone_ms": now_ms - 1, "fresh_until_ms": now_ms - 1, "created_ms": now_ms - 5}, "expired"),
        "backward": (value, {"created_ms": now_ms + 99_000}, "damaged"),
        "staler": (value, {"fresh_until_ms": now_ms + 99_000}, "damaged"),
        "tombstone": (None, {"flags": TOMBSTONE}, "damaged"),
        "epoch": (None, {"flags": EPOCH}, "damaged"),
        "record": (value, {"flags": RECORD}, "damaged"),
        "another's": (value, {"digest": bytes(16)}, "damaged"),
        "bomb": (Encoded(b"0" * 9_000_000, "m"), {}, "too large"),
    }
    writer = ArchiveWriter(path, Head("forged", now_ms, bytes(8)), b"", oldest_ms=inf, most=0)
    for key, (encoded, other, _) in forged.items():
        text = key.replace("'", "%27")
        fields = {**good, "digest": key_digest(store_key("v", "forged", text)), **other}
        writer.write([(text, envelope.pack(encoded, **fields))])
    writer.write([("noise", b"TC\x01" + bytes(200))])
    writer.finish()
    writer.close()
    return {key: fate for key, (*_, fate) in forged.items()} | {"noise": "damaged"}


async def test_a_forged_file_brings_nothing_that_is_no_entry(
    rig: Rig, cache: Cache, clock: FakeClock, path: Path
) -> None:
    """BUG-82: blobs of other kinds and keys, impossible instants, bombs and noise are skipped, counted, and never a value."""
    fates = await asyncio.to_thread(forge, path, Envelope(max_entry=2**24), int(clock.time() * 1000))
    report = await cache.import_(path)
    assert (report.entries, report.skipped) == (1, {"expired": 1, "damaged": 7, "too large": 1})
    assert await cache.get_many(fates) == {"good": "good"}
    assert await cache.set("good", 2)
    assert await cache.get("good") == 2


async def test_what_a_layer_holds_damaged_is_left_out(rig: Rig, cache: Cache, clock: FakeClock, path: Path) -> None:
    """BUG-82: an entry whose bytes are damaged in Redis is no entry of a backup; it is counted, once, and the others are there."""
    await cache.set_many({f"k{i}": i for i in range(300)})
    redis = cache._parts.redis
    if redis is None or rig.server is None:
        assert (await cache.export(path)).skipped == {}
        return
    rig.server.command("SETRANGE", "tc1:v:test:k7", "110", "X")
    redis.store.fail_with(ConnectionResetError, every=7)  # type: ignore[attr-defined]  # of the rig's
    report = await with_sleep(clock, cache.export(path))
    assert (report.entries, report.skipped) == (299, {"damaged": 1})
