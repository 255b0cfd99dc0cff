"""The contract of stores that keep records in groups, as tests to inherit."""

import asyncio
from typing import ClassVar, Protocol

import pytest

from toolcache.blob import NEVER, read_header
from toolcache.groups import MAX_RECORD, Grouped, SupportsGroupList, SupportsGroups
from toolcache.listing import SupportsPages
from toolcache.protocols import Clock, Store, SupportsUsage, Write
from toolcache.testing.stores import blob_of

ONE, TWO = "0123456789abcdef", "fedcba9876543210"
"""Two names."""


class GroupingStore(Store, SupportsGroups, Protocol):
    """A store of values, and of groups."""


class GroupsContract:
    """What every store that ``SupportsGroups`` promises.

    A subclass provides the fixtures ``grouping`` (an open, empty store; closing it is the fixture's affair) and ``clock``, and
    overrides ``damage``. Nothing here lets time pass.
    """

    prefix: ClassVar[str] = "tc1:s:contract:"
    """What the groups begin with."""

    async def damage(self, store: SupportsGroups, group: str, name: str) -> None:
        """Replace what the store holds for this name by bytes that are no blob."""
        raise NotImplementedError

    def group(self, text: str = "g") -> str:
        """The store key of a group."""
        return self.prefix + text

    def record(
        self,
        clock: Clock,
        version: int = 1,
        body: bytes = b"body",
        *,
        text: str = "g",
        name: str = ONE,
        ttl: float | None = 600.0,
    ) -> Grouped:
        """One record."""
        group = self.group(text)
        blob = blob_of(f"{group}:{name}", body, version=version, now=clock.time(), ttl=ttl)
        return Grouped(group, name, blob)

    async def test_holds_nothing_at_first(self, grouping: SupportsGroups) -> None:
        """A group never written is empty, one for each that is asked for; of none there is none."""
        assert await grouping.read_groups([self.group("a"), self.group("b")]) == [{}, {}]
        assert await grouping.read_groups([]) == []
        await grouping.put_grouped([])

    async def test_returns_the_very_bytes(self, grouping: SupportsGroups, clock: Clock) -> None:
        """By name and group, in the order asked, a group as often as it is asked for; every byte value, none, and many."""
        bodies = {ONE: bytes(range(256)), TWO: b"", "00000000000000aa": bytes(range(256)) * 1024}
        records = [self.record(clock, body=body, name=name) for name, body in bodies.items()]
        other = self.record(clock, text="other")
        await grouping.put_grouped([*records, other])
        g, none, o, again = await grouping.read_groups([self.group(t) for t in ("g", "none", "other", "g")])
        assert g == again == {one.name: one.blob for one in records}
        assert (none, o) == ({}, {ONE: other.blob})

    async def test_groups_whose_keys_begin_alike_are_apart(self, grouping: SupportsGroups, clock: Clock) -> None:
        """Also where the key of one, with a name, is the key of another."""
        inner = self.record(clock, body=b"inner", text=f"a:{ONE}", name=TWO)
        outer = self.record(clock, body=b"outer", text="a")
        await grouping.put_grouped([inner, outer])
        assert await grouping.read_groups([outer.group, inner.group]) == [{ONE: outer.blob}, {TWO: inner.blob}]

    async def test_the_newest_of_a_name_stays(self, grouping: SupportsGroups, clock: Clock) -> None:
        """A newer one takes the place of an older one; an older one, or one as old, changes nothing."""
        one, two, three = (self.record(clock, version, b"%d" % version) for version in (1, 2, 3))
        again = self.record(clock, 2, b"again")
        for record, stays in [(two, two), (one, two), (again, two), (three, three), (two, three)]:
            await grouping.put_grouped([record])
            assert await grouping.read_groups([record.group]) == [{ONE: stays.blob}]

    async def test_of_one_call_the_newest_stays(self, grouping: SupportsGroups, clock: Clock) -> None:
        """Wherever in it that stands."""
        one, two, three = (self.record(clock, version, b"%d" % version) for version in (1, 2, 3))
        await grouping.put_grouped([two, three, one])
        assert await grouping.read_groups([one.group]) == [{ONE: three.blob}]

    async def test_many_writers_lose_nothing(self, grouping: SupportsGroups, clock: Clock) -> None:
        """Whatever the order in which their calls arrive; those who are cancelled leave all or nothing."""
        names = [f"{number:016x}" for number in range(20)]
        records = [self.record(clock, version, b"%d" % version, name=name) for version in (2, 3, 1) for name in names]
        tasks = [asyncio.create_task(grouping.put_grouped([record])) for record in records]
        last = self.record(clock, text="last")
        leaving = asyncio.create_task(grouping.put_grouped([last]))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(*tasks)
        found, left = await grouping.read_groups([self.group(), last.group])
        assert found == {record.name: record.blob for record in records[20:40]}
        assert left in ({}, {ONE: last.blob})

    async def test_what_has_ended_is_left_out(self, grouping: SupportsGroups, clock: Clock) -> None:
        """It takes nobody's place; what has no end is kept."""
        lasting = self.record(clock, ttl=None)
        header = read_header(lasting.blob)
        assert header is not None
        assert header.gone_ms == NEVER
        await grouping.put_grouped(
            [lasting, self.record(clock, 2, ttl=-5.0), self.record(clock, ttl=-5.0, text="other")]
        )
        assert await grouping.read_groups([self.group(), self.group("other")]) == [{ONE: lasting.blob}, {}]

    async def test_refuses_what_is_no_record(self, grouping: SupportsGroups, clock: Clock) -> None:
        """A name that is none, bytes that are no blob, and what is too large; nothing of such a call is stored."""
        good = self.record(clock)
        large = self.record(clock, body=bytes(MAX_RECORD))
        wrong = [good._replace(name=name) for name in ("", ONE[1:], ONE.upper(), f"{ONE}\n", f":{ONE[1:]}")]
        for bad in [*wrong, good._replace(blob=b""), good._replace(blob=b"x" * 200), large]:
            with pytest.raises(ValueError, match="16 hexadecimal digits"):
                await grouping.put_grouped([good, bad])
        assert await grouping.read_groups([good.group]) == [{}]

    async def test_what_is_damaged_is_left_out(self, grouping: SupportsGroups, clock: Clock) -> None:
        """The others of the group are read; a record of that name takes its place, be it older."""
        one, two = self.record(clock, 5), self.record(clock, 5, name=TWO)
        await grouping.put_grouped([one, two])
        await self.damage(grouping, one.group, ONE)
        assert await grouping.read_groups([one.group]) == [{TWO: two.blob}]
        older = self.record(clock, 4)
        await grouping.put_grouped([older])
        assert await grouping.read_groups([one.group]) == [{ONE: older.blob, TWO: two.blob}]

    async def test_they_are_no_values(self, grouping: GroupingStore, clock: Clock) -> None:
        """They are not listed, and where the store knows how many entries it has, not counted."""
        key = "tc1:v:contract:k"
        await grouping.put_many([Write(key, blob_of(key, now=clock.time()))])
        before = grouping.usage() if isinstance(grouping, SupportsUsage) else None
        await grouping.put_grouped([self.record(clock, name=f"{number:016x}") for number in range(9)])
        if isinstance(grouping, SupportsPages):
            found: list[str] = []
            cursor, first = None, True
            while first or cursor is not None:
                page = await grouping.page("tc1:", cursor)
                found += [one.key for one in page.found]
                cursor, first = page.cursor, False
            assert found == [key]
        if before is not None and isinstance(grouping, SupportsUsage):
            usage = grouping.usage()
            assert usage is not None
            assert usage.entries == before.entries == 1

    async def test_lists_the_groups_that_there_are(self, grouping: SupportsGroups, clock: Clock) -> None:
        """Where it can: those beneath a prefix that have a live record, each once, in order."""
        if not isinstance(grouping, SupportsGroupList):
            return
        for text in ("b:2", "a:2", "a:1", "a:1"):
            await grouping.put_grouped([self.record(clock, text=text), self.record(clock, text=text, name=TWO)])
        assert await grouping.groups(self.group("a:")) == [self.group("a:1"), self.group("a:2")]
        assert await grouping.groups(self.group("*")) == []
        assert len(await grouping.groups(self.prefix)) == 3
