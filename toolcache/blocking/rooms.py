"""The rooms of a blocking cache that have more than methods to wait for."""

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Self

from toolcache.alerts.rounds import Evaluation
from toolcache.alerts.rule import Action
from toolcache.blocking.alerts_methods import BlockingAlerts as AlertsMethods
from toolcache.blocking.memories_methods import BlockingMemories as MemoriesMethods
from toolcache.blocking.sessions_methods import BlockingSessions as SessionsMethods
from toolcache.blocking.tools_methods import BlockingTools as ToolsMethods
from toolcache.durations import Duration, Size
from toolcache.entry import MISSING, Missing
from toolcache.policies import ToolPolicy
from toolcache.session import Merge, Session, merged
from toolcache.sessions import _MOST
from toolcache.tools import ToolName


class BlockingSessions(SessionsMethods):
    """See ``Sessions``."""

    @contextmanager
    def edit(
        self, session_id: str, *, ttl: Duration | Missing | None = MISSING, merge: Merge = merged
    ) -> Iterator[Session]:
        """A session to change within a ``with``, saved at its end; a new one if there is none; see ``Sessions.edit``."""
        session = self.resume(session_id) or Session(session_id)
        yield session
        self.save(session, ttl=ttl, merge=merge)

    def limited(
        self,
        *,
        max_turns: int | None = _MOST,
        max_size: Size | None = None,
        measure: Callable[[Any], int] | None = None,
    ) -> Self:
        """The same sessions with other limits; see ``Sessions.limited``."""
        return type(self)(self._cache.limited(max_turns=max_turns, max_size=max_size, measure=measure), self._portal)


class BlockingMemories(MemoriesMethods):
    """See ``Memories``."""

    def normalized(self, normalize: Callable[[Any], Any]) -> Self:
        """The same memories, whose queries are made alike so; see ``Memories.normalized``."""
        return type(self)(self._cache.normalized(normalize), self._portal)


class BlockingAlerts(AlertsMethods):
    """See ``Alerts``."""

    def evaluate(self) -> Evaluation:
        """Judge the alerts now, if no other process does, and wait until what is to be told is; see ``Alerts.evaluate``."""

        async def judge() -> Evaluation:
            evaluation = await self._cache.evaluate()
            await evaluation.delivered()
            return evaluation

        return self._call(judge)

    @property
    def actions(self) -> dict[str, Action]:
        """Actions by name; plain functions are called in threads of their own."""
        return self._cache.actions

    @property
    def every(self) -> float:
        """Seconds from one round of judging to the next; may be set to a span."""
        return self._cache.every

    @every.setter
    def every(self, span: Duration) -> None:
        self._cache.every = span

    @property
    def sent(self) -> int:
        """How often an action of this process was told of an alert, and took it."""
        return self._cache.sent

    @property
    def failed(self) -> int:
        """How often one did not."""
        return self._cache.failed


class BlockingTools(ToolsMethods, MutableMapping[ToolName, ToolPolicy]):
    """See ``Tools``."""
