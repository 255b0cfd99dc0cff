"""Who judges, who takes over, and what becomes of alerts when a store is down."""

import asyncio
from typing import Any

import pytest
from alerting import FEW, MANY, Fleet, Open, Watcher, counted
from rig import Rig, far, shared

from toolcache.alerts import sheet
from toolcache.events import AlertActionFailed, AlertChanged, BlobRejected
from toolcache.metrics.counts import LayerCounts
from toolcache.swaps import UNKNOWN, Move
from toolcache.testing import ChaosStore, FakeClock

DOWN = counted(layers={"redis": LayerCounts(down_seconds=60.0)}, complete=False)
UP = counted(layers={"redis": LayerCounts(down_seconds=0.0)})
WHERE = {"memory": "memory", "memory+file": "file", "memory+redis": "redis", "memory+redis+file": "redis"}


def redis_of(watcher: Watcher) -> ChaosStore:
    layer = watcher.cache._parts.redis
    assert layer is not None
    assert isinstance(layer.store, ChaosStore)
    return layer.store


def files_of(watcher: Watcher) -> ChaosStore:
    layer = watcher.cache._parts.files
    assert layer is not None
    assert isinstance(layer.store, ChaosStore)
    return layer.store


async def cannot(*_given: object, **_options: object) -> None:
    """Write nothing on the board."""


async def test_it_is_told_once_and_once_more(opened: Open, fleet: Fleet, clock: FakeClock, layering: str) -> None:
    """D3: on every layering an alert fires once, resolves once, and both tellings belong together."""
    one = await opened()
    one.create()
    assert await one.judge() == f"{WHERE[layering]} leads"
    fleet.metrics = FEW
    clock.advance(15)
    assert await one.judge() == f"{WHERE[layering]} leads firing"
    clock.advance(15)
    assert await one.judge() == f"{WHERE[layering]} leads"
    fleet.metrics = MANY
    clock.advance(15)
    assert await one.judge() == f"{WHERE[layering]} leads resolved"
    assert await one.judge() == f"{WHERE[layering]} leads"
    fired, resolved = one.told
    assert fired.key == resolved.key
    assert fired.id != resolved.id
    assert (fired.value, resolved.value) == (0.1, 0.9)
    assert resolved.at - resolved.fired_at == 30.0
    assert fired.text == "few hits: hit_rate is 10 % (< 50 % over the last 5 min)"
    assert resolved.text == "few hits: resolved after 30 s, hit_rate is 90 %"
    history = await one.alerts.history()
    assert [(notice.name, notice.status) for notice in history] == [("few hits", "resolved"), ("few hits", "firing")]


@far
async def test_one_process_judges_and_all_know(opened: Open, fleet: Fleet, clock: FakeClock, layering: str) -> None:
    """D3: of two processes one judges; the other one reads no counts, tells nobody, and knows how alerts stand."""
    one, two = await opened(), await opened()
    one.create()
    two.create()
    fleet.metrics = FEW
    assert await one.judge() == f"{WHERE[layering]} leads firing"
    reads = fleet.reads
    for _ in range(3):
        clock.advance(15)
        assert await two.judge() == f"{WHERE[layering]} follows"
        await one.judge()
    assert fleet.reads == reads + 3
    assert two.told == []
    assert (await two.alerts.state())["few hits"].status == "firing"
    assert await two.alerts.history() == await one.alerts.history()


@far
async def test_at_once_two_processes_tell_once(opened: Open, fleet: Fleet) -> None:
    """D3: also when both begin to judge in the same moment."""
    several = [await opened() for _ in range(4)]
    for one in several:
        one.create()
    fleet.metrics = FEW
    await asyncio.gather(*(one.judge() for one in several))
    assert sorted(len(one.told) for one in several) == [0, 0, 0, 1]


@far
async def test_a_takeover_neither_tells_twice_nor_forgets(
    opened: Open, fleet: Fleet, clock: FakeClock, rig: Rig
) -> None:
    """D3: who judged is heard of no more: the next one knows what fires, and tells that it is over."""
    one, two = await opened(), await opened()
    one.create()
    two.create()
    fleet.metrics = FEW
    await one.judge()
    await one.judge()  # and notes that it was told
    await pass_lease(rig, clock, one)
    assert (await two.judge()).endswith("leads")
    fleet.metrics = MANY
    clock.advance(15)
    assert (await two.judge()).endswith("leads resolved")
    assert [alert.status for alert in one.told + two.told] == ["firing", "resolved"]
    assert one.told[0].key == two.told[0].key
    assert (await one.judge()).endswith("follows")


