"""Requests that are run once, while Redis or the files come and go."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from agents import Work
from dispatch.askers import Asker, runs
from hearing import state, until
from proxy import FaultProxy
from servers import RedisServer, free_port

from toolcache import ToolCache
from toolcache.errors import AlreadyInProgressError, StoresUnavailableError, TaskMismatchError
from toolcache.events import DispatchDegraded, DuplicateExecution
from toolcache.ledger import Place
from toolcache.record import Attempt, Put, Record, Seen, State, Verdict
from toolcache.stores.log.ops import FileOps
from toolcache.testing import Recorder

Open = Callable[..., Awaitable[ToolCache]]
LEASE = 600
"""So long that no test waits for its end."""


@pytest.fixture
async def open_cache(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens caches, as processes of hosts."""
    opened: list[ToolCache] = []

    async def open_one(url: str | None, host: str = "host", **options: Any) -> ToolCache:
        chosen: dict[str, Any] = {
            "directory": tmp_path / host,
            "op_timeout": 0.5,
            "file_timeout": 10,
            "recovery_time": 0.1,
        } | options
        cache = ToolCache(redis_url=url, **chosen)
        opened.append(cache)
        await cache.get("warm")
        if url and chosen.get("coherence", True):
            await until(lambda: state(cache) == "tracking")
        return cache

    yield open_one
    for cache in opened:
        await cache.aclose(drain=0)


def place(cache: ToolCache, name: str) -> Place:
    """Where a cache keeps records."""
    return next(place for place in cache._machine.ledger.places if place.name == name)


async def standing(cache: ToolCache, name: str = "redis", key: str = "k") -> Record | None:
    """What stands in one place for a request."""
    ledger = cache._machine.ledger
    return await ledger.read(place(cache, name), ledger.name(f"once:{key}"), ledger.patience())


async def until_stands(cache: ToolCache, state: State, name: str = "redis", key: str = "k") -> Record:
    """Wait until a place says so; what stands there then."""
    async with asyncio.timeout(20):
        while (record := await standing(cache, name, key)) is None or record.state is not state:  # noqa: ASYNC110 - of any place
            await asyncio.sleep(0.01)
    return record


def lose(proxy: FaultProxy, *, replies: int) -> None:
    """Break the connection instead of passing on what Redis says of a record, so many times."""
    left = replies

    def rewrite(chunk: bytes) -> bytes:
        nonlocal left
        if b"TC\x01" not in chunk or not left:
            return chunk
        left -= 1
        proxy.reset()
        return b""

    proxy.rewrite = rewrite


def cut(proxy: FaultProxy) -> None:
    """Nothing reaches the server any more, now or later."""
    proxy._upstream = free_port()
    proxy.reset()


# -- Redis is lost, or not heard ------------------------------------------------------------------------------------------


async def test_a_redis_that_comes_back_empty_is_told_at_once(open_cache: Open, own_redis: RedisServer) -> None:
    """ID-08: what is being run stays claimed, on its host all the time, for others as soon as Redis is heard again: one run."""
    one, here, far = [await open_cache(own_redis.url, host) for host in ("host", "host", "elsewhere")]
    work, idle = Work(), Work("of another")
    running = asyncio.create_task(one.once("k", work, lease=LEASE))
    await work.begun.wait()
    await asyncio.to_thread(own_redis.restart)
    with pytest.raises(AlreadyInProgressError):
        await here.once("k", idle, wait="raise")
    await until_stands(far, State.RUNNING)  # the next heartbeat would be after minutes
    with pytest.raises(AlreadyInProgressError):
        await far.once("k", idle, wait="raise")
    waiting = [asyncio.create_task(cache.once("k", idle)) for cache in (here, far)]
    work.over.set()
    assert await asyncio.gather(running, *waiting) == ["done"] * 3
    assert (work.runs, idle.runs) == (1, 0)


