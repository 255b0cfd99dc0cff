"""Real processes, of which the one that judges is killed."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import start
from servers import RedisServer

from toolcache import ToolCache
from toolcache.alerts import Alert

PROGRAM = """
import asyncio, json, sys
from toolcache import ToolCache

async def main(options):
    async with ToolCache(**options) as cache:
        cache.alerts.every = "1s"
        cache.alerts.create("misses", metric="misses", condition="> 3", actions=[lambda alert: print(alert.key, flush=True)])
        for number in range(5):
            await cache.get(f"key {number}")
        evaluation = await cache.alerts.evaluate()
        await evaluation.delivered()
        await cache.alerts.evaluate()
        print("told", flush=True)
        await asyncio.Event().wait()  # until it is killed

asyncio.run(main(json.loads(sys.argv[1])))
"""


def dying(options: dict[str, Any]) -> str:
    """Have a process tell an alert, and kill it; the key of what it told."""
    with start(PROGRAM, json.dumps(options)) as one:
        assert one.stdout is not None
        lines = [one.stdout.readline().strip() for _ in range(2)]
        one.kill()
    assert lines[1] == "told"
    return lines[0]


async def until(check: Callable[[], Any], *, seconds: float = 20.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - it is another process that makes it so
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("shared", ["files", pytest.param("redis", marks=pytest.mark.slow)])
async def test_who_judges_is_killed(shared: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """D3: on files the next one knows at once that it is dead, in Redis when its lease is over; it does not tell again."""
    options: dict[str, Any] = {"namespace": "fleet", "files": shared == "files"}
    if shared == "files":
        options["directory"] = str(tmp_path / "files")
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        options["redis_url"] = server.url
    key = await asyncio.to_thread(dying, options)
    told: list[Alert] = []

    async def tell(alert: Alert) -> None:
        told.append(alert)

    async with ToolCache(**options) as cache:
        cache.alerts.every = "1s"
        cache.alerts.create("misses", metric="misses", condition="> 3", actions=[tell])
        assert (await cache.alerts.state())["misses"].status == "firing"

        async def leads() -> bool:
            return (await cache.alerts.evaluate()).leads

        await until(leads)
        assert told == []
        cache.alerts.remove("misses")
        cache.alerts.create("misses", metric="misses", condition="> 3000", actions=[tell])

        async def resolved() -> bool:
            await (await cache.alerts.evaluate()).delivered()
            return bool(told)

        await until(resolved)
        assert [(alert.status, alert.key) for alert in told] == [("resolved", key)]