async def pass_lease(rig: Rig, clock: FakeClock, leader: Watcher) -> None:
    """Let the lease of whoever judges lapse: the server's clock does not obey the test."""
    clock.advance(46)
    if rig.shared:
        board = leader.alerts._board
        place = board._far
        assert place is not None

        def lapse(standing: Any) -> Any:
            if standing is UNKNOWN:
                return Move(standing.raw, None, False)
            holder, before = board._read(place, standing)
            return Move(standing.raw, board._pack(holder, before), True, 1000.0, 0.001)

        assert await place.settle(board._key, lapse, UNKNOWN) is not None
        await asyncio.sleep(0.005)


@far
async def test_what_was_not_delivered_is_inherited(opened: Open, fleet: Fleet, clock: FakeClock, rig: Rig) -> None:
    """D3: at least once: who fired dies before its actions were done, and its successor tells it, under the same id."""
    one, two = await opened(), await opened()
    hanging = asyncio.Event()
    begun: list[Any] = []

    async def hang(alert: Any) -> None:
        begun.append(alert)
        await hanging.wait()

    one.create(actions=[hang])
    two.create()
    fleet.metrics = FEW
    await one.alerts.evaluate()
    await asyncio.sleep(0)
    assert await two.judge() == f"{WHERE[rig.layering]} follows"
    await pass_lease(rig, clock, one)
    assert (await two.judge()).endswith("leads firing")
    assert [alert.id for alert in two.told] == [alert.id for alert in begun]
    assert (await two.judge()).endswith("leads")
    hanging.set()


@far
async def test_a_rule_that_who_judges_does_not_have(opened: Open, fleet: Fleet, clock: FakeClock) -> None:
    """D3: processes of another program in the namespace may declare other alerts: those are judged by one of them."""
    one, two, three = await opened(), await opened(), await opened()
    one.create()
    two.create("other", metric="misses", condition="> 50")
    three.create("other", metric="misses", condition="> 50")
    fleet.metrics = FEW
    assert (await one.judge()).endswith("leads firing")
    assert (await two.judge()).endswith("follows firing")
    assert (await three.judge()).endswith("follows")
    clock.advance(15)
    assert (await one.judge()).endswith("leads")
    assert (await three.judge()).endswith("follows")
    states = await three.alerts.state()
    assert {name: state.status for name, state in states.items()} == {"few hits": "firing", "other": "firing"}
    assert three.told == []


@far
async def test_a_process_that_leaves_hands_over_at_once(opened: Open, fleet: Fleet, clock: FakeClock) -> None:
    """D3: closing a cache ends its lease, and notes what was told, so that the next one goes on where it was."""
    one, two = await opened(), await opened()
    one.begins = True
    one.create()
    two.create()
    await asyncio.sleep(0)
    fleet.metrics = FEW
    await one.judge()
    await one.cache.aclose()
    await asyncio.sleep(0.005)
    clock.advance(1)
    assert (await two.judge()).endswith("leads")
    assert two.told == []
    assert (await two.alerts.state())["few hits"].status == "firing"


