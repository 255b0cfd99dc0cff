"""Sessions on every layering: saved, resumed, limited, forgotten; and nobody's turn is lost."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from programs import start
from rig import SteadyClock
from servers import RedisServer
from sessions.conftest import BOTH, MEMORY, Open

from toolcache import ToolCache
from toolcache.errors import (
    SerializationError,
    SessionConflictError,
    SessionError,
    SessionUnavailableError,
    UnsupportedKeyError,
    ValueTooLargeError,
)
from toolcache.keys.text import store_key
from toolcache.session import Session, Turn, merged
from toolcache.testing import ChaosStore

DAY = 86_400.0
FAR = pytest.mark.parametrize("layering", ["memory+file", "memory+redis"], indirect=True)


def pair(open_cache: Open) -> tuple[ToolCache, ToolCache]:
    """Two caches that share what there is to share: the very same one, where that is memory."""
    first = open_cache()
    return first, first if first._parts.redis is None and first._parts.files is None else open_cache()


async def seen(cache: ToolCache, session_id: str = "chat") -> Session:
    session = await cache.sessions.resume(session_id)
    assert session is not None
    return session


class TestSaving:
    async def test_what_is_saved_is_resumed(self, open_cache: Open, clock: SteadyClock) -> None:
        """C8: state, context and history come back as they were, of the same types, in whatever cache asks."""
        here, there = pair(open_cache)
        session = Session("chat", state={"step": 3}, context={"user": ("ada", Decimal("1.50"))}, history=["one", None])
        await here.sessions.save(session)
        found = await seen(there)
        assert (found.state, found.context) == ({"step": 3}, {"user": ("ada", Decimal("1.50"))})
        assert found.history == ["one", None]
        assert found.revision == session.revision
        assert found.created_at == found.updated_at == found.turns[0].at == clock.time()

    @BOTH
    async def test_nothing_is_saved_that_could_not_be_read(self, cache: ToolCache) -> None:
        """C8: turns with an id, or anything else, by which they could not be resumed are refused when they are saved."""
        name: Any = 42
        yes: Any = 1
        with pytest.raises(TypeError, match="turn_id"):
            await cache.sessions.append("chat", "one", turn_id=name)
        session = await cache.sessions.append("chat", "two", turn_id="2", pinned=yes)
        session.pin("2", pinned=yes)
        await cache.sessions.save(session)
        assert (await seen(cache)).turns[0].pinned is True
        session.turns.append(Turn("three", name))
        with pytest.raises(TypeError, match="turn of this session"):
            await cache.sessions.save(session)
        assert (await seen(cache)).history == ["two"]

    @BOTH
    async def test_what_is_added_while_it_is_saved(self, cache: ToolCache) -> None:
        """C8: a turn that is added while its session is being saved stays in it, and is saved next time."""
        session = await cache.sessions.append("chat", "one")
        session.add("two")
        for merge in (None, merged):
            if merge is not None:
                await cache.sessions.append("chat", "theirs")
            saving = asyncio.create_task(cache.sessions.save(session, merge=merge))
            await asyncio.sleep(0)
            while not saving.done():
                session.add("late", turn_id=f"late {merge}")
                await asyncio.sleep(0)
            await saving
            assert session.turns[-1].id == f"late {merge}"
        await cache.sessions.save(session)
        assert (await seen(cache)).history.count("late") == 2

    async def test_there_is_none(self, cache: ToolCache) -> None:
        """C8: what was never saved is None, and a miss in the statistics."""
        assert await cache.sessions.resume("chat") is None
        assert cache.stats().domains["session"].misses == 1

    async def test_it_may_be_saved_again_and_again(self, open_cache: Open, clock: SteadyClock) -> None:
        """C8: after a save the same object is at the new revision; when it was first saved stays."""
        here, there = pair(open_cache)
        session = Session("chat")
        for step in range(3):
            clock.advance(10)
            session.state["step"] = step
            assert await here.sessions.save(session) is session
        found = await seen(there)
        assert found.state == {"step": 2}
        assert found.updated_at - found.created_at == 20

    @BOTH
    async def test_changing_what_was_resumed_changes_nothing(self, cache: ToolCache) -> None:
        """BUG-79: what is resumed is the caller's own; so is what was saved."""
        state = {"list": [1]}
        await cache.sessions.save(Session("chat", state=state))
        state["list"].append(2)
        (await seen(cache)).state["list"].append(3)
        assert (await seen(cache)).state == {"list": [1]}

    async def test_an_outdated_save_is_refused(self, open_cache: Open) -> None:
        """C8: who saves what others have saved since gets an error that says what to do, and changes nothing."""
        here, there = pair(open_cache)
        await here.sessions.save(Session("chat", state="first"))
        mine, theirs = await seen(here), await seen(there)
        theirs.state = "theirs"
        await there.sessions.save(theirs)
        mine.state = "mine"
        before = mine.revision
        with pytest.raises(SessionConflictError, match=r"resume it and change it again.*append\(\)") as caught:
            await here.sessions.save(mine)
        assert caught.value.revision == theirs.revision
        assert mine.revision == before
        assert (await seen(here)).state == "theirs"

    async def test_a_new_one_does_not_overwrite(self, open_cache: Open) -> None:
        """C8: a new session under an id that is taken is refused."""
        here, there = pair(open_cache)
        await here.sessions.append("chat", "kept")
        with pytest.raises(SessionConflictError, match="there is a session of this id already"):
            await there.sessions.save(Session("chat"))
        assert (await seen(here)).history == ["kept"]

    async def test_a_forgotten_one_does_not_come_back_by_itself(self, open_cache: Open) -> None:
        """C8: what was forgotten meanwhile, and begun anew, is not overwritten by who still holds the old one."""
        here, there = pair(open_cache)
        await here.sessions.save(mine := Session("chat", state="old"))
        assert await there.sessions.forget("chat")
        with pytest.raises(SessionConflictError, match="was forgotten, or has expired"):
            await here.sessions.save(mine, merge=merged)
        await there.sessions.save(Session("chat", state="new"))
        with pytest.raises(SessionConflictError):
            await here.sessions.save(mine)
        assert (await seen(here)).state == "new"

    async def test_a_merge_of_the_callers_own(self, open_cache: Open) -> None:
        """C8: ``merge`` is given both, and what it makes is saved in the place of theirs."""
        here, there = pair(open_cache)
        await here.sessions.save(mine := Session("chat", state=1))
        await there.sessions.update("chat", lambda session: setattr(session, "state", 10))
        mine.state = 2

        def added(mine: Session, theirs: Session) -> Session:
            theirs.state += mine.state
            return theirs

        await here.sessions.save(mine, merge=added)
        assert mine.state == (await seen(there)).state == 12
        await here.sessions.save(mine)  # it is at the revision that it was saved at

    async def test_what_cannot_be_stored(self, cache: ToolCache) -> None:
        """C8: a value that could not come back equal is refused, told by where it is, and what stood there stays."""
        await cache.sessions.save(session := Session("chat", state="kept"))
        session.state = {"when": [object()]}
        with pytest.raises(SerializationError) as caught:
            await cache.sessions.save(session)
        assert caught.value.path == "$.state.when[0]"
        assert (await seen(cache)).state == "kept"

    async def test_one_that_is_too_large(self, open_cache: Open) -> None:
        """C8: more than ``max_entry`` is refused, and what stood there stays."""
        cache = open_cache(max_entry="10kB")
        await cache.sessions.append("chat", "kept")
        with pytest.raises(ValueTooLargeError):
            await cache.sessions.append("chat", "x" * 20_000)
        assert (await seen(cache)).history == ["kept"]

    async def test_a_large_one(self, open_cache: Open) -> None:
        """C8: one that takes longer than the loop may stand still comes back, too."""
        here, there = pair(open_cache)
        turns = [{"role": "user", "content": f"{at}" * 50} for at in range(2_000)]
        await here.sessions.limited(max_turns=None).save(Session("chat", history=turns))
        assert (await seen(there)).history == turns

    @MEMORY
    @pytest.mark.parametrize("session_id", ["", 7, None])
    async def test_an_id_is_text(self, cache: ToolCache, session_id: Any) -> None:
        """C8: what is no text, or empty, names no session."""
        with pytest.raises(UnsupportedKeyError, match="id of a session"):
            await cache.sessions.resume(session_id)

    async def test_with_the_cache_switched_off(self, open_cache: Open) -> None:
        """C8: a session is no cached value, which could be computed again: it is kept with ``enabled=False`` too."""
        cache = open_cache(enabled=False)
        await cache.sessions.append("chat", "kept")
        assert (await seen(cache)).history == ["kept"]

    async def test_clear_forgets_sessions(self, open_cache: Open) -> None:
        """C8: they are of the namespace, and gone with it; who writes after that begins anew."""
        here, there = pair(open_cache)
        await here.sessions.append("chat", "old")
        await there.clear()
        assert await there.sessions.resume("chat") is None
        await there.sessions.append("chat", "new")
        assert (await seen(there)).history == ["new"]


