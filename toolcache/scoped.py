"""The machine as one agent comes to it: by a door of its own, behind which its keys stand apart from all others.

All else is the cache's own: memory, layers, flights, epochs, counts. What an agent keeps carries the agent's label, so that
one epoch forgets all of it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Unpack

from toolcache.compute import Compute, Context
from toolcache.crowd import ComputeMany, run_many
from toolcache.domains import GENERAL, Domain
from toolcache.durations import Duration
from toolcache.entrance import Entrance
from toolcache.entry import MISSING, Durability, Missing
from toolcache.freshness import UNSAID, Freshness
from toolcache.hits import Hits
from toolcache.keys.text import KeyText, component, inside, key_text
from toolcache.lookups import Lookups
from toolcache.machine import How, Machine
from toolcache.memory.store import MemoryStore
from toolcache.modes import Mode, Modes
from toolcache.series import Series
from toolcache.tags import agent_label, domain_label
from toolcache.views import AgentTerms

if TYPE_CHECKING:
    from toolcache.upkeep import Upkeep

_REMEMBERED: Final = 4_096
"""Keys of an agent whose form is kept in mind."""
_LONGEST: Final = 64
"""Letters of an agent's name that its keys are told apart by to the eye."""


class Scope(Machine):
    """A machine for one agent; a method that is not written here goes by the agent's door, and does what it does.

    Args:
        machine: the cache's.
        agent: its name.
        terms: what it is told; domains that it does without are computed always, and nothing of them is kept.
    """

    def __init__(self, machine: Machine, agent: str, terms: AgentTerms) -> None:
        vars(self).update(vars(machine))
        vars(self).pop("upkeep", None)
        self._whole = machine
        self._terms = terms
        self.off = terms.off
        self._rows: dict[Series, Domain[Any]] = {}
        self._label = (agent_label(agent),)
        self.entrance: Door = Door(machine.entrance, agent)
        door = self.entrance
        self.enter, self._enter = door.each, door.one
        self._hits = _Hits(self._hits, door, {domain_label(name) for name in terms.off})
        self.hit = self._hits.one
        self.modes = _Modes(machine.parts.memory, machine.modes)
        self._agent = agent
        self._hits.row = self.row
        self.lookups = _Lookups(machine.lookups, door, self._hits, self.modes, self)
        self._near = self.keep is not None
        self.keep = None  # which knows no labels

    async def compute(self, key: str, compute: Compute, domain: Domain[Any], **how: Unpack[How]) -> Any:
        """The value, computed if it is missing, or if the agent does without."""
        if domain.name in self.off:
            return await self.fill(key, compute, domain, **how)
        return await super().compute(key, compute, domain, **how)

    async def fill(self, key: str, compute: Compute, domain: Domain[Any] = GENERAL, **how: Unpack[How]) -> Any:
        """The same of a key that is no hit."""
        if domain.name in self.off:
            how["mode"] = Mode.BYPASS
        return await super().fill(key, compute, self.row(domain), **how)

    async def compute_many(
        self, keys: Sequence[str], compute: ComputeMany, domain: Domain[Any], **how: Any
    ) -> dict[str, Any]:
        """Values by key; the missing ones computed by one call, or all of them."""
        if domain.name in self.off:
            self.tallies.of(self.row(domain)).bypassed += len(self.enter(keys))
            limit = self._entries.policy(self.row(domain)).hard_timeout
            return dict(await run_many(compute, list(keys), limit=limit))

        async def make(places: list[str]) -> dict[str, Any]:
            asked = dict(zip(self.enter(keys), keys, strict=True))
            made = await run_many(compute, [asked[place] for place in places])
            return {place: made[asked[place]] for place in places}

        return await super().compute_many(keys, make, self.row(domain), **how)

    async def set(
        self,
        key: str,
        value: Any,
        domain: Domain[Any],
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
        own: tuple[str, ...] = (),
    ) -> Durability:
        """Store a value; where it is safe."""
        if self._near or domain.name in self.off:
            return (await self.set_many({key: value}, domain, ttl=ttl, tags=tags, own=own))[key]
        return await super().set(key, value, self.row(domain), ttl=ttl, tags=tags, own=self._with_label(own))

    async def set_many(
        self,
        mapping: Mapping[str, Any],
        domain: Domain[Any],
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
        own: tuple[str, ...] = (),
    ) -> dict[str, Durability]:
        """Store values; where each is safe."""
        if domain.name in self.off:
            self.enter(mapping)
            return dict.fromkeys(mapping, Durability.MEMORY)
        return await super().set_many(mapping, self.row(domain), ttl=ttl, tags=tags, own=self._with_label(own))

    async def add(
        self,
        key: str,
        value: Any,
        domain: Domain[Any],
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
        own: tuple[str, ...] = (),
    ) -> bool:
        """Store a value only if none is there; whether it was stored."""
        return await super().add(key, value, self.row(domain), ttl=ttl, tags=tags, own=self._with_label(own))

    async def delete_many(self, keys: Iterable[str], domain: Domain[Any]) -> dict[str, bool]:
        """Remove keys everywhere; for each, whether a value was there."""
        return await super().delete_many(keys, self.row(domain))

    async def touch(self, key: str, domain: Domain[Any], ttl: Duration | Missing | None) -> bool:
        """Have a value last so long from now; whether one was there."""
        return await super().touch(key, self.row(domain), ttl)

    @cached_property
    def upkeep(self) -> "Upkeep":
        """Looks after many entries: by patterns and predicates after the agent's, else after all."""
        from toolcache.scoped_upkeep import ScopedUpkeep

        return ScopedUpkeep(self._whole.upkeep, self.entrance.beginning)

    def lifetime(self, ttl: Duration | Missing | None, domain: Domain[Any]) -> float:
        """Seconds; infinite for None."""
        return super().lifetime(ttl, self.row(domain))

    def row(self, domain: Domain[Any]) -> Domain[Any]:
        """A domain's row, with what the agent is told."""
        row = self._rows.get(domain.series)
        if row is None:
            terms = self._terms
            ttl = terms.ttls.get(domain.name, terms.default_ttl if domain.ttl is None else domain.ttl)
            row = domain._replace(ttl=ttl, freshness=domain.freshness.over(terms.freshness))
            told = domain.series
            row = row.counted_as(agent=told.agent or self._agent, tool=told.tool, model=told.model)
            self._rows[domain.series] = self._rows[row.series] = row
        return row

    def _with_label(self, own: tuple[str, ...]) -> tuple[str, ...]:
        return own if self._label[0] in own else own + self._label

    def _context(
        self,
        ttl: Duration | Missing | None,
        tags: Iterable[str],
        own: tuple[str, ...],
        domain: Domain[Any],
        freshness: Freshness = UNSAID,
    ) -> Context:
        return super()._context(ttl, tags, self._with_label(own), self.row(domain), freshness)


