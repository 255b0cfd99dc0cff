"""What a shared store may do besides: pass on what one process has to say to the others."""

from typing import Protocol, runtime_checkable

from toolcache.protocols import Watch


@runtime_checkable
class Hearer(Watch, Protocol):
    """A watch that is told as well what others publish on the channel of messages, of its namespace."""

    def told(self, message: bytes, /) -> None:
        """This was published, by whoever may: it can be anything."""
        ...

    def deaf(self) -> None:
        """The store will not pass on what is published."""
        ...


@runtime_checkable
class SupportsMessages(Protocol):
    """A shared store that passes messages on to those that it tells of changes, and keeps none."""

    async def publish(self, channel: str, message: bytes, /) -> int:
        """Have all who listen to a channel told; how many the store knows of. Repeated, it is told again."""
        ...