class TestOneSessionOfMany:
    async def test_no_turn_is_lost(self, open_cache: Open) -> None:
        """C8: two workers append to one session at once: every turn is there, once, in each worker's order."""
        workers = pair(open_cache)

        async def work(name: str, cache: ToolCache) -> None:
            for at in range(25):
                await cache.sessions.append("chat", [name, at])

        await asyncio.gather(*(work(name, cache) for name, cache in zip("ab", workers, strict=True)))
        history = (await seen(workers[0])).history
        assert len(history) == 50
        for name in "ab":
            assert [at for worker, at in history if worker == name] == list(range(25))

    async def test_a_crowd_on_one_loop(self, open_cache: Open) -> None:
        """C8: forty tasks of one loop do not get into one another's way: each asks the store twice, once to look."""
        cache = open_cache()
        with watching(cache) as chaos:
            await asyncio.gather(*(cache.sessions.append("chat", at) for at in range(40)))
        assert chaos is None or chaos.calls["swap"] == 80
        assert sorted((await seen(cache)).history) == list(range(40))

    async def test_update_is_run_until_it_fits(self, open_cache: Open) -> None:
        """C8: a change by a function counts once for each call, whoever else counts; sync or async."""
        here, there = pair(open_cache)

        async def count_slowly(session: Session) -> None:
            before = session.state.get("n", 0)
            await asyncio.sleep(0)
            session.state["n"] = before + 1

        async def work(cache: ToolCache, change: Any) -> None:
            for _ in range(15):
                await cache.sessions.update("chat", change)

        await asyncio.gather(work(here, count), work(there, count_slowly))
        assert (await seen(here)).state == {"n": 30}

    @BOTH
    async def test_what_update_raises(self, cache: ToolCache) -> None:
        """C8: where the function raises, nothing is saved."""
        with pytest.raises(ZeroDivisionError):
            await cache.sessions.update("chat", lambda _: 1 / 0)
        assert await cache.sessions.resume("chat") is None

    async def test_edit_merges(self, open_cache: Open) -> None:
        """C8: what others do within the block is kept with what it does: turns of both, keys of whoever changed them."""
        here, there = pair(open_cache)
        await here.sessions.save(
            Session("chat", state={"a": 1, "b": 1, "c": 1}, context="as it was", history=["first"])
        )
        async with here.sessions.edit("chat") as mine:
            async with there.sessions.edit("chat") as theirs:
                theirs.state["a"] = 2
                del theirs.state["c"]
                theirs.context = "theirs"
                theirs.add("theirs")
            mine.state["b"] = 2
            mine.add("mine")
        assert mine.history == ["first", "theirs", "mine"]
        found = await seen(there)
        assert (found.state, found.context, found.history) == ({"a": 2, "b": 2}, "theirs", mine.history)

    @BOTH
    @pytest.mark.parametrize(("one", "other"), [({"a": 2}, {"a": 3}), ("text", {"a": 2}), ({}, {"a": 2})])
    async def test_edit_does_not_choose(self, open_cache: Open, one: Any, other: Any) -> None:
        """C8: where both have changed the same to different values, the second one is told, and nothing of it saved."""
        here, there = pair(open_cache)
        await here.sessions.save(Session("chat", state={"a": 1}))

        async def edit_both() -> None:
            async with here.sessions.edit("chat") as mine:
                async with there.sessions.edit("chat") as theirs:
                    theirs.state = one
                mine.state = other
                mine.add("not kept")

        with pytest.raises(SessionConflictError, match="state of this session was changed here and elsewhere"):
            await edit_both()
        found = await seen(there)
        assert (found.state, found.history) == (one, [])

    async def test_edit_of_what_is_forgotten_meanwhile(self, open_cache: Open) -> None:
        """C8: a session that was forgotten within the block is not brought back."""
        here, there = pair(open_cache)
        await here.sessions.append("chat", "first")

        async def edit_the_forgotten() -> None:
            async with here.sessions.edit("chat") as mine:
                await there.sessions.forget("chat")
                mine.add("second")

        with pytest.raises(SessionConflictError, match="forgotten"):
            await edit_the_forgotten()
        assert await here.sessions.resume("chat") is None

    async def test_both_begin_one(self, open_cache: Open) -> None:
        """C8: of two who begin a session at once neither loses a turn."""
        here, there = pair(open_cache)
        async with here.sessions.edit("chat") as mine, there.sessions.edit("chat") as theirs:
            mine.add("mine")
            theirs.add("theirs")
        assert sorted((await seen(here)).history) == ["mine", "theirs"]

    @BOTH
    async def test_a_block_that_raises(self, cache: ToolCache) -> None:
        """C8: then nothing is saved."""
        with pytest.raises(ZeroDivisionError):
            async with cache.sessions.edit("chat") as session:
                session.add(1 / 0)
        assert await cache.sessions.resume("chat") is None

    async def test_a_caller_that_is_cancelled(self, open_cache: Open) -> None:
        """C8: callers that leave in the middle leave whole turns behind, or none; the next ones go on."""
        here, there = pair(open_cache)
        for at in range(20):
            task = asyncio.ensure_future(here.sessions.append("chat", at))
            for _ in range(at):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await there.sessions.append("chat", "after")
        history = (await seen(here)).history
        assert history.count("after") == 20
        numbers = [one for one in history if one != "after"]
        assert numbers == sorted(set(numbers))

    async def test_a_turn_is_added_once(self, open_cache: Open) -> None:
        """C8: a turn of an id that is there already is not added again, so that an append may be repeated."""
        here, there = pair(open_cache)
        for cache in (here, there, here):
            await cache.sessions.append("chat", "hello", turn_id="request-7")
        assert (await seen(here)).history == ["hello"]

    @BOTH
    @pytest.mark.parametrize("seed", range(8))
    async def test_whatever_the_order(self, open_cache: Open, seed: int) -> None:
        """C8: three workers append, edit and update as it comes: every turn that was taken is there once, in each one's order."""
        chance = random.Random(seed)
        caches = pair(open_cache)
        taken: dict[int, list[list[int]]] = {0: [], 1: [], 2: []}
        counted = 0

        async def pause() -> None:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)

        async def change(session: Session) -> None:
            before = session.state.get("n", 0)
            await pause()
            session.state["n"] = before + 1

        async def work(worker: int) -> None:
            nonlocal counted
            for at in range(6):
                cache, turns = chance.choice(caches), [[worker, at, part] for part in range(chance.randint(1, 3))]
                match chance.randrange(3):
                    case 0:
                        await cache.sessions.append("chat", turns[0])
                        taken[worker].append(turns[0])
                    case 1:
                        await edit(cache, turns, pause)
                        taken[worker] += turns
                    case _:
                        await cache.sessions.update("chat", change)
                        counted += 1
                await pause()

        await asyncio.gather(*map(work, taken))
        found = await seen(caches[0])
        for worker, turns in taken.items():
            assert [turn for turn in found.history if turn[0] == worker] == turns
        assert found.state.get("n", 0) == counted


