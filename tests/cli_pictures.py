"""Takes the pictures of docs/how-to/command-line.md: a fleet works for a while, and the command line is run on a terminal.

PYTHONPATH=.:tests python tests/cli_pictures.py
"""

import asyncio
import random
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Final

from commands import Terminal
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from servers import RedisServer

from toolcache import ToolCache

FOLDER: Final = Path(__file__).parents[1] / "docs/how-to"
COLUMNS: Final = 84
NAMESPACE: Final = "shop"

PICTURES: Final = {
    "stats": ["stats", "--period", "15m"],
    "savings": ["savings", "--period", "1h"],
    "health": ["health"],
    "doctor": ["doctor"],
    "top": ["top", "--by", "dollars", "--period", "1h"],
}

THEME: Final = TerminalTheme(
    (28, 30, 34),
    (214, 216, 220),
    [
        (50, 54, 61),
        (224, 108, 117),
        (126, 186, 106),
        (229, 192, 123),
        (97, 175, 239),
        (198, 120, 221),
        (86, 182, 194),
        (214, 216, 220),
    ],
)
SVG: Final = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>TITLE</title>
<style>.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px; line-height: {line_height}px; }}
{styles}</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{height}"/></clipPath>{lines}</defs>
<rect width="{width}" height="{height}" rx="8" fill="#1c1e22"/>
<g transform="translate({terminal_x}, 12)" clip-path="url(#{unique_id}-clip-terminal)">{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""
"""Without a font from elsewhere, and without a window's frame."""


async def work(url: str, directory: str, seed: int) -> None:
    """What one worker of the fleet asks for."""
    chance = random.Random(seed)
    costs = {"embedding": 0.0001, "search": 0.002, "response": 0.012}
    async with ToolCache(redis_url=url, directory=directory, namespace=NAMESPACE, costs=costs) as cache:
        for number in range(1500):
            item = int(chance.paretovariate(0.8)) % 300
            await cache.get_embedding(f"text {item}", "small", compute=partial(answer, 0.01, [0.25, 0.5]))
            if number % 3 == 0:
                await cache.get_search_results(f"query {item}", compute=partial(answer, 0.02, ["a hit"]))
            if number % 5 == 0:
                text = {"text": "x" * 200}
                await cache.get_response("faq", f"goal {item}", model="large", compute=partial(answer, 0.1, text))


async def answer(seconds: float, value: Any) -> Any:
    """What a model or an index would say, in its time."""
    await asyncio.sleep(seconds)
    return value


def shown(arguments: list[str], where: Path) -> str:
    """What a terminal shows of a command."""
    with Terminal(arguments, where, columns=COLUMNS, environ={"COLORTERM": ""}) as terminal:
        return terminal.end().out


def picture(title: str, text: str) -> str:
    """The same as a picture."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(width=COLUMNS, record=True, file=nowhere, force_terminal=True)
        console.print(Text.from_ansi(text.rstrip()), soft_wrap=True)
        made = console.export_svg(theme=THEME, code_format=SVG, unique_id="picture")
        return made.replace("TITLE", title)


def main() -> None:
    """Take them all."""
    with RedisServer() as server, tempfile.TemporaryDirectory() as folder:
        files = str(Path(folder) / "files")
        workers = [
            subprocess.Popen([sys.executable, __file__, server.url, files, str(seed)])
            for seed in range(3)  # three processes
        ]
        for worker in workers:
            worker.wait()
        environ = f"TOOLCACHE_NAMESPACE={NAMESPACE}\nTOOLCACHE_REDIS_URL={server.url}\nTOOLCACHE_DIRECTORY={files}\n"
        (Path(folder) / ".env").write_text(environ)
        for name, arguments in PICTURES.items():
            text = shown(arguments, Path(folder)).replace(folder, "/var/cache/shop").replace(str(server.port), "6379")
            title = f"toolcache {' '.join(arguments)}"
            (FOLDER / f"command-line-{name}.svg").write_text(picture(title, f"$ {title}\n{text}"), "utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    else:
        main()
