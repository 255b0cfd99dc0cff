"""Memory in step with Redis, as a model: which reads may fill it, and what empties it, in every interleaving.

One key; one process with a memory, and others that write to Redis. Redis sends the process a message for each write, its
own ones included, over a connection of its own: commands, their replies and messages overtake one another. A read that
finds nothing in memory asks Redis, and fills memory with what comes back, if it still may: it holds a *token*, which
each message and each own write withdraws, and it is of a *generation*, which each gap ends. A gap is a time in which
messages are lost: the connection breaks, is noticed to be broken later, and is made anew. A flush loses data without
a message for each key.

What must hold:

- At rest (nothing under way, no message unread, the connection whole) memory holds what Redis holds, or nothing. What is
  wrong then would be wrong until the entry's end of life.
- Once an own write is acknowledged, memory holds nothing older.

Each condition is switched off in turn, and the search must find the value that stays stale.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, TypeAlias

import pytest
from models.explorer import Explored, explore


@dataclass(frozen=True)
class Rules:
    """When a fill is admitted, and what leaves memory."""

    message_withdraws: bool = True
    """A message keeps out what reads under way bring."""
    write_withdraws: bool = True
    """So does an own write, when it is sent and when it is acknowledged."""
    purged_at_ack: bool = True
    """The answer to an own write takes the key out of memory: whether another has been written since, nobody knows."""
    never_put_at_ack: bool = True
    """Nor is the value put there: it may have been overwritten, and the message of that have come already."""
    gap_empties: bool = True
    """A gap takes everything out of memory."""
    gap_withdraws: bool = True
    """A read begun before a gap fills nothing after it."""
    rearming_withdraws: bool = True
    """Nor does one that was begun within the gap."""
    flush_empties: bool = True
    """A flush is a gap."""


class Read(NamedTuple):
    """A read under way. ``answer`` is -1 until Redis has answered."""

    answer: int = -1
    token: bool = True


class Write(NamedTuple):
    """An own write under way."""

    version: int
    applied: bool = False


class World(NamedTuple):
    """Versions, 0 for nothing. ``whole`` says whether Redis sends messages, ``hearing`` whether the process thinks so."""

    writes: int
    others: int
    gaps: int
    flushes: int
    redis: int = 1
    clock: int = 1
    memory: int = 0
    read: Read | None = None
    write: Write | None = None
    messages: tuple[str, ...] = ()
    whole: bool = True
    hearing: bool = True
    acknowledged: int = 0


Steps: TypeAlias = Iterator[tuple[str, World]]


class Model:
    """The process under ``rules``."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def explore(self, *, writes: int = 2, others: int = 2, gaps: int = 2, flushes: int = 1) -> Explored:
        """All worlds with at most so many own writes, writes of others, gaps and flushes."""
        return explore(World(writes, others, gaps, flushes), self.steps, self.wrong)

    def steps(self, world: World) -> Steps:
        """Whatever may happen next."""
        yield from self.reading(world)
        yield from self.writing(world)
        yield from self.listening(world)
        if world.others:
            version = world.clock + 1
            after = world._replace(others=world.others - 1, clock=version, redis=version)
            yield f"another writes v{version}", self.tell(after, "key")
        if world.flushes:
            yield "Redis is flushed", self.tell(world._replace(flushes=world.flushes - 1, redis=0), "flush")

    def tell(self, world: World, message: str) -> World:
        """Redis sends a message, or would have."""
        return world._replace(messages=(*world.messages, message)) if world.whole else world

    def reading(self, world: World) -> Steps:
        """A read that memory cannot answer: sent, answered, admitted or not."""
        read = world.read
        if read is None:
            if not world.memory:
                yield "a read is sent", world._replace(read=Read())
        elif read.answer < 0:
            yield f"Redis answers v{world.redis}", world._replace(read=read._replace(answer=world.redis))
        else:
            admitted = read.token and world.hearing
            filled = world._replace(read=None, memory=read.answer if admitted else world.memory)
            yield f"the read brings v{read.answer}", filled

    def writing(self, world: World) -> Steps:
        """An own write: in memory when it is sent, applied if it is newer, out of memory when it is acknowledged."""
        write = world.write
        if write is None:
            if world.writes:
                version = world.clock + 1
                sent = world._replace(writes=world.writes - 1, clock=version, memory=version, write=Write(version))
                yield f"v{version} is sent", self.withdraw(sent) if self.rules.write_withdraws else sent
        elif not write.applied:
            newer = write.version > world.redis
            after = world._replace(write=write._replace(applied=True), redis=max(world.redis, write.version))
            yield (
                f"Redis takes v{write.version}" if newer else "Redis does not",
                self.tell(after, "key") if newer else after,
            )
        else:
            after = world._replace(write=None, acknowledged=write.version)
            if self.rules.write_withdraws:
                after = self.withdraw(after)
            if self.rules.purged_at_ack:
                after = after._replace(memory=0)
            if not self.rules.never_put_at_ack:
                after = after._replace(memory=write.version)
            yield f"v{write.version} is acknowledged", after

    def listening(self, world: World) -> Steps:
        """Messages are read; the connection breaks, which is noticed, and made good."""
        if world.messages:
            first, *rest = world.messages
            after = world._replace(messages=tuple(rest))
            if first == "flush":
                yield "the flush is heard of", self.gap(after) if self.rules.flush_empties else after
            else:
                after = after._replace(memory=0)
                yield "a message is read", self.withdraw(after) if self.rules.message_withdraws else after
        if world.whole and world.gaps:
            yield "the listener's connection breaks", world._replace(gaps=world.gaps - 1, whole=False, messages=())
        if not world.whole and world.hearing:
            yield "the gap is noticed", self.gap(world._replace(hearing=False))
        if not world.whole and not world.hearing:
            after = world._replace(whole=True, hearing=True)
            yield "it listens again", self.withdraw(after) if self.rules.rearming_withdraws else after

    def gap(self, world: World) -> World:
        """Messages may have been lost."""
        world = self.withdraw(world) if self.rules.gap_withdraws else world
        return world._replace(memory=0) if self.rules.gap_empties else world

    def withdraw(self, world: World) -> World:
        """What a read under way brings fills nothing."""
        return world if world.read is None else world._replace(read=world.read._replace(token=False))

    def wrong(self, world: World) -> str:
        """What does not hold."""
        if world.memory and not world.write and world.memory < world.acknowledged:
            return f"memory holds v{world.memory} after v{world.acknowledged} was acknowledged"
        under_way = world.read or world.write or world.messages
        if world.whole and world.hearing and not under_way and world.memory not in {0, world.redis}:
            return f"memory holds v{world.memory} for ever, Redis v{world.redis}"
        return ""


def test_memory_is_never_stale_at_rest() -> None:
    """SPEC 5.6, I3: whatever overtakes whatever, and wherever the messages stop, memory holds what Redis holds or nothing."""
    explored = Model(Rules()).explore()
    assert not explored.wrong, str(explored)
    assert explored.states > 10_000, str(explored)


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_each_condition_is_needed(rule: str) -> None:
    """Without any one of the conditions a stale value stays, or an own write is forgotten: the check can fail."""
    explored = Model(replace(Rules(), **{rule: False})).explore()
    assert explored.wrong, f"nothing goes wrong without {rule}: {explored}"
