"""The verbs: where each one lives and what it does, in a table, so that the help loads none of them."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import click

FAMILIES: Final = {
    "Look": "stats watch top keys get savings config",
    "Find out": "health doctor analyze diagnose stale alerts",
    "Change": "set delete invalidate clear cleanup warm",
    "Move": "backup restore",
    "Run": "serve bench demo completion",
}
"""The verbs in the order of the help."""

SHORT: Final = {
    "alerts": "List the alerts, or check them once.",
    "analyze": "Recommend sizes and times to live.",
    "backup": "Write every entry to a file.",
    "bench": "Measure this machine.",
    "cleanup": "Give back the room of what has ended.",
    "clear": "Forget the whole namespace.",
    "completion": "Print what completes commands in a shell.",
    "config": "Show the settings, and where each comes from.",
    "delete": "Delete keys.",
    "demo": "Show what a cache does.",
    "diagnose": "Say why the hit rate is what it is.",
    "doctor": "Look for what is set up wrong.",
    "get": "Print the value of a key.",
    "health": "Say whether each layer works, and what to do.",
    "invalidate": "Forget many entries by what they have in common.",
    "keys": "List the entries.",
    "restore": "Take in every entry of a backup.",
    "savings": "Show what was saved.",
    "serve": "Serve the REST API and the page.",
    "set": "Store a value.",
    "stale": "List the entries older than an age.",
    "stats": "Show what the fleet has counted.",
    "top": "Rank domains, agents, tools and models, or entries.",
    "warm": "Have values be there before they are asked for.",
    "watch": "Show what the fleet does, live.",
}

HOMES: Final = {
    "alerts": "toolcache.cli.alerts:alerts",
    "analyze": "toolcache.cli.insight:analyze",
    "backup": "toolcache.cli.moves:backup",
    "bench": "toolcache.cli.bench:bench",
    "cleanup": "toolcache.cli.forget:cleanup",
    "clear": "toolcache.cli.forget:clear",
    "completion": "toolcache.cli.shell:completion",
    "config": "toolcache.cli.config:config",
    "delete": "toolcache.cli.values:delete",
    "demo": "toolcache.cli.demo:demo",
    "diagnose": "toolcache.cli.insight:diagnose",
    "doctor": "toolcache.cli.doctor:doctor",
    "get": "toolcache.cli.values:get",
    "health": "toolcache.cli.health:health",
    "invalidate": "toolcache.cli.forget:invalidate",
    "keys": "toolcache.cli.keys:keys",
    "restore": "toolcache.cli.moves:restore",
    "savings": "toolcache.cli.savings:savings",
    "serve": "toolcache.cli.serve:serve",
    "set": "toolcache.cli.values:store",
    "stale": "toolcache.cli.insight:stale",
    "stats": "toolcache.cli.stats:stats",
    "top": "toolcache.cli.insight:top",
    "warm": "toolcache.cli.warm:warm",
    "watch": "toolcache.cli.watch:watch",
}
"""The module and the name of each verb's command."""


def load(verb: str) -> "click.Command":
    """The command of a verb."""
    module, _, name = HOMES[verb].partition(":")
    command: click.Command = getattr(import_module(module), name)
    return command
