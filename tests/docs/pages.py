"""The code blocks of the documentation, and the program that runs those of a page."""

import ast
import asyncio
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(
    r"^ {0,3}(?P<ticks>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^ {0,3}(?P=ticks)[ \t]*$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """One fenced block: the language and the rest of its info string, the text, the number of its first line."""

    language: str
    title: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    source = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(source):
        language, _, title = match["info"].strip().partition(" ")
        found.append(Block(language, title, match["body"], source.count("\n", 0, match.start("body")) + 1))
    return found


def env_example() -> dict[str, str]:
    """The variables that .env.example offers."""
    text = (ROOT / ".env.example").read_text("utf-8")
    return dict(re.findall(r"^# ([A-Z_]+)=(.*)$", text, re.MULTILINE))


def run(page: Path, replacements: dict[str, str]) -> None:
    """Run a page's Python blocks as the asyncio prompt would: one after another, one namespace, top-level ``await``.

    A block whose title is ``main.py`` is a program of its own. A line with a NUL ends the output of each block.
    """
    shared: dict[str, Any] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for block in blocks(page):
            if block.language != "python":
                continue
            text = block.text
            for old, new in replacements.items():
                text = text.replace(old, new)
            # Blank lines in front keep the line numbers of the page in a traceback.
            source = "\n" * (block.line - 1) + text
            code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if "asyncio.run(" in text:
                exec(code, {"__name__": "__main__"})
            else:
                result = eval(code, shared)
                if inspect.iscoroutine(result):
                    runner.run(result)
            sys.stdout.write("\0\n")
            sys.stdout.flush()


if __name__ == "__main__":
    run(Path(sys.argv[1]), dict(pair.split("=>", 1) for pair in sys.argv[2:]))
