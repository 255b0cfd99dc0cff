"""Events, and the announcer that tells listeners and the log."""

import dataclasses
import logging
from typing import Any, get_args

import pytest

from toolcache import events
from toolcache.events import (
    AlertActionFailed,
    AlertChanged,
    Announcer,
    BlobRejected,
    BreakerChanged,
    ClockAnomaly,
    CoherenceChanged,
    DataAtRisk,
    DispatchDegraded,
    DuplicateExecution,
    FilesUnavailable,
    HandlerFailed,
    JournalReplayed,
    LeaseLost,
    MessageRejected,
    MessagesRefused,
    RedisAvailable,
    RedisUnavailable,
    ScheduleFailed,
    StaleServed,
    StoreFault,
    StrategyFailed,
    TakenOver,
    TaskMismatch,
    TrackingRefused,
    ValueNotStored,
)
from toolcache.testing import FakeClock, Recorder

SAMPLES: dict[type, Any] = {
    BreakerChanged: BreakerChanged("redis", "closed", "open", "5 failures in a row"),
    StoreFault: StoreFault("redis", "get", "conn", "ConnectionError ECONNREFUSED"),
    BlobRejected: BlobRejected("file", "crc", "0a1b2c3d"),
    StrategyFailed: StrategyFailed("Mine", "evict", "KeyError"),
    StaleServed: StaleServed("search", "OSError", "0a1b2c3d"),
    ValueNotStored: ValueNotStored("search", "too large", "0a1b2c3d"),
    DataAtRisk: DataAtRisk("delete", "0a1b2c3d"),
    FilesUnavailable: FilesUnavailable("/var/cache", "read-only file system"),
    RedisUnavailable: RedisUnavailable("redis://app:***@cache:6379/0", "unknown host"),
    RedisAvailable: RedisAvailable("redis://app:***@cache:6379/0"),
    ClockAnomaly: ClockAnomaly("redis", 61.0),
    JournalReplayed: JournalReplayed(3, 1, 0),
    CoherenceChanged: CoherenceChanged("tracking", "timed", "ConnectionError"),
    TrackingRefused: TrackingRefused("NOPERM"),
    TakenOver: TakenOver("0a1b2c3d", 2),
    LeaseLost: LeaseLost("0a1b2c3d", "redis", "held by another"),
    DuplicateExecution: DuplicateExecution("0a1b2c3d", "redis"),
    TaskMismatch: TaskMismatch("0a1b2c3d"),
    DispatchDegraded: DispatchDegraded("0a1b2c3d", "redis", "timed out"),
    HandlerFailed: HandlerFailed("data.updated", "forget", "ValueError"),
    MessageRejected: MessageRejected("redis", "crc"),
    MessagesRefused: MessagesRefused("redis", "tc1:x:default"),
    ScheduleFailed: ScheduleFailed("search", "OSError"),
    AlertChanged: AlertChanged("few hits", "firing", "few hits: hit_rate is 10 %"),
    AlertActionFailed: AlertActionFailed("few hits", "page_me", "OSError"),
}
DISPATCH = (TakenOver, LeaseLost, DuplicateExecution, TaskMismatch, DispatchDegraded)
TOLD = (HandlerFailed, MessageRejected, MessagesRefused, ScheduleFailed, AlertActionFailed)
WARNINGS = {
    RedisUnavailable,
    BreakerChanged,
    FilesUnavailable,
    ClockAnomaly,
    DataAtRisk,
    TrackingRefused,
    StrategyFailed,
    *DISPATCH,
    *TOLD,
}


@pytest.fixture
def announce(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> Announcer:
    caplog.set_level(logging.DEBUG, logger="toolcache")
    return Announcer(clock)


class TestEvents:
    @pytest.mark.parametrize("kind", get_args(events.Event), ids=lambda kind: kind.__name__)
    def test_an_event_is_a_frozen_record(self, kind: type) -> None:
        """Each kind of event is frozen, equal by its fields, and documented."""
        event = SAMPLES[kind]
        assert dataclasses.replace(event) == event
        assert kind.__doc__
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, dataclasses.fields(event)[0].name, "other")

    @pytest.mark.parametrize("kind", get_args(events.Event), ids=lambda kind: kind.__name__)
    def test_an_event_has_no_place_for_secrets(self, kind: type) -> None:
        """No event has a field for a value, an exception or a whole URL; a key is eight digits of its digest."""
        fields = {field.name: field.type for field in dataclasses.fields(kind)}
        assert not fields.keys() & {"value", "exception", "error", "url", "password", "args"}
        assert set(fields.values()) <= {str, bool, float, int, "str", "bool", "float", "int"}


