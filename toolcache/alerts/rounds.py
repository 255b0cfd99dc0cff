"""Rounds of judging: which rules are for this process to judge, what has become of them, and what is to be told of it."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Final, TypeAlias

from toolcache.alerts.alert import Alert, sentence
from toolcache.alerts.board import Board, Seat
from toolcache.alerts.courier import Courier
from toolcache.alerts.judge import Judgement, judge
from toolcache.alerts.rule import AlertRule
from toolcache.alerts.sheet import Notice, Sheet
from toolcache.alerts.state import AlertState, step
from toolcache.errors import CacheClosedError
from toolcache.events import AlertChanged
from toolcache.forks import watch
from toolcache.keys.text import key_digest
from toolcache.metrics.snapshot import Metrics
from toolcache.parts import Parts

Read: TypeAlias = Callable[[float], Awaitable[Metrics]]

_GIVEN_UP: Final = 3_600.0
"""Seconds after which what could not be told is not told any more."""


class Evaluation:
    """What one round of judging came to.

    Attributes:
        where: the store that holds how alerts stand: "redis", "file" or "memory"; "" where none can say.
        leads: whether this process judges them; False where another one does.
        states: how the alerts of this process stand, by name.
        alerts: what was told to actions, of which ``delivered`` waits for the end.
    """

    def __init__(self, where: str, leads: bool, states: Mapping[str, AlertState]) -> None:
        self.where = where
        self.leads = leads
        self.states = states
        self.alerts: list[Alert] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def delivered(self) -> None:
        """Wait until all actions were tried to their end."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def __repr__(self) -> str:
        told = ", ".join(f"{one.name!r} {one.status}" for one in self.alerts)
        return f"<Evaluation on {self.where or 'nothing'}, {'leading' if self.leads else 'following'}: {told or 'no news'}>"


