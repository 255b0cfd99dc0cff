"""Settings that contradict one another, or do nothing."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from toolcache.cli.checks.finding import Finding

if TYPE_CHECKING:
    from toolcache.settings import Settings


def settings(chosen: "Settings", origins: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[Finding]:
    """Of the settings in effect.

    Args:
        chosen: the settings.
        origins: where each that was given comes from.
        environ: the variables of the process.
    """
    found = [*_layers(chosen, origins), *_freshness(chosen), *_sizes(chosen), *_doubles(environ)]
    yield from found
    if not found:
        given = len(origins)
        yield Finding("settings", "ok", f"{given} given, the others as they are by default; none contradicts another")


def _layers(chosen: "Settings", origins: Mapping[str, str]) -> Iterator[Finding]:
    if not chosen.enabled:
        where = origins.get("enabled", "default")
        yield Finding("settings", "bad", f"the cache is turned off ({where})", "set enabled to true")
    if chosen.redis_url is None and not chosen.files:
        says = "neither Redis nor files: every process computes for itself, and forgets when it ends"
        yield Finding("settings", "warn", says, "give redis_url, or leave files on")
    if chosen.redis_url is None:
        for name in ("redis_password", "redis_username"):
            if getattr(chosen, name) is not None:
                says = f"{name} is given ({origins.get(name, '')}), and no Redis is"
                yield Finding("settings", "warn", says, "give redis_url, or USE_REDIS=true for the one on this host")
        return
    if not (chosen.files and chosen.fallback):
        name = "fallback" if chosen.files else "files"
        says = f"{name} is off: while Redis is away, writes are in memory alone, and are lost with the process"
        yield Finding("settings", "warn", says, f"set {name} to true where the host has a disk")
    if not chosen.coherence:
        says = "coherence is off: memory may serve for 5 s what another process has overwritten"
        yield Finding("settings", "note", says, "set coherence to true")


def _freshness(chosen: "Settings") -> Iterator[Finding]:
    soft, hard = chosen.soft_timeout, chosen.hard_timeout
    if soft is not None and chosen.grace is None:
        says = "soft_timeout without grace does nothing: no old value is kept that could stand in"
        yield Finding("settings", "warn", says, "give grace, such as 1d")
    if soft is not None and hard is not None and soft >= hard:
        says = "soft_timeout is not shorter than hard_timeout: a computation fails before an old value stands in"
        yield Finding("settings", "warn", says, "make soft_timeout shorter")
    if chosen.lease >= chosen.lock_timeout:
        says = "lock_timeout is not longer than lease: others compute before a dead process is known to be dead"
        yield Finding("settings", "note", says, "make lock_timeout longer than lease")


def _sizes(chosen: "Settings") -> Iterator[Finding]:
    if chosen.max_entry > chosen.max_memory:
        says = f"max_entry ({chosen.max_entry:,}) is more than max_memory ({chosen.max_memory:,}): such values are never in memory"
        yield Finding("settings", "warn", says, "raise max_memory, or lower max_entry")
    if chosen.files and chosen.max_entry > chosen.max_disk:
        says = f"max_entry ({chosen.max_entry:,}) is more than max_disk ({chosen.max_disk:,})"
        yield Finding("settings", "bad", says, "raise max_disk, or lower max_entry")


def _doubles(environ: Mapping[str, str]) -> Iterator[Finding]:
    ours, theirs = environ.get("TOOLCACHE_REDIS_URL"), environ.get("REDIS_URL")
    if ours and theirs and ours != theirs:
        says = "TOOLCACHE_REDIS_URL and REDIS_URL name different servers; the first one is used"
        yield Finding("settings", "note", says, "unset one of them if that is not meant")
    if environ.get("USE_REDIS", "").strip().lower() in {"false", "0", "no", "off"} and (ours or theirs):
        says = "USE_REDIS turns Redis off although a URL is given"
        yield Finding("settings", "note", says, "unset USE_REDIS if Redis is wanted")
