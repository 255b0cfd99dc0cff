"""What agents ask for: calls of tools and searches as they were recorded, where they are at hand, or made ones of that shape."""

import json
import lzma
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

_DATA: Final = Path(os.environ.get("TOOLCACHE_DATA") or Path(__file__).parents[3] / "shared" / "data") / "agent"
_QUERIES: Final = 150
_PLACES: Final = ("JFK", "SEA", "LAX", "ORD", "MIA", "DEN")

Kind = Literal["read", "write", "answer", "search"]
_KINDS: Final[dict[str, Kind]] = {"read": "read", "write": "write", "none": "answer"}


class Call(NamedTuple):
    """One call: of a tool that reads or writes, for an answer of a model, or a search among tools."""

    kind: Kind
    name: str
    params: dict[str, Any]


def calls() -> list[Call]:
    """All of them, in the order they were made, with the searches strewn in."""
    recorded = list(_recorded("calls_tau_airline"))
    if not recorded:
        return _made()
    asked = [Call(_KINDS[row["kind"]], row["tool"], row["args"]) for row in recorded if not row["error"]]
    searches = [Call("search", "tools", {"query": row["q"]}) for row in list(_recorded("tool_queries"))[:_QUERIES]]
    return [one for number, call in enumerate(asked) for one in (call, searches[number % len(searches)])]


def _recorded(name: str) -> Iterator[dict[str, Any]]:
    file = _DATA / f"{name}.jsonl.xz"
    if file.exists():
        for line in lzma.decompress(file.read_bytes()).splitlines():
            yield json.loads(line)


def _made() -> list[Call]:
    """A few reservations that are asked for often, and changed now and then; the same on every machine."""
    dice = random.Random(7)  # a fixed seed: the calls are part of the test
    made = []
    for number in range(500):
        flight = {"origin": dice.choice(_PLACES), "destination": dice.choice(_PLACES)}
        reservation = {"reservation_id": f"R{int(dice.paretovariate(0.8)) % 90}"}
        made += [
            Call("read", "get_reservation_details", reservation),
            Call("search", "tools", {"query": f"how to do the thing number {dice.randrange(_QUERIES)}"}),
            Call("read", "search_direct_flight", flight),
        ]
        if number % 6 == 0:
            made.append(Call("write", "cancel_reservation", reservation))
        if number % 8 == 0:
            made.append(Call("answer", "think", {"thought": f"thought {number % 40}"}))
    return made