class TestListeners:
    def test_they_are_told_in_order(self, announce: Announcer) -> None:
        """Listeners are told of each event, in the order of their subscription."""
        told: list[tuple[str, Any]] = []
        announce.subscribe(lambda event: told.append(("first", event)))
        announce.subscribe(lambda event: told.append(("second", event)))
        event = SAMPLES[StoreFault]
        announce(event)
        assert told == [("first", event), ("second", event)]

    def test_the_throttle_is_the_logs(self, announce: Announcer) -> None:
        """A listener is told of every event, however many are alike."""
        recorder = Recorder()
        announce.subscribe(recorder)
        for _ in range(100):
            announce(SAMPLES[StoreFault])
        assert len(recorder.events) == 100

    def test_a_fault_of_one_is_not_the_others(self, announce: Announcer) -> None:
        """What a listener raises reaches neither the caller nor the next listener, and is counted."""
        recorder = Recorder()

        def broken(event: Any) -> None:
            raise RuntimeError(str(event))

        announce.subscribe(broken)
        announce.subscribe(recorder)
        announce(SAMPLES[DataAtRisk])
        announce(SAMPLES[DataAtRisk])
        assert announce.listener_errors == 2
        assert len(recorder.of(DataAtRisk)) == 2

    def test_they_can_leave(self, announce: Announcer) -> None:
        """What ``subscribe`` returns ends the subscription; calling it again is harmless, and takes no other's."""
        recorder = Recorder()
        leave = announce.subscribe(recorder)
        leave()
        leave()
        announce(SAMPLES[DataAtRisk])
        assert recorder.events == []

    def test_they_can_leave_while_being_told(self, announce: Announcer) -> None:
        """A listener that leaves on being told does not make another one miss the event."""
        recorder = Recorder()

        def once(_event: Any) -> None:
            leave()

        leave = announce.subscribe(once)
        announce.subscribe(recorder)
        announce(SAMPLES[DataAtRisk])
        announce(SAMPLES[DataAtRisk])
        assert len(recorder.events) == 2
        assert announce.listener_errors == 0