@shared
async def test_the_outage_is_told_in_the_outage(opened: Open, fleet: Fleet, clock: FakeClock, layering: str) -> None:
    """D3: with Redis down one process of the host goes on: the outage is told, once; and that it is over, once."""
    one, two = await opened(), await opened()
    for each in (one, two):
        each.create("redis is down", metric="down_seconds", layer="redis", condition="> 30s")
        each.create()
    fleet.metrics = FEW
    assert await one.judge() == "redis leads firing"
    assert await two.judge() == "redis follows"
    redis_of(one).fail_with(ConnectionResetError)
    redis_of(two).fail_with(ConnectionResetError)
    fleet.metrics = DOWN
    clock.advance(15)
    outage = [await one.judge(), await two.judge()]
    if "file" in layering:
        assert outage == ["file leads firing", "file follows"]
    else:  # nobody can say who else is there: who has followed, waits
        assert outage == ["memory leads firing", "nobody follows"]
    assert [alert.name for alert in one.told + two.told] == ["few hits", "redis is down"]
    clock.advance(15)
    assert [await one.judge(), await two.judge()] == [outage[0].removesuffix(" firing"), outage[1]]
    # "few hits" cannot be judged now, and fires as before.
    assert (await one.alerts.state())["few hits"].status == "firing"
    assert "what others have counted" in (await one.alerts.state())["few hits"].unjudged
    assert (await two.alerts.state())["few hits"].status == "firing"  # as far as it knows
    redis_of(one).heal()
    redis_of(two).heal()
    fleet.metrics = UP
    clock.advance(15)
    for _ in range(2):
        await one.judge()
        await two.judge()
    told = [(alert.name, alert.status) for alert in one.told + two.told]
    assert sorted(told) == [("few hits", "firing"), ("redis is down", "firing"), ("redis is down", "resolved")]
    assert (await one.alerts.state())["few hits"].status == "firing"
    notices = [(notice.name, notice.status) for notice in await two.alerts.history()]
    assert sorted(notices) == sorted(told)


@pytest.mark.parametrize("layering", ["memory+redis+file"])
async def test_files_that_fail_when_redis_is_back(opened: Open, fleet: Fleet, clock: FakeClock) -> None:
    """D3: what was told in the outage is not told again by who told it, though it cannot read the host's notes any more."""
    one = await opened()
    one.create("redis is down", metric="down_seconds", layer="redis", condition="> 30s")
    redis_of(one).fail_with(ConnectionResetError)
    fleet.metrics = DOWN
    assert await one.judge() == "file leads firing"
    files_of(one).fail_with(OSError)
    redis_of(one).heal()
    clock.advance(15)
    assert await one.judge() == "redis leads"
    fleet.metrics = UP
    clock.advance(15)
    assert await one.judge() == "redis leads resolved"
    assert one.told[0].key == one.told[1].key


@pytest.mark.parametrize("layering", ["memory+redis+file"])
async def test_a_redis_that_takes_nothing_when_it_is_back(opened: Open, fleet: Fleet, clock: FakeClock) -> None:
    """D3: who cannot carry over what was told in the outage judges nothing, and does both later."""
    one = await opened()
    one.create("redis is down", metric="down_seconds", layer="redis", condition="> 30s")
    redis_of(one).fail_with(ConnectionResetError)
    fleet.metrics = DOWN
    assert await one.judge() == "file leads firing"
    redis_of(one).heal()
    carry, one.alerts._board.write = one.alerts._board.write, cannot  # type: ignore[method-assign]
    clock.advance(15)
    assert await one.judge() == "redis follows"
    one.alerts._board.write = carry  # type: ignore[method-assign]
    clock.advance(15)
    assert await one.judge() == "redis leads"
    fleet.metrics = UP
    clock.advance(15)
    assert await one.judge() == "redis leads resolved"
    assert len(one.told) == 2


@pytest.mark.parametrize("layering", ["memory+redis+file"])
async def test_another_process_of_the_host_carries_over(opened: Open, fleet: Fleet, clock: FakeClock) -> None:
    """D3: who told of the outage dies in it; the next process that finds Redis back tells that it is over."""
    one = await opened()
    one.create("redis is down", metric="down_seconds", layer="redis", condition="> 30s")
    redis_of(one).fail_with(ConnectionResetError)
    fleet.metrics = DOWN
    assert await one.judge() == "file leads firing"
    await one.judge()
    clock.advance(60)
    two = await opened()
    two.create("redis is down", metric="down_seconds", layer="redis", condition="> 30s")
    fleet.metrics = UP
    assert await two.judge() == "redis leads resolved"
    assert two.told[0].key == one.told[0].key


