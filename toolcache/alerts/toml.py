"""Alerts declared in TOML: read as a whole, or refused with where and what is wrong."""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from toolcache.alerts.actions import Log
from toolcache.alerts.command import Command
from toolcache.alerts.rule import OPTIONS, Action
from toolcache.alerts.webhook import Webhook
from toolcache.errors import SettingsError
from toolcache.spelling import nearest

_TOP: Final = ("every", "action", "alert")
_ALERT: Final = ("name", *("for" if option == "for_" else option for option in OPTIONS), "action")
_KINDS: Final = {
    "webhook": ("url", "url_env", "secret_env", "timeout", "retries", "insecure"),
    "log": ("level",),
    "command": ("arguments", "timeout"),
}
_MAKERS: Final[dict[str, Callable[..., Action]]] = {
    "webhook": lambda url=None, **rest: Webhook(_needed(url, "url, or url_env"), **rest),
    "log": Log,
    "command": lambda arguments=None, **rest: Command(_needed(arguments, "arguments"), **rest),
}


class Declared(NamedTuple):
    """What a file says: options of alerts by name, named actions, and how often alerts are judged."""

    alerts: dict[str, dict[str, Any]]
    actions: dict[str, Action]
    every: Any


class Where(NamedTuple):
    """A place in a file, for errors."""

    file: str
    part: str = ""

    def wrong(self, what: object) -> SettingsError:
        """The error of something there."""
        return SettingsError(f"{self.file}: {self.part}{': ' if self.part else ''}{what}")


def load(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> Declared:
    """What a file declares; see ``read``.

    Raises:
        SettingsError: the file cannot be read, or says what cannot be.
    """
    try:
        text = Path(path).read_text("utf-8")
    except OSError as fault:
        raise SettingsError(f"{os.fspath(path)}: it cannot be read ({fault.strerror})") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{os.fspath(path)}: it is no UTF-8 text, as TOML is") from None
    return read(text, os.fspath(path), environ)


def read(text: str, file: str = "toml", environ: Mapping[str, str] | None = None) -> Declared:
    """What a text declares.

    Args:
        text: TOML.
        file: what errors call it.
        environ: where secrets are; the environment unless given.

    Raises:
        SettingsError: it says what cannot be; the error names the file, the alert, the key and what can be written.
    """
    where, environ = Where(file), os.environ if environ is None else environ
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise where.wrong(fault) from None
    except RecursionError:
        raise where.wrong("it is too deep") from None
    _known(tables, _TOP, where)
    named = {}
    for name, table in _table(tables.get("action", {}), "[action.NAME]", where).items():
        named[name] = _action(table, where._replace(part=f"action {name!r}"), environ)
    alerts: dict[str, dict[str, Any]] = {}
    for number, table in enumerate(_tables(tables.get("alert", []), "[[alert]]", where), 1):
        called = table.get("name")
        if not isinstance(called, str) or not called:
            raise where._replace(part=f"alert {number}").wrong("name is missing: write name = 'few hits'")
        place = where._replace(part=f"alert {called!r}")
        if called in alerts:
            raise place.wrong("there are two of that name: give each its own")
        alerts[called] = _options(table, place, environ)
    return Declared(alerts, named, tables.get("every"))


def _options(table: dict[str, Any], where: Where, environ: Mapping[str, str]) -> dict[str, Any]:
    """The options of one alert."""
    _known(table, _ALERT, where)
    options = {
        ("for_" if key == "for" else key): value for key, value in table.items() if key not in {"name", "action"}
    }
    own = [_action(one, where, environ) for one in _tables(table.get("action", []), "[[alert.action]]", where)]
    names = options.get("actions", [])
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise where.wrong("actions is a list of names, of tables [action.NAME]; one of its own is [[alert.action]]")
    if own or names:
        options["actions"] = [*names, *own]
    return options


def _action(table: Any, where: Where, environ: Mapping[str, str]) -> Action:
    if not isinstance(table, dict):
        raise where.wrong("an action is a table, with a type and what that takes")
    kind = table.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise where.wrong(f"type of an action is one of {', '.join(_KINDS)}, not {kind!r}{nearest(str(kind), _KINDS)}")
    where = where._replace(part=f"{where.part}: {kind}")
    if "secret" in table:
        raise where.wrong("secret does not belong into a file: write secret_env, the name of an environment variable")
    _known(table, ("type", *_KINDS[kind]), where)
    options: dict[str, Any] = {}
    for key, value in table.items():
        if key == "type":
            continue
        option = key.removesuffix("_env")
        if option in options or (option != key and option in table):
            raise where.wrong(f"{option} is given twice: write {option} or {key}")
        options[option] = value if option == key else _secret(value, key, where, environ)
    try:
        return _MAKERS[kind](**options)
    except (TypeError, ValueError) as fault:
        raise where.wrong(fault) from None


def _secret(name: Any, key: str, where: Where, environ: Mapping[str, str]) -> str:
    """What an environment variable holds."""
    if not isinstance(name, str) or not name:
        raise where.wrong(f"{key} is the name of an environment variable, such as 'ALERTS_SECRET'")
    if not environ.get(name):
        raise where.wrong(f"{key}: the environment variable {name} is not set, or empty")
    return environ[name]


def _known(table: Mapping[str, Any], known: tuple[str, ...], where: Where) -> None:
    for key in table:
        if key not in known:
            raise where.wrong(f"there is no {key!r}: write {', '.join(known)}{nearest(key, known)}")


def _table(value: Any, form: str, where: Where) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise where.wrong(f"write {form}, a table")
    return value


def _tables(value: Any, form: str, where: Where) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise where.wrong(f"write {form}, with two brackets on each side: there may be several")
    return value


def _needed(value: Any, name: str) -> Any:
    if value is None:
        raise ValueError(f"{name} is missing")
    return value
