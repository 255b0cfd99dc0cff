"""Events of ``toolcache.events``: what goes wrong with what the application emits, and with what runs on a schedule."""

from toolcache.fields import Frozen


class HandlerFailed(Frozen):
    """A handler of an event of the application raised, or has so many waiting that one was dropped; the others go on."""

    name: str
    """The event's."""
    handler: str
    reason: str

    def __str__(self) -> str:
        return f"handler {self.handler} of event {self.name} failed ({self.reason}); the other handlers go on"


class MessageRejected(Frozen):
    """What came as a message of another process was none: damaged, foreign, too large or not authenticated."""

    layer: str
    reason: str

    def __str__(self) -> str:
        return f"{self.layer}: a message was dropped ({self.reason}): it is none of another process of this cache"


class MessagesRefused(Frozen):
    """A layer will not pass on what other processes emit; events reach the processes that it lets listen."""

    layer: str
    channel: str

    def __str__(self) -> str:
        return (
            f"{self.layer} passes on no events of other processes: the user may not listen to &{self.channel}; "
            "handlers here hear what this process emits, and no more"
        )


class ScheduleFailed(Frozen):
    """What runs on a schedule failed; it is run again when it is due."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"schedule {self.name} failed ({self.reason}); it runs again when it is due"


class AlertChanged(Frozen):
    """An alert fires, or has resolved: told by the process that found it, while its actions begin."""

    name: str
    """The alert's."""
    after: str
    """Either "firing" or "resolved"."""
    text: str

    def __str__(self) -> str:
        return f"alert {self.text}"


class AlertActionFailed(Frozen):
    """An action did not take an alert, or took too long; the others are told all the same."""

    name: str
    """The alert's."""
    handler: str
    """The action."""
    reason: str

    def __str__(self) -> str:
        return (
            f"action {self.handler} of alert {self.name!r} failed ({self.reason}); whoever it was to reach may not know"
        )
