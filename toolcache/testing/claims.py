"""The contract of stores that keep claims, as tests to inherit, and a claimant to claim with."""

import asyncio
import os
from collections.abc import Callable
from typing import ClassVar, Final

from toolcache.blob import RECORD
from toolcache.claim import Claimant, Verdict
from toolcache.protocols import SupportsJournal
from toolcache.swaps import NOTHING, UNKNOWN, Move, Standing, SupportsClaim, Swapped
from toolcache.testing.stores import blob_of, version_of

_LONG: Final = 600.0


class Holder:
    """Somebody who claims one key, as one computation of one process does.

    Args:
        store: where.
        key: the store key of the claim.
        lease: seconds.
    """

    def __init__(self, store: SupportsClaim, key: str, lease: float) -> None:
        self._store = store
        self._key = key
        self._claimant = Claimant(key, os.urandom(16), version_of(1), now=1_800_000_000.0, lease=lease)
        self.standing = NOTHING
        self.asked = 0

    async def claim(self) -> Verdict:
        """Take it, if it is free; from one that was seen lapsed as it was seen."""
        if self.standing.left > 0:
            self.standing = NOTHING
        return await self._settle(self._claimant.claim)

    async def renew(self) -> Verdict:
        """Lease it for longer."""
        return await self._settle(self._claimant.renew)

    async def release(self, *, knowing: bool = True) -> Verdict:
        """End it; without ``knowing`` what stands there."""
        self.standing = self.standing if knowing else UNKNOWN
        return await self._settle(self._claimant.release)

    async def _settle(self, decide: Callable[[Standing], Move[Verdict] | Verdict]) -> Verdict:
        while not isinstance(move := decide(self.standing), Verdict):
            self.asked += 1
            said = await self._store.swap(self._key, move.expected, move.new, ttl=move.ttl, lease=move.lease)
            self.standing = said.standing
            if said.done:
                return move.then
        return move


