"""What each event loop has of its own, and what a forked child begins anew."""

import asyncio
import gc
import os
import threading
import weakref

import pytest

from toolcache import forks
from toolcache.errors import UnsupportedEventLoopError
from toolcache.loops import PerLoop


class Thing:
    """Made once for each loop."""


async def test_one_loop_has_one_thing() -> None:
    """LC-02: whoever asks in one loop gets the same, and ``all`` names it."""
    things = PerLoop(Thing)
    assert things.here() is things.here()
    assert things.all() == [things.here()]


def test_another_loop_has_another_and_ended_ones_are_dropped() -> None:
    """BUG-14: things of loops that have ended do not pile up."""
    things = PerLoop(Thing)
    seen = []

    async def ask() -> None:
        seen.append(weakref.ref(things.here()))

    for _ in range(5):
        asyncio.run(ask())
    gc.collect()
    assert len({id(ref) for ref in seen}) == 5
    assert len(things.all()) == 1
    assert [ref() is not None for ref in seen] == [False] * 4 + [True]


def test_many_threads_make_one_for_each_loop() -> None:
    """LC-02: threads with short loops of their own neither fail nor share."""
    things = PerLoop(Thing)
    faults: list[BaseException] = []

    async def ask() -> None:
        mine = things.here()
        await asyncio.sleep(0)
        assert things.here() is mine
        things.all()

    def work() -> None:
        try:
            for _ in range(50):
                asyncio.run(ask())
        except BaseException as fault:  # noqa: BLE001 - told by the assertion below
            faults.append(fault)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_without_a_loop_it_says_so() -> None:
    """LC-08: outside asyncio there is nothing to belong to."""
    with pytest.raises(UnsupportedEventLoopError, match="asyncio"):
        PerLoop(Thing).here()


class Watched:
    """Counts its rebirths."""

    def __init__(self) -> None:
        self.rebirths = 0

    def forked(self) -> None:
        self.rebirths += 1


def test_what_is_watched_begins_anew_in_a_child() -> None:
    """LC-09: in the child and only there; what was collected before the fork is not called."""
    kept, dropped = Watched(), Watched()
    forks.watch(kept)
    forks.watch(dropped)
    del dropped
    gc.collect()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, bytes([kept.rebirths]))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"\x01"
    assert kept.rebirths == 0
    os.close(read)
    os.close(write)
