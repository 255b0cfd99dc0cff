"""A claim is kept from lapsing in each store by itself."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from toolcache.hold import Hold
from toolcache.home import Homes
from toolcache.ledger import Answer
from toolcache.record import Attempt, Verdict
from toolcache.swaps import Standing
from toolcache.versions import ZERO

LEASE = 0.03
OWNER = b"o" * 16


class Place:
    """One store's records."""

    layer = None
    refuses = False

    def __init__(self, name: str) -> None:
        self.name = name


class Ledger:
    """Says of all that it is as was wanted; of what is in a hung place, nothing."""

    def __init__(self) -> None:
        self.near, self.far = Place("files"), Place("redis")
        self.memory, self.redis = self.near, self.far
        self.ended: set[bytes] = set()
        self.places = [self.near, self.far]
        self.hung = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.answers: Counter[str] = Counter()
        self.others = False

    async def heed(self, *_arguments: Any, **_options: Any) -> None:
        """Nothing has been cleared."""

    def floor(self) -> bytes:
        return ZERO

    async def settle(self, place: Place, *_arguments: Any, **_options: Any) -> Answer | None:
        if place is self.far:
            self.hung.set()
            await self.goes_on.wait()
        self.answers[place.name] += 1
        return Answer(Verdict.LOST if self.others else Verdict.OURS, None, Standing(b"raw"))

    async def until(self, name: str, number: int) -> None:
        """Wait for so many answers of a place."""
        while self.answers[name] < number:  # noqa: ASYNC110 - it is short
            await asyncio.sleep(LEASE / 10)


@pytest.fixture
async def ledger() -> Ledger:
    """One whose far place hangs."""
    return Ledger()


def held(ledger: Any, lost: list[Any]) -> Hold:
    attempt = Attempt(OWNER, ZERO, "", now=lambda: 0.0, rise=lambda version: version)
    return Hold(ledger, "tc1:i:x", attempt, lease=LEASE, homes=Homes(), on_lost=lost.append)


async def test_it_does_not_lapse_while_another_store_is_asked_for_it(ledger: Any) -> None:
    """ID-08: what is claimed on files is renewed while Redis keeps the claimant waiting."""
    hold = held(ledger, [])
    await hold.take(ledger.near)
    far = asyncio.ensure_future(hold.take(ledger.far))
    await ledger.until("files", 4)
    assert not far.done()
    ledger.goes_on.set()
    await far
    await hold.end()
    assert not hold.lost


async def test_it_does_not_lapse_while_another_store_is_renewing_it(ledger: Any) -> None:
    """ID-08: what is claimed on files is renewed while Redis keeps the runner waiting."""
    hold = held(ledger, [])
    hold.begin()
    await ledger.hung.wait()
    await ledger.until("files", 4)
    assert ledger.answers["redis"] == 0
    ledger.goes_on.set()
    await hold.end()


async def test_it_does_not_lapse_while_another_store_is_told_the_answer(ledger: Any) -> None:
    """ID-08: what is claimed on files is renewed until its turn to be answered has come."""
    hold = held(ledger, [])
    hold.begin()
    await ledger.hung.wait()
    leaving = asyncio.ensure_future(hold.leave(ledger.far))
    before = ledger.answers["files"]
    await ledger.until("files", before + 3)
    assert not leaving.done()
    ledger.goes_on.set()
    assert await leaving == Standing(b"raw")
    assert await hold.leave(ledger.near) == Standing(b"raw")
    settled = dict(ledger.answers)
    await asyncio.sleep(LEASE)
    assert ledger.answers == settled
    await hold.end()


async def test_one_that_was_taken_over_while_it_was_claimed_elsewhere_is_lost(ledger: Any) -> None:
    """G4: a claim that lapsed before the run began is not run on."""
    lost: list[Any] = []
    hold = held(ledger, lost)
    await hold.take(ledger.near)
    ledger.others = True
    await ledger.until("files", 2)
    assert (hold.lost, lost) == (True, [ledger.near])
    ledger.goes_on.set()
    await hold.give_back()
    assert not hold.lost
