"""What must hold of requests that run once, whatever befalls those who run them; told of every swap, run and answer.

The bounds are those that the model of the protocol was searched for, in tests/models.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from toolcache.blob import end_of, read_header
from toolcache.codec.coder import Coder
from toolcache.codec.envelope import Envelope
from toolcache.keys.text import key_digest
from toolcache.record import Record, State, floor_of
from toolcache.record_body import record_of
from toolcache.swaps import Standing
from toolcache.versions import ZERO, split

HOSTS: Final = (0, 0, 1, 1)
"""Of each process."""


@dataclass
class Request:
    """What is known of one.

    Attributes:
        hosts: that ask for it.
        slips: what befell its processes, or its answers: each may cost one execution.
        faults: what befell Redis: each may, where there are several hosts.
        forgets: the versions at which it was forgotten.
        runs: the numbers of its executions, and the owners that ran them.
        answers: the last answer of each host.
        known: the newest forget that a host has acknowledged.
    """

    hosts: frozenset[int]
    max_attempts: int = 3
    slips: int = 0
    faults: int = 0
    forgets: set[bytes] = field(default_factory=set)
    runs: dict[int, bytes] = field(default_factory=dict)
    answers: dict[int, Record] = field(default_factory=dict)
    known: dict[int, bytes] = field(default_factory=lambda: defaultdict(lambda: ZERO))
    expired: set[bytes] = field(default_factory=set)

    def between(self, one: bytes, other: bytes) -> bool:
        """Whether it was forgotten between two versions."""
        low, high = sorted((one, other))
        return any(low <= version < high for version in self.forgets)

    def forget(self, version: bytes) -> None:
        """It is being forgotten; what is run meanwhile, may be forgotten too."""
        self.slips += version not in self.forgets
        self.forgets.add(version)

    @property
    def most(self) -> int:
        """How often it may have been executed by now."""
        doubled = self.faults * (1 + len(self.forgets)) if len(self.hosts) > 1 else 0
        return 1 + self.slips + doubled


class Oracle:
    """Watches.

    Args:
        now: seconds since the epoch.
        alive: the process of an owner, if that is alive.
    """

    def __init__(self, now: Callable[[], float], alive: Callable[[bytes], int | None]) -> None:
        self._now = now
        self._alive = alive
        self._envelope, self._coder = Envelope(), Coder()
        self.requests: dict[str, Request] = {}
        self.clears: set[bytes] = set()
        self.ended: set[bytes] = set()
        """Owners that have said themselves that they are at it no more."""
        self.lapsed: set[bytes] = set()
        """Owners that did not renew in time once."""
        self.stands: dict[str, dict[str, tuple[Record | None, Standing]]] = defaultdict(dict)
        """What stands in each store: "redis", "file 0" and "file 1"."""
        self.floors: dict[tuple[int, str], bytes] = defaultdict(lambda: ZERO)
        """What stood in each host's file up to which a request was forgotten."""

    def read(self, name: str, blob: bytes) -> Record | None:
        """The record of a blob."""
        if not blob:
            return None
        _, tags, encoded = self._envelope.unpack(blob, key_digest(name))
        assert encoded is not None
        return record_of(self._coder.decode(encoded), tags)

    def output(self, record: Record) -> Any:
        """What an answer says."""
        assert record.output is not None
        return self._coder.decode(record.output)

    # -- swaps ------------------------------------------------------------------------------------------------------

    def swapped(self, at: int, store: str, name: str, raw: bytes, standing: Standing) -> None:
        """A process has had a record take another's place."""
        place = f"file {HOSTS[at]}" if store == "file" else store
        end = end_of(raw)
        old, new = self.read(name, raw[:end] if end else b""), self.read(name, standing.blob)
        self.stands[place][name] = (new, standing)
        request = self.requests.get(name)
        if request is None:
            return
        if new is not None and new.state is State.FORGOTTEN:
            request.forget(new.fence)
        if new is not None and new.state is State.FAILED:
            self.ended.add(new.owner)
        if new is not None and store == "file":
            mine = (HOSTS[at], name)
            self.floors[mine] = max(self.floors[mine], floor_of(new))
        if old is None or self._gone(old, request):
            return
        told = f"{place}: {_told(old)} gave way to {_told(new)}"
        above = new is not None and floor_of(new) >= old.fence
        if old.answers:
            assert above, f"{told}: an answer is changed by a forget alone"
        if new is None or new.state is State.FAILED:
            ours = old.state is State.RUNNING and self._alive(old.owner) in (at, None)
            assert ours or above or old.state is not State.RUNNING, f"{told}: another's claim was ended"
        if new is not None and old.state is new.state is State.RUNNING and old.owner != new.owner and not above:
            assert old.owner in {*new.dead, *self.ended}, f"{told}: it was not passed on"
            gone = self._alive(old.owner) is None or old.owner in self.lapsed | self.ended
            assert gone, f"{told}: it was taken"

    def _gone(self, record: Record, request: Request) -> bool:
        """Whether a record says nothing any more, or is a tombstone."""
        ended = record.state is not State.FORGOTTEN and self._now() >= record.expires_at
        return ended or any(version >= record.fence for version in self.clears)

    def standing(self, place: str, name: str) -> Record | None:
        """What stands in a store."""
        return self.stands[place].get(name, (None, Standing()))[0]

    # -- runs and answers -------------------------------------------------------------------------------------------

    def ran(self, name: str, number: int, owner: bytes, attempt: int) -> None:
        """It is being executed."""
        request = self.requests[name]
        request.runs[number] = owner
        assert attempt <= request.max_attempts, f"attempt {attempt} of at most {request.max_attempts}"
        assert len(request.runs) <= request.most, (
            f"executed {len(request.runs)} times, with {request.slips} slips, {request.faults} faults"
        )

    def answered(self, at: int, name: str, record: Record, born: bytes, began: float, *, own: bool) -> None:
        """A call that began when ``born`` was the newest forget of its host has its answer, of its own run or another's."""
        request, host = self.requests[name], HOSTS[at]
        assert record.answers
        # What was forgotten once more since, may have been joined before that.
        again = own and any(split(version)[0] > began * 1000 for version in request.forgets | self.clears)
        assert record.fence > born or again, f"answers {_told(record)}, forgotten at {born.hex()}"
        assert own or record.expires_at > began, f"answers {_told(record)}, whose time was over"
        if record.output is not None:
            number = self.output(record)["number"]
            assert request.runs.get(number) == record.owner, f"#{number} is not what {record.owner.hex()} came to"
        forgotten = any(version >= record.fence for version in request.forgets | self.clears)
        if forgotten or self._now() >= record.expires_at:
            return  # meanwhile: those who were asking by then have it, and nobody else
        stands = self.standing(f"file {host}", name)
        there = stands is not None and stands.answers and stands.owner == record.owner
        if own and record.failure is not None and not there:
            return  # another was at it by then: the failure is for its own callers
        before = request.answers.get(host)
        if before is not None and before.owner != record.owner:
            newer = before.fence < record.fence and request.between(before.fence, record.fence)
            ended = self._now() >= before.expires_at
            assert newer or ended, f"host {host} answers {_told(record)} after {_told(before)}"
        request.answers[host] = record
        if self.floors[host, name] < record.fence:
            assert there, f"host {host} answers {_told(record)}, and its file has {_told(stands)}"
        if not request.faults:
            for other, theirs in request.answers.items():
                ended = self._now() >= theirs.expires_at
                same = theirs.owner == record.owner or ended or request.between(theirs.fence, record.fence)
                assert same, f"host {host} answers {_told(record)}, host {other} {_told(theirs)}"


def epoch_of(blob: bytes) -> bytes:
    """The version of a blob."""
    header = read_header(blob)
    assert header is not None
    return header.version


def _told(record: Record | None) -> str:
    if record is None:
        return "nothing"
    return f"{record.state.value}({record.owner.hex()[:6]} fence {record.fence.hex()[8:20]} floor {record.floor.hex()[8:20]})"
