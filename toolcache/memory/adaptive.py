"""The default: S3-FIFO's queues, the border between them moved by the misses, and main defended by rates.

As in S3-FIFO (see ``s3fifo``), a new entry starts in a *small* queue; what was hit twice there goes on to *main*, where
what was hit goes round once more; the rest leaves, and *ghosts* remember it for a while. No hit touches a queue. Where
S3-FIFO is fixed, this one learns from the misses:

- **The border.** A miss of what left the small queue a moment ago says that a slightly longer one would have had it, one
  of what left main a moment ago says the same of main. Each moves the border, by steps that grow while they agree and
  shrink when they do not: small starts at a hundredth, which is best for scans and loops, and has most of the room
  within some hundred such misses where what was used last is used next. Where hardly any of main's entries is hit at
  all, small gets their room too, whether or not misses of a moment ago ask for it.
- **The contest.** A key that comes back is no better than main's entries for that alone: in a loop over more than fits
  every key comes back. Asked for twice within so many departures it has a rate, and so has the entry that main would look
  at next, of its hits in one round of the queue. The newcomer must have three times that rate; else it starts in the small
  queue again, and the other goes round.

How long a round takes is known without a clock in each entry: main is a queue, so it is the time between two entries
that join, on the average of late, times their number, and no longer than all that has passed.

Sources: S3-FIFO from Yang, Zhang, Qiu, Yue and Rashmi, *FIFO Queues are All You Need for Cache Eviction*, SOSP 2023, whose
S3-FIFO-D moves its border, too, and whose start it takes; ghosts as a gradient from Megiddo and Modha, *ARC*, FAST 2003;
the contest from the admission of Einziger, Friedman and Manes, *TinyLFU*, 2017, and from the comparison of recency and
reuse in Jiang and Zhang, *LIRS*, SIGMETRICS 2002; steps by agreement from Riedmiller and Braun, *RPROP*, 1993.
"""

from typing import Final

from toolcache.entry import Held
from toolcache.memory.ghost import Ghost
from toolcache.memory.queues import CAP, CHANCES, ENTRY, SMALL, Queues

_START: Final = 0.01
_LEAST: Final = 0.01
_MOST: Final = 0.9
"""The small queue's share of all: at first, and its limits."""

_SMALL_MOMENT: Final = 20
_MAIN_MOMENT: Final = 10
"""One part in so many of the number held: departures that are a moment ago."""

_FASTER: Final = 1.1
_SLOWER: Final = 0.95
_LEAP: Final = 50
"""What a step of the border becomes when the next goes the same way, when not, and one part in so many of all at most."""

_ODDS: Final = 3
"""How many times the rate of main's next entry a newcomer must have."""

_IDLE: Final = 0.05
"""The share of main's entries, of those looked at, that must have been hit; with less, small gets their room."""

_SMOOTH: Final = 4
"""One part in so many of main: over that many entries what is seen of main is averaged."""


class Adaptive(Queues):
    """Evicts what is asked for least often of late, and finds out what "of late" means here.

    Resists scans and loops as well as shifts of interest, needs no settings, and costs a hit nothing: it reads
    ``Held.hits``, which counts anyway.
    """

    # What is learnt: ``share`` is the border, ``step`` and ``way`` how it moved last; ``pace`` the departures from small
    # between two entries that join main, ``joined`` the last of these, ``used`` the share of main's that were hit.

    def admit(self, key: str, entry: Held, /) -> None:
        """Take in a new key: into main if it comes back at a higher rate than main's."""
        if self._returns(key) if self._full else self._small_is_long():
            self._join(entry, entry.hits)
        else:
            entry.seen = SMALL
            self._small.push(entry)

    def evict(self) -> str:
        """Name, and forget, the key that leaves next."""
        self._full = True
        small, main = self._small, self._main
        chances = CHANCES
        while True:
            if not main.count or (small.count and small.weight >= self._share * (small.weight + main.weight)):
                entry = small.knot.newer
                small.pull(entry)
                if entry.hits < ENTRY or not chances:
                    self._left_small.remember(entry.key, small.count + main.count)
                    return entry.key
                self._join(entry, entry.hits)
            else:
                entry = main.knot.newer
                if entry.hits <= entry.seen or not chances:
                    return self._leave_main(entry)
                self._go_round(entry)
            chances -= 1

    def clear(self) -> None:
        """All keys have left; the ghosts too forget them."""
        super().clear()
        self._left_small, self._left_main = Ghost(), Ghost()
        self._share = _START
        self._step = 1.0
        self._way = 0
        self._joined = 0
        self._pace = 1.0
        self._used = 1.0

    def _returns(self, key: str) -> bool:
        """Whether a key left the small queue not long ago and wins against main; moves the border by what is learnt."""
        since = self._left_small.recall(key)
        if since is None:
            if self._left_main.recall(key) is not None:
                self._move(-1)
            return False
        if since * _SMALL_MOMENT < self._small.count + self._main.count + 1:
            self._move(1)
        return self._wins(since)

    def _move(self, way: int) -> None:
        """Make the small queue longer or shorter; ``way`` is 1 or -1."""
        held = self._small.count + self._main.count + 1
        self._step = max(1.0, min(held / _LEAP, self._step * (_FASTER if way == self._way else _SLOWER)))
        self._way = way
        self._share = max(_LEAST, min(_MOST, self._share + way * self._step / held))

    def _wins(self, since: int) -> bool:
        """Whether a key that comes back after so many departures does so at a higher rate than main's next is hit."""
        main = self._main
        if not main.count:
            return True
        rival = main.knot.newer
        hits = rival.hits - rival.seen
        lap = min(self._pace * main.count, self._left_small.departures)
        if hits <= 0 or lap > _ODDS * hits * since:
            return True
        self._go_round(rival)
        return False

    def _join(self, entry: Held, seen: int) -> None:
        """Add an entry to main."""
        main = self._main
        entry.seen = seen
        if self._full:
            departures = self._left_small.departures
            self._pace += (departures - self._joined - self._pace) * _SMOOTH / (main.count + _SMOOTH)
            self._joined = departures
        main.push(entry)

    def _go_round(self, entry: Held) -> None:
        """Take main's oldest to its end; one of its hits is paid for."""
        self._main.pull(entry)
        self._used += (1 - self._used) * _SMOOTH / (self._main.count + _SMOOTH)
        self._join(entry, entry.hits - min(entry.hits - entry.seen, CAP) + 1)

    def _leave_main(self, entry: Held) -> str:
        self._main.pull(entry)
        self._used -= self._used * _SMOOTH / (self._main.count + _SMOOTH)
        if self._used < _IDLE:
            self._move(1)
        self._left_main.remember(entry.key, (self._small.count + self._main.count) // _MAIN_MOMENT + 1)
        return entry.key
