"""The scenarios by name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from faults.report import Report
from faults.stage import Stage

Play = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """What happens, and the options of the server to which it happens."""

    play: Play
    server: tuple[str, ...] = ()


SCENARIOS: Final[dict[str, Scenario]] = {}


def scenario(name: str, *server: str) -> Callable[[Play], Play]:
    """Register a scenario."""

    def register(play: Play) -> Play:
        SCENARIOS[name] = Scenario(play, server)
        return play

    return register


async def play(name: str, seed: int, *, quick: bool = False) -> Report:
    """Play a scenario, and judge."""
    chosen = SCENARIOS[name]
    async with Stage(name, seed, quick=quick, options=chosen.server) as stage:
        await chosen.play(stage)
        return await stage.judge()
