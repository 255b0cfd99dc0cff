"""Writes docs/reference/cli.md from the commands' own help; a test compares.

PYTHONPATH=.:tests python tests/cli_reference.py
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from toolcache.cli.verb import GlobalOption
from toolcache.cli.verbs import FAMILIES, SHORT, load

PAGE: Final = Path(__file__).parents[1] / "docs/reference/cli.md"

_HEAD: Final = """# Command line

`toolcache`, or `python -m toolcache`, needs click and rich: in a checkout, `pip install ".[cli]"`. [How to use it](../how-to/command-line.md).
This page is made of the commands' own help, by `tests/cli_reference.py`.

```sh
toolcache --help
toolcache stats --help
```

"""
_MIDDLE: Final = """
What is not given comes from the environment and from `.env`, as for [`ToolCache.from_env()`](settings.md); `toolcache config` shows what that is.
A cache that the command line opens writes down no counts, so that it is not among those it shows.

## Exit codes

| code | |
|---|---|
| 0 | done, and all is well |
| 1 | a problem was found, or what was asked for was not; or somebody said no |
| 2 | it was asked in a way that cannot be; or it is dangerous, and nobody could be asked |
| 3 | a store cannot be reached |
| 130 | interrupted by Ctrl-C |

## What is printed

On a terminal it prints tables, as wide as the terminal; where there is no room, columns of less weight are left out. In a pipe it prints the same
without colours, 80 columns wide unless `COLUMNS` says otherwise, and where the encoding is not UTF-8 in letters of ASCII. `--no-color` and `NO_COLOR`
end colours, `FORCE_COLOR` begins them in a pipe, a `TERM` of `dumb` has none. Keys and values of others are shown with whatever is no letter as
its number, so that no terminal obeys them. Bars that show how far something is, and questions, are on standard error.

With `--json` each verb prints one JSON document to standard output, and nothing else there. Instants are seconds since the epoch, spans are seconds,
rates are shares of 1; what has no end, and what is unknown, is `null`. Values that JSON lacks are text, or `{"base64": …}` for bytes. An error is

```text
{"error": {"kind": "not_found", "message": "there is no such key; …", "code": 1}}
```

where `kind` is `usage`, `settings`, `not_found`, `refused`, `unreachable`, `failed`, `missing` (something is not installed) or `interrupted`, and
`code` the exit code.
"""

DOCUMENTS: Final = {
    "alerts": "`alerts` (`name`, `status`, `since`, `value`, …), `history`, `judged_on`, `complete`",
    "analyze": "`size`, `lifetimes`, `curve`, `lookups`, `samples`, `complete`",
    "backup": "`path`, `entries`, `bytes`, `total`, `resumed`, `skipped`, `seconds`",
    "bench": "`rounds`, `seconds`, `results` (`name`, `per_second`, `best`, `seconds`, `count`)",
    "cleanup": "`memory`, `files`, `epochs`",
    "clear": "`scope`, `memory`, `redis`, `files`, `removed`, `cut`, `detached`",
    "completion": "`shell`, `script`, `install`",
    "config": "of each setting, by its name, `value` and `from`",
    "delete": "`deleted`, `keys` (of each key, whether it was there)",
    "demo": "`demos` (`demo`, `code`, `seconds`)",
    "diagnose": "`issue`, `findings`, `domain`, `lookups`, `hit_rate`, `samples`, `reason`, `evidence`, `complete`",
    "doctor": "`findings` (`check`, `status`, `says`, `do`)",
    "get": "`key`, `type`, `value`, `created_at`, `expires_at`, `age`, `ttl`, `tags`, `layer`, `hits`, `size`, `stale`",
    "health": "`status`, `health`, `processes`, `problems` (`says`, `do`, `unreachable`)",
    "invalidate": "`scope`, `memory`, `redis`, `files`, `removed`, `cut`, `detached`",
    "keys": "`keys` (`key`, `domain`, `size`, `created_at`, …), `more`, `complete`",
    "restore": "`path`, `entries`, `bytes`, `total`, `resumed`, `skipped`, `seconds`",
    "savings": "the sums (`cached_responses`, `cost_saved`, …), `namespace`, `period`, `since`, `until`, `complete`, `domains`, `agents`, `tools`, `models`, `ledger`",
    "serve": "`url`, once requests are taken",
    "set": "`key`, `type`, `stored`, `ttl`",
    "stale": "`entries`, `complete`",
    "stats": "`namespace`, `period`, `step`, `since`, `until`, `complete`, `total`, `domains`, `agents`, `tools`, `models`, `layers`, `dispatch`, `processes`, `points`",
    "top": "`by`, `ranked` (`series` or `entries`), `top`, `complete`",
    "warm": "`plans` (`name`, `asked`, `there`, `computed`, `failed`, `skipped`, `seconds`, `cost_usd`, `stopped`)",
    "watch": "as of `stats`, once",
}
"""What ``--json`` prints of each verb: its fields."""


def page() -> str:
    """The whole page."""
    verbs = [verb for family in FAMILIES.values() for verb in family.split()]
    return (
        _HEAD
        + "\n".join(_table([param for param in load("stats").params if isinstance(param, GlobalOption)]))
        + "\n\nThese are options of every verb, before it or after it; `--version` and `--help` stand alone.\n"
        + _MIDDLE
        + "".join(_verb(verb) for verb in verbs)
    )


def _verb(name: str) -> str:
    command = load(name)
    usage = " ".join(_argument(param) for param in command.params if isinstance(param, click.Argument))
    own = [param for param in command.params if not isinstance(param, GlobalOption | click.Argument)]
    lines = [f"\n## {name}\n", f"`toolcache {name}{' ' if usage else ''}{usage}`: {SHORT[name]}\n"]
    lines += [f"{paragraph}\n" for paragraph in _paragraphs(command.help or "")]
    if own:
        lines += [*_table(own), ""]
    lines.append(f"`--json`: {DOCUMENTS[name]}.\n")
    return "\n".join(lines)


def _paragraphs(text: str) -> Iterator[str]:
    """What the help says below its first line; what is to be kept as it is, is."""
    for paragraph in text.split("\n\n")[1:]:
        if paragraph.startswith("\b"):
            yield "```text\n" + paragraph.removeprefix("\b\n").rstrip() + "\n```"
        else:
            yield _marked(" ".join(paragraph.split()))


def _table(params: list[click.Parameter]) -> list[str]:
    return ["| option | |", "|---|---|", *(_row(param) for param in params if isinstance(param, click.Option))]


def _row(option: click.Option) -> str:
    takes = "" if option.is_flag else f" {_takes(option)}"
    usual = f" ({option.default} unless given)" if option.show_default else ""
    names = f"{', '.join(option.opts)}{takes}".replace("|", "\\|")
    return f"| `{names}` | {_marked((option.help or '').replace('|', chr(92) + '|'))}{usual} |"


def _argument(argument: click.Argument) -> str:
    several = "…" if argument.nargs == -1 else ""
    takes = _takes(argument) if isinstance(argument.type, click.Choice) else (argument.name or "").upper()
    return f"{takes}{several}" if argument.required else f"[{takes}{several}]"


def _takes(param: click.Parameter) -> str:
    if isinstance(param.type, click.Choice):
        return "|".join(map(str, param.type.choices))
    return param.metavar or "TEXT"


def _marked(text: str) -> str:
    """Options in code."""
    return re.sub(r"(?<![`\w-])(--[a-z][a-z-]*|\.(?:toml|jsonl|env))(?![`\w])", r"`\1`", text)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