async def test_a_claim_without_a_lease_is_another_s(open_cache: Open, own_redis: RedisServer) -> None:
    """ID-29: a record in Redis that says it is running, and not for how long, is not executed."""
    cache = await open_cache(own_redis.url)
    ledger = cache._machine.ledger
    attempt = Attempt(b"somebody else   ", ledger.version(), "", now=time.time, rise=ledger.version)

    def lay(seen: Seen) -> Put | Verdict:
        put = attempt.claim(seen, lease=1.0)
        return put if isinstance(put, Verdict) else put._replace(lease=None)

    answer = await ledger.settle(place(cache, "redis"), ledger.name("once:k"), lay)
    assert answer is not None
    assert answer.verdict is Verdict.OURS
    idle = Work()
    with pytest.raises(AlreadyInProgressError):
        await cache.once("k", idle, wait="raise")
    assert (await cache.status("k")).state == "running"
    assert idle.runs == 0


async def test_a_claim_whose_reply_was_lost_is_continued(open_cache: Open, own_redis: RedisServer) -> None:
    """LK-03: Redis has taken the claim and nobody heard; the run goes on as the first attempt, and others wait for it."""
    async with FaultProxy(own_redis.port) as proxy:
        one, far = await open_cache(proxy.url, coherence=False), await open_cache(own_redis.url, "elsewhere")
        work, idle = Work(), Work("of another")
        lose(proxy, replies=1000)
        running = asyncio.create_task(one.once("k", work, lease=0.4))
        await work.begun.wait()
        claimed = await until_stands(far, State.RUNNING)
        proxy.rewrite = None
        waiting = asyncio.create_task(far.once("k", idle))
        await asyncio.sleep(1.3)  # longer than it is good for in Redis: whoever was not told that it is his renews it
        work.over.set()
        assert [*await asyncio.gather(running, waiting)] == ["done"] * 2
        done = await until_stands(far, State.COMPLETED)
        assert (done.owner, done.attempts, idle.runs) == (claimed.owner, 1, 0)


async def test_a_claim_whose_connection_broke_is_made_again(open_cache: Open, own_redis: RedisServer) -> None:
    """LK-03: the second attempt at it finds that it is its own, and does not wait for itself."""
    async with FaultProxy(own_redis.port) as proxy:
        cache = await open_cache(proxy.url, coherence=False, files=False, op_timeout=5)
        before = proxy.accepted
        lose(proxy, replies=1)
        async with asyncio.timeout(20):
            assert await cache.once("k", lambda: "done", lease=LEASE) == "done"
        record = await until_stands(cache, State.COMPLETED)
        assert (record.attempts, cache.stats().dispatch.takeovers) == (1, 0)
        assert proxy.accepted > before


async def test_a_claim_of_which_nobody_heard_is_given_back(open_cache: Open, own_redis: RedisServer) -> None:
    """LK-03: its caller leaves before the reply is there; whoever comes next does not wait for the claim to lapse."""
    async with FaultProxy(own_redis.port) as proxy:
        one = await open_cache(proxy.url, coherence=False, op_timeout=20)
        far = await open_cache(own_redis.url, "elsewhere")
        proxy.rewrite = lambda chunk: b"" if b"TC\x01" in chunk else chunk
        running = asyncio.create_task(one.once("k", Work(), lease=LEASE))
        await until_stands(far, State.RUNNING)
        proxy.rewrite = None
        proxy.reset()
        running.cancel()
        await asyncio.wait([running])
        async with asyncio.timeout(20):
            assert await far.once("k", lambda: "done", lease=LEASE) == "done"


@pytest.mark.parametrize("files", [True, False])
@pytest.mark.parametrize("replies", [1, 1000])
async def test_a_commit_whose_reply_was_lost_is_there_once(
    open_cache: Open, own_redis: RedisServer, files: bool, replies: int
) -> None:
    """ID-30: the caller has its output; Redis holds it once, and a retry, here or on another host, replays it."""
    async with FaultProxy(own_redis.port) as proxy:
        one = await open_cache(proxy.url, coherence=False, files=files)
        far = await open_cache(own_redis.url, "elsewhere", files=files)

        async def deafened() -> str:
            lose(proxy, replies=replies)
            return "done"

        assert await one.once("k", deafened, lease=LEASE) == "done"
        first = await standing(far)
        assert first is not None
        assert first.state is State.COMPLETED
        proxy.rewrite = None
        idle = Work()
        assert await far.once("k", idle) == "done"
        await until(lambda: not one._parts.redis or not one._parts.redis.refuses(mutation=True))
        assert await one.once("k", idle) == "done"
        await until(lambda: one._machine.journal.pending == 0)
        assert await standing(far) == first
        assert idle.runs == 0