class TestLifetime:
    async def test_it_lives_a_day_from_the_last_save(self, open_cache: Open, clock: SteadyClock) -> None:
        """C8: it is kept for 24 hours from when it was saved last, by whatever call; then it is gone."""
        here, there = pair(open_cache)
        await here.sessions.append("chat", 1)
        clock.advance(DAY - 1)
        await there.sessions.append("chat", 2)
        clock.advance(DAY - 1)
        assert (await seen(here)).history == [1, 2]
        clock.advance(2)
        assert await there.sessions.resume("chat") is None
        assert (await here.sessions.append("chat", 3)).history == [3]

    async def test_reading_does_not_prolong_unless_asked(self, open_cache: Open, clock: SteadyClock) -> None:
        """BUG-100: to resume a session leaves its end where it is; with ``touch=True`` it is kept as if saved then."""
        here, there = pair(open_cache)
        for name in ("read", "touched"):
            await here.sessions.append(name, "hello")
        clock.advance(DAY / 2)
        await there.sessions.resume("read")
        touched = await there.sessions.resume("touched", touch=True)
        assert touched is not None
        assert touched.expires_at == clock.time() + DAY
        clock.advance(DAY / 2 + 1)
        assert await here.sessions.resume("read") is None
        found = await seen(here, "touched")
        assert found.revision == touched.revision  # who holds it may still save it
        await there.sessions.save(touched)

    async def test_a_span_of_its_own(self, open_cache: Open, clock: SteadyClock) -> None:
        """C8: ``ttl`` holds for a session from then on, until another one is given; None is for ever."""
        here, there = pair(open_cache)
        await here.sessions.append("chat", 1, ttl="1h")
        clock.advance(3_000)
        await there.sessions.append("chat", 2)
        clock.advance(3_000)
        assert (await seen(here)).ttl == 3_600
        clock.advance(601)
        assert await here.sessions.resume("chat") is None
        await here.sessions.save(Session("chat", history=[3]), ttl=None)
        clock.advance(400 * DAY)
        assert (await seen(there)).history == [3]

    async def test_as_the_settings_say(self, open_cache: Open, clock: SteadyClock) -> None:
        """C8: ``ttls`` gives the domain another lifetime."""
        cache = open_cache(ttls={"session": "10m"})
        await cache.sessions.append("chat", 1)
        clock.advance(601)
        assert await cache.sessions.resume("chat") is None

    async def test_forget(self, open_cache: Open) -> None:
        """C8: forgotten is forgotten for all, and tells whether there was one."""
        here, there = pair(open_cache)
        await here.sessions.append("chat", 1)
        assert await there.sessions.forget("chat") is True
        assert await here.sessions.resume("chat") is None
        assert await here.sessions.forget("chat") is False


