"""The alerts of the namespace."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.figures import ago
from toolcache.cli.problems import Code, Problem, unreachable
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from toolcache.cli.screen import Cell, Screen
    from toolcache.tool_cache import ToolCache

_LAST: Final = 5


@verb("alerts")
@click.argument("what", type=click.Choice(["list", "check"]), default="list")
@click.option("--file", "path", metavar="PATH", help="Alerts declared in TOML; check needs it.")
async def alerts(call: Call, what: str, path: str | None) -> Answer:
    """Alerts.

    list tells how those of the namespace stand, whichever process judges them, and what they told last. check judges those of
    a file now, once, and has their actions done, unless another process judges them already. Exit codes: 1 one is firing; 3 a
    store could not be asked, so others may be.
    """
    if what == "check" and path is None:
        raise Problem("check needs the alerts: --file alerts.toml")
    from toolcache.cli import reach

    async with call.cache() as cache:
        board = _board(cache)
        rules = _rules(cache, path) if path is not None else {}
        where = ""
        if what == "check":
            round_ = await board.evaluate()
            await round_.delivered()
            where = round_.where
            if not where:
                raise unreachable("no store can say how the alerts stand; toolcache health tells what to do")
        states = await board.state()
        history = await board.history()
        document = {
            "alerts": [_document(state, rules.get(name)) for name, state in states.items()],
            "history": [one._asdict() for one in history],
            "judged_on": where or None,
        }
        code = await reach.partly(call, cache, document, some=any(state.checked_at for state in states.values()))
    firing = any(state.status == "firing" for state in states.values())
    return Answer(
        document, lambda screen: _show(screen, states, rules, history), code or (Code.FOUND if firing else Code.OK)
    )


def _board(cache: "ToolCache") -> Any:
    board = getattr(cache, "alerts", None)
    if board is None:
        raise Problem("this version has no alerts", kind="missing")
    return board


def _rules(cache: "ToolCache", path: str) -> dict[str, Any]:
    """The alerts of a file, also those of domains that an application declares."""
    from toolcache.alerts import toml
    from toolcache.cli.domains import expect

    named = (options.get("domain") for options in toml.load(path).alerts.values())
    expect(cache, [name for name in named if isinstance(name, str)])
    return {rule.name: rule for rule in cache.alerts.load(path)}


def _document(state: Any, rule: Any) -> dict[str, Any]:
    declared = (
        {} if rule is None else {name: getattr(rule, name) for name in ("metric", "condition", "threshold", "window")}
    )
    return {name: getattr(state, name) for name in state._fields} | declared


def _show(screen: "Screen", states: Mapping[str, Any], rules: Mapping[str, Any], history: list[Any]) -> None:
    from toolcache.cli.screen import BAD, DIM, GOOD, WARN, Column, shown, stacked, styled, table

    if not states:
        screen.note(
            "no alerts are declared; --file names a TOML file of some, or cache.alerts.create(…) declares them in code"
        )
        return
    now = time.time()
    styles = {"firing": BAD, "pending": WARN, "ok": GOOD}
    columns = (
        Column("ALERT", right=False),
        Column("STATE", right=False),
        Column("SINCE"),
        Column("VALUE", rank=1),
        Column("WHEN", right=False, rank=2),
        Column("", right=False, rank=3, fold=True),
    )
    rows: list[tuple[Cell, ...]] = []
    for name, state in states.items():
        rule = rules.get(name)
        rows.append(
            (
                shown(name),
                styled(f"● {state.status}", styles.get(state.status, "")),
                ago(now - state.since) if state.since else "–",
                "–" if state.value is None else rule.shown(state.value) if rule else f"{state.value:.4g}",
                f"{rule.metric} {rule.condition} {rule.shown(rule.threshold)}" if rule else "",
                styled(shown(state.unjudged), DIM),
            )
        )
    told: list[Any] = [table(columns, rows, screen.width)]
    if history:
        lines = [(ago(now - one.at), shown(one.name), one.status) for one in history[:_LAST]]
        told.append(table((Column("TOLD"), Column("ALERT", right=False), Column("", right=False)), lines, screen.width))
    screen.show(stacked(told))
