"""The scenarios by name."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

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


async def play(
    name: str,
    seed: int,
    *,
    quick: bool = False,
    seconds: float | None = None,
    onlooker: Callable[[Stage], Coroutine[Any, Any, None]] | None = None,
) -> Report:
    """Play a scenario, and judge; ``onlooker`` runs beside it."""
    chosen = SCENARIOS[name]
    async with Stage(name, seed, quick=quick, options=chosen.server, seconds=seconds) as stage:
        if onlooker is not None:
            stage.beside(onlooker(stage))
        await chosen.play(stage)
        return await stage.judge()
