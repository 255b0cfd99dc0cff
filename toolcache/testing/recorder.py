"""A listener that remembers."""

from typing import Any, TypeVar

E = TypeVar("E")


class Recorder:
    """Keeps every event it is told of, in order.

    Examples:
        >>> from toolcache.events import DataAtRisk
        >>> recorder = Recorder()
        >>> recorder(DataAtRisk("delete", "0a1b2c3d"))
        >>> [event.operation for event in recorder.of(DataAtRisk)]
        ['delete']
    """

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: Any, /) -> None:
        """Take note."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one class."""
        return [event for event in self.events if isinstance(event, kind)]

    def clear(self) -> None:
        """Forget them all."""
        self.events.clear()
