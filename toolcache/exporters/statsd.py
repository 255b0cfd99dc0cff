"""For StatsD: what has come since the last time, in datagrams that nobody waits for."""

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from toolcache.durations import Duration, seconds
from toolcache.errors import SettingsError
from toolcache.exporters.families import Family, told
from toolcache.exporters.local import read
from toolcache.spelling import nearest
from toolcache.spread import Spread

if TYPE_CHECKING:
    from toolcache.cache import Cache

Tags: TypeAlias = Literal["none", "dogstatsd", "influx"]
_Labels: TypeAlias = tuple[tuple[str, str], ...]
_Key: TypeAlias = tuple[str, _Labels]

MAX_PACKET: Final = 1_432
"""Bytes that go through any network in one piece."""

_RESOLVED_FOR: Final = 300.0
"""Seconds after which the name of the host is looked up again."""

_LAST_WORD: Final = 1.0
"""Seconds that looking up the host may take at the end."""

_LONGEST: Final = 80
_PLAIN: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_WORD: Final = re.compile(r"[^A-Za-z0-9_-]+")
_QUANTILES: Final = ("p50", "p95", "p99")
_TOLD_APART: Final = frozenset({"agent", "tool", "model"})
"""Labels that a name without tags leaves out."""

logger = logging.getLogger("toolcache")


