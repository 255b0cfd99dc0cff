"""Server-sent events: the pulse, as a response that lasts until somebody hangs up."""

from collections.abc import Mapping
from typing import Final

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from toolcache.web.endpoint import EVENTS
from toolcache.web.page.pulse import Pulse

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Type": f"{EVENTS}; charset=utf-8",
    "X-Accel-Buffering": "no",  # a proxy that gathers what it passes on would make a minute of each second
    "X-Content-Type-Options": "nosniff",
}

DOCUMENTS: Final = 30
"""After so many a stream ends, and the page begins another one: a server that waits for its connections can end."""


class EventStream(Response):
    """What a pulse says from now on, for half a minute.

    Args:
        pulse: says it.
        names: what the parts are called in each document, and which they are.
        first: what this listener alone is told, before anything else: JSON.
    """

    def __init__(self, pulse: Pulse, names: Mapping[str, str], first: str) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._pulse = pulse
        self._names = names
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak until the other end, or the pulse, has enough."""
        async with anyio.create_task_group() as both:

            async def await_the_end() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                both.cancel_scope.cancel()

            both.start_soon(await_the_end)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                await self._speak(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            both.cancel_scope.cancel()

    async def _speak(self, send: Send) -> None:
        with self._pulse.listening(self._names) as listener:
            said: str | None = self._first
            for _ in range(DOCUMENTS):
                await send({"type": "http.response.body", "body": f"data: {said}\n\n".encode(), "more_body": True})
                said = await listener.next()
                if said is None:
                    break