class TestLog:
    def test_a_refused_login_says_what_to_check(self) -> None:
        """EC-08: the line of a wrong password names what an operator should look at, and no secret."""
        event = BreakerChanged("redis.conn", "closed", "open", "access denied")
        expected = "breaker redis.conn: closed -> open, access denied: check the user, the password and the certificate"
        assert str(event).startswith(expected)

    def test_an_opening_says_why_and_what_happens_now(self) -> None:
        """CB-03: the line of a breaker that opens has the last failure's cause, and says that it tries again."""
        event = BreakerChanged("redis.conn", "closed", "open", "5 failures in a row", detail="timed out")
        assert str(event) == (
            "breaker redis.conn: closed -> open, 5 failures in a row (the last: timed out); "
            "it is left alone, and tried again from time to time"
        )

    def test_a_write_at_risk_says_why(self) -> None:
        """FS-07: the line of a write that memory alone took names what was the matter with each layer."""
        assert str(DataAtRisk("set", "0a1b2c3d", "file: no space left on device")).endswith(
            "no configured layer took it (file: no space left on device)"
        )

    @pytest.mark.parametrize("reason", ["unknown host", "connection refused", "timed out", "no such database", "other"])
    def test_a_redis_that_cannot_be_reached(self, reason: str) -> None:
        """The line has the address, the cause and what to check."""
        said = str(RedisUnavailable("redis://app:***@cache:6379/0", reason))
        assert said.startswith(f"no connection to redis://app:***@cache:6379/0: {reason}; check ")

    @pytest.mark.parametrize("kind", DISPATCH, ids=lambda kind: kind.__name__)
    def test_a_request_that_may_run_twice(self, kind: type) -> None:
        """The line has the request's digits and all else that the event knows."""
        event = SAMPLES[kind]
        said = str(event)
        assert all(str(getattr(event, field.name)) in said for field in dataclasses.fields(kind))

    def test_what_is_missing_says_what_may_happen(self) -> None:
        """Without Redis other hosts may run it, without files a crash may; any other layer is told as it is."""
        told = {layer: str(DispatchDegraded("0", layer, "down")) for layer in ("redis", "file", "both")}
        assert "other hosts" in told["redis"]
        assert "process die" in told["file"]
        assert "may run twice" in told["both"]

    def test_what_follows_from_a_told_cause_is_no_warning(
        self, announce: Announcer, clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """FS-08: once the cause is told, the breaker's opening and the writes at risk are information."""
        opened = [
            BreakerChanged(f"{layer}.conn", "closed", "open", "5 failures in a row") for layer in ("redis", "file")
        ]
        announce(SAMPLES[RedisUnavailable])
        announce(SAMPLES[FilesUnavailable])
        announce(DataAtRisk("set", "0", "", told=True))
        for event in (*opened, BreakerChanged("redis.conn", "open", "half_open")):
            announce(event)
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 2 + ["INFO"] * 4
        clock.advance(30)  # files that rest are tried again by now, and would have said so
        announce(SAMPLES[RedisAvailable])
        assert not announce.explained("redis")
        caplog.clear()
        for event in opened:
            announce(event)
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 2

    @pytest.mark.parametrize("kind", get_args(events.Event), ids=lambda kind: kind.__name__)
    def test_levels(self, announce: Announcer, caplog: pytest.LogCaptureFixture, kind: type) -> None:
        """What an operator should act on is a warning, the rest information; none carries a traceback."""
        announce(SAMPLES[kind])
        (record,) = caplog.records
        assert record.levelno == (logging.WARNING if kind in WARNINGS else logging.INFO)
        assert record.exc_info is None
        assert record.getMessage() == str(SAMPLES[kind])
        assert " " in record.getMessage()
        assert "(" not in record.getMessage().split(" ")[0], "a sentence for people, not the repr of a class"

    def test_one_line_in_thirty_seconds(
        self, announce: Announcer, clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """BUG-56: trouble of one kind is one line in 30 s, and the next line says how many were left out."""
        for _ in range(1_000):
            announce(SAMPLES[StoreFault])
        assert len(caplog.records) == 1
        clock.advance(29.9)
        announce(SAMPLES[StoreFault])
        assert len(caplog.records) == 1
        clock.advance(0.1)
        announce(SAMPLES[StoreFault])
        assert caplog.messages[1].endswith("(and 1000 more like it)")
        clock.advance(30)
        announce(SAMPLES[StoreFault])
        assert "more like it" not in caplog.messages[2]

    def test_another_kind_has_its_own_line(self, announce: Announcer, caplog: pytest.LogCaptureFixture) -> None:
        """BUG-56: what differs in layer, operation, kind, domain, directory, reason or state is not held back."""
        fault = SAMPLES[StoreFault]
        changed = SAMPLES[BreakerChanged]
        unstored, files = SAMPLES[ValueNotStored], SAMPLES[FilesUnavailable]
        unlike = [
            fault,
            dataclasses.replace(fault, layer="file"),
            dataclasses.replace(fault, operation="put"),
            dataclasses.replace(fault, kind="auth"),
            changed,
            dataclasses.replace(changed, name="redis writes"),
            dataclasses.replace(changed, after="half_open"),
            unstored,
            dataclasses.replace(unstored, domain="catalog"),
            files,
            dataclasses.replace(files, directory="/srv/cache"),
        ]
        for event in unlike * 2:
            announce(event)
        assert len(caplog.records) == len(unlike)

    def test_the_key_does_not_make_a_kind(self, announce: Announcer, caplog: pytest.LogCaptureFixture) -> None:
        """BUG-56: the same trouble with a thousand keys is one line, and is remembered once."""
        for number in range(1_000):
            announce(BlobRejected("redis", "crc", f"{number:08x}"))
        assert len(caplog.records) == 1
        assert len(announce._quiet_until) == 1

    def test_the_wall_clock_does_not_matter(
        self, announce: Announcer, clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """BUG-55: a step of the wall clock neither silences the log nor floods it."""
        announce(SAMPLES[StoreFault])
        clock.step_wall(3_600)
        announce(SAMPLES[StoreFault])
        clock.step_wall(-7_200)
        announce(SAMPLES[StoreFault])
        assert len(caplog.records) == 1
