"""Where settings come from besides arguments: environment variables, a ``.env`` file, the query of a URL.

Each value keeps its origin, so that an error can say where to mend it. Nothing here knows what a value means.
"""

import os
import re
from collections.abc import Collection, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from toolcache.errors import SettingsError
from toolcache.spelling import switch

if TYPE_CHECKING:
    from pathlib import Path

PREFIX: Final = "TOOLCACHE_"
DEFAULT_REDIS: Final = "redis://localhost:6379"
# Where the project's own tests and benchmarks find recorded data and a server, and who may ask a web server of ours: no
# settings, and no misspelt ones.
_NOT_OURS: Final = frozenset({"TOOLCACHE_DATA", "TOOLCACHE_TEST_SERVER", "TOOLCACHE_TOKENS"})
# The usual names that other programs of the same host share; ours win over them.
_ALIASES: Final = {
    "REDIS_URL": "redis_url",
    "REDIS_PASSWORD": "redis_password",
    "AI_CACHE_ENABLED": "enabled",
    "AI_CACHE_TTL_HOURS": "default_ttl",
}


class Given(NamedTuple):
    """A value as somebody wrote it, and where: ``"argument ttl"``, ``"environment variable REDIS_URL"``."""

    value: Any
    origin: str


def arguments(options: Mapping[str, Any]) -> dict[str, Given]:
    """What was passed as keywords."""
    return {name: Given(value, f"argument {name}") for name, value in options.items()}


def environment(environ: Mapping[str, str] | None, dotenv: str | os.PathLike[str] | None) -> dict[str, Given]:
    """What the environment says; an empty variable says nothing, and ``USE_REDIS=false`` says ``redis_url=None``.

    Args:
        environ: the variables; those of the process unless given. They win over the file.
        dotenv: a file of ``NAME=value`` lines, read if it is there; None for none.

    Raises:
        SettingsError: the file cannot be read, ``USE_REDIS`` or ``AI_CACHE_TTL_HOURS`` cannot be understood.
    """
    from pathlib import Path

    variables = {} if dotenv is None else _read_dotenv(Path(dotenv))
    for name, value in (os.environ if environ is None else environ).items():
        variables[name] = Given(value, f"environment variable {name}")
    variables = {name: given for name, given in variables.items() if given.value.strip()}
    settings = {setting: variables[alias] for alias, setting in _ALIASES.items() if alias in variables}
    if hours := variables.get("AI_CACHE_TTL_HOURS"):
        settings["default_ttl"] = Given(_hours(hours), hours.origin)
    for name, given in variables.items():
        if name.startswith(PREFIX) and name not in _NOT_OURS:
            settings[name.removeprefix(PREFIX).lower()] = given
    if use := variables.get("USE_REDIS"):
        _apply_use_redis(settings, use)
    return settings


def query(url: str, *, settings: Collection[str]) -> dict[str, Given]:
    """The settings in a URL's query, and the URL without them as ``redis_url``.

    Raises:
        SettingsError: a setting stands in it twice, or ``redis_url`` does, which the URL itself is.
    """
    from urllib.parse import parse_qsl, urlencode

    address, _, tail = url.partition("?")
    pairs = parse_qsl(tail, keep_blank_values=True)
    found: dict[str, Given] = {}
    for name, value in pairs:
        if name in found or name == "redis_url":
            raise SettingsError(f"URL option {name} is given twice: write it once")
        if name in settings:
            found[name] = Given(value, f"URL option {name}")
    rest = urlencode([(name, value) for name, value in pairs if name not in settings])
    return found | {"redis_url": Given(f"{address}?{rest}" if rest else address, "the URL")}


def options(url: str) -> list[str]:
    """The names in a URL's query."""
    from urllib.parse import parse_qsl

    return [name for name, _ in parse_qsl(url.partition("?")[2], keep_blank_values=True)]


def _apply_use_redis(settings: dict[str, Given], use: Given) -> None:
    try:
        wanted = switch(use.value, "USE_REDIS")
    except ValueError as error:
        raise SettingsError(f"{use.origin}: {error}") from None
    if not wanted:
        settings["redis_url"] = Given(None, use.origin)
    else:
        settings.setdefault("redis_url", Given(DEFAULT_REDIS, use.origin))


def _hours(given: Given) -> float:
    try:
        return float(given.value) * 3600.0
    except ValueError:
        raise SettingsError(f"{given.origin}: {given.value!r} is no number of hours") from None


def _read_dotenv(path: "Path") -> dict[str, Given]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        text = path.read_text(encoding="utf-8")
        values = dotenv_values(stream=StringIO(text))
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}): mend it or pass dotenv=None") from error
    return {
        name: Given(value, f"{path}{_line(text, name)}, variable {name}")
        for name, value in values.items()
        if value is not None
    }


def _line(text: str, name: str) -> str:
    # The last assignment is the one that counts.
    found = list(re.finditer(rf"^\s*(?:export\s+)?['\"]?{re.escape(name)}['\"]?\s*=", text, re.MULTILINE))
    return f", line {text.count(chr(10), 0, found[-1].end()) + 1}" if found else ""
