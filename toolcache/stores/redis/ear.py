"""What listens to a server, beyond what a watch asks for: the ends of claims."""

from collections.abc import Collection, Sequence

from toolcache.channels import Hearer
from toolcache.protocols import Watch
from toolcache.wakes import Wakes


class Ear:
    """Passes on to a watch what changes, and wakes those who wait for the end of a claim.

    Args:
        watch: told of changes; and of messages, if it wants to be.
        channel: on which the server publishes the keys of claims that have ended; see ``channel_of``.
        messages: on which processes tell one another something.
        wakes: those who wait.

    Attributes:
        hears: whether the ends of claims come to us.
        channels: of what is published, those to listen to.
    """

    def __init__(self, watch: "Watch | Ear", channel: str, messages: str, wakes: Wakes) -> None:
        self.watch = watch
        self.channel = channel
        self.messages = messages
        self.wakes = wakes
        self.hears = False
        self._hearer = watch if isinstance(watch, Hearer) else None
        self.channels = (channel,) if self._hearer is None else (channel, messages)

    def armed(self) -> None:
        """As a watch."""
        self.watch.armed()

    def changed(self, keys: Sequence[str] | None) -> None:
        """As a watch."""
        self.watch.changed(keys)

    def heard(self) -> None:
        """As a watch."""
        self.watch.heard()

    def told(self, message: bytes) -> None:
        """As a watch that wants to be."""
        if self._hearer is not None:
            self._hearer.told(message)

    def deaf(self) -> None:
        """As such a watch."""
        if self._hearer is not None:
            self._hearer.deaf()

    def listens(self, channels: Collection[str]) -> None:
        """The server lets us listen to these."""
        self.hears = self.channel in channels
        if self.messages not in channels:
            self.deaf()

    def published(self, channel: str, message: bytes) -> None:
        """This was published: by the server's scripts, by other processes, or by anybody else."""
        if channel == self.messages:
            self.told(message)
        else:  # a claim under this store key has ended
            self.wakes.wake(message.decode(errors="replace"))


def channel_of(prefix: str, kind: str = "w") -> str:
    """A channel of a namespace, from the beginning of any of its store keys; ``swap.lua`` has that of claims from theirs."""
    head, _, namespace, _ = prefix.split(":", 3)
    return f"{head}:{kind}:{namespace}"
