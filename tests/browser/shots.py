"""The pictures of docs/how-to/page.md: ``make shots``. What they show was really called, on a Redis that was really stopped."""

import asyncio
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

from agents_at_work import Agents, Hurried
from chromium import browser, save, window
from playwright.sync_api import Browser, expect
from served import Served
from servers import RedisServer

from toolcache import ToolCache

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "docs/how-to/page"
MOST: Final = 150_000
MINUTES: Final = 60
AWAY: Final = range(37, 40)
"""Minutes in which there is no Redis."""


async def hour(cache: ToolCache, other: ToolCache, clock: Hurried, redis: RedisServer) -> None:
    """An hour of two processes' work, minute by minute."""
    several = [Agents(cache, seed=1), Agents(other, seed=2)]
    rules = {
        "few hits": {"metric": "hit_rate", "condition": "< 55%", "window": "5m"},
        "redis away": {"metric": "down_seconds", "condition": "> 30s", "window": "5m", "layer": "redis"},
    }
    for name, rule in rules.items():
        cache.alerts.create(name, cooldown="2m", **rule)  # type: ignore[arg-type]  # options of one kind
    for minute in range(MINUTES):
        if minute == AWAY.start:
            redis.stop()
        if minute == AWAY.stop:
            redis.start()
        for agents in several:
            await agents.work(30 + (minute * 7) % 11 * 4)
        await asyncio.gather(cache.metrics(), other.metrics())
        await cache.alerts.evaluate()
        clock.forward(60)


def busy(made: Browser, redis: RedisServer, folder: Path) -> None:
    """The page of a fleet that has worked for an hour; then without Redis."""
    clock = Hurried(60 * (MINUTES - 1))
    make = partial(ToolCache, redis_url=redis.url, namespace="shop", clock=clock, recovery_time=1.0)
    with Served(partial(make, directory=folder / "a")) as served:

        async def work() -> None:
            async with make(directory=folder / "b") as other:
                await hour(served.cache, other, clock, redis)

        served.call(work(), seconds=300)
        at = str(served.url)
        for name, scheme, size in (
            ("light", "light", (1280, 1060)),
            ("dark", "dark", (1280, 1060)),
            ("phone", "dark", (360, 780)),
        ):
            options = {"viewport": {"width": size[0], "height": size[1]}, "color_scheme": scheme}
            with window(made, at, **options) as seen:
                served.call(Agents(served.cache, seed=3).work(40))
                expect(seen.page.locator("#layers tbody tr")).to_have_count(3)
                seen.page.wait_for_timeout(3_500)
                save(seen.page, FOLDER / f"{name}.webp")
        with window(made, at) as seen:
            seen.page.get_by_label("Keys like").fill("catalog:*")
            seen.page.keyboard.press("Enter")
            seen.page.locator("#entries").scroll_into_view_if_needed()
            seen.page.locator("#entries tbody button", has_text="catalog:").first.click()
            expect(seen.page.locator("dialog pre")).to_be_visible()
            save(seen.page, FOLDER / "entry.webp")
        with window(made, at) as seen:
            seen.page.get_by_role("button", name="Work it out").click()
            seen.page.locator("#advice article").first.wait_for()
            save(seen.page, FOLDER / "advice.webp", "#advice")
        with window(made, at, viewport={"width": 1280, "height": 620}) as seen:
            expect(seen.page.locator("#layers tbody tr")).to_have_count(3)
            redis.stop()
            expect(seen.page.locator("#outage")).to_be_visible()
            served.call(Agents(served.cache, seed=4).work(40))
            seen.page.wait_for_timeout(2_500)
            save(seen.page, FOLDER / "outage.webp")


def main() -> None:
    """Make them all."""
    began = time.monotonic()
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, RedisServer() as redis, browser() as made:
        busy(made, redis, Path(folder))
    large = {path.name: path.stat().st_size for path in sorted(FOLDER.glob("*.webp"))}
    for name, size in large.items():
        print(f"{name:12} {size:>9,} bytes")  # noqa: T201 - it is a program
    print(f"in {time.monotonic() - began:.0f} s")  # noqa: T201
    if too_large := [name for name, size in large.items() if size > MOST]:
        sys.exit(f"larger than {MOST:,} bytes: {', '.join(too_large)}")


if __name__ == "__main__":
    main()
