"""Single values: get, set, delete."""

import sys
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, NoReturn

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.figures import ago, size, span
from toolcache.cli.problems import Code, Problem, not_found
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from toolcache.cli.screen import Screen
    from toolcache.entry import Entry


@verb("get")
@click.argument("key")
@click.option("--about", is_flag=True, help="Show what is known of the entry besides its value.")
async def get(call: Call, key: str, about: bool) -> Answer:
    """Get a value.

    Text and bytes are printed as they are, anything else as JSON. Exit code 1: there is no such key.
    """
    from toolcache.cli import reach

    async with call.cache() as cache:
        entry = await cache.get_entry(key)
        if entry is None:
            await reach.check(cache)
            raise not_found("there is no such key; toolcache keys lists those that there are")
    document = _document(key, entry)

    def show(screen: "Screen") -> None:
        if about:
            _show_about(screen, entry)
        else:
            _show_value(screen, entry.value)

    return Answer(document, show)


def _document(key: str, entry: "Entry") -> dict[str, Any]:
    named = {name: getattr(entry, name) for name in entry._fields if name != "value"}
    return {"key": key, "type": type(entry.value).__name__, "value": entry.value, **named}


def _show_value(screen: "Screen", value: Any) -> None:
    import json

    from toolcache.cli.documents import plain
    from toolcache.cli.screen import shown

    if isinstance(value, bytes) and not screen.terminal:
        sys.stdout.buffer.write(value)
    elif isinstance(value, str):  # a terminal obeys what a pipe only passes on
        text = "\n".join(map(shown, value.split("\n"))) if screen.terminal else value
        sys.stdout.write(text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding) + "\n")
    else:
        sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=not screen.has_letters) + "\n")


def _show_about(screen: "Screen", entry: "Entry") -> None:
    from toolcache.cli.screen import fields, shown

    rows = [
        ("type", type(entry.value).__name__),
        ("size", size(entry.size)),
        ("created", f"{_instant(entry.created_at)}, {ago(entry.age)}"),
        (
            "expires",
            "never" if entry.expires_at == inf else f"{_instant(entry.expires_at)}, in {span(round(entry.ttl))}",
        ),
        ("tags", ", ".join(map(shown, entry.tags)) or "none"),
        ("layer", entry.layer),
    ]
    if entry.stale:
        rows.append(("stale", "past its time, and kept to stand in"))
    screen.show(fields(rows))


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@verb("set")
@click.argument("key")
@click.argument("value")
@click.option("--ttl", metavar="SPAN", help="How long it is good: 90s, 2h30m, 7d, never; else the default.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag to keep with it; may be given again.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["auto", "text", "json", "bytes"]),
    default="auto",
    show_default=True,
    help="What the value is; auto: JSON if it can be read as JSON, else text.",
)
def store(call: Call, value: str, kind: str, **told: Any) -> Coroutine[Any, Any, Answer]:
    """Store a value.

    The value - is read from standard input. 42 is a number and "42" in quotes is text, unless --as says what it is.
    """
    return _store(call, _read(value, kind), **told)


async def _store(call: Call, meant: Any, key: str, ttl: str | None, tags: Sequence[str]) -> Answer:
    from toolcache.entry import MISSING, Durability

    lifetime: Any = MISSING if ttl is None else None if ttl.strip().lower() in {"never", "none"} else ttl
    async with call.cache() as cache:
        safe = await cache.set(key, meant, lifetime, tags=tags)
        lasts = await cache.ttl(key)
    if safe is Durability.MEMORY:
        call.note("stored in the memory of this command alone, which ends with it: no other layer took it")
    document = {"key": key, "type": type(meant).__name__, "stored": safe.name.lower(), "ttl": lasts}

    def show(screen: "Screen") -> None:
        where = {Durability.REDIS: "Redis", Durability.FILE: "files", Durability.MEMORY: "memory"}[safe]
        screen.note(f"stored as {_kind_of(meant)} in {where}{_for(lasts)}")

    return Answer(document, show)


def _for(lasts: float | None) -> str:
    return "" if lasts is None else ", for ever" if lasts == inf else f", for {span(round(lasts))}"


def _kind_of(value: Any) -> str:
    names = {"str": "text", "dict": "an object", "list": "a list", "NoneType": "null", "bool": "a switch"}
    name = type(value).__name__
    return names.get(name, "bytes" if name == "bytes" else "a number")


def _read(given: str, kind: str) -> Any:
    """The value as it is meant."""
    raw = sys.stdin.buffer.read() if given == "-" else given.encode("utf-8", "surrogateescape")
    if kind == "bytes":
        return raw
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem("the value is no UTF-8: say --as bytes to store it as it is") from None
    return text if kind == "text" else _parsed(text, must=kind == "json")


def _parsed(text: str, *, must: bool) -> Any:
    import json

    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        if must:
            raise Problem(f"the value is no JSON ({error}): mend it, or say --as text") from None
        return text


def _finite(number: str) -> float:
    return float(number) if isfinite(float(number)) else _refuse(number)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is none of its numbers")


@verb("delete")
@click.argument("keys", nargs=-1, required=True)
def delete(call: Call, keys: Sequence[str]) -> Coroutine[Any, Any, Answer]:
    """Delete keys.

    It asks before it deletes several. Exit code 1: none of them was there.
    """
    if len(keys) > 1:
        call.confirm(f"Delete {len(keys):,} keys?")
    return _delete(call, keys)


async def _delete(call: Call, keys: Sequence[str]) -> Answer:
    from toolcache.cli import reach

    async with call.cache() as cache:
        there = await cache.delete_many(keys)
        if not any(there.values()):
            await reach.check(cache)
    gone = sum(there.values())
    document = {"deleted": gone, "keys": there}

    def show(screen: "Screen") -> None:
        if not gone:
            screen.note("there was no such key" if len(keys) == 1 else f"none of the {len(keys):,} keys was there")
        else:
            screen.note("deleted" if len(keys) == 1 else f"deleted {gone:,} of {len(keys):,} keys")

    return Answer(document, show, Code.OK if gone else Code.FOUND)
