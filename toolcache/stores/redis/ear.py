"""What listens to a server, beyond what a watch asks for: the ends of claims."""

from collections.abc import Sequence

from toolcache.protocols import Watch
from toolcache.wakes import Wakes


class Ear:
    """Passes on to a watch what changes, and wakes those who wait for the end of a claim.

    Args:
        watch: told of changes.
        channel: on which the server publishes the keys of claims that have ended; see ``channel_of``.
        wakes: those who wait.

    Attributes:
        hears: whether the ends of claims come to us.
    """

    def __init__(self, watch: Watch, channel: str, wakes: Wakes) -> None:
        self.watch = watch
        self.channel = channel
        self.wakes = wakes
        self.hears = False

    def armed(self) -> None:
        """As a watch."""
        self.watch.armed()

    def changed(self, keys: Sequence[str] | None) -> None:
        """As a watch."""
        self.watch.changed(keys)

    def heard(self) -> None:
        """As a watch."""
        self.watch.heard()

    def ended(self, key: str) -> None:
        """The claim under this store key has ended."""
        self.wakes.wake(key)


def channel_of(prefix: str) -> str:
    """The channel of a namespace, from the beginning of any of its store keys; ``swap.lua`` has it from the claim's."""
    head, _, namespace, _ = prefix.split(":", 3)
    return f"{head}:w:{namespace}"
