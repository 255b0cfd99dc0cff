"""The file store against a dictionary: whatever is done to it, in whatever order."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from logs import PREFIX, make

from toolcache.blob import RECORD, TOMBSTONE
from toolcache.protocols import PutStatus, Write
from toolcache.stores.log.store import LogStore
from toolcache.testing import FakeClock
from toolcache.testing.stores import blob_of, version_of

KEYS = st.sampled_from([PREFIX + text for text in ("a", "b", "c", "d")])


class Known(NamedTuple):
    """What the model holds of a key; ``gone`` in ms."""

    version: int
    blob: bytes
    gone: int
    pending: bool
    flags: int


class LogMachine(RuleBasedStateMachine):
    """Two stores of one directory, so of one log, against one dictionary; a third opens it anew now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp()) / "log"
        self.clock = FakeClock()
        self.known: dict[str, Known] = {}
        self.keep: dict[str, int] = {}
        self.store = self._open()

    def teardown(self) -> None:
        self._run(self.store.aclose())
        self.loop.close()
        shutil.rmtree(self.root.parent)

    def _open(self) -> LogStore:
        return make(self.root, self.clock, max_disk=2**20)

    def _run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    @property
    def now_ms(self) -> int:
        return int(self.clock.time() * 1000)

    def _live(self, known: Known | None) -> bool:
        return known is not None and not known.flags & TOMBSTONE and self.now_ms < known.gone

    @rule(
        key=KEYS,
        version=st.integers(1, 30),
        size=st.sampled_from([0, 10, 3000]),
        ttl=st.sampled_from([5.0, 50.0, 500.0]),
        flags=st.sampled_from([0, 0, TOMBSTONE, RECORD]),
        once=st.booleans(),
        pending=st.booleans(),
    )
    def put(self, key: str, version: int, size: int, ttl: float, flags: int, once: bool, pending: bool) -> None:
        blob = blob_of(key, bytes(size), version=version, now=self.clock.time(), ttl=ttl, flags=flags)
        (result,) = self._run(self.store.put_many([Write(key, blob, once=once, pending=pending)]))
        old = self.known.get(key)
        expected = PutStatus.STORED
        if old is not None and old.version == version:
            expected = PutStatus.ALREADY
        elif old is not None and (version < old.version or (once and self._live(old))):
            expected = PutStatus.NEWER
        if result.status is not expected:
            # only where all that ever stood there is past its end may the store have forgotten the version
            assert result.status is PutStatus.STORED, (result, old)
            assert old is not None
            assert self.forgettable(key)
        assert not result.was_live or self._live(old)
        assert result.was_live == self._live(old)
        if result.status is PutStatus.STORED:
            gone = self.now_ms + int(ttl * 1000)
            self.known[key] = Known(version, blob, gone, pending, flags)
            self.keep[key] = max(gone, self.keep.get(key, 0))
        else:
            assert old is not None
            assert result.version == version_of(old.version)

    def forgettable(self, key: str) -> bool:
        """Whether nothing that ever was written of the key can come back."""
        known = self.known[key]
        owed = known.pending and known.flags & (TOMBSTONE | RECORD)
        return self.now_ms >= self.keep[key] and not owed

    @rule(key=KEYS, version=st.integers(1, 30))
    def settle(self, key: str, version: int) -> None:
        self._run(self.store.settle([(key, version_of(version))]))
        old = self.known.get(key)
        if old is not None and old.version <= version:
            self.known[key] = old._replace(pending=False)

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def compact(self) -> None:
        self._run(self.store.compact())

    @rule()
    def reopen(self) -> None:
        self._run(self.store.aclose())
        self.store = self._open()
        self._run(self.store.open())

    @precondition(lambda self: self.known)
    @rule(damage=st.binary(min_size=1, max_size=40))
    def crash_in_the_next_write(self, damage: bytes) -> None:
        """A dead process left half a record behind."""
        self._run(self.store.aclose())
        (self.root / "seg" / "9999999990-00000000000000aa.log").write_bytes(b"TL\x01\x00" + damage)
        self.store = self._open()
        self._run(self.store.open())
        (self.root / "seg" / "9999999990-00000000000000aa.log").unlink(missing_ok=True)

    @invariant()
    def reads_what_was_stored(self) -> None:
        for key, known in self.known.items():
            (blob,) = self._run(self.store.get_many([key]))
            owed = known.pending and known.flags & (TOMBSTONE | RECORD)
            if self.now_ms < known.gone or (owed and blob is not None):
                assert blob == known.blob
            elif not owed:
                assert blob is None
            if not self.forgettable(key) and self.now_ms < known.gone:
                assert (self.store.pending(key) is not None) is known.pending


LogMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLogMachine = LogMachine.TestCase
TestLogMachine.__doc__ = """I4, I5: a log with reopening, compaction and torn tails answers as a dictionary."""