class StatsD:
    """Sends what a cache counts to a StatsD server: counts that have come since the last time, sizes as gauges.

    Latencies are gauges of their quantiles in the interval. A server that is down, or a host that nobody knows, costs the
    cache nothing, and is told once in the log; what is counted meanwhile is sent when the host is known.

    Args:
        cache: what is told of, from now on.
        host: name or address of the server.
        port: its UDP port.
        prefix: what every name begins with.
        every: how long to wait from one time to the next.
        tags: how the server takes labels: ``"dogstatsd"`` and ``"influx"`` as tags; ``"none"`` has them in the name, and
            leaves out agents, tools and models.

    Raises:
        SettingsError: an option cannot be.

    Examples:
        >>> async with StatsD(cache, "127.0.0.1", 8125, tags="dogstatsd"):
        ...     await serve()
    """

    def __init__(
        self,
        cache: "Cache",
        host: str = "127.0.0.1",
        port: int = 8125,
        prefix: str = "toolcache",
        *,
        every: Duration = "10s",
        tags: Tags = "none",
    ) -> None:
        if tags not in _WRITERS:
            raise SettingsError(f"tags is one of {', '.join(_WRITERS)}, not {tags!r}{nearest(str(tags), _WRITERS)}")
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 1 << 16:
            raise SettingsError(f"port is a number from 1 to 65535, not {port!r}")
        try:
            self._every = seconds(every, name="every")
        except (TypeError, ValueError) as wrong:
            raise SettingsError(str(wrong)) from None
        self._cache = cache
        self._clock = cache._parts.clock  # noqa: SLF001 - of one house
        self._host, self._port = host, port
        self._prefix = _PLAIN.sub("_", prefix).strip(".")[:_LONGEST]
        self._write = _WRITERS[tags]
        self._seen: dict[_Key, float | Spread] = {}
        self._socket: socket.socket | None = None
        self._address: tuple[Any, ...] = ()
        self._looked_up_at = -_RESOLVED_FOR
        self._complained = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def start(self) -> None:
        """Begin to send, from a task of the running loop. More than one call is harmless."""
        if self._task is None:
            self._changes()
            self._task = asyncio.get_running_loop().create_task(self._run(), name="toolcache statsd")

    async def aclose(self) -> None:
        """Send what has come since the last time, and end. More than one call is harmless."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait((task,))
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD):
                await self._find()
        if self._socket is not None:
            self._flush()
            self._socket.close()
            self._socket = None

    async def _run(self) -> None:
        await self._find()
        while True:
            await self._clock.sleep(self._every)
            if await self._find():
                self._flush()

    # -- sending ------------------------------------------------------------------------------------------------

    async def _find(self) -> bool:
        """Look the host up, if that was not done of late; whether it is known."""
        now = self._clock.monotonic()
        if self._socket is not None and now < self._looked_up_at + _RESOLVED_FOR:
            return True
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = found[0]
            opened = socket.socket(family, kind, protocol)
        except (OSError, UnicodeError) as fault:  # a name that is none fails as its encoding
            self._complain(fault)
            return self._socket is not None
        opened.setblocking(False)
        if self._socket is not None:
            self._socket.close()
        self._socket, self._address, self._looked_up_at = opened, address, now
        return True

    def _flush(self) -> None:
        for packet in packets(self._changes()):
            try:
                if self._socket is not None:
                    self._socket.sendto(packet, self._address)
            except BlockingIOError:
                continue  # as lost as any other datagram
            except OSError as fault:
                self._complain(fault)
                return

    def _complain(self, fault: Exception) -> None:
        if not self._complained:
            self._complained = True
            logger.warning(
                "StatsD at %s:%d cannot be told (%s): the cache goes on without it; look at the host and the port",
                *(self._host, self._port, type(fault).__name__),
            )

    # -- counting -----------------------------------------------------------------------------------------------

    def _changes(self) -> list[str]:
        """Lines of what has come since the last time, and of what is."""
        lines: list[str] = []
        reading = read(self._cache)
        for family, rows in told(reading):
            names = ("namespace", *family.labels)
            for values, number in rows:
                labels = tuple(zip(names, (reading.namespace, *values), strict=True))
                lines += self._lines(family, labels, number)
        return lines

    def _lines(self, family: Family, labels: _Labels, number: float | Spread) -> Iterator[str]:
        name = f"{self._prefix}.{family.name}" if self._prefix else family.name
        key = family.name, labels
        if isinstance(number, Spread):
            before = self._seen.get(key, Spread())
            came = number - before if isinstance(before, Spread) else number
            self._seen[key] = number
            if came.count:
                yield from (self._write(name, labels, getattr(came, one), "g", one) for one in _QUANTILES)
        elif family.kind == "gauge":
            yield self._write(name, labels, number, "g", "")
        else:
            before = self._seen.get(key, 0.0)
            if not isinstance(before, Spread) and number > before:
                self._seen[key] = number
                yield self._write(name, labels, number - before, "c", "")


def packets(lines: Iterable[str], most: int = MAX_PACKET) -> Iterator[bytes]:
    """The lines, as many to a datagram as fit."""
    packet = b""
    for line in lines:
        more = line.encode("ascii")
        if packet and len(packet) + 1 + len(more) > most:
            yield packet
            packet = b""
        packet = packet + b"\n" + more if packet else more
    if packet:
        yield packet


def _bare(name: str, labels: _Labels, number: float, kind: str, suffix: str) -> str:
    words = [name]
    words += [_WORD.sub("_", value)[:_LONGEST] for label, value in labels if value and label not in _TOLD_APART]
    return f"{'.'.join([*words, suffix] if suffix else words)}:{_number(number)}|{kind}"


def _dogstatsd(name: str, labels: _Labels, number: float, kind: str, suffix: str) -> str:
    tags = ",".join(f"{label}:{value}" for label, value in _tags(labels))
    return f"{name}{'.' * bool(suffix)}{suffix}:{_number(number)}|{kind}|#{tags}"


def _influx(name: str, labels: _Labels, number: float, kind: str, suffix: str) -> str:
    tags = "".join(f",{label}={value}" for label, value in _tags(labels))
    return f"{name}{'.' * bool(suffix)}{suffix}{tags}:{_number(number)}|{kind}"


def _tags(labels: _Labels) -> Iterator[tuple[str, str]]:
    """Those that say anything, in letters that no server takes for its own."""
    return ((label, _PLAIN.sub("_", value)[:_LONGEST]) for label, value in labels if value)


def _number(number: float) -> str:
    """Without an exponent, which some servers do not read."""
    return f"{number:.9f}".rstrip("0").rstrip(".")


_WRITERS: Final[dict[str, Callable[[str, _Labels, float, str, str], str]]] = {
    "none": _bare,
    "dogstatsd": _dogstatsd,
    "influx": _influx,
}