class TestLimits:
    @BOTH
    async def test_the_oldest_leave(self, cache: ToolCache) -> None:
        """C8: beyond ``max_turns`` the oldest turns leave; pinned ones stay."""
        chats = cache.sessions.limited(max_turns=3)
        await chats.append("chat", "rules", pinned=True)
        for at in range(5):
            await chats.append("chat", at)
        assert (await seen(cache)).history == ["rules", 3, 4]

    @BOTH
    async def test_two_hundred_unless_told(self, cache: ToolCache) -> None:
        """C8: a history is limited without being told to be, to 200 turns; None is no limit."""
        await cache.sessions.save(Session("chat", history=range(250)))
        assert (await seen(cache)).history == list(range(50, 250))
        await cache.sessions.limited(max_turns=None).save(Session("long", history=range(250)))
        assert len((await seen(cache, "long")).turns) == 250

    @BOTH
    async def test_by_what_turns_count_for(self, cache: ToolCache) -> None:
        """C8: ``max_size`` limits what all turns count for, as ``measure`` says, which is asked once for each."""
        asked: list[str] = []

        def words(value: str) -> int:
            asked.append(value)
            return len(value.split())

        chats = cache.sessions.limited(max_size=5, measure=words)
        for value in ("one two", "three", "four five", "six"):
            await chats.append("chat", value)
        assert (await seen(cache)).history == ["three", "four five", "six"]
        assert len(asked) == 4

    @BOTH
    async def test_by_another_measure_than_before(self, cache: ToolCache) -> None:
        """C8: turns count for what the measure at hand says, whatever another one, such as bytes, has said before."""
        sized = cache.sessions.limited(max_size="1kB")
        for value in ("a" * 100, "b" * 100):
            await sized.append("chat", value)
        await cache.sessions.limited(max_size=3, measure=lambda _: 1).append("chat", "c")
        assert (await seen(cache)).history == ["a" * 100, "b" * 100, "c"]

    @BOTH
    @pytest.mark.parametrize("size", [1.5, -1, "1"])
    async def test_measures_that_are_none(self, cache: ToolCache, size: Any) -> None:
        """C8: a measure that gives no whole number is refused; what was saved before can still be read."""
        await cache.sessions.append("chat", "one")
        with pytest.raises(TypeError, match="whole number"):
            await cache.sessions.limited(max_size=9, measure=lambda _: size).append("chat", "two")
        assert (await seen(cache)).history == ["one"]

    @BOTH
    async def test_by_bytes(self, cache: ToolCache) -> None:
        """C8: without ``measure`` turns count for the bytes that they take."""
        chats = cache.sessions.limited(max_size="1kB")
        for at in range(20):
            await chats.append("chat", str(at) * 100)
        history = (await seen(cache)).history
        assert 4 <= len(history) <= 10
        assert history[-1] == "19" * 100

    @MEMORY
    @pytest.mark.parametrize("limit", [{"max_turns": 0}, {"max_turns": True}, {"max_turns": 1.5}, {"max_size": "many"}])
    async def test_limits_that_are_none(self, cache: ToolCache, limit: dict[str, Any]) -> None:
        """BUG-106: a limit that cannot be is refused, by its name."""
        with pytest.raises((ValueError, TypeError), match=next(iter(limit))):
            cache.sessions.limited(**limit)


