"""The sheet that all share: what it says after anything, and what it makes of bytes that are none."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from alerting import FEW, MANY, WINDOW, rule
from hypothesis import given, settings
from hypothesis import strategies as st
from msgpack import packb, unpackb
from rig import Rig

from toolcache.alerts.alert import Alert
from toolcache.alerts.board import Board, Place
from toolcache.alerts.rounds import Rounds
from toolcache.alerts.rule import Action
from toolcache.alerts.sheet import BLANK, Notice, Sheet, body_of, merged, sheet_of
from toolcache.alerts.state import AlertState
from toolcache.blob import CorruptBlobError
from toolcache.metrics.counts import LayerCounts
from toolcache.metrics.snapshot import Metrics
from toolcache.swaps import Move, Standing
from toolcache.testing import FakeClock

INSTANTS = st.floats(0, 1e10)
STATES = st.builds(
    AlertState,
    name=st.sampled_from(["a", "b", "c"]),
    status=st.sampled_from(["ok", "pending", "firing"]),
    since=INSTANTS,
    value=st.none() | INSTANTS,
    checked_at=INSTANTS,
    unjudged=st.text(max_size=5),
    fired_at=INSTANTS,
    resolved_at=INSTANTS,
    quiet_until=INSTANTS,
    fired=st.integers(0, 9),
)
NOTICES = st.builds(
    Notice,
    id=st.sampled_from(["1", "2", "3", "4"]),
    name=st.sampled_from(["a", "b"]),
    status=st.sampled_from(["firing", "resolved"]),
    value=INSTANTS,
    fired_at=INSTANTS,
    at=INSTANTS,
    delivered=st.booleans(),
)


def sheet_from(states: Sequence[AlertState], notices: Sequence[Notice]) -> Sheet:
    by_id = {notice.id: notice for notice in notices}
    ordered = sorted(by_id.values(), key=lambda notice: (notice.at, notice.id))
    return Sheet({state.name: state for state in states}, tuple(ordered))


SHEETS = st.builds(sheet_from, st.lists(STATES, max_size=4), st.lists(NOTICES, max_size=4))


@given(SHEETS, st.binary(min_size=16, max_size=16))
def test_what_is_written_is_read(sheet: Sheet, owner: bytes) -> None:
    """SZ-01: a sheet comes back as it was, by way of bytes."""
    assert sheet_of(unpackb(packb(body_of(owner, sheet)))) == (owner, sheet)


@given(SHEETS, SHEETS)
def test_what_was_kept_apart_comes_together(one: Sheet, other: Sheet) -> None:
    """D3: the later word on each alert counts, the longer silence, and whatever was told; twice is no more than once."""
    both = merged(one, other)
    assert merged(both, other) == both
    assert merged(one, BLANK) == one
    assert merged(one, one) == one
    for name in {*one.states, *other.states}:
        told = [sheet.states[name] for sheet in (one, other) if name in sheet.states]
        latest = max(max(state.fired_at, state.resolved_at) for state in told)
        state = both.states[name]
        assert max(state.fired_at, state.resolved_at) == latest
        assert state.quiet_until == max(state.quiet_until for state in told)
        assert state.status in {one.status for one in told if max(one.fired_at, one.resolved_at) == latest}
    for notice in both.notices:
        assert notice.delivered is any(
            other.delivered for other in (*one.notices, *other.notices) if other.id == notice.id
        )
    assert {notice.id for notice in both.notices} == {notice.id for notice in (*one.notices, *other.notices)}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=10),
    max_leaves=30,
)


@settings(max_examples=60)
@given(PLAIN | st.tuples(st.just(1), st.binary(max_size=16), PLAIN, PLAIN))
def test_whatever_is_no_sheet(body: Any) -> None:
    """SZ-01: whatever others have put there is refused as a whole."""
    read = None
    with suppress(CorruptBlobError):  # and no other error
        read = sheet_of(body)
    if read is not None:
        assert body_of(*read)[2:] == [list(map(list, body[2])), list(map(list, body[3]))]


GOOD = body_of(b"o" * 16, Sheet({"a": AlertState("a")}, (Notice("1", "a", "firing", 0.1, 1.0, 1.0),)))


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        (0, None, 2),
        (1, None, "owner"),
        (2, 0, 7),
        (2, 1, "on"),
        (2, 2, float("inf")),
        (2, 3, "much"),
        (2, 5, None),
        (2, 9, 1.5),
        (3, 0, 7),
        (3, 2, "ok"),
        (3, 3, float("nan")),
        (3, 6, 1),
    ],
)
def test_one_field_that_is_wrong(part: int, field: int | None, value: Any) -> None:
    """SZ-01: of a kind or a range that none of ours has."""
    body = unpackb(packb(GOOD))
    assert sheet_of(body)[1].states["a"].status == "ok"
    if field is None:
        body[part] = value
    else:
        body[part][0][field] = value
    with pytest.raises(CorruptBlobError):
        sheet_of(body)


def test_what_is_very_old_is_left_out() -> None:
    """D3: alerts that nobody has looked at for a week, and all but the last fifty tellings."""
    sheet = Sheet({"old": AlertState("old", checked_at=1_000.0), "new": AlertState("new", checked_at=700_000.0)})
    assert [*sheet.without_old(1_000.0 + 7 * 86_400).states] == ["new"]
    notices = tuple(Notice(str(number), "new", "firing", 0.1, number, number) for number in range(60))
    assert [notice.id for notice in sheet.with_({}, notices).notices] == [str(number) for number in range(10, 60)]
    assert len(merged(sheet, Sheet({}, notices)).notices) == 50


# -- a fleet, with anything happening to it ------------------------------------------------------------------------------


class Store(Place):
    """A store that several boards share, and that can be down."""

    def __init__(self, name: str, clock: FakeClock) -> None:
        super().__init__(None, clock)
        self.name = name
        self.layer = object()  # type: ignore[assignment]  # it is not this process's alone
        self.down = False

    async def settle(
        self, key: str, decide: Callable[[Standing], Move[bool] | bool], standing: Standing
    ) -> tuple[bool, Standing] | None:
        if self.down:
            return None
        memory, self.layer = self.layer, None
        try:
            return await super().settle(key, decide, standing)
        finally:
            self.layer = memory


class Process:
    """One process of a fleet, whose courier delivers at once, or never, if it dies."""

    def __init__(self, rig: Rig, redis: Store, files: Store, world: "World") -> None:
        parts = rig.parts()
        self.board = Board(parts, lambda: 45.0)
        self.board._far, self.board._near, self.board._strayed = redis, files, True
        self.world = world
        self.dying = False
        self.host = "here"
        self.rounds = Rounds(parts, self.board, self, self.read, lambda: 45.0)  # type: ignore[arg-type]  # it carries

    async def read(self, _window: float) -> Metrics:
        return self.world.metrics()

    def carry(self, alert: Alert, _actions: Sequence[Action]) -> "asyncio.Task[None]":
        async def deliver() -> None:
            if self.dying:
                await asyncio.Event().wait()
            self.world.told.append(alert)

        return asyncio.ensure_future(deliver())

    async def judge(self) -> None:
        evaluation = await self.rounds.one(self.world.rules)
        if not self.dying:
            await evaluation.delivered()
        await asyncio.sleep(0)
        for task in evaluation._tasks:
            task.cancel()
        await asyncio.gather(*evaluation._tasks, return_exceptions=True)


class World:
    """What is so: few hits or many, Redis up or down."""

    def __init__(self, clock: FakeClock, redis: Store) -> None:
        self.clock = clock
        self.redis = redis
        self.few = False
        self.rules = {
            "few hits": rule(cooldown=60),
            "redis is down": rule(
                "redis is down", metric="down_seconds", layer="redis", condition="> 10", threshold=None, cooldown=60
            ),
        }
        self.told: list[Alert] = []

    def metrics(self) -> Metrics:
        known = FEW if self.few else MANY
        down = {"redis": LayerCounts(down_seconds=60.0 * self.redis.down)}
        now = self.clock.time()
        return Metrics(now - WINDOW, now, known.series, layers=down, complete=not self.redis.down)


STEPS = st.lists(
    st.sampled_from(["judge 0", "judge 1", "judge 2", "few", "many", "down", "up", "die 0", "die 1", "lapse"]),
    max_size=40,
)


async def live(steps: list[str], rig: Rig, clock: FakeClock) -> World:
    """Have these things happen to three processes of one host; then peace."""
    redis, files = Store("redis", clock), Store("file", clock)
    world = World(clock, redis)
    fleet = [Process(rig, redis, files, world) for _ in range(3)]
    for step in steps:
        what, _, number = step.partition(" ")
        match what:
            case "judge":
                clock.advance(15)
                await fleet[int(number)].judge()
            case "die":  # in the middle of telling; another one is begun
                clock.advance(1)
                fleet[int(number)].dying = True
                await fleet[int(number)].judge()
                fleet[int(number)] = Process(rig, redis, files, world)
            case "lapse":
                clock.advance(46)
            case "few" | "many":
                world.few = what == "few"
            case _:
                redis.down = what == "down"
    world.few = redis.down = False
    for _ in range(8):
        clock.advance(46)
        for process in fleet:
            await process.judge()
    sheet = await fleet[0].board.look()
    assert {state.status for state in sheet.states.values()} == {"ok"}
    assert all(notice.delivered for notice in sheet.notices)
    return world


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_to_a_fleet(steps: list[str]) -> None:
    """D3: outages, deaths and takeovers: what fires resolves, in turns, at least a cool-down apart; each telling has one id."""
    clock = FakeClock()
    world = asyncio.run(live(steps, Rig("memory", clock, None, None), clock))  # type: ignore[arg-type]  # no directory
    for name in world.rules:
        told = {alert.id: alert for alert in world.told if alert.name == name}  # whoever gets one twice, knows
        statuses = [alert.status for alert in sorted(told.values(), key=lambda alert: (alert.at, alert.status))]
        assert statuses == ["firing", "resolved"] * (len(statuses) // 2)
        fired = sorted(alert.at for alert in told.values() if alert.status == "firing")
        assert all(later - earlier >= 60 for earlier, later in pairwise(fired))
