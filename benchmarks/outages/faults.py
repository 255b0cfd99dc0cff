"""What happens to the servers. ``PYTHONPATH=tests``: the servers are those of the tests."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from servers import RedisServer

KEEPING: Final = ("--appendonly", "yes", "--appendfsync", "no")
"""A server that has, after it was killed, what it had acknowledged."""

_FLAP: Final = 1.5

Servers: TypeAlias = Sequence[RedisServer]


@dataclass(frozen=True)
class Fault:
    """One kind of outage.

    Args:
        name: a word for the command line.
        title: what happens.
        play: lets it happen to all servers, takes the seconds given, and leaves the servers well.
    """

    name: str
    title: str
    play: Callable[[Servers, float], None]


def _killed(servers: Servers, seconds: float) -> None:
    until = time.monotonic() + seconds
    for server in servers:
        server.stop()
    _rest(until)
    for server in servers:
        server.start()


def _emptied(servers: Servers, seconds: float) -> None:
    until = time.monotonic() + seconds
    for server in servers:
        server.stop()
        shutil.rmtree(server.directory / "appendonlydir", ignore_errors=True)
    _rest(until)
    for server in servers:
        server.start()


def _frozen(servers: Servers, seconds: float) -> None:
    until = time.monotonic() + seconds
    for server in servers:
        server.freeze()
    _rest(until)
    for server in servers:
        server.thaw()


def _full(servers: Servers, seconds: float) -> None:
    until = time.monotonic() + seconds
    for server in servers:
        server.config(maxmemory=1)
    _rest(until)
    for server in servers:
        server.config(maxmemory=0)


def _flapping(servers: Servers, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (now := time.monotonic()) < until:
        _killed(servers, min(_FLAP, until - now))
        _rest(min(time.monotonic() + _FLAP, until))


def _rest(until: float) -> None:
    time.sleep(max(0.0, until - time.monotonic()))


FAULTS: Final = {
    fault.name: fault
    for fault in (
        Fault("killed", "The server is killed, and comes back with the data it had", _killed),
        Fault("emptied", "The server is killed, and comes back empty", _emptied),
        Fault("frozen", "The server stands still (SIGSTOP), and goes on with what its sockets hold", _frozen),
        Fault("full", "The server's memory is full: it answers reads and refuses writes (noeviction)", _full),
        Fault("flapping", f"The server is killed and comes back, every {_FLAP} s", _flapping),
    )
}