class TestScopes:
    async def test_tenants_have_their_own(self, open_cache: Open) -> None:
        """BUG-111: tenants that share a namespace, and choose the same id, never see one another's session."""
        ada, bob = open_cache(tenant="ada"), open_cache(tenant="bob")
        await ada.sessions.append("chat", "ada's")
        assert await bob.sessions.resume("chat") is None
        await bob.sessions.append("chat", "bob's")
        assert (await seen(ada)).history == ["ada's"]

    @BOTH
    async def test_nothing_is_told_by_reprs_and_errors(self, cache: ToolCache) -> None:
        """BUG-107: neither ids nor values are in what is printed of sessions, turns and errors."""
        session = Session("id-secret", state={"key-secret": "value-secret"}, history=["turn-secret"])
        session.add("turn-secret", turn_id="name-secret", pinned=True)
        await cache.sessions.save(session)
        told = [repr(session), repr(session.turns), repr(cache.sessions)]
        with pytest.raises(SessionConflictError) as caught:
            await cache.sessions.save(Session("id-secret"))

        async def edit_at_once() -> None:
            async with cache.sessions.edit("id-secret") as mine:
                await cache.sessions.update(
                    "id-secret", lambda theirs: theirs.state.update({"key-secret": "one-secret"})
                )
                mine.state["key-secret"] = "other-secret"

        with pytest.raises(SessionConflictError) as merging:
            await edit_at_once()
        told += [str(caught.value), str(merging.value)]
        assert "secret" not in " ".join(told)


