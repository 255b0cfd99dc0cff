"""The settings in effect, and where each of them comes from."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.figures import span
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from toolcache.cli.screen import Screen
    from toolcache.settings import Settings

_SECRETS: Final = frozenset({"redis_password", "secret"})
_OPTIONS: Final = {"namespace": "--namespace", "directory": "--dir", "redis_url": "--redis-url", "files": "--backend"}
_SPANS: Final = frozenset(
    [
        "default_ttl",
        "grace",
        "grace_retry",
        "soft_timeout",
        "hard_timeout",
        "negative_ttl",
        "op_timeout",
        "connect_timeout",
        "file_timeout",
        "journal_max_age",
        "lease",
        "lock_timeout",
    ]
)
DEFAULT: Final = "default"


@verb("config")
@click.option("--all", "everything", is_flag=True, help="Also those that are as they are by default.")
def config(call: Call, everything: bool) -> Answer:
    """Configure.

    Passwords and secrets are not shown. What is not listed is as it is by default; see docs/reference/settings.md.
    """
    settings, origins = effective(call)
    rows = [
        (name, public(name, getattr(settings, name)), origins.get(name, DEFAULT))
        for name in settings._fields
        if everything or name in origins or call.as_json
    ]
    document = {name: {"value": value, "from": origin} for name, value, origin in rows}

    def show(screen: "Screen") -> None:
        from toolcache.cli.screen import Column, shown, styled, table

        columns = (
            Column("SETTING", right=False),
            Column("VALUE", right=False, fold=True),
            Column("FROM", right=False, fold=True),
        )
        lines = [
            (name, shown(_said(name, value)), styled(origin, "dim") if origin == DEFAULT else origin)
            for name, value, origin in rows
        ]
        if lines:
            screen.show(table(columns, lines, screen.width))
        else:
            screen.note("every setting is as it is by default; --all shows them")

    return Answer(document, show)


def effective(call: Call) -> "tuple[Settings, dict[str, str]]":
    """The settings, and of those that somebody has given, where."""
    from toolcache import sources
    from toolcache.settings import Settings

    given = sources.environment(None, call.env_file)
    origins = {name: one.origin for name, one in given.items()}
    options = call.options()
    settings = Settings.from_env(None, call.env_file, **options)
    for name in options:
        if name == "redis_url" and options[name] is None:
            origins[name] = "option --backend"
        else:
            origins[name] = f"option {_OPTIONS[name]}"
    if call.choices.backend == "redis" and settings.redis_url is None:
        settings = settings.replace(redis_url=sources.DEFAULT_REDIS)
        origins["redis_url"] = "option --backend"
    return settings, origins


def public(name: str, value: Any) -> Any:
    """What may be shown of a setting."""
    if value is None:
        return None
    if name in _SECRETS:
        return "***"
    if name == "redis_url":
        from toolcache.stores.redis.url import Address

        return Address.parse(value).redacted
    if isinstance(value, float) and math.isinf(value):
        return None
    return str(value) if callable(value) or name == "directory" else value


def _said(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if name in _SPANS:
        return span(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={one}" for key, one in value.items()) or "none"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
