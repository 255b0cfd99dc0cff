"""What all who watch are told, without a browser: worked out once, told once a second, ended cleanly."""

import asyncio
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from toolcache.testing import FakeClock
from toolcache.web.page.pulse import Listener, Part, Pulse
from toolcache.web.page.stream import DOCUMENTS, EventStream


class Source:
    """Counts how often it is asked, and says that."""

    def __init__(self, said: Any = None) -> None:
        self.asked = 0
        self.said = said

    async def __call__(self) -> Any:
        self.asked += 1
        if isinstance(self.said, Exception):
            raise self.said
        return self.asked if self.said is None else self.said


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def heard(listener: Listener) -> dict[str, Any]:
    said = await asyncio.wait_for(listener.next(), 5)
    assert said is not None
    document: dict[str, Any] = json.loads(said)
    return document


def pulse_of(clock: FakeClock, **parts: Part) -> Pulse:
    return Pulse(parts, clock)


def names(*parts: str) -> Mapping[str, str]:
    return {part: part for part in parts}


async def test_one_computation_for_all(clock: FakeClock) -> None:
    """However many listen, each part is asked for once a second, and all hear the same."""
    source = Source()
    pulse = pulse_of(clock, metrics=Part(source))
    with pulse.listening(names("metrics")) as one, pulse.listening(names("metrics")) as two:
        assert [(await heard(each))["metrics"] for each in (one, two)] == [1, 1]
        for second in range(2, 5):
            await settle()
            clock.advance(1.0)
            assert [(await heard(each))["metrics"] for each in (one, two)] == [second, second]
        assert source.asked == 4


async def test_at_most_one_document_a_second(clock: FakeClock) -> None:
    """Between two beats nobody hears anything, however often the loop turns."""
    pulse = pulse_of(clock, metrics=Part(Source()))
    with pulse.listening(names("metrics")) as listener:
        await heard(listener)
        waiting = asyncio.ensure_future(listener.next())
        await settle()
        clock.advance(0.9)
        await settle()
        assert not waiting.done()
        clock.advance(0.1)
        assert await asyncio.wait_for(waiting, 5) is not None


async def test_what_is_the_same_is_not_told_again(clock: FakeClock) -> None:
    """A part whose words are those of before is left out; the time is told all the same."""
    pulse = pulse_of(clock, still=Part(Source("same")), moving=Part(Source()))
    with pulse.listening(names("still", "moving")) as listener:
        assert set(await heard(listener)) == {"at", "still", "moving"}
        await settle()
        clock.advance(1.0)
        assert await heard(listener) == {"at": clock.time(), "moving": 2}
        with pulse.listening(names("still")) as late:
            assert await heard(late) == {"at": clock.time(), "still": "same"}


async def test_nobody_asks_for_what_nobody_wants(clock: FakeClock) -> None:
    """A part of another period is not worked out; and when the last one leaves, nothing is."""
    wanted, other = Source(), Source()
    pulse = pulse_of(clock, wanted=Part(wanted), other=Part(other))
    with pulse.listening(names("wanted")) as listener:
        await heard(listener)
    await settle()
    clock.advance(60.0)
    await settle()
    assert (wanted.asked, other.asked) == (1, 0)


async def test_who_comes_back_hears_nothing_old(clock: FakeClock) -> None:
    """What was said to the last one an hour ago is not said to the next one."""
    pulse = pulse_of(clock, metrics=Part(Source()))
    with pulse.listening(names("metrics")) as listener:
        assert (await heard(listener))["metrics"] == 1
    await settle()
    clock.advance(3_600.0)
    with pulse.listening(names("metrics")) as listener:
        assert await heard(listener) == {"at": clock.time(), "metrics": 2}


async def test_a_part_that_fails_is_said_to_have_failed(clock: FakeClock) -> None:
    """The others are told, and of the error its kind alone: its text may name keys."""
    pulse = pulse_of(clock, bad=Part(Source(ValueError("secret"))), good=Part(Source("fine")))
    with pulse.listening(names("bad", "good")) as listener:
        assert await heard(listener) == {"at": clock.time(), "bad": {"failed": "ValueError"}, "good": "fine"}


async def test_what_takes_long_is_asked_for_less_often(clock: FakeClock) -> None:
    """A part that took half a second is left alone for five; the others are told each second meanwhile."""
    quick = Source()
    asked: list[float] = []

    async def slow() -> str:
        asked.append(clock.monotonic())
        await clock.sleep(0.5)
        return f"slow {len(asked)}"

    pulse = pulse_of(clock, slow=Part(slow), quick=Part(quick))
    with pulse.listening(names("slow", "quick")):
        for _ in range(120):
            await settle()
            clock.advance(0.1)
    gaps = [later - sooner for sooner, later in pairwise(asked)]
    assert asked
    assert all(gap >= 4.8 for gap in gaps), gaps
    assert quick.asked >= 10


