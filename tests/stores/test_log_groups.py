"""Groups of records in the log: the contract, and what restarts, other processes and a full disk make of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fileops import MeddlingOps
from logs import log_of, make, overwrite, put, quiet, segments, write
from test_log_processes import heard, process

from toolcache.clock import SYSTEM
from toolcache.groups import Grouped, SupportsGroupList, SupportsGroups
from toolcache.protocols import Changed
from toolcache.stores.log.frame import BLOB, GROUPED, HEAD_SIZE, pack, read_frame
from toolcache.stores.log.groups import Groups
from toolcache.stores.log.shared import Shared
from toolcache.stores.log.store import LogStore
from toolcache.testing import FakeClock
from toolcache.testing.groups import ONE, TWO, GroupsContract
from toolcache.testing.stores import blob_of

GROUP = "tc1:s:test:h:1"


@pytest.fixture
async def grouping(tmp_path: Path, clock: FakeClock) -> AsyncIterator[LogStore]:
    """A store of its own."""
    store = make(tmp_path / "log", clock)
    yield store
    await store.aclose()


def record(
    clock: FakeClock,
    name: str = ONE,
    version: int = 1,
    body: bytes = b"body",
    *,
    group: str = GROUP,
    ttl: float = 600.0,
) -> Grouped:
    """One record."""
    return Grouped(group, name, blob_of(f"{group}:{name}", body, version=version, now=clock.time(), ttl=ttl))


def apart(store: LogStore) -> LogStore:
    """Attach a store to a log of its own, as that of another process is."""
    store._shared = Shared(store._root, store._clock, store._hybrid, store._ops)
    store._shared.users = 1
    store._shared.log.posts.append(store._post)
    return store


async def sealed(root: Path, clock: FakeClock, *records: Grouped) -> None:
    """One more segment, written by a store that is closed again."""
    store = make(root, clock)
    await quiet(store)
    await store.put_grouped(records)
    await store.aclose()


class TestGroups(GroupsContract):
    """The log keeps the contract of groups."""

    async def damage(self, store: SupportsGroups, group: str, name: str) -> None:
        """Bytes on the disk have changed."""
        assert isinstance(store, LogStore)
        overwrite(store, f"{group}:{name}", HEAD_SIZE + len(f"{group}:{name}") + 30, b"garbage")


def test_it_lists_its_groups(tmp_path: Path, clock: FakeClock) -> None:
    """Redis has to be told again what it has lost: its groups are found here."""
    assert isinstance(make(tmp_path, clock), SupportsGroupList)


async def test_a_record_is_known_by_a_flag_of_its_frame(grouping: LogStore, clock: FakeClock) -> None:
    """The flag is frozen, as the frame is: what is on disk outlives the code. Values have none."""
    await grouping.put_grouped([record(clock)])
    await put(grouping, write(clock, "k", 1))
    (path,) = segments(Path(grouping._root))
    data = memoryview(path.read_bytes())
    first = read_frame(data)
    assert first is not None
    second = read_frame(data, first.size)
    assert second is not None
    assert (first.flags & 0x100, second.flags & 0x100) == (GROUPED, 0)


async def test_groups_survive_a_restart(grouping: LogStore, tmp_path: Path, clock: FakeClock) -> None:
    """LC-13: of each name the newest, although older ones are read later or before; and they are no entries."""
    root = tmp_path / "log"
    await sealed(root, clock, record(clock, version=2), record(clock, TWO, 5, b"five"))
    await sealed(root, clock, record(clock, version=1), record(clock, TWO, 4), record(clock, version=3, body=b"three"))
    found = {ONE: record(clock, version=3, body=b"three").blob, TWO: record(clock, TWO, 5, b"five").blob}
    assert await grouping.read_groups([GROUP]) == [found]
    assert await grouping.groups("tc1:s:test:") == [GROUP]
    assert await grouping.count() == 0
    await grouping.put_grouped([record(clock, TWO, 4)])
    assert await grouping.read_groups([GROUP]) == [found]


async def test_what_another_process_wrote_is_read_at_once(grouping: LogStore, tmp_path: Path, clock: FakeClock) -> None:
    """I3: also before this one has read anything, and in a group that it writes to itself."""
    other = apart(make(tmp_path / "log", clock))
    await grouping.put_grouped([record(clock)])
    await other.put_grouped([record(clock, TWO, 3)])
    both = {ONE: record(clock).blob, TWO: record(clock, TWO, 3).blob}
    assert await grouping.read_groups([GROUP]) == await other.read_groups([GROUP]) == [both]
    await other.put_grouped([record(clock, TWO, 4), record(clock, group=f"{GROUP}2")])
    assert await grouping.groups("") == [GROUP, f"{GROUP}2"]
    assert await grouping.count() == await other.count() == 0
    await other.aclose()


async def test_nobody_is_told_of_them(grouping: LogStore, tmp_path: Path, clock: FakeClock) -> None:
    """Memory lets go of no value for them, whichever process wrote them; and Redis is owed nothing."""
    other = apart(make(tmp_path / "log", clock))
    await other.open()
    await put(grouping, write(clock, "k", 1))
    assert len((await other.changes()).keys) == len((await grouping.changes()).keys) == 1
    await grouping.put_grouped([record(clock)])
    await other.put_grouped([record(clock, TWO)])
    assert await other.changes() == await grouping.changes() == Changed([], lost=False)
    assert (grouping.owing, grouping.oldest(), await grouping.owed()) == (0, None, [])
    assert await grouping.owed(lasting=True) == []
    await other.aclose()


@pytest.mark.parametrize(("fsync", "syncs"), [("promised", 0), ("never", 0), ("always", 1)])
async def test_only_always_waits_for_the_disk(tmp_path: Path, clock: FakeClock, fsync: str, syncs: int) -> None:
    """They are no promise: what a power cut takes of them Redis has."""
    ops = MeddlingOps()
    store = make(tmp_path / "log", clock, ops=ops, fsync=fsync)
    await store.open()
    before = ops.counts["fdatasync"]
    await store.put_grouped([record(clock)])
    assert ops.counts["fdatasync"] - before == syncs
    await store.aclose()


async def test_what_a_killed_process_was_told_is_stored(tmp_path: Path) -> None:
    """I4: once the call has returned, kill -9 takes nothing back."""
    code = f"""
    from toolcache.groups import Grouped
    from toolcache.testing.stores import blob_of

    async def main():
        store = make(root, SYSTEM)
        for version in range(1, 1000):
            blob = blob_of("{GROUP}:{ONE}", b"%d" % version, version=version, now=SYSTEM.time())
            await store.put_grouped([Grouped("{GROUP}", "{ONE}", blob)])
            tell(version)

    asyncio.run(main())
    """
    with process(tmp_path / "log", code) as child:
        while int(told := await heard(child)) < 50:
            pass
        child.kill()
        while more := await heard(child):  # what it had told before it was killed
            told = more
    store = make(tmp_path / "log", SYSTEM)
    ((_, blob),) = (await store.read_groups([GROUP]))[0].items()
    assert int.from_bytes(blob[4:10], "big") - int(told) in {0, 1}
    await store.aclose()


async def test_what_has_ended_is_forgotten_when_it_is_reclaimed(tmp_path: Path, clock: FakeClock) -> None:
    """BUG-89: its bytes and its place in the index; before that it is no longer listed, and is no entry."""
    root = tmp_path / "log"
    await sealed(root, clock, record(clock, ttl=10.0), record(clock, TWO, ttl=10.0), record(clock, group=f"{GROUP}2"))
    await sealed(root, clock, *(record(clock, version=n, group=f"{GROUP}3", body=bytes(500)) for n in range(1, 20)))
    store = make(root, clock)
    await store.open()
    clock.advance(11.0)
    assert await store.groups("") == [f"{GROUP}2", f"{GROUP}3"]
    assert await store.read_groups([GROUP]) == [{}]
    assert len(log_of(store).index.groups) == 4
    assert await store.compact() > 0
    assert len(log_of(store).index.groups) == 2
    assert log_of(store).index.groups.names("") == [f"{GROUP}2", f"{GROUP}3"]
    assert await store.count() == 0
    await store.aclose()
    again = make(root, clock)
    found = await again.read_groups([GROUP, f"{GROUP}2", f"{GROUP}3"])
    assert [list(group) for group in found] == [[], [ONE], [ONE]]
    await again.aclose()


async def test_the_budget_drops_values_before_them(tmp_path: Path, clock: FakeClock) -> None:
    """FS-20: older than all values, or among them, they stay, and are found again; they are no evictions."""
    root = tmp_path / "log"
    records = [record(clock, f"{n:016x}", body=bytes(1_000)) for n in range(170)]
    await sealed(root, clock, *records[:50])
    store = make(root, clock, max_disk=2**20)
    for n in range(40):
        await put(store, *(write(clock, f"k{n}:{m}", 1, bytes(1_000)) for m in range(100)))
        await store.put_grouped(records[50 + 3 * n : 53 + 3 * n])
    await store.compact()
    usage = store.usage()
    assert usage is not None
    assert 2**19 < usage.bytes <= 2**20
    assert usage.evictions > 2_000
    assert usage.entries == 4_000 - usage.evictions
    assert await store.read_groups([GROUP]) == [{one.name: one.blob for one in records}]
    await store.aclose()
    again = make(root, clock, max_disk=2**20)
    assert await again.read_groups([GROUP]) == [{one.name: one.blob for one in records}]
    await again.aclose()


async def test_a_segment_of_them_alone_is_not_rewritten_for_room(tmp_path: Path, clock: FakeClock) -> None:
    """It would cost a copy each time, and win nothing."""
    root = tmp_path / "log"
    await sealed(root, clock, *(record(clock, f"{n:016x}", body=bytes(1_000)) for n in range(100)))
    (path,) = segments(root)
    for n in range(8):
        store = make(root, clock, max_disk=2**20)
        await quiet(store)
        await put(store, *(write(clock, f"k{n}:{m}", 1, bytes(1_000)) for m in range(100)))
        await store.aclose()
    store = make(root, clock, max_disk=2**20)
    assert await store.compact() > 0
    assert segments(root)[0] == path
    await store.aclose()


async def test_they_do_not_take_the_room_of_all_values(tmp_path: Path, clock: FakeClock) -> None:
    """Where they alone are more than the budget, the oldest go; values can be written, and nothing is refused for ever."""
    store = make(tmp_path / "log", clock, max_disk=2**20)
    for n in range(150):
        records = [record(clock, f"{m:016x}", body=bytes(1_000), group=f"{GROUP}{n:04}") for m in range(20)]
        await store.put_grouped(records)
    await put(store, write(clock, "k", 1, bytes(1_000)))
    await store.compact()
    usage = store.usage()
    assert usage is not None
    assert usage.bytes <= 2**20
    assert usage.evictions == 0
    kept = await store.groups("")
    assert 10 < len(kept) < 60
    assert kept[-1] == f"{GROUP}0149"
    await store.aclose()


async def test_a_record_whose_place_is_no_group_is_left_alone(tmp_path: Path, clock: FakeClock) -> None:
    """A key without a name, or of bytes that are no text, harms nobody, whoever has written it."""
    root = tmp_path / "log"
    await sealed(root, clock, record(clock))
    keys = [b"", ONE.encode(), b"tc1:s:test:h:1;" + ONE.encode(), b"\xff\xfe:" + ONE.encode(), b"tc1:" + b"g" * 16]
    bad = [pack(BLOB, GROUPED, key, blob_of("k", now=clock.time()), 0) for key in keys]
    (path,) = segments(root)
    with path.open("ab") as file:
        file.write(b"".join(bad))
    store = make(root, clock)
    assert await store.read_groups([GROUP]) == [{ONE: record(clock).blob}]
    assert [group for group in await store.groups("") if group.isascii()] == [GROUP]
    assert [key async for key in store.scan("")] == []
    assert await store.read_groups(await store.groups("")) is not None
    await store.aclose()


async def test_a_group_is_read_while_it_is_rewritten(tmp_path: Path, clock: FakeClock) -> None:
    """I3: compaction moves records; a reader sees each, all the time."""
    root = tmp_path / "log"
    for version in range(1, 5):
        await sealed(root, clock, *(record(clock, f"{n:016x}", version, bytes(900)) for n in range(300)))
    store = make(root, clock)
    compacting = asyncio.ensure_future(store.compact())
    while not compacting.done():
        assert len((await store.read_groups([GROUP]))[0]) == 300
    assert compacting.result() > 500_000
    assert {blob[9] for blob in (await store.read_groups([GROUP]))[0].values()} == {4}
    await store.aclose()


def test_what_is_forgotten_leaves_nothing_behind() -> None:
    """Records come and go for years."""
    groups = Groups()
    for n in range(3):
        groups.add(b"%d" % n, f"g{n % 2}:{n:016x}".encode())
        groups.add(b"%d" % n, f"g{n % 2}:{n:016x}".encode())
    assert (len(groups), groups.names("g"), list(groups.of("g0"))) == (3, ["g0", "g1"], [f"{0:016x}", f"{2:016x}"])
    for n in (0, 0, 1, 7):
        groups.discard(b"%d" % n)
    assert (len(groups), groups.names("g"), groups.of("g1")) == (1, ["g0"], {})