class TestTrouble:
    @pytest.mark.parametrize("layering", ["memory+redis+file"], indirect=True)
    async def test_without_its_store_it_fails_closed(self, open_cache: Open) -> None:
        """C8: where Redis is configured and does not answer, nobody is told "none", and nothing is saved beside it."""
        cache = open_cache(redis_url="redis://127.0.0.1:1", op_timeout=0.2)
        for call in (
            lambda: cache.sessions.resume("chat"),
            lambda: cache.sessions.append("chat", 1),
            lambda: cache.sessions.save(Session("chat")),
            lambda: cache.sessions.forget("chat"),
        ):
            with pytest.raises(SessionUnavailableError, match=r"redis.*health\(\) tells"):
                await call()

    @FAR
    @pytest.mark.parametrize("every", [2, 3])
    async def test_replies_that_are_lost(self, open_cache: Open, every: int) -> None:
        """C8: where the store does its work and its answer is lost, a change is made once, though others go on meanwhile."""
        cache, other = open_cache(), open_cache()

        others = 0

        async def lose() -> None:
            nonlocal others
            others += 1
            await other.sessions.update("chat", count)
            raise ConnectionResetError

        with watching(cache, afterwards=lose, every=every):
            for _ in range(12):
                await cache.sessions.update("chat", count)
                await cache.sessions.append("chat", "ours")
        found = await seen(other)
        assert found.history.count("ours") == 12
        assert found.state["n"] == 12 + others
        assert others > 0

    @FAR
    async def test_an_append_may_be_repeated(self, open_cache: Open) -> None:
        """C8: who is told that the store does not answer repeats the append, and the turn is there once."""
        cache = open_cache()
        for at in range(4):
            with watching(cache) as watched:
                assert watched is not None
                watched.dies = True
                with pytest.raises(SessionUnavailableError):
                    await cache.sessions.append("chat", at, turn_id=str(at))
            assert (await seen(cache)).history[-1] == at  # it was done
            await cache.sessions.append("chat", at, turn_id=str(at))
        assert (await seen(cache)).history == list(range(4))

    @FAR
    @pytest.mark.parametrize("forget", ["namespace", "domain"])
    async def test_a_clock_that_is_behind(self, open_cache: Open, clock: SteadyClock, forget: str) -> None:
        """C8: what is saved after a clear is there, though the clock of who has cleared is ahead."""
        here, ahead = open_cache(), open_cache(clock=SteadyClock(clock.time() + 2))
        await here.sessions.append("chat", "old")
        assert await ahead.sessions.resume("chat") is not None
        if forget == "namespace":
            await ahead.clear()
        else:
            await ahead.invalidate(domain="session")
        for cache in (here, ahead):
            assert await cache.sessions.resume("chat") is None
        for name in ("chat", "another"):
            await here.sessions.append(name, "new")
            for cache in (here, ahead):
                assert (await seen(cache, name)).history == ["new"]

    @FAR
    async def test_a_clear_that_was_not_heard_of(self, open_cache: Open, clock: SteadyClock) -> None:
        """C8: the same where nothing stands there that would say so."""
        here, ahead = open_cache(), open_cache(clock=SteadyClock(clock.time() + 2))
        await ahead.clear()
        await here.sessions.append("chat", "new")
        for cache in (here, ahead):
            assert (await seen(cache)).history == ["new"]

    @pytest.mark.parametrize("layering", ["memory+file"], indirect=True)
    async def test_a_power_cut(self, open_cache: Open) -> None:
        """C8: a file is synced before a turn is said to be kept."""
        cache = open_cache()
        with watching(cache) as chaos:
            await cache.sessions.append("chat", 1)
        assert chaos is not None
        assert [told["durable"] for told in chaos.told] == [False, True]

    @pytest.mark.parametrize("layering", ["memory+redis"], indirect=True)
    async def test_what_cannot_be_read_is_told_and_can_be_forgotten(
        self, open_cache: Open, redis_server: RedisServer
    ) -> None:
        """C8: bytes that are no session of ours are neither "none" nor overwritten; to forget them is the way out."""
        cache = open_cache()
        await cache.sessions.append("chat", 1)
        key = store_key("i", "default", "session:chat")
        raw = redis_server.command("GET", key)
        redis_server.command("SET", key, raw[:-1] + bytes([raw[-1] ^ 1]))
        with pytest.raises(SessionError):
            await cache.sessions.resume("chat")
        with pytest.raises(SessionError):
            await cache.sessions.append("chat", 2)
        await cache.sessions.forget("chat")
        assert await cache.sessions.resume("chat") is None

    @pytest.mark.parametrize("layering", ["memory+file"], indirect=True)
    async def test_a_process_that_is_killed(self, open_cache: Open, tmp_path: Path) -> None:
        """C8: a worker that is killed in the middle leaves every turn that it was told is kept, and the others go on."""
        cache = open_cache()
        with start(_WORKER, tmp_path / "files") as worker:
            assert worker.stdout is not None
            try:
                told = [int(worker.stdout.readline()) for _ in range(20)]
                others = [await cache.sessions.append("chat", "other") for _ in range(5)]
            finally:
                worker.kill()
            told += [int(line) for line in worker.stdout.read().splitlines()[:-1]]
        await cache.sessions.append("chat", "after")
        history = (await seen(cache)).history
        assert others
        assert history[-1] == "after"
        assert history.count("other") == 5
        kept = [turn for turn in history if isinstance(turn, int)]
        assert kept == list(range(len(kept)))
        assert set(told) <= set(kept)

    @FAR
    @pytest.mark.slow
    async def test_processes(self, open_cache: Open, tmp_path: Path, redis_server: RedisServer) -> None:
        """C8: of two processes that write to one session as quickly as they can neither loses a turn, nor this one."""
        cache = open_cache()
        url = redis_server.url if cache._parts.redis else ""
        with (
            start(_WRITER, tmp_path / "files", url, "a") as first,
            start(_WRITER, tmp_path / "files", url, "b") as second,
        ):
            for at in range(20):
                await cache.sessions.append("chat", ["here", at])
                await asyncio.sleep(0.05)
            ended = [await asyncio.to_thread(worker.wait, 50) for worker in (first, second)]
        assert ended == [0, 0]
        history = (await seen(cache)).history
        for name, turns in (("a", 50), ("b", 50), ("here", 20)):
            assert [at for worker, at in history if worker == name] == list(range(turns))