# -- an outage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("down", ["raise", "run"])
async def test_where_no_store_can_say(open_cache: Open, own_redis: RedisServer, tmp_path: Path, down: str) -> None:
    """ID-31: Redis and the files unusable: refused without running; or run, once for all callers here, and told."""
    (tmp_path / "host").write_text("no directory")
    cache = await open_cache(own_redis.url, file_timeout=0.3)
    recorder = Recorder()
    cache.subscribe(recorder)
    own_redis.stop()
    work = Work()
    work.over.set()
    if down == "raise":
        with pytest.raises(StoresUnavailableError):
            await cache.once("k", work, on_store_down="raise")
        with pytest.raises(StoresUnavailableError):
            await cache.once("k", work)
        assert work.runs == 0
    else:
        callers = [cache.once("k", work, on_store_down="run") for _ in range(5)]
        assert await asyncio.gather(*callers) == ["done"] * 5
        assert await cache.once("k", work, on_store_down="run") == "done"
        assert work.runs == 1
        told = [event for event in recorder.events if isinstance(event, DispatchDegraded)]
        assert {event.layer for event in told} == {"redis", "file"}


async def test_of_two_hosts_apart_each_keeps_its_answer(open_cache: Open, own_redis: RedisServer) -> None:
    """ID-35: cut off from Redis each runs; after that Redis keeps the first it was told, each host its own, and it is said."""
    one, two = await open_cache(own_redis.url), await open_cache(own_redis.url, "elsewhere")
    recorder = Recorder()
    for cache in (one, two):
        cache.subscribe(recorder)
    own_redis.stop()
    assert await one.once("k", lambda: "of one") == "of one"
    assert await two.once("k", lambda: "of two") == "of two"
    assert (one._machine.journal.pending, two._machine.journal.pending) == (1, 1)
    await asyncio.to_thread(own_redis.start)
    first = await until_stands(one, State.COMPLETED)
    await until(lambda: (one._machine.journal.pending, two._machine.journal.pending) == (0, 0))
    idle = Work()
    assert (await one.once("k", idle), await two.once("k", idle)) == ("of one", "of two")
    assert await standing(two) == first
    third = await open_cache(own_redis.url, "a third")
    assert await third.once("k", idle) in {"of one", "of two"}
    assert idle.runs == 0
    assert [event.layer for event in recorder.events if isinstance(event, DuplicateExecution)] == ["redis"]


async def test_what_was_committed_in_an_outage_outlives_its_process(
    open_cache: Open, own_redis: RedisServer, tmp_path: Path
) -> None:
    """F, G2: answered while Redis was down, killed, and told to Redis by another process of the host: one run."""
    witness, gate = tmp_path / "witness", tmp_path / "gate"
    asker = await asyncio.to_thread(Asker("killed", own_redis.url, tmp_path / "host", witness, op_timeout=0.3).ready)
    step = asker.ask("k", until=gate)
    await asyncio.to_thread(asker.hear, begun="k")
    own_redis.stop()
    gate.touch()
    assert await asyncio.to_thread(asker.output, step) == "of killed"
    told = await asyncio.to_thread(asker.done, asker.do("tell"))
    assert told["pending"] == 1
    asker.kill()
    asker.close()
    await asyncio.to_thread(own_redis.start)
    other, far = await open_cache(own_redis.url), await open_cache(own_redis.url, "elsewhere")
    await until_stands(far, State.COMPLETED)
    idle = Work()
    assert await far.once("k", idle) == await other.once("k", idle) == "of killed"
    assert runs(witness, "k") == [("killed", 1)]
    await until(lambda: other._machine.journal.pending == 0)


