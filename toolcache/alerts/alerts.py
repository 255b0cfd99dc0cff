"""The alerts of a cache: declared, judged by one process of the fleet, told."""

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias, Unpack

from toolcache.alerts import toml
from toolcache.alerts.actions import Log
from toolcache.alerts.board import Board
from toolcache.alerts.courier import Courier
from toolcache.alerts.rounds import Evaluation, Read, Rounds
from toolcache.alerts.rule import Action, AlertOptions, AlertRule, rule_of
from toolcache.alerts.sheet import Notice
from toolcache.alerts.state import AlertState
from toolcache.clock import chance
from toolcache.durations import Duration, seconds
from toolcache.errors import CacheClosedError, SettingsError
from toolcache.events import ScheduleFailed
from toolcache.forks import watch
from toolcache.home import Homes, ending
from toolcache.parts import Parts
from toolcache.spelling import nearest

Rules: TypeAlias = list[AlertRule]  # within the class, a list is what its method gives
Notices: TypeAlias = list[Notice]

_EVERY: Final = 15.0
_LEASES: Final = 3.0
"""Intervals that a lease lasts: one may be late, or two."""
_SHORTEST: Final = 1.0
_LONGEST: Final = 86_400.0
_MOST: Final = 200
"""Alerts of one cache: how they stand is one record."""