class ClaimContract:
    """What every store that keeps claims promises.

    A subclass provides the fixture ``store`` (open and empty; closing it is the fixture's affair) and overrides ``let_pass``.
    Where time is real, ``lease`` should be short, and yet much longer than an operation takes.

    Examples:
        >>> class TestMyClaims(ClaimContract):
        ...     @pytest.fixture
        ...     async def store(self, clock): ...
        ...     async def let_pass(self, seconds):
        ...         self.clock.advance(seconds)
    """

    prefix: ClassVar[str] = "tc1:c:contract:"
    """What the keys begin with."""
    lease: ClassVar[float] = 10.0
    """Seconds that those claims are leased for that are to lapse."""

    async def let_pass(self, seconds: float) -> None:
        """Have that much time go by on the store's clock."""
        raise NotImplementedError

    def holder(self, store: SupportsClaim, text: str = "k", *, lease: float = _LONG) -> Holder:
        """One more who claims a key."""
        return Holder(store, self.prefix + text, lease)

    async def look(self, store: SupportsClaim, text: str = "k") -> Standing:
        """What stands under a key."""
        swapped = await store.swap(self.prefix + text, b"what nobody wrote", None, ttl=1.0)
        assert not swapped.done
        return swapped.standing

    async def swap(
        self,
        store: SupportsClaim,
        expected: bytes,
        body: bytes | None,
        *,
        lease: float | None = None,
        ttl: float = 60.0,
    ) -> Swapped:
        """Put a record with this body in the place of what is expected."""
        key = self.prefix + "k"
        new = None if body is None else blob_of(key, body, now=1_800_000_000.0, ttl=ttl)
        return await store.swap(key, expected, new, ttl=ttl, lease=lease)

    # -- one record in the place of another -------------------------------------------------------------------------

    async def test_nothing_stands_at_first(self, store: SupportsClaim) -> None:
        """What nobody wrote is nothing; and nothing may take the place of nothing."""
        assert await self.look(store) == NOTHING
        assert await self.swap(store, b"", None) == Swapped(True, NOTHING)

    async def test_a_record_takes_the_place_of_what_is_expected(self, store: SupportsClaim) -> None:
        """It is done, what stands there then is told, and it can be expected next time."""
        done, first = await self.swap(store, b"", b"one")
        assert done
        assert first == await self.look(store)
        assert first.blob[-7:-4] == b"one"
        done, second = await self.swap(store, first.raw, b"two")
        assert done
        assert second.blob[-7:-4] == b"two"
        assert await self.swap(store, second.raw, None) == Swapped(True, NOTHING)
        assert await self.look(store) == NOTHING

    async def test_what_is_not_expected_stays(self, store: SupportsClaim) -> None:
        """Nothing is done, and what stands there is told."""
        _, first = await self.swap(store, b"", b"one")
        assert await self.swap(store, b"", b"two") == Swapped(False, first)
        _, second = await self.swap(store, first.raw, b"two")
        assert await self.swap(store, first.raw, b"three") == Swapped(False, second)
        assert await self.swap(store, first.raw, None) == Swapped(False, second)

    async def test_a_repeated_swap_finds_the_first(self, store: SupportsClaim) -> None:
        """A swap whose reply was lost is not done twice: it meets its own record."""
        _, first = await self.swap(store, b"", b"one")
        _, second = await self.swap(store, first.raw, b"two")
        done, found = await self.swap(store, first.raw, b"two")
        assert not done
        assert found == second

    async def test_a_record_without_a_lease_is_not_leased(self, store: SupportsClaim) -> None:
        """Its lease never lapses; its time ends all the same."""
        _, standing = await self.swap(store, b"", b"one", ttl=self.lease)
        assert standing.left == float("inf")
        await self.let_pass(1.25 * self.lease)
        assert await self.look(store) == NOTHING

    async def test_of_many_swaps_one_is_done(self, store: SupportsClaim) -> None:
        """Atomically: one of twenty that expect nothing; and of twenty that expect that one."""
        expected = b""
        for start in (10, 50):
            answers = await asyncio.gather(*(self.swap(store, expected, b"%d" % n) for n in range(start, start + 20)))
            (winner,) = [answer.standing for answer in answers if answer.done]
            assert {answer.standing for answer in answers} == {winner}
            expected = winner.raw

    async def test_keys_are_apart(self, store: SupportsClaim) -> None:
        """A claim of one key says nothing of another."""
        assert await self.holder(store, "a").claim() is Verdict.OURS
        assert await self.holder(store, "b").claim() is Verdict.OURS

    # -- claims -----------------------------------------------------------------------------------------------------

    async def test_one_holds_it(self, store: SupportsClaim) -> None:
        """The second is told how long the lease goes on; the first one's release frees it."""
        one, two = self.holder(store), self.holder(store)
        assert await one.claim() is Verdict.OURS
        assert await two.claim() is Verdict.BUSY
        assert 0 < two.standing.left <= _LONG + 0.01
        assert await one.release() is Verdict.OVER
        assert await two.claim() is Verdict.OURS

    async def test_one_question_when_nobody_is_in_the_way(self, store: SupportsClaim) -> None:
        """Claiming, being refused, renewing and releasing take one question each."""
        one, two = self.holder(store), self.holder(store)
        await one.claim()
        await two.claim()
        await one.renew()
        await one.release()
        assert (one.asked, two.asked) == (3, 1)

    async def test_who_claims_again_finds_it_is_his(self, store: SupportsClaim) -> None:
        """LK-03: after a lost reply the holder knows its own claim and does not wait for itself."""
        one = self.holder(store)
        await one.claim()
        one.standing = NOTHING
        assert await one.claim() is Verdict.OURS
        assert one.standing.raw

    async def test_a_lapsed_claim_is_taken_over(self, store: SupportsClaim) -> None:
        """LK-04, BUG-22: the lease ends by the store's clock; the late release and renewal of the first do nothing."""
        one, two, three = (self.holder(store, lease=lease) for lease in (self.lease, _LONG, _LONG))
        await one.claim()
        await self.let_pass(1.25 * self.lease)
        assert await two.claim() is Verdict.OURS
        assert await one.renew() is Verdict.OVER
        assert await one.release() is Verdict.OVER
        assert await one.release(knowing=False) is Verdict.OVER
        assert await three.claim() is Verdict.BUSY

    async def test_renewed_it_does_not_lapse(self, store: SupportsClaim) -> None:
        """LK-07: for as long as it is renewed in time, beyond the time of the first record."""
        one, two = self.holder(store, lease=self.lease), self.holder(store)
        await one.claim()
        for _ in range(5):
            await self.let_pass(0.5 * self.lease)
            assert await one.renew() is Verdict.OURS
        assert await two.claim() is Verdict.BUSY

    async def test_a_takeover_does_not_overtake_a_renewal(self, store: SupportsClaim) -> None:
        """Who has seen it lapsed takes it only as it was seen: the holder may have woken up."""
        one, two = self.holder(store, lease=self.lease), self.holder(store)
        await one.claim()
        await two.claim()
        await self.let_pass(1.25 * self.lease)
        assert await one.renew() is Verdict.OURS
        two.standing = two.standing._replace(left=0.0)
        assert await two.claim() is Verdict.BUSY

    async def test_renewing_what_the_store_has_lost_claims_it_again(self, store: SupportsClaim) -> None:
        """As after a restart that left it empty."""
        one, two = self.holder(store), self.holder(store)
        await one.claim()
        assert (await store.swap(self.prefix + "k", one.standing.raw, None, ttl=1.0)).done
        assert await one.renew() is Verdict.OURS
        assert await two.claim() is Verdict.BUSY

    async def test_a_record_that_cannot_be_read_is_busy_until_its_end(self, store: SupportsClaim) -> None:
        """Nobody takes it for his own, nor for nobody's."""
        _, first = await self.swap(store, b"", b"not an owner", ttl=self.lease)
        one = self.holder(store)
        assert await one.claim() is Verdict.BUSY
        assert await one.release(knowing=False) is Verdict.OVER
        assert await self.look(store) == first
        await self.let_pass(1.25 * self.lease)
        assert await one.claim() is Verdict.OURS

    async def test_a_claim_that_ended_leaves_nothing(self, store: SupportsClaim) -> None:
        """BUG-11: neither a release nor a lapse leaves a record behind."""
        one, two = self.holder(store), self.holder(store, "other", lease=self.lease)
        await one.claim()
        await two.claim()
        await one.release()
        await self.let_pass(2.25 * self.lease)
        assert await self.look(store) == NOTHING
        assert await self.look(store, "other") == NOTHING

    async def test_what_another_store_is_owed_is_known_until_it_has_it(self, store: SupportsClaim) -> None:
        """A record put as pending counts as owed, can be told with what it says, and is owed no more once that is settled."""
        if not isinstance(store, SupportsJournal):
            return
        key = self.prefix + "k"
        one = self.holder(store)
        await one.claim()
        assert store.owing == 0
        result = blob_of(key, b"the output", version=2, now=1_800_000_000.0, ttl=600.0, flags=RECORD)
        done, stands = await store.swap(key, one.standing.raw, result, ttl=600.0, durable=True, pending=True)
        assert done
        assert (store.owing, store.pending(key) is not None) == (1, True)
        (portion,) = await store.owed()
        (debt,) = await store.debts(portion)
        assert (debt.key, debt.blob, debt.lasting) == (key, stands.blob, True)
        assert debt.version == store.pending(key)
        await store.settle([(key, debt.version)])
        assert (store.owing, store.pending(key), await store.owed()) == (0, None, [])
        assert await self.look(store) == stands

    # -- waiting ----------------------------------------------------------------------------------------------------

    async def test_who_waits_is_told_of_the_end(self, store: SupportsClaim) -> None:
        """LK-08: where the store says that it hears; at once, whatever the lease, and not of a renewal's."""
        one, two = self.holder(store), self.holder(store)
        await one.claim()
        await two.claim()
        if not store.hears:
            return
        waiting = asyncio.ensure_future(store.until_ended(self.prefix + "k", two.standing))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await one.release()
        async with asyncio.timeout(5):
            await waiting
        assert await two.claim() is Verdict.OURS

    async def test_who_waits_may_leave(self, store: SupportsClaim) -> None:
        """Waiting is for the caller to bound."""
        one, two = self.holder(store), self.holder(store)
        await one.claim()
        await two.claim()
        waiting = asyncio.ensure_future(store.until_ended(self.prefix + "k", two.standing))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