class Door(Entrance):
    """The way into a cache for one agent; its keys are those of the cache that begin with its name.

    Attributes:
        beginning: what they begin with.
    """

    def __init__(self, entrance: Entrance, agent: str) -> None:
        self._whole = entrance
        self._known = lru_cache(_REMEMBERED)(self._inside)
        self.beginning = f"@a:{_name(agent)}:"
        self.used = False  # what is to be closed is the cache

    def key(self, key: str) -> str:
        """The cache's key."""
        return self._known(key) if type(key) is str else self._inside(key)

    def one(self, key: str) -> str:
        """The place of a key."""
        return self._whole.one(self.key(key))

    def each(self, keys: Iterable[str]) -> list[str]:
        """The places of keys."""
        return self._whole.each(map(self.key, keys))

    def pass_through(self) -> None:
        """Come in without a key."""
        self._whole.pass_through()

    def _inside(self, key: str) -> str:
        if type(key) is KeyText and "~" in key and key.startswith(key_text(self.beginning)):
            return key  # the cache's already: as a scan tells one that was cut
        return inside(self.beginning, key)


def _name(agent: str) -> str:
    """The name of an agent as a part of keys: none is the beginning of another, also where they are decoded."""
    name = component(agent)
    return name if len(name) <= _LONGEST else f"~{sha256(agent.encode('utf-8', 'surrogatepass')).hexdigest()}"


class _Hits(Hits):
    """Hits of keys as one agent knows them.

    Attributes:
        row: a domain's row, as the agent has it.
    """

    row: Callable[[Domain[Any]], Domain[Any]]

    def __init__(self, hits: Hits, door: Door, off: set[str]) -> None:
        vars(self).update(vars(hits))
        self._whole = hits
        self._door = door
        self._off = off

    def one(self, key: str) -> Any:
        """The value if memory may answer, else MISSING."""
        ours = self._door.key(key)
        if self._off and (held := self._memory.find(ours)) is not None and not self._off.isdisjoint(held.tags):
            return MISSING
        return self._whole.one(ours)

    def many(self, keys: Sequence[str], domain: Domain[Any]) -> tuple[dict[str, Any], list[str]]:
        """Values that memory may answer with, and the keys that it may not answer."""
        ours = list(map(self._door.key, keys))
        values, _ = self._whole.many(ours, self.row(domain))
        pairs = list(zip(keys, ours, strict=True))
        found = {key: values[our] for key, our in pairs if our in values}
        return found, [key for key, our in pairs if our not in values]


class _Lookups(Lookups):
    """Lookups of keys as one agent knows them, but in the domains that it does without."""

    def __init__(self, lookups: Lookups, door: Door, hits: Hits, modes: Modes, scope: Scope) -> None:
        vars(self).update(vars(lookups))
        self._entrance, self._hits, self._modes, self._off = door, hits, modes, scope.off
        self._row = scope.row

    async def get(self, key: str, domain: Domain[Any], default: Any = None) -> Any:
        """The value, or ``default``."""
        return default if self._does_without(domain, key) else await super().get(key, self._row(domain), default)

    async def seek(self, key: str, domain: Domain[Any], default: Any = None) -> Any:
        """The same of a key that is no hit."""
        return default if self._does_without(domain, key) else await super().seek(key, self._row(domain), default)

    async def get_many(self, keys: Iterable[str], domain: Domain[Any]) -> dict[str, Any]:
        """The hits, in the order of the keys."""
        return {} if self._does_without(domain) else await super().get_many(keys, self._row(domain))

    async def hits_of(self, keys: Sequence[str], domain: Domain[Any]) -> tuple[dict[str, Any], list[str]]:
        """What memory answers by itself, and the keys that it does not answer."""
        return ({}, list(keys)) if self._does_without(domain) else await super().hits_of(keys, self._row(domain))

    async def fetch_many(self, keys: Sequence[str], domain: Domain[Any], *, final: bool = True) -> dict[str, Any]:
        """What memory or the layers hold of keys that are no hits."""
        return {} if self._does_without(domain) else await super().fetch_many(keys, self._row(domain), final=final)

    def _does_without(self, domain: Domain[Any], *keys: str) -> bool:
        if domain.name not in self._off:
            return False
        self._entrance.each(keys)
        return True


class _Modes(Modes):
    """The modes of an agent, and beneath them those of the cache."""

    def __init__(self, memory: MemoryStore, whole: Modes) -> None:
        super().__init__(memory)
        self._whole = whole

    def __call__(self) -> Mode | None:
        return super().__call__() or self._whole()