class Rounds:
    """The rounds of one cache.

    Args:
        parts: the cache's parts.
        board: where it stands how alerts are.
        courier: tells actions.
        read: what the fleet has counted in so many seconds.
        lease: tells how many seconds somebody may not be heard of before others see to what is theirs.
    """

    def __init__(self, parts: Parts, board: Board, courier: Courier, read: Read, lease: Callable[[], float]) -> None:
        self._parts = parts
        self._board = board
        self._courier = courier
        self._read = read
        self._lease = lease
        self._own: dict[str, float] = {}
        self._under_way: set[str] = set()
        self._done: set[str] = set()
        watch(self)

    def forked(self) -> None:
        """Whatever was being told, the parent tells."""
        self._own, self._under_way, self._done = {}, set(), set()

    async def one(self, rules: Mapping[str, AlertRule]) -> Evaluation:
        """Judge what is to be judged here, and have told what is to be told."""
        seat = await self._board.sit()
        if seat is None:
            return Evaluation("", leads=False, states={})
        now = self._parts.clock.time()
        if ours := self._ours(rules, seat, now):
            changed = await self._judge(ours, seat)
            # What nobody knows to be written is not told: the next round finds it there, or finds it anew.
            seat = await self._board.write(seat, changed) or seat._replace(leads=False)
        elif self._done:
            seat = await self._board.write(seat, lambda sheet: sheet.delivered(self._done)) or seat
        self._done -= {one.id for one in seat.sheet.notices if one.delivered}
        self._own = {id_: at for id_, at in self._own.items() if now - at <= _GIVEN_UP}
        self._done &= self._own.keys()
        evaluation = Evaluation(
            seat.where.name, seat.leads, {name: seat.sheet.states.get(name, AlertState(name)) for name in rules}
        )
        self._deliver(rules, seat, evaluation)
        return evaluation

    def _ours(self, rules: Mapping[str, AlertRule], seat: Seat, now: float) -> list[AlertRule]:
        """The rules to judge; where another process leads, those that it seems not to have."""
        if seat.leads:
            return [*rules.values()]
        left = now - self._lease()
        return [
            one for one in rules.values() if seat.sheet.states.get(one.name, AlertState(one.name)).checked_at < left
        ]

    async def _judge(self, rules: Iterable[AlertRule], seat: Seat) -> Callable[[Sheet], Sheet]:
        """What is to be changed on the sheet."""
        read: dict[float, Metrics | str] = {}
        found: list[tuple[AlertState | None, AlertState, Notice | None]] = []
        for rule in rules:
            if rule.window not in read:
                read[rule.window] = await self._metrics(rule.window)
            metrics = read[rule.window]
            judgement = Judgement(None, None, metrics) if isinstance(metrics, str) else judge(rule, metrics)
            now, before = self._parts.clock.time(), seat.sheet.states.get(rule.name)
            state, told = step(rule, before or AlertState(rule.name), judgement, now)
            notice = None
            if told is not None:
                id_ = os.urandom(16).hex()
                self._own[id_] = now
                fired_at = state.fired_at
                notice = Notice(id_, rule.name, told, judgement.value or 0.0, fired_at, now)
            found.append((before, state, notice))

        def change(sheet: Sheet) -> Sheet:
            # What another process has judged meanwhile stands: it has told what was to be told.
            taken = [one for one in found if sheet.states.get(one[1].name) == one[0]]
            notices = tuple(notice for _, _, notice in taken if notice is not None)
            return sheet.with_({state.name: state for _, state, _ in taken}, notices).delivered(self._done)

        return change

    async def _metrics(self, window: float) -> Metrics | str:
        """What was counted; a text says why nobody can tell."""
        try:
            return await self._read(window)
        except CacheClosedError:
            raise
        except Exception as fault:  # noqa: BLE001 - it is told, and asked for again
            return f"what was counted could not be read ({type(fault).__name__})"

    # -- telling --------------------------------------------------------------------------------------------------------

    def _deliver(self, rules: Mapping[str, AlertRule], seat: Seat, evaluation: Evaluation) -> None:
        """Have told what was not: what we have found, and what somebody has found who is not there any more."""
        now = self._parts.clock.time()
        for notice in seat.sheet.notices:
            rule = rules.get(notice.name)
            age = now - notice.at
            told = notice.delivered or notice.id in self._under_way or notice.id in self._done
            inherited = seat.leads and age > self._lease()
            if rule is None or told or age > _GIVEN_UP or not (notice.id in self._own or inherited):
                continue
            alert = self._alert(rule, notice)
            evaluation.alerts.append(alert)
            self._parts.announce(AlertChanged(alert.name, alert.status, alert.text))
            task = self._courier.carry(alert, rule.actions)
            self._own[notice.id] = notice.at
            self._under_way.add(notice.id)
            task.add_done_callback(partial(self._delivered, notice.id))
            evaluation._tasks.append(task)  # noqa: SLF001 - of one file

    def _delivered(self, id_: str, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(id_)
        if not task.cancelled():
            self._done.add(id_)

    def _alert(self, rule: AlertRule, notice: Notice) -> Alert:
        return Alert(
            id=notice.id,
            key=key_digest(f"alert:{self._parts.namespace}:{rule.name.encode().hex()}").hex(),
            name=rule.name,
            status=notice.status,
            metric=rule.metric,
            condition=rule.condition,
            threshold=rule.threshold,
            window=rule.window,
            value=notice.value,
            fired_at=notice.fired_at,
            at=notice.at,
            namespace=self._parts.namespace,
            host=self._courier.host,
            only=rule.only,
            text=sentence(rule, notice.status, notice.value, notice.at - notice.fired_at),
        )

    async def leave(self) -> None:
        """Let another process have the lease at once, and note what was told."""
        seat = await self._board.sit()
        if seat is not None and seat.leads:
            await self._board.write(seat, lambda sheet: sheet.delivered(self._done), leave=True)