async def test_the_first_part_is_waited_for(clock: FakeClock) -> None:
    """What says what is wrong is told with the beat that asked for it, though it takes half of it; others need not be waited for."""
    ready, release = asyncio.Event(), asyncio.Event()

    async def first() -> str:
        await ready.wait()
        return "wrong"

    async def other() -> str:
        await release.wait()
        return "late"

    pulse = pulse_of(clock, first=Part(first), other=Part(other))
    with pulse.listening(names("first", "other")) as listener:
        hearing = asyncio.create_task(heard(listener))
        await settle()
        assert not hearing.done()
        ready.set()
        assert await hearing == {"at": clock.time(), "first": "wrong"}
        release.set()
        await settle()
        clock.advance(1.0)
        assert (await heard(listener))["other"] == "late"


async def test_how_often_a_part_is_asked_for_is_its_own(clock: FakeClock) -> None:
    """``every`` of 15 seconds is 15 seconds."""
    source = Source()
    pulse = pulse_of(clock, days=Part(source, 15.0))
    with pulse.listening(names("days")):
        for _ in range(31):
            await settle()
            clock.advance(1.0)
    assert source.asked == 3


async def test_closing_ends_all(clock: FakeClock) -> None:
    """Whoever listens when it is closed hears that it is over, at once; and nobody hears anything any more."""
    pulse = pulse_of(clock, metrics=Part(Source()))
    with pulse.listening(names("metrics")) as listener:
        await heard(listener)
        waiting = asyncio.ensure_future(listener.next())
        await settle()
        pulse.close()
        assert await asyncio.wait_for(waiting, 5) is None
        assert await listener.next() is None


class Wire:
    """The two ends of an ASGI response."""

    def __init__(self, method: str = "GET") -> None:
        self.scope = {"type": "http", "method": method}
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if not self.sent:
            return {"type": "http.request"}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()


async def test_the_stream_speaks_and_hangs_up(clock: FakeClock) -> None:
    """Events are one document each, headers keep proxies from gathering them; when the other end goes, nobody is left."""
    pulse = pulse_of(clock, metrics=Part(Source()))
    wire = Wire()
    speaking = asyncio.ensure_future(
        EventStream(pulse, names("metrics"), '{"period":"1h"}')(wire.scope, wire.receive, wire.send)
    )
    await settle()
    clock.advance(1.0)
    await settle()
    headers = dict(wire.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"cache-control"] == b"no-store"
    assert b"content-length" not in headers
    events = [json.loads(event.removeprefix("data: ")) for event in wire.text.split("\n\n") if event]
    assert events[0] == {"period": "1h"}
    assert [event["metrics"] for event in events[1:]] == [1, 2]
    wire.gone.set()
    await asyncio.wait_for(speaking, 5)
    await settle()
    assert pulse.listeners == 0
    assert pulse._beating is None


async def test_the_stream_ends_with_the_pulse(clock: FakeClock) -> None:
    """A server that closes it ends the response as HTTP has it, so that the page knows and comes back."""
    pulse = pulse_of(clock, metrics=Part(Source()))
    wire = Wire()
    speaking = asyncio.ensure_future(EventStream(pulse, names("metrics"), "{}")(wire.scope, wire.receive, wire.send))
    await settle()
    pulse.close()
    await asyncio.wait_for(speaking, 5)
    assert wire.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_stream_lasts_half_a_minute(clock: FakeClock) -> None:
    """Then it ends as if the server had nothing more to say: whoever waits for open connections waits no longer than that."""
    wire = Wire()
    stream = EventStream(pulse_of(clock, metrics=Part(Source())), names("metrics"), "{}")
    speaking = asyncio.ensure_future(stream(wire.scope, wire.receive, wire.send))
    for _ in range(DOCUMENTS + 2):
        await settle()
        clock.advance(1.0)
    await asyncio.wait_for(speaking, 5)
    assert wire.text.count("data: ") == DOCUMENTS == 30
    assert wire.sent[-1]["more_body"] is False


async def test_a_head_begins_nothing(clock: FakeClock) -> None:
    """HEAD asks for no part at all."""
    source = Source()
    wire = Wire("HEAD")
    await asyncio.wait_for(
        EventStream(pulse_of(clock, a=Part(source)), names("a"), "{}")(wire.scope, wire.receive, wire.send), 5
    )
    assert source.asked == 0
    assert wire.text == ""


@pytest.mark.parametrize("values", [float("nan"), float("inf")])
async def test_what_json_cannot_say_is_a_failure_of_its_part(clock: FakeClock, values: float) -> None:
    """No document is ever one that a browser cannot read."""
    pulse = pulse_of(clock, odd=Part(Source(values)), even=Part(Source(2)))
    with pulse.listening(names("odd", "even")) as listener:
        assert await heard(listener) == {"at": clock.time(), "odd": {"failed": "ValueError"}, "even": 2}
