"""A tour of a minute, for where no checkout is at hand: what a miss costs, what a hit costs, what is left when memory is gone."""

import asyncio
import sys
import tempfile
import time
from hashlib import scrypt

from toolcache.cli.figures import span
from toolcache.settings import Settings
from toolcache.tool_cache import ToolCache


def embed(text: str) -> list[float]:
    """Some real work in place of an embedder."""
    return [byte / 256 for byte in scrypt(text.encode(), salt=b"toolcache", n=2**14, r=8, p=1)]


async def tour(directory: str) -> None:
    """All of it."""
    settings = Settings.from_env(dotenv=None, directory=directory, namespace="demo", costs={"embedding": 0.0001})
    async with ToolCache(settings) as cache:
        for call in ("a miss, computed", "a hit, from memory"):
            began = time.perf_counter()
            await cache.get_embedding("a red bicycle", "demo", compute=lambda: embed("a red bicycle"))
            _say(call, span(time.perf_counter() - began))
        await cache.set("greeting", {"text": "hello"}, ttl="1h", tags=["demo"])
        stats = cache.stats()
        _say("saved by the hit", f"{span(stats.seconds_saved)} and ${stats.dollars_saved:.4f}")
    async with ToolCache(settings) as cache:
        began = time.perf_counter()
        await cache.get_embedding("a red bicycle", "demo", compute=lambda: embed("a red bicycle"))
        _say("a new process: a hit, from the layer beneath", span(time.perf_counter() - began))
        await cache.invalidate(tags=["demo"])
        _say("after invalidating its tag, the greeting is", str(await cache.get("greeting")))
        await cache.clear()


def _say(what: str, figure: str) -> None:
    sys.stdout.write(f"  {what} {'.' * max(2, 58 - len(what))} {figure}\n")


def main() -> None:
    """Show it, in a directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="toolcache-demo-") as directory:
        asyncio.run(tour(directory))


if __name__ == "__main__":
    main()
