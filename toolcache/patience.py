"""How often a layer that does not answer is asked again by who moves entries, and how long after."""

from typing import Final

from toolcache.protocols import Clock

TRIES: Final = 4
_PAUSE: Final = 0.25
"""Seconds before the second try, doubled each time."""


async def pause(clock: Clock, tries: int) -> None:
    """Wait after so many tries, counted from 0."""
    await clock.sleep(_PAUSE * 2**tries)