_WRITER = """
    import asyncio, sys
    from toolcache import ToolCache

    async def work():
        where = {"redis_url": sys.argv[2], "files": False} if sys.argv[2] else {"directory": sys.argv[1]}
        async with ToolCache(**where) as cache:
            for at in range(50):
                await cache.sessions.append("chat", [sys.argv[3], at])

    asyncio.run(work())
"""

_WORKER = """
    import asyncio, sys
    from toolcache import ToolCache

    async def work():
        async with ToolCache(directory=sys.argv[1]) as cache:
            chats = cache.sessions.limited(max_turns=None)
            for at in range(100_000):
                await chats.append("chat", at)
                print(at, flush=True)

    asyncio.run(work())
"""


async def edit(cache: ToolCache, turns: list[list[int]], pause: Callable[[], Awaitable[None]]) -> None:
    """Add turns, one after the other, and a key of the context."""
    async with cache.sessions.edit("chat") as session:
        for turn in turns:
            session.add(turn)
            await pause()
        session.context[str(turns[0])] = True


def count(session: Session) -> None:
    """Count up."""
    session.state["n"] = session.state.get("n", 0) + 1


class Watched(ChaosStore):
    """A store whose swaps are seen, and may lose their replies once they are done."""

    def __init__(self, store: Any, afterwards: Callable[[], Awaitable[None]] | None, every: int) -> None:
        super().__init__(store)
        self.told: list[dict[str, Any]] = []
        self.dies = self.dead = False
        real = store.swap

        async def swap(key: str, expected: bytes, new: bytes | None, /, **told: Any) -> Any:
            self.calls["swap"] += 1
            self.told.append(told)
            if self.dead:
                raise ConnectionResetError
            swapped = await real(key, expected, new, **told)
            if self.dies and swapped.done:
                self.dead = True
                raise ConnectionResetError
            if afterwards is not None and swapped.done and self.calls["swap"] % every == 0:
                await afterwards()
            return swapped

        self.swap = swap


@contextmanager
def watching(
    cache: ToolCache, *, afterwards: Callable[[], Awaitable[None]] | None = None, every: int = 1
) -> Iterator[Watched | None]:
    """Watch the swaps of a cache, if there are any; ``afterwards`` comes after each so many of those that are done."""
    layer, place = cache._parts.redis or cache._parts.files, cache.sessions._records._place
    if layer is None:
        yield None
        return
    real, watched = layer.claims, Watched(layer.store, afterwards, every)
    layer.claims = place.store = watched  # type: ignore[assignment]  # it has all that the real one has
    try:
        yield watched
    finally:
        assert real is not None
        layer.claims = place.store = real


def test_the_moment_of_a_turn_is_its_own() -> None:
    """C8: when a turn was added is kept with it, whoever saves the session later."""
    session = Session("chat", history=["a"])
    session.turns[0] = session.turns[0]._replace(at=datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    session.add("b")
    assert [turn.at > 0 for turn in session.turns] == [True, False]