@pytest.mark.parametrize("next_one", ["the same", "another"])
@pytest.mark.parametrize("ends", ["fails", "is cancelled"])
async def test_an_end_that_redis_could_not_be_told_keeps_nobody_waiting(
    open_cache: Open, own_redis: RedisServer, ends: str, next_one: str
) -> None:
    """SPEC 8: a run that fails, or ends with its last caller, in an outage; its claim stands in Redis for long, and on its
    host the next call runs at once, in the same process or in another, with Redis back.
    """  # noqa: D205 - one sentence
    async with FaultProxy(own_redis.port) as proxy:
        one, here = await open_cache(proxy.url, coherence=False), await open_cache(own_redis.url)
        work = Work(ValueError("not today"))
        running = asyncio.create_task(one.once("k", work, lease=LEASE, on_abandon="cancel"))
        await work.begun.wait()
        cut(proxy)
        if ends == "fails":
            work.over.set()
        else:
            running.cancel()
        await asyncio.wait([running])
        await until_stands(here, State.FAILED, "file")
        proxy._upstream = own_redis.port
        claimed = await standing(here)
        assert claimed is not None
        assert claimed.state is State.RUNNING
        async with asyncio.timeout(20):
            if next_one == "the same":
                await until(lambda: one._parts.redis is not None and not one._parts.redis.refuses(mutation=True))
            cache = one if next_one == "the same" else here
            assert await cache.once("k", lambda: "again", lease=LEASE) == "again"
        await until_stands(here, State.COMPLETED)


@pytest.mark.parametrize("fails", [False, True])
async def test_what_was_forgotten_while_it_ran_keeps_nobody_waiting(
    open_cache: Open, own_redis: RedisServer, fails: bool
) -> None:
    """ID-33: forgotten by another host; once it has ended, well or not, its own host runs the next call at once."""
    one, here = await open_cache(own_redis.url), await open_cache(own_redis.url)
    far = await open_cache(own_redis.url, "elsewhere")
    work = Work(ValueError("not today") if fails else "forgotten")
    running = asyncio.create_task(one.once("k", work, lease=LEASE))
    await work.begun.wait()
    await far.forget("k")
    waiting = asyncio.create_task(here.once("k", lambda: "new", lease=LEASE))
    await asyncio.sleep(0.1)  # until it waits; sooner would prove less, never more
    work.over.set()
    outcome = (await asyncio.gather(running, return_exceptions=True))[0]
    assert outcome == "forgotten" or isinstance(outcome, ValueError)
    async with asyncio.timeout(20):
        assert await waiting == "new"
        assert await one.once("k", Work()) == "new"


async def test_a_heartbeat_lets_go_of_what_was_forgotten(open_cache: Open, own_redis: RedisServer) -> None:
    """ID-33: a run that was forgotten goes on for its callers; on its host, too, the next call does not wait for its end."""
    one, here = await open_cache(own_redis.url), await open_cache(own_redis.url)
    far = await open_cache(own_redis.url, "elsewhere")
    work = Work("forgotten")
    running = asyncio.create_task(one.once("k", work, lease=LEASE))
    await work.begun.wait()
    await far.forget("k")
    waiting = asyncio.create_task(here.once("k", lambda: "new", lease=LEASE))
    async with asyncio.timeout(20):
        while not waiting.done():
            one._machine.runs.assert_anew()  # as the time for a heartbeat would
            await asyncio.sleep(0.02)
    assert waiting.result() == "new"
    assert not running.done()
    work.over.set()
    assert await running == "forgotten"
    assert await one.once("k", Work()) == "new"


# -- files ----------------------------------------------------------------------------------------------------------------


async def test_a_claim_whose_file_was_deleted_is_committed_all_the_same(open_cache: Open, tmp_path: Path) -> None:
    """ID-37: somebody removes the file while it runs; no error, and the answer is on the disk for other processes."""
    one = await open_cache(None)
    work = Work()
    running = asyncio.create_task(one.once("k", work, lease=LEASE))
    await work.begun.wait()
    for segment in (tmp_path / "host" / "seg").iterdir():
        segment.unlink()
    work.over.set()
    assert await running == "done"
    idle = Work()
    assert await one.once("k", idle) == "done"
    gate, witness = tmp_path / "gate", tmp_path / "witness"
    asker = await asyncio.to_thread(Asker("another", "", tmp_path / "host", witness).ready)
    try:
        assert await asyncio.to_thread(asker.once, "k", until=gate) == "done"
    finally:
        await asyncio.to_thread(asker.close)
    assert idle.runs == 0
    assert not runs(witness, "k")


