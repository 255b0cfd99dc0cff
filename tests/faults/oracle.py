"""What was promised, and whether what comes back keeps it."""

import itertools
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from faults.values import KEYS, number_of

from toolcache.entry import Durability

_ROUNDED: Final = 0.02


@dataclass
class Act:
    """One write of a key: ``durability`` once it was acknowledged; instants are monotonic."""

    kind: str
    number: int
    begun_at: float
    ended_at: float = inf
    durability: Durability | None = None
    gone_at: float = inf
    lifetime: float = inf

    @property
    def safe(self) -> bool:
        """Whether it was promised to outlive this process."""
        return self.durability is not None and self.durability > Durability.MEMORY

    def told(self) -> tuple[Any, ...]:
        """For another process: ``heard`` makes it again."""
        return self.kind, self.number, self.begun_at, self.ended_at, self.durability, self.gone_at, self.lifetime

    @classmethod
    def heard(
        cls,
        kind: str,
        number: int,
        begun_at: float,
        ended_at: float,
        durability: int | None,
        gone_at: float = inf,
        lifetime: float = inf,
    ) -> "Act":
        """What another process told; instants are the same in all processes of a host."""
        known = None if durability is None else Durability(durability)
        return cls(kind, number, begun_at, ended_at, known, gone_at, lifetime)


@dataclass
class Oracle:
    """Records the writes of keys that have one writer each, and judges what reads bring.

    A set or delete that was acknowledged as on file or in Redis is the floor: from then on nothing older may be seen.
    What was acknowledged by memory alone, what raised, and what was computed may or may not be there.
    """

    acts: dict[str, list[Act]] = field(default_factory=lambda: {key: [] for key in KEYS})
    violations: list[str] = field(default_factory=list)
    acknowledged: Counter[str] = field(default_factory=Counter)
    foreign: frozenset[str] = frozenset()
    """Keys that others write: only their values are judged, not their age."""
    ordered: bool = True
    """Whether each key has one writer, one write at a time; else only the values are judged, too."""
    steady: bool = True
    """Whether the clock of those who write goes as it should."""
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    _losses: list[tuple[frozenset[str] | None, float]] = field(default_factory=list)

    def begin(self, kind: str, key: str) -> Act:
        """A write begins."""
        act = Act(kind, next(self._numbers), time.monotonic())
        self.acts[key].append(act)
        return act

    def end(self, act: Act, durability: Durability | None = None, *, ttl: float | None = None) -> None:
        """A write has ended; ``durability`` None for one that promised nothing."""
        act.ended_at = time.monotonic()
        act.durability = durability
        if ttl is not None:
            act.gone_at, act.lifetime = time.time() + ttl, ttl
        self._count(act)

    def _count(self, act: Act) -> None:
        if act.durability is not None:
            self.acknowledged["DELETED" if act.kind == "delete" else act.durability.name] += 1

    def hear(self, key: str, *told: Any) -> None:
        """Another process told of a write, when it began or when it ended, or both."""
        act, acts = Act.heard(*told), self.acts[key]
        if acts and acts[-1].number == act.number:
            acts[-1] = act
        else:
            acts.append(act)
        self._count(act)

    def lost(self, keys: Iterable[str] | None = None) -> None:
        """What Redis holds up to now, of these keys or of all, is gone, and nobody is to blame for it."""
        self._losses.append((None if keys is None else frozenset(keys), time.monotonic()))

    def violated(self, what: str) -> None:
        """An invariant does not hold."""
        if what not in self.violations:
            self.violations.append(what)

    def saw(self, key: str, value: Any, begun_at: float) -> None:
        """A read that began then brought this, MISSING for nothing."""
        self._judge(key, number_of(key, value), begun_at, "a read")

    def found(self, key: str, number: int | None, gone_at: float, who: str) -> None:
        """After the end, ``who`` reads the write of this number, or None for nothing."""
        self._judge(key, number, inf, who)
        if key in self.foreign or not self.ordered:
            return
        acts = self.acts[key]
        last = self.floor(key, inf)
        if number is None:
            kept = last is not None and last.kind == "set" and not self._excused(key, last)
            if kept and not any(act.kind == "delete" and act.number > last.number for act in acts):  # type: ignore[union-attr]  # kept
                self.violated(f"I5: {who}: {key}: {_told(last)} is lost")
            return
        found = next((act for act in acts if act.number == number), None)
        if found is not None:
            # Where clocks jump, a life may be counted anew from a read; it is never longer than it was.
            longer = gone_at - found.gone_at if self.steady else gone_at - time.time() - found.lifetime
            if longer > _ROUNDED:
                self.violated(f"I8: {who}: {key}: {_told(found)} lives {longer:.3f} s too long")

    def floor(self, key: str, at: float) -> Act | None:
        """The last write of a key that was safe before an instant."""
        return next((act for act in reversed(self.acts[key]) if act.safe and act.ended_at < at), None)

    def _judge(self, key: str, number: int | None, begun_at: float, who: str) -> None:
        if number is None:
            return
        known = {act.number: act for act in self.acts[key]}
        foreign = key in self.foreign
        if number == -1 or (not foreign and (number not in known or known[number].kind == "delete")):
            self.violated(f"I12: {who}: {key}: a value that nobody wrote there (#{number})")
            return
        floor = None if foreign or not self.ordered else self.floor(key, begun_at)
        if floor is not None and number < floor.number:
            kind = "I4" if floor.kind == "delete" else "I3"
            self.violated(f"{kind}: {who}: {key}: #{number} came back after {_told(floor)}")

    def _excused(self, key: str, act: Act) -> bool:
        since = act.begun_at if act.durability is Durability.REDIS else act.ended_at
        return any(at >= since and (keys is None or key in keys) for keys, at in self._losses)


def _told(act: Act | None) -> str:
    if act is None or act.durability is None:
        return "nothing"
    return f"{act.kind} #{act.number} ({act.durability.name})"
