"""A live view of what the fleet does, over the whole screen."""

import asyncio
import contextlib
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.problems import Problem
from toolcache.cli.stats import LABELS, fleet_of, look
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

    from toolcache.cli.screen import Screen
    from toolcache.metrics.snapshot import Label, Metrics
    from toolcache.tool_cache import ToolCache

_SHORTEST: Final = 0.1
_SECONDS: Final = 60
_ESCAPE: Final = b"\x1b"


@verb("watch")
@click.option("--period", default="15m", show_default=True, metavar="SPAN", help="How far back the tables go.")
@click.option(
    "--by", "label", type=click.Choice(LABELS), default="domain", show_default=True, help="A row for each of these."
)
@click.option("--interval", default="1s", show_default=True, metavar="SPAN", help="From one look to the next.")
async def watch(call: Call, period: str, label: "Label", interval: str) -> Answer:
    """Watch.

    It looks again each second; q or Ctrl-C leaves. In a pipe, and with --json, it looks once.
    """
    from toolcache.durations import seconds

    every = seconds(interval, name="--interval")
    if every < _SHORTEST:
        raise Problem(f"--interval is {_SHORTEST:g} s at least")
    async with call.cache() as cache:
        if call.as_json or not call.out.terminal:
            return await look(call, cache, period, label)
        await _Watch(call.out, cache, period, label, every).run()
    return Answer(None, None)


class Pulse:
    """What changes from look to look: calls a second, and their hit rate, of the last minute."""

    def __init__(self) -> None:
        self._last: tuple[float, int, int] | None = None
        self.calls: deque[float] = deque(maxlen=_SECONDS)
        self.hit_rate: float | None = None

    def look(self, metrics: "Metrics", now: float) -> None:
        """Take note of what the counts have come to."""
        hits, misses = metrics.hits, metrics.misses
        if self._last is not None and now > self._last[0]:
            came, missed = max(0, hits - self._last[1]), max(0, misses - self._last[2])
            self.calls.append((came + missed) / (now - self._last[0]))
            self.hit_rate = came / (came + missed) if came + missed else None
        self._last = now, hits, misses


def picture(
    metrics: "Metrics", pulse: Pulse, screen: "Screen", namespace: str, period: str, label: "Label"
) -> "RenderableType":
    """One frame."""
    from rich.text import Text

    from toolcache.cli import fleet as views
    from toolcache.cli.charts import sparkline
    from toolcache.cli.figures import count, percent
    from toolcache.cli.screen import ACCENT, DIM, stacked

    rate = f", {percent(pulse.hit_rate)} of them hits" if pulse.hit_rate is not None else ""
    calls = pulse.calls[-1] if pulse.calls else 0.0
    now = Text.assemble(
        ("now  ", DIM),
        f"{count(calls)} calls/s{rate}  ",
        (sparkline([one or None for one in pulse.calls][-max(10, screen.width - 45) :]), ACCENT),
    )
    parts = views.tables(metrics, label, screen.width)
    leave = Text.assemble((time.strftime("%H:%M:%S"), DIM), ("   q leaves", DIM))
    return Screenful(stacked([views.title(metrics, namespace, period), now, *parts.values()]), leave)


class Screenful:
    """As much of something as there is room for, and the last line, whatever is left out.

    Args:
        body: what may be left out from below.
        last: one line; it tells how many are left out.
    """

    def __init__(self, body: "RenderableType", last: "Text") -> None:
        self._body = body
        self._last = last

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """The lines."""
        from rich.segment import Segment

        lines = console.render_lines(self._body, options.update(height=None), pad=False)
        room = len(lines) if options.height is None else max(0, options.height - 2)
        for line in lines[:room]:
            yield from line
            yield Segment.line()
        more = len(lines) - room
        yield Segment.line()
        yield self._last if more <= 0 else self._last + f"   {more} more lines, in a higher window"


def leaves(typed: bytes) -> bool:
    """Whether keys tell to leave: q, or Escape alone, with which arrows and a mouse's wheel begin too."""
    if typed.startswith(_ESCAPE):
        return typed == _ESCAPE
    return not typed or b"q" in typed.lower()


class _Watch:
    """One view, for as long as somebody looks."""

    def __init__(self, screen: "Screen", cache: "ToolCache", period: str, label: "Label", every: float) -> None:
        self._screen = screen
        self._cache = cache
        self._period = period
        self._label = label
        self._every = every
        self._left = asyncio.Event()
        self._again = asyncio.Event()
        self._pulse = Pulse()

    async def run(self) -> None:
        """Look, show, wait; until told to leave."""
        from rich.live import Live

        loop = asyncio.get_running_loop()
        with self._keys(loop), Live(console=self._screen.console, screen=True, auto_refresh=False) as live:
            loop.add_signal_handler(signal.SIGWINCH, self._again.set)
            try:
                while not self._left.is_set():
                    metrics = await fleet_of(self._cache, self._period)
                    self._pulse.look(metrics, loop.time())
                    live.update(self._picture(metrics), refresh=True)
                    await self._wait(live, metrics)
            except asyncio.CancelledError:  # Ctrl-C, which is a way to leave
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
            finally:
                loop.remove_signal_handler(signal.SIGWINCH)

    async def _wait(self, live: "Live", metrics: "Metrics") -> None:
        """Until the next look; a screen that changes its size is drawn anew at once."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._every
        while not self._left.is_set() and (left := until - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._again.wait()
            if self._again.is_set():
                self._again.clear()
                live.update(self._picture(metrics), refresh=True)

    def _picture(self, metrics: "Metrics") -> "RenderableType":
        namespace = self._cache.settings.namespace
        return picture(metrics, self._pulse, self._screen, namespace, self._period, self._label)

    @contextlib.contextmanager
    def _keys(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Single keys of the terminal, if there is one to type on."""
        if not sys.stdin.isatty():
            yield
            return
        import termios
        import tty

        number = sys.stdin.fileno()
        before = termios.tcgetattr(number)
        tty.setcbreak(number)
        loop.add_reader(number, self._key, number)
        try:
            yield
        finally:
            loop.remove_reader(number)
            termios.tcsetattr(number, termios.TCSADRAIN, before)

    def _key(self, number: int) -> None:
        import os

        if leaves(os.read(number, 64)):
            self._left.set()
            self._again.set()


if TYPE_CHECKING:
    from rich.live import Live