async def test_what_is_found_is_on_the_disk_before_it_is_answered(
    open_cache: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC 8: an answer that another process wrote without waiting for the disk; who replays it waits, and only once."""
    witness, synced = tmp_path / "witness", []
    asker = await asyncio.to_thread(Asker("careless", "", tmp_path / "host", witness, fsync="never").ready)
    try:
        assert await asyncio.to_thread(asker.once, "k") == "of careless"
        (segment,) = (tmp_path / "host" / "seg").iterdir()
        sync = FileOps.fdatasync

        def fdatasync(self: FileOps, fd: int) -> None:
            sync(self, fd)
            synced.append(os.fstat(fd).st_ino)

        cache = await open_cache(None)
        monkeypatch.setattr(FileOps, "fdatasync", fdatasync)
        assert await cache.once("k", Work()) == "of careless"
        assert synced.count(segment.stat().st_ino) == 1
        assert await cache.once("k", Work()) == "of careless"
        assert synced.count(segment.stat().st_ino) == 1
    finally:
        await asyncio.to_thread(asker.close)


@pytest.mark.parametrize("files", [True, False])
async def test_another_secret_is_no_reason_to_run_again(
    open_cache: Open, own_redis: RedisServer, tmp_path: Path, files: bool
) -> None:
    """SPEC 8: what cannot be read is not absent: where it is the only store, nobody runs; and nothing is written over it."""
    url = None if files else own_redis.url
    sealed = await open_cache(url, files=files, secret="the secret of one", namespace="sealed")
    other = await open_cache(url, files=files, secret="the secret of two", namespace="sealed")
    work, idle = Work(), Work()
    running = asyncio.create_task(sealed.once("k", work, lease=LEASE))
    await work.begun.wait()
    with pytest.raises(StoresUnavailableError, match="cannot be read"):
        await other.once("k", idle)
    work.over.set()
    assert await running == "done"
    with pytest.raises(StoresUnavailableError, match="cannot be read"):
        await other.once("k", idle)
    again = await open_cache(url, files=files, secret="the secret of one", namespace="sealed")
    assert await again.once("k", idle) == "done"
    assert idle.runs == 0


@pytest.mark.parametrize("on_store_down", ["raise", "run"])
async def test_where_claims_are_refused_answers_are_read(
    open_cache: Open, own_redis: RedisServer, on_store_down: Any
) -> None:
    """ID-31: a user who may only read has the answers that there are, and runs nothing for which there is one."""
    one = await open_cache(own_redis.url, files=False)
    assert await one.once("k", lambda: "done", fingerprint=1) == "done"
    two = await open_cache(own_redis.url, files=False)
    own_redis.command("ACL", "SETUSER", "default", "-eval", "-evalsha")
    idle = Work()
    for cache in (one, two):
        for _ in range(2):
            assert await cache.once("k", idle, fingerprint=1, on_store_down=on_store_down) == "done"
        with pytest.raises(TaskMismatchError):
            await cache.once("k", idle, fingerprint=2, on_store_down=on_store_down)
    assert idle.runs == 0
    if on_store_down == "raise":
        with pytest.raises(StoresUnavailableError):
            await two.once("new", idle)
    else:
        assert await two.once("new", lambda: "run", on_store_down="run") == "run"


async def test_what_redis_is_asked(open_cache: Open, own_redis: RedisServer) -> None:
    """In Redis alone a new request is a claim and a commit; one that was answered here is read, and another's one claim tells."""

    def asked() -> list[int]:
        told = own_redis.command("INFO", "commandstats").decode()
        counts = {
            line.split(":")[0]: line.split("calls=")[1].split(",")[0] for line in told.splitlines() if "calls=" in line
        }
        return [int(counts.get(f"cmdstat_{name}", 0)) for name in ("evalsha", "getrange", "publish")]

    alone: dict[str, Any] = {"files": False, "metrics": False}  # what is counted is written once a second
    one, two = await open_cache(own_redis.url, **alone), await open_cache(own_redis.url, **alone)
    for cache in (one, two):  # whatever there is to learn first
        assert await cache.once("first", lambda: 0) == 0
    for cache, key, spent in (
        (one, "k", [2, 0, 1]),
        (one, "k", [0, 1, 0]),
        (two, "k", [1, 0, 0]),
        (two, "k", [0, 1, 0]),
    ):
        before = asked()
        assert await cache.once(key, lambda: "done") == "done"
        assert [now - then for now, then in zip(asked(), before, strict=True)] == spent