@pytest.mark.parametrize("layering", ["memory+redis+file"])
async def test_a_host_knows_what_was_told_before(opened: Open, fleet: Fleet, clock: FakeClock) -> None:
    """D3: what has fired while Redis worked does not fire again in the outage, by a process that has never met Redis."""
    one = await opened()
    one.create("misses", metric="misses", condition="> 50")
    fleet.metrics = FEW
    assert await one.judge() == "redis leads firing"
    two = await opened()
    two.create("misses", metric="misses", condition="> 50")
    redis_of(two).fail_with(ConnectionResetError)
    fleet.metrics = counted(misses=90, complete=False)
    clock.advance(15)
    assert await two.judge() == "file leads"
    assert (await two.alerts.state())["misses"].status == "firing"


async def test_what_is_being_told_is_not_told_again(opened: Open, fleet: Fleet, clock: FakeClock) -> None:
    """D3: an action may take longer than it is to the next round, or to many."""
    one = await opened()
    go, begun = asyncio.Event(), list[Any]()

    async def slow(alert: Any) -> None:
        begun.append(alert)
        await go.wait()

    one.create(actions=[slow])
    fleet.metrics = FEW
    rounds = []
    for _ in range(5):
        rounds.append(await one.alerts.evaluate())
        await asyncio.sleep(0)
        clock.advance(15)
    go.set()
    for each in rounds:
        await each.delivered()
    await one.judge()
    assert len(begun) == 1
    assert [notice.delivered for notice in await one.alerts.history()] == [True]


@shared
async def test_a_redis_that_has_lost_everything(opened: Open, fleet: Fleet, clock: FakeClock, rig: Rig) -> None:
    """D3: is told again how alerts stand, by whoever comes first: what fires does not fire once more, and resolves."""
    one, two = await opened(), await opened()
    one.create()
    two.create()
    fleet.metrics = FEW
    await one.judge()
    await one.judge()
    await two.judge()
    assert rig.server is not None
    rig.server.command("FLUSHALL")
    clock.advance(15)
    assert await two.judge() == "redis leads"
    fleet.metrics = MANY
    clock.advance(15)
    assert await two.judge() == "redis leads resolved"
    assert await one.judge() == "redis follows"
    assert [notice.status for notice in await one.alerts.history()] == ["resolved", "firing"]


@pytest.mark.parametrize("layering", ["memory+redis"])
async def test_who_never_met_redis_judges_by_itself(opened: Open, fleet: Fleet) -> None:
    """D3: without files, a process that begins in the outage tells of it: better twice than not at all."""
    one = await opened()
    one.create("redis is down", metric="down_seconds", layer="redis", condition="> 30s")
    redis_of(one).fail_with(ConnectionResetError)
    fleet.metrics = DOWN
    assert await one.judge() == "memory leads firing"


async def test_counts_that_cannot_be_read(opened: Open, fleet: Fleet, clock: FakeClock) -> None:
    """D3: the alert stays as it is, and its state says why."""
    one = await opened()
    one.create()
    fleet.metrics = FEW
    await one.judge()
    fleet.fault = OSError("secret")
    clock.advance(15)
    await one.judge()
    state = (await one.alerts.state())["few hits"]
    assert (state.status, state.unjudged) == ("firing", "what was counted could not be read (OSError)")
    assert [alert.status for alert in one.told] == ["firing"]


@far
async def test_what_is_no_sheet_is_not_believed(opened: Open, fleet: Fleet, rig: Rig) -> None:
    """BUG-11: bytes of others where the sheet stands are told of, and replaced."""
    one = await opened()
    one.create()
    fleet.metrics = FEW
    board = one.alerts._board
    place = board._far or board._near
    await place.settle(
        board._key, lambda _: Move(b"", board._pack(b"x" * 16, sheet.BLANK)[:-1] + b"?", True, 60.0), UNKNOWN
    )
    assert (await one.judge()).endswith("leads firing")
    assert rig.recorder.of(BlobRejected) or "file" in rig.layering  # the log takes nothing that is no blob


async def test_events_tell_of_it(opened: Open, fleet: Fleet, rig: Rig) -> None:
    """D3: that an alert fires, and that an action failed, without what the fault said."""
    one = await opened()

    async def broken(_: Any) -> None:
        raise ValueError("secret")

    one.create(actions=[broken, one.action])
    fleet.metrics = FEW
    assert (await one.judge()).endswith("leads firing")
    (changed,) = rig.recorder.of(AlertChanged)
    assert (changed.name, changed.after, changed.text) == ("few hits", "firing", one.told[0].text)
    (failed,) = rig.recorder.of(AlertActionFailed)
    assert failed.reason == "ValueError"
    assert "broken" in failed.handler
    assert "secret" not in str(failed)
    assert (one.alerts.sent, one.alerts.failed) == (1, 1)


