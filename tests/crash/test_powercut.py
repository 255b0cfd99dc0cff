"""Power cuts, at every moment and in every way that a file system is allowed."""

from pathlib import Path

from crash.crash_states import Call, of_segments, restored, states
from fileops import RecordOps

from toolcache.blob import CLAIM, RECORD, TOMBSTONE, read_header
from toolcache.protocols import Write
from toolcache.stores.log.store import LogStore
from toolcache.testing import FakeClock
from toolcache.testing.stores import blob_of
from toolcache.versions import HybridClock

_KEYS = ("a", "b", "r", "t", "x")


async def _record(root: Path, clock: FakeClock) -> list[Call]:
    """A life of a log: promised writes beside unpromised ones, tombstones, a result, compaction."""
    ops = RecordOps()
    store = LogStore(root, clock=clock, hybrid=HybridClock(clock, node=bytes(8)), ops=ops, max_disk=4000)
    await store.open()

    async def put(key: str, version: int, *, flags: int = 0, ttl: float = 600.0, durable: bool = True) -> None:
        blob = blob_of(key, b"%d" % version * 200, version=version, now=clock.time(), flags=flags, ttl=ttl)
        await store.put_many([Write(key, blob, durable=durable, pending=durable and not flags)])
        if durable:
            ops.acknowledge((key, version))

    await put("x", 1, durable=False)
    await put("a", 1)
    await put("b", 1, ttl=1000.0)
    await put("x", 2, durable=False)
    await put("a", 2)
    await put("r", 1, flags=RECORD)
    await put("b", 2, flags=TOMBSTONE, ttl=20.0)
    await put("t", 1, flags=TOMBSTONE)
    clock.advance(30.0)
    await put("a", 3)
    await store.compact()
    await put("a", 4)
    await put("x", 3, durable=False)
    await store.aclose()
    return of_segments(ops.recorded, root)


async def _read(root: Path, clock: FakeClock) -> dict[str, int]:
    store = LogStore(root, clock=clock, hybrid=HybridClock(clock))
    found = {}
    for key, blob in zip(_KEYS, await store.get_many(_KEYS), strict=True):
        header = read_header(blob) if blob is not None else None
        found[key] = int.from_bytes(header.version[:6], "big") if header else 0
        if blob is not None and header is not None and not header.is_tombstone:
            assert set(blob[-4 - header.body_len : -4]) == set(b"%d" % found[key]), "a value that nobody wrote"
    await store.aclose()
    return found


async def test_no_power_cut_takes_what_was_promised(tmp_path: Path, clock: FakeClock) -> None:
    """FS-11, F-17, G2: after a cut at any call, with unsynced bytes kept, lost, torn or zero and unsynced names lost:
    every promised value, tombstone and result is there, nothing is read that was not written, and nothing older than a
    promised tombstone comes back.
    """  # noqa: D205 - one sentence
    made = tmp_path / "log"
    calls = await _record(made, clock)
    assert [call[0] for call in calls].count("unlink") > 0, "the compaction removed something"
    cuts = 0
    for acks, files in states(calls):
        with restored(made, files) as root:
            found = await _read(root, clock)
        promised: dict[str, int] = {}
        for key, version in acks:
            promised[key] = max(version, promised.get(key, 0))
        for key, version in promised.items():
            # b's tombstone, written after r, has expired since; what it hides must not be read
            hidden = key == "b" and ("r", 1) in acks and found[key] == 0
            assert found[key] >= version or hidden, (key, version, found, acks, sorted(files))
        cuts += 1
    assert cuts > 100


async def _rely(root: Path, clock: FakeClock) -> list[Call]:
    """The life of a log of two writers, one of which never waits for the disk: what the other says of it, and writes itself."""
    careless, careful = RecordOps(), RecordOps()
    careful.recorded = careless.recorded
    one = LogStore(root, clock=clock, hybrid=HybridClock(clock, node=bytes([1] * 8)), ops=careless, fsync="never")
    two = LogStore(root, clock=clock, hybrid=HybridClock(clock, node=bytes([2] * 8)), ops=careful)

    async def finish(store: LogStore, key: str, *, pending: bool = False) -> None:
        claim = blob_of(key, b"claim", version=1, now=clock.time(), ttl=600.0, flags=CLAIM)
        claimed = await store.swap(key, b"", claim, ttl=600.0, lease=60.0)
        result = blob_of(key, b"result", version=2, now=clock.time(), ttl=600.0, flags=RECORD)
        done = await store.swap(key, claimed.standing.raw, result, ttl=600.0, durable=not pending, pending=pending)
        assert done.done

    await finish(one, "tc1:i:cut:read")
    assert None not in await two.get_many(["tc1:i:cut:read"])
    careful.acknowledge("tc1:i:cut:read")
    await finish(one, "tc1:i:cut:met")
    assert (await two.swap("tc1:i:cut:met", b"?", None, ttl=1.0)).standing.raw
    careful.acknowledge("tc1:i:cut:met")
    await finish(two, "tc1:i:cut:owed", pending=True)
    careful.acknowledge("tc1:i:cut:owed")
    await one.aclose()
    await two.aclose()
    return of_segments(careful.recorded, root)


async def test_no_power_cut_takes_a_result_that_was_relied_on(tmp_path: Path, clock: FakeClock) -> None:
    """FS-11, G2: a result that another process wrote is on the disk before it is answered with, by a read or instead of a
    claim; one that Redis is owed is there, and still owed, once it is acknowledged.
    """  # noqa: D205 - one sentence
    made = tmp_path / "log"
    calls = await _rely(made, clock)
    promised = 0
    for acks, files in states(calls):
        with restored(made, files) as root:
            store = LogStore(root, clock=clock, hybrid=HybridClock(clock))
            found = await store.get_many(acks)
            owing = store.owing if acks else 0
            await store.aclose()
        for key, blob in zip(acks, found, strict=True):
            assert blob is not None, (key, acks, sorted(files))
            assert blob[-10:-4] == b"result"
        assert owing >= ("tc1:i:cut:owed" in acks)
        promised += len(acks)
    assert promised > 10
