"""What all who watch are told: worked out once, however many they are, and told at most once a second."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from toolcache.protocols import Clock

BEAT: Final = 1.0
SHARE: Final = 10
"""A part is asked for anew no sooner than after so many times as long as it took: a tenth of the time at most."""
_PATIENCE: Final = BEAT / 10

Ask = Callable[[], Awaitable[Any]]


class Part:
    """One part of the document.

    Args:
        ask: gives what JSON can say of it now.
        every: seconds between two times that it is asked for, at least.

    Attributes:
        text: the JSON of it; empty until it was asked for.
        version: another one when the text is another.
        listeners: how many want it; nobody asks for what nobody wants.
    """

    def __init__(self, ask: Ask, every: float = BEAT) -> None:
        self._ask = ask
        self._every = every
        self._due = 0.0
        self.text = ""
        self.version = 0
        self.listeners = 0

    def forget(self) -> None:
        """What was said when somebody last listened is old by now."""
        self.text = ""
        self._due = 0.0

    def due(self, now: float) -> bool:
        """Whether it is to be asked for at this instant of the monotonic clock."""
        return self.listeners > 0 and now >= self._due

    async def refresh(self, clock: Clock) -> None:
        """Ask. Of what fails its kind alone is told: its text may name keys."""
        began = clock.monotonic()
        try:
            text = _json(await self._ask())
        except Exception as error:  # noqa: BLE001 - one part that fails takes no other with it
            text = _json({"failed": type(error).__name__})
        took = clock.monotonic() - began
        self._due = began + max(self._every, SHARE * took) - BEAT / 10  # a beat comes a little early now and then
        if text != self.text:
            self.text = text
            self.version += 1


def _json(said: Any) -> str:
    return json.dumps(said, separators=(",", ":"), allow_nan=False)


class Pulse:
    """Beats once a second while anybody listens.

    Args:
        parts: by name; the first one is waited for longer, since it says what is wrong.
        clock: tells when.

    Attributes:
        beats: how often it has beaten.
        listeners: how many there are.
        closed: whether it has come to its end.
    """

    def __init__(self, parts: Mapping[str, Part], clock: Clock) -> None:
        self.parts = dict(parts)
        self._first = next(iter(self.parts.values()))
        self._clock = clock
        self._turn = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None
        self.listeners = 0
        self.beats = 0
        self.closed = False

    @contextmanager
    def listening(self, names: Mapping[str, str]) -> Iterator["Listener"]:
        """Hear of some parts within the block.

        Args:
            names: what a part is called in the document, and which it is.
        """
        wanted = {called: self.parts[name] for called, name in names.items()}
        for part in wanted.values():
            if not part.listeners:
                part.forget()
            part.listeners += 1
        self.listeners += 1
        if self._beating is None:
            self._turn = asyncio.Event()
            self._beating = asyncio.create_task(self._beat(), name="toolcache-pulse")
        try:
            yield Listener(self, wanted)
        finally:
            for part in wanted.values():
                part.listeners -= 1
            self.listeners -= 1
            if not self.listeners and self._beating is not None:
                self._beating.cancel()
                self._beating = None

    def close(self) -> None:
        """Have all that listen come to their end."""
        self.closed = True
        self._turn.set()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock.time()

    async def turn(self) -> None:
        """Wait for the next beat."""
        await self._turn.wait()

    async def _beat(self) -> None:
        asking: dict[Part, asyncio.Task[None]] = {}
        try:
            while not self.closed:
                now = self._clock.monotonic()
                for part in self.parts.values():
                    if part not in asking and part.due(now):
                        asking[part] = asyncio.create_task(part.refresh(self._clock))
                if asking:  # whoever takes longer is told of with a later beat
                    await asyncio.wait(asking.values(), timeout=_PATIENCE)
                    if self._first in asking:
                        await asyncio.wait([asking[self._first]], timeout=BEAT - 2 * _PATIENCE)
                    asking = {part: task for part, task in asking.items() if not task.done()}
                self.beats += 1
                turn, self._turn = self._turn, asyncio.Event()
                turn.set()
                await self._clock.sleep(max(0.05, BEAT - (self._clock.monotonic() - now)))
        finally:
            for task in asking.values():
                task.cancel()


class Listener:
    """One who is told; see ``Pulse.listening``."""

    def __init__(self, pulse: Pulse, parts: Mapping[str, Part]) -> None:
        self._pulse = pulse
        self._parts = parts
        self._known: dict[str, int] = {}
        # One that comes while others listen need not wait for what they know.
        self._beat = -1 if any(part.text for part in parts.values()) else pulse.beats

    async def next(self) -> str | None:
        """The next document: the time, and those parts that are others than before; None at the end.

        Who takes long to listen misses what was said meanwhile, and is told how things stand.
        """
        if self._beat == self._pulse.beats:
            await self._pulse.turn()
        if self._pulse.closed:
            return None
        self._beat = self._pulse.beats
        said = [f'"at":{self._pulse.now():.3f}']
        for name, part in self._parts.items():
            if part.text and part.version != self._known.get(name):
                self._known[name] = part.version
                said.append(f'"{name}":{part.text}')
        return "{" + ",".join(said) + "}"
