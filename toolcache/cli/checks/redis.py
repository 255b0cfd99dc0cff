"""The server: its version, what it evicts, its clock, and what this user may do there."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from toolcache.cli.advice import for_redis
from toolcache.cli.checks.finding import Finding
from toolcache.cli.figures import percent, size, span

if TYPE_CHECKING:
    from toolcache.settings import Settings
    from toolcache.stores.redis.url import Address

_OLDEST: Final = (6, 2)
_SKEW: Final = 0.25
_MUCH: Final = 2.0
_FULL: Final = 0.9
_POLICY: Final = "redis-cli CONFIG SET maxmemory-policy volatile-ttl"
_ORDER: Final = ("redis", "eviction", "clock", "tracking")


async def redis(settings: "Settings") -> list[Finding]:
    """Of the Redis that is configured: of each server that takes writes, over one connection of its own."""
    from toolcache.cli.checks.places import places
    from toolcache.stores.redis.url import Address

    address = Address.parse(settings.redis_url, username=settings.redis_username, password=settings.redis_password)
    within = settings.op_timeout + settings.connect_timeout
    try:
        servers = await places(address, within)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is wrong
        return [_away(address, error)]
    found = await asyncio.gather(*(_server(one, within) for one in servers))
    if address.deployment == "cluster":
        return _together([_at(one) for one in servers], found)
    if address.deployment == "sentinel":
        found[0].insert(0, Finding("redis", "ok", f"the sentinels name {_at(servers[0])} as the master"))
    return found[0]


async def _server(address: "Address", within: float) -> list[Finding]:
    """What is found at one server."""
    try:
        asked = await _Asked.of(address, within)
    except Exception as error:  # noqa: BLE001 - the same
        return [_away(address, error)]
    try:
        return [
            *(found for look in (_version, _memory, _clock, _persistence) for found in look(asked)),
            await _tracking(asked),
        ]
    finally:
        asked.close()


def _away(address: "Address", error: Exception) -> Finding:
    from toolcache.causes import describe

    why = describe(error)
    return Finding("redis", "bad", f"{address.redacted} cannot be reached: {why}", for_redis(why))


def _at(address: "Address") -> str:
    return f"{address.host}:{address.port}"


def _together(names: list[str], found: list[list[Finding]]) -> list[Finding]:
    """Of several primaries: what is alike is told once, by the words of the first, with where it is so."""
    alike: dict[tuple[str, ...], dict[str, Finding]] = {}
    for name, some in zip(names, found, strict=True):
        for one in some:
            alike.setdefault((one.check, one.status, one.says if one.status == "bad" else one.do), {})[name] = one
    told = []
    for where in alike.values():
        first = next(iter(where.values()))
        if len(where) == len(names):
            said = f"{len(names)} primaries"
        elif first.status == "ok":
            said = f"{len(where)} of {len(names)} primaries"
        else:
            said = ", ".join(where)
        told.append(first._replace(says=f"{said}: {first.says}"))
    return sorted(told, key=lambda one: _ORDER.index(one.check))


class _Asked:
    """A connection, and what the server has told over it."""

    def __init__(self, connection: Any, info: Mapping[str, str], skew: float | None, took: float) -> None:
        self._connection = connection
        self.info = info
        self.skew = skew
        self.took = took

    @classmethod
    async def of(cls, address: Any, within: float) -> "_Asked":
        from toolcache.stores.redis import driver

        connection = await driver.connect(driver.connection_to(address, None, within), within=within, patience=within)
        asked = cls(connection, {}, None, 0.0)
        try:
            asked.info = _read((await asked.ask(b"INFO"))[0])
            sent = time.time()
            (said,) = await asked.ask(b"TIME")
            asked.took = time.time() - sent
            if isinstance(said, list):
                asked.skew = int(said[0]) + int(said[1]) / 1e6 - (sent + asked.took / 2)
        except BaseException:
            connection.close()
            raise
        return asked

    async def ask(self, *words: bytes) -> Any:
        from toolcache.stores.redis.wire import pack

        return await self._connection.call(pack(*words))

    def close(self) -> None:
        self._connection.close()


def _read(info: Any) -> dict[str, str]:
    """The fields of a reply to INFO; none where the user may not ask."""
    if not isinstance(info, bytes | str):
        return {}
    text = info.decode("utf-8", "replace") if isinstance(info, bytes) else info
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value.strip() for name, colon, value in pairs if colon}


def _version(asked: _Asked) -> Iterator[Finding]:
    info = asked.info
    said = info.get("valkey_version") or info.get("redis_version")
    if said is None:
        yield Finding(
            "redis", "note", "the user may not ask INFO: a server that was replaced goes unnoticed", for_redis("NOPERM")
        )
        return
    name = "Valkey" if "valkey_version" in info else "Redis"
    numbers = tuple(int(part) for part in info.get("redis_version", said).split(".")[:2] if part.isdecimal())
    answers = f"{name} {said}, answers in {span(asked.took)}"
    if numbers < _OLDEST:
        yield Finding("redis", "warn", f"{answers}; it tells no cache what others write", "use 6.2 or newer")
    else:
        yield Finding("redis", "ok", answers)
    if info.get("role", "master") != "master":
        yield Finding("redis", "bad", "it is a replica, and takes no writes", for_redis("READONLY"))


def _memory(asked: _Asked) -> Iterator[Finding]:
    info = asked.info
    policy = info.get("maxmemory_policy")
    if policy is None:
        return
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if policy.startswith("allkeys"):
        says = f"maxmemory-policy is {policy}: sessions, results and marks of deletes may be evicted before their time"
        yield Finding("eviction", "warn", says, _POLICY)
    elif policy not in {"noeviction", "volatile-ttl"}:
        says = f"maxmemory-policy is {policy}: marks of deletes may be evicted before their time"
        yield Finding("eviction", "note", says, _POLICY)
    else:
        yield Finding("eviction", "ok", f"maxmemory-policy is {policy}: what is promised is kept")
    if not most:
        says = f"maxmemory is not set: it takes as much as the host has, {size(used)} by now"
        yield Finding("eviction", "note", says, "redis-cli CONFIG SET maxmemory 1gb")
    elif used > most * _FULL:
        says = f"{percent(used / most)} of maxmemory ({size(most)}) is used"
        yield Finding("eviction", "warn", says, "raise maxmemory; when it is full it refuses writes, or evicts")


def _clock(asked: _Asked) -> Iterator[Finding]:
    if asked.skew is None:
        yield Finding(
            "clock", "note", "the user may not ask TIME: each host goes by its own clock", for_redis("NOPERM")
        )
        return
    ahead, off = ("ahead of" if asked.skew < 0 else "behind"), abs(asked.skew)
    if off <= max(_SKEW, asked.took):
        yield Finding("clock", "ok", f"this host and Redis agree to {span(max(off, 0.001))}")
    else:
        status = "warn" if off > _MUCH else "note"
        says = f"this host is {span(off)} {ahead} Redis; the cache goes by Redis, records of this host's files alone by its own"
        yield Finding("clock", "warn" if status == "warn" else "note", says, "have both hosts set their clocks by NTP")


def _persistence(asked: _Asked) -> Iterator[Finding]:
    if asked.info.get("rdb_last_bgsave_status", "ok") != "ok" or asked.info.get("aof_last_write_status", "ok") != "ok":
        yield Finding(
            "redis", "bad", "its last attempt to save its data failed: it may refuse writes", for_redis("MISCONF")
        )


async def _tracking(asked: _Asked) -> Finding:
    """Whether the user may do what takes to be told of others' writes."""
    (number,) = await asked.ask(b"CLIENT", b"ID")
    steps: tuple[Callable[[], tuple[bytes, ...]], ...] = (
        lambda: (b"CLIENT", b"TRACKING", b"ON", b"REDIRECT", b"%d" % number, b"BCAST", b"PREFIX", b"tc1:doctor:"),
        lambda: (b"SUBSCRIBE", b"__redis__:invalidate"),
    )
    said: Any = number
    for step in steps:
        if isinstance(said, Exception) or not isinstance(number, int):
            break
        (said,) = await asked.ask(*step())
    if isinstance(said, Exception):
        do = "give the user CLIENT, SUBSCRIBE, PING and the channel &__redis__:invalidate: docs/how-to/redis.md"
        return Finding("tracking", "warn", "Redis will not tell what others write: memory asks again after 5 s", do)
    return Finding("tracking", "ok", "Redis tells what others write, as it happens")
