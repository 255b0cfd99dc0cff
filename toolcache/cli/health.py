"""Whether each layer works, and what to do where one does not."""

import time
from typing import TYPE_CHECKING, Any, Final

from toolcache.cli.advice import for_files, for_redis
from toolcache.cli.call import Answer, Call
from toolcache.cli.figures import ago, count, span
from toolcache.cli.problems import Code
from toolcache.cli.verb import verb
from toolcache.fields import Frozen

if TYPE_CHECKING:
    from rich.console import RenderableType

    from toolcache.cli.screen import Cell, Screen
    from toolcache.metrics.snapshot import Process
    from toolcache.stats import Health, LayerHealth

RECENT: Final = 15.0
"""Seconds: how a process is that has written down nothing for so long, nobody knows."""


class Trouble(Frozen):
    """Something that is wrong, and what to do about it."""

    says: str
    do: str
    unreachable: bool = False


@verb("health")
async def health(call: Call) -> Answer:
    """Health.

    Every layer is asked for something; of the other processes it tells what they have written down in the last seconds. Exit
    codes: 0 all is well; 1 something is wrong; 3 a layer cannot be reached.
    """
    async with call.cache() as cache:
        asked = await cache.health()
        fleet: Any = await cache.metrics("5m") if hasattr(cache, "metrics") else None
    now = time.time()
    others = [one for one in fleet.processes if now - one.seen_at < RECENT] if fleet is not None else []
    wrong = troubles(asked, others)
    code = Code.UNREACHABLE if any(one.unreachable for one in wrong) else Code.FOUND if wrong else Code.OK
    document = {"status": "ok" if not wrong else "degraded", "health": asked, "processes": others, "problems": wrong}
    return Answer(document, lambda screen: _show(screen, asked, others, wrong, now), code)


def troubles(asked: "Health", others: "list[Process]") -> list[Trouble]:
    """What is wrong, the worst first."""
    found: list[Trouble] = []
    if not asked.enabled:
        found.append(Trouble("the cache is turned off: everything is computed, nothing is kept", "set enabled to true"))
    if asked.redis is not None:
        found += _of_layer("Redis", asked.redis, for_redis(asked.redis.last_fault))
    if asked.files is not None:
        found += _of_layer("the files", asked.files, for_files(asked.files.last_fault))
    for one in others:
        for layer, state in one.breakers.items():
            if state == "open":
                says = f"process {one.host}:{one.pid} does without {'Redis' if layer == 'redis' else layer}: its breaker is open"
                found.append(Trouble(says, "it tries again by itself; see whether it can reach it from there"))
    if asked.pending and asked.redis is not None and asked.redis.usable:
        oldest = ago(time.time() - asked.oldest_pending_at) if asked.oldest_pending_at else "lately"
        says = f"{count(asked.pending)} writes of this host are owed to Redis, the oldest made {oldest}"
        found.append(Trouble(says, "they are told by any process that has the cache open; leave one running"))
    return found


def _of_layer(name: str, layer: "LayerHealth", do: str) -> list[Trouble]:
    if layer.usable is False:
        why = f": {layer.last_fault}" if layer.last_fault else ""
        return [Trouble(f"{name} cannot be reached at {layer.where}{why}", do, unreachable=True)]
    if layer.breaker != "closed" or layer.write_breaker not in {None, "closed"}:
        return [Trouble(f"{name} at {layer.where} takes no writes: {layer.last_fault}", do)]
    return []


def _show(screen: "Screen", asked: "Health", others: "list[Process]", wrong: list[Trouble], now: float) -> None:
    from rich.text import Text

    from toolcache.cli.screen import BAD, DIM, GOOD, WARN, Column, heading, shown, stacked, styled, table

    state = styled("ok", GOOD) if not wrong else styled("degraded", BAD)
    columns = (
        Column("LAYER", right=False),
        Column("STATE", right=False),
        Column("ANSWERS IN", rank=1),
        Column("ENTRIES", rank=1),
        Column("WHERE", right=False, fold=True),
    )
    rows: list[tuple[Cell, ...]] = []
    for name, layer in (("Redis", asked.redis), ("files", asked.files)):
        if layer is None:
            rows.append((name, styled("not configured", DIM), "", "", ""))
        else:
            rows.append(_row(name, layer))
    told: list[RenderableType] = [
        heading(shown(asked.namespace)) + Text("  ") + state,
        table(columns, rows, screen.width),
    ]
    if others:
        lines = [
            (f"{shown(one.host)}:{one.pid}", ago(now - one.seen_at), one.coherence, count(one.pending))
            for one in others[:5]
        ]
        kinds = (Column("PROCESS", right=False), Column("SEEN"), Column("TOLD BY", right=False), Column("OWED"))
        told.append(table(kinds, lines, screen.width))
    screen.show(stacked(told))
    for one in wrong:
        screen.show(Text(""), Text.assemble(("▲ ", WARN), shown(one.says)), Text(f"  → {one.do}"))


def _row(name: str, layer: "LayerHealth") -> "tuple[Cell, ...]":
    from toolcache.cli.screen import BAD, GOOD, WARN, shown, styled

    if layer.usable is False:
        state = styled("● not reached", BAD)
    elif layer.breaker == "closed" and layer.write_breaker in {None, "closed"}:
        state = styled("● works", GOOD)
    else:
        state = styled("● reads only", WARN)
    took = span(layer.latency) if layer.latency is not None else "–"
    return name, state, took, "–" if layer.entries is None else count(layer.entries), shown(layer.where)