async def test_removed_alerts_are_judged_no_more(opened: Open, fleet: Fleet) -> None:
    """D3: and others of the same process are."""
    one = await opened()
    one.create()
    one.create("other")
    assert [rule.name for rule in one.alerts.list()] == ["few hits", "other"]
    assert one.alerts.remove("few hits")
    assert not one.alerts.remove("few hits")
    fleet.metrics = FEW
    assert (await one.judge()).endswith("leads firing")
    assert [alert.name for alert in one.told] == ["other"]


@pytest.mark.parametrize("layering", ["memory"])
async def test_a_task_of_the_cache_judges(opened: Open, fleet: Fleet, clock: FakeClock) -> None:
    """D3: every so often from when the first alert was declared, until the cache is closed."""
    one = await opened()
    one.begins = True
    one.alerts.every = "1m"
    assert one.alerts.every == 60.0
    one.create()
    fleet.metrics = FEW
    for _ in range(4):
        for _ in range(20):
            await asyncio.sleep(0)
        clock.advance(60)
    for _ in range(20):
        await asyncio.sleep(0)
    assert 3 <= fleet.reads <= 4
    assert [alert.status for alert in one.told] == ["firing"]
    await one.cache.aclose()
    reads = fleet.reads
    clock.advance(600)
    assert fleet.reads == reads


@pytest.mark.parametrize("layering", ["memory"])
async def test_what_is_refused(opened: Open) -> None:
    """D3: two alerts of one name, actions that are not there or cannot be called, an interval that is no time."""
    one = await opened()
    one.create()
    with pytest.raises(ValueError, match="there is an alert 'few hits' already"):
        one.create()
    with pytest.raises(
        ValueError, match=r"there is no action 'slack' but log: say first .*actions\['slack'\] = Webhook"
    ):
        one.create("other", actions=["slack"])
    with pytest.raises(TypeError, match="actions is a list of callables"):
        one.create("other", actions="log")
    with pytest.raises(TypeError, match="int cannot be"):
        one.create("other", actions=[7])
    with pytest.raises(ValueError, match="every is from a second to a day"):
        one.alerts.every = 0.5
    assert [rule.name for rule in one.alerts.list()] == ["few hits"]
    one.alerts.actions["slack"] = one.action
    one.create("other", actions=["slack", "log"])
    assert one.alerts.list()[1].actions[0] == one.action
    assert repr(one.alerts) == "<Alerts: 'few hits', 'other'>"
    for number in range(198):
        one.create(f"alert {number}")
    with pytest.raises(ValueError, match="at most 200 alerts"):
        one.create("one more")


@far
async def test_an_answer_that_was_lost(opened: Open, fleet: Fleet, clock: FakeClock, rig: Rig) -> None:
    """BUG-19: the store has done what it did not say: the alert is told once, and not lost."""
    one = await opened()
    one.create()
    await one.judge()
    layer = one.cache._parts.redis or one.cache._parts.files
    assert layer is not None
    assert isinstance(layer.store, ChaosStore)
    fleet.metrics = FEW
    clock.advance(15)
    layer.store.fail_with(ConnectionResetError, on=["swap"], every=2, applied=True)
    await one.judge()
    layer.store.heal()
    for _ in range(3):
        clock.advance(15)
        await one.judge()
    assert [alert.status for alert in one.told] == ["firing"]
    assert (await one.alerts.state())["few hits"].fired == 1


async def test_alerts_outlive_a_clear(opened: Open, fleet: Fleet) -> None:
    """D3: forgetting all entries is no reason to forget what fires."""
    one = await opened()
    one.create()
    fleet.metrics = FEW
    await one.judge()
    await one.cache.clear()
    await one.judge()
    fleet.metrics = MANY
    await one.judge()
    assert [alert.status for alert in one.told] == ["firing", "resolved"]