class Alerts:
    """The alerts of one cache; ``cache.alerts``.

    Of the processes that share a namespace one judges them, every 15 seconds, as long as it declares them and its cache is in
    use. What fires is told once, and once more when it is over, by that process's actions; see ``create``.

    Args:
        parts: the cache's parts.
        homes: whose tasks judge and tell.
        read: what the fleet has counted in so many seconds.
        begin: told what begins the judging on a loop, once there is something to judge.
        domains: tells the names of domains.

    Attributes:
        actions: actions by name, for rules to name them: ``cache.alerts.actions["ops"] = Webhook(...)``.

    Examples:
        >>> cache.alerts.create("few hits", metric="hit_rate", condition="<", threshold=0.5, window="5m")
    """

    def __init__(
        self,
        parts: Parts,
        homes: Homes,
        read: Read,
        begin: Callable[[Callable[[], None]], None],
        domains: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.actions: dict[str, Action] = {"log": Log()}
        self._parts = parts
        self._homes = homes
        self._begin = begin
        self._domains = domains
        self._rules: dict[str, AlertRule] = {}
        self._every = _EVERY
        self._board = Board(parts, self._lease)
        self._courier = Courier(parts, homes)
        self._rounds = Rounds(parts, self._board, self._courier, read, self._lease)
        self._loop: asyncio.AbstractEventLoop | None = None
        watch(self)

    def forked(self) -> None:
        """The parent's loop does not run here."""
        self._loop = None

    # -- declaring ------------------------------------------------------------------------------------------------------

    def create(self, name: str, **options: Unpack[AlertOptions]) -> AlertRule:
        """Have an alert: it fires when a condition holds, and resolves when it does not any longer.

        It fires once, however long the condition holds, and not again before the cool-down is over. Where it cannot be
        judged, since there were too few calls, or a store is down and others' counts are missing, it stays as it is; what is
        above a threshold by this host's counts alone is above it all the same.

        Args:
            name: by which the processes of the namespace know it.
            options: see ``AlertOptions``.

        Raises:
            ValueError: an option is unknown, missing or out of range, or there is an alert of that name.
            TypeError: one is of a wrong kind.

        Examples:
            >>> cache.alerts.create("redis is down", metric="down_seconds", layer="redis", condition="> 30", cooldown="1h")
        """
        if name in self._rules:
            raise ValueError(f"there is an alert {name!r} already: remove it first, or give this one another name")
        rule = rule_of(name, options, self._actions, self._domains())
        self._keep([rule])
        return rule

    def load(self, path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None) -> Rules:
        """Have the alerts that a TOML file declares: all of them, or none if one cannot be.

        Args:
            path: of the file.
            environ: where the variables are that it names; the environment unless given.

        Raises:
            SettingsError: it cannot be read, or says what cannot be; the error tells where, and what can be written.
        """
        return self._add(toml.load(path, environ), os.fspath(path))

    def from_toml(self, text: str, *, environ: Mapping[str, str] | None = None) -> Rules:
        """The same of a text."""
        return self._add(toml.read(text, environ=environ), "toml")

    def _add(self, declared: toml.Declared, file: str) -> Rules:
        where, named = toml.Where(file), {**self.actions, **declared.actions}
        rules, every, domains = [], self._every, self._domains()
        try:
            if declared.every is not None:
                every = _interval(declared.every)
            for name, options in declared.alerts.items():
                where = where._replace(part=f"alert {name!r}")
                if name in self._rules:
                    raise where.wrong("there is one of that name already: remove it first")
                rules.append(rule_of(name, options, lambda given: _actions_of(given, named), domains))
        except SettingsError:
            raise
        except (TypeError, ValueError) as fault:
            raise where.wrong(fault) from None
        self._keep(rules)
        self.actions.update(named)
        self._every = every
        return rules

    def _keep(self, rules: Rules) -> None:
        """Have these as well; in a table of their own, for a round may be going through the one before."""
        if len(self._rules) + len(rules) > _MOST:
            raise ValueError(f"a cache has at most {_MOST} alerts: remove some")
        self._rules = {**self._rules, **{rule.name: rule for rule in rules}}
        self._begin(self._start)

    def list(self) -> Rules:
        """The alerts that this process has declared."""
        return [*self._rules.values()]

    def remove(self, name: str) -> bool:
        """Have an alert no more, in this process; whether there was one. If it fires, nobody is told that it is over."""
        known = self._rules
        self._rules = {other: rule for other, rule in known.items() if other != name}
        return name in known

    @property
    def every(self) -> float:
        """Seconds from one round of judging to the next; may be set to a span, such as ``"1m"``."""
        return self._every

    @every.setter
    def every(self, span: Duration) -> None:
        self._every = _interval(span)

    @property
    def sent(self) -> int:
        """How often an action of this process was told of an alert, and took it."""
        return self._courier.sent

    @property
    def failed(self) -> int:
        """How often one did not."""
        return self._courier.failed

    def _lease(self) -> float:
        return _LEASES * self._every

    def _actions(self, given: Any) -> tuple[Action, ...]:
        return _actions_of(given, self.actions)

    # -- asking ---------------------------------------------------------------------------------------------------------

    async def state(self) -> dict[str, AlertState]:
        """How the alerts of the namespace stand, by name, whichever process judges them."""
        sheet = await self._board.look()
        unseen = {name: AlertState(name) for name in self._rules if name not in sheet.states}
        return dict(sorted({**unseen, **sheet.states}.items()))

    async def history(self) -> Notices:
        """What has fired and resolved in the namespace, the last first: the last fifty."""
        sheet = await self._board.look()
        return [*reversed(sheet.notices)]

    # -- judging --------------------------------------------------------------------------------------------------------

    async def evaluate(self) -> Evaluation:
        """Judge the alerts now, if no other process does; it is done by itself while the cache is in use.

        Raises:
            CacheClosedError: the cache is closed.
        """
        if self._homes.closed:
            raise CacheClosedError
        return await self._rounds.one(self._rules)

    # -- the task -------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Have alerts judged by a task of the cache, on the running loop; nothing, where there are none, or another loop has it."""
        loop = asyncio.get_running_loop()
        elsewhere = self._loop is not None and self._loop is not loop and not self._loop.is_closed()
        if self._rules and not elsewhere and not self._homes.closed:
            self._loop = loop
            self._homes.here().attend(self._run)

    async def _run(self) -> None:
        """Judge again and again, until the cache is closed or there is nothing left to judge."""
        try:
            await self._parts.clock.sleep(
                self._every * chance()
            )  # the processes of a fleet are not to come all at once
            while self._rules:
                try:
                    await self.evaluate()
                except CacheClosedError:
                    return
                except Exception as fault:  # noqa: BLE001 - it is told, and tried again
                    self._parts.announce(ScheduleFailed("alerts", type(fault).__name__))
                await self._parts.clock.sleep(self._every)
        finally:
            if not ending():
                self._homes.here().own(self._rounds.leave())

    def __repr__(self) -> str:
        return f"<Alerts: {', '.join(map(repr, self._rules)) or 'none'}>"


def _actions_of(given: Any, named: Mapping[str, Action]) -> tuple[Action, ...]:
    """What is to be done, as callables."""
    if given is None:
        return (named["log"],)
    if isinstance(given, str) or callable(given) or not isinstance(given, Iterable):
        raise TypeError("actions is a list of callables, or of names of cache.alerts.actions")
    found = []
    for one in given:
        action = named.get(one) if isinstance(one, str) else one
        if action is None:
            known = ", ".join(named)
            raise ValueError(
                f"there is no action {one!r} but {known}: say first what it is, "
                f"cache.alerts.actions[{one!r}] = Webhook('https://…'), or [action.{one}] in TOML{nearest(one, named)}"
            )
        if not callable(action):
            raise TypeError(f"an action is called with the alert: {type(action).__name__} cannot be")
        found.append(action)
    return tuple(found)


def _interval(span: Duration) -> float:
    every = seconds(span, name="every")
    if not _SHORTEST <= every <= _LONGEST:
        raise ValueError(f"every is from a second to a day, not {span!r}")
    return every
