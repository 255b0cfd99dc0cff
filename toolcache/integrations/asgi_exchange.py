"""An exchange with an ASGI application on behalf of all who ask for the same page."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextvars import Context as Variables
from typing import Any, Final, TypeAlias

from toolcache.compute import Context
from toolcache.http.fields import listed, value
from toolcache.http.pages import Page
from toolcache.http.requests import Request
from toolcache.http.rules import FAILED, Rules, page_of, refusal
from toolcache.protocols import Clock

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

FAILURE: Final = "failed"
"""What those are told who waited for a page that the application could not make."""

_NOT_MODIFIED: Final = 304


class Exchange:
    """One request to the application. Its response is held back until it is known whether it may be kept.

    If it may, it becomes a page, for whoever wants it. If not, it goes to the client whose request this is, as it comes.

    Args:
        app: the application.
        scope: of the client's request.
        receive: from the client.
        send: to the client; what cannot be kept goes there.
        request: the client's.
        rules: what is kept.
        clock: tells when.
        own: whether the page is to be where only this client finds it.
        old: the page that there is, and is not good any more.
        variables: what the application sees of context variables.
        tags: the tags of a response with these fields.

    Attributes:
        begun: whether it has been.
        page: what the response has become.
        failed: whether it could not be made.
        refused: why it may not be kept, in a word.
        left: whether the client has gone, or is answered by somebody else.
    """

    def __init__(
        self,
        app: App,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        request: Request,
        rules: Rules,
        clock: Clock,
        own: bool,
        old: Page | None,
        variables: Variables,
        tags: Callable[[Sequence[tuple[bytes, bytes]]], list[str]],
    ) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request = request
        self._rules = rules
        self._clock = clock
        self._own = own
        self._old = old
        self._variables = variables
        self._tags = tags
        self._decided = asyncio.Event()
        self._held: list[Message] = []
        self._start: Message = {}
        self._body: list[bytes] = []
        self._size = 0
        self._asked = False
        self._asked_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self.begun = False
        self.page: Page | None = None
        self.failed = False
        self.refused: str | None = None
        self.left = False

    async def compute(self, context: Context) -> object:
        """The page, to be kept; something else, not to be, as soon as it is known that there is none."""
        self.begun = True
        self._asked_at = self._clock.time()
        self._task = asyncio.get_running_loop().create_task(self._ask(), context=self._variables)
        try:
            await self._decided.wait()
        except asyncio.CancelledError:  # nobody waits any more
            self._task.cancel()
            raise
        if self.page is None:
            context.skip()
            return FAILURE if self.failed else None
        context.ttl = self.page.kept_for(self._clock.time())
        context.tags = tuple(dict.fromkeys(self._tags(self.page.fields)))
        return self.page.stored()

    async def finish(self) -> None:
        """Wait until the application is done; raises what it raises."""
        if self._task is None:
            return
        try:
            await asyncio.wait((self._task,))
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait((self._task,))
            raise
        if not (self._task.cancelled() and self.left):
            self._task.result()

    async def _ask(self) -> None:
        fields = self._request.unconditional(self._old)
        scope = self._scope if fields == self._request.fields else {**self._scope, "headers": fields}
        try:
            await self._app(scope, self._hear, self._hold)
        except BaseException:
            if not self._decided.is_set():
                await self._give_up("failed", failed=True)
            raise
        if not self._decided.is_set():  # it has said nothing to the end
            await self._give_up("incomplete")

    async def _hear(self) -> Message:
        """What the application receives: the request, which has no body; then, that of the client who has to wait for it."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._decided.wait()
        if self.refused is None or self.left:
            return {"type": "http.disconnect"}
        while (message := await self._receive())["type"] == "http.request":
            pass
        return message

    async def _hold(self, message: Message) -> None:
        """What the application sends."""
        if self._decided.is_set():
            if self.refused is not None:
                await self._pass_on(message)
            return  # more than a whole response
        self._held.append(message)
        kind = message["type"]
        if kind == "http.response.start":
            self._start = {"headers": [], **message}
            if (reason := self._refusal()) is not None:
                await self._give_up(reason, failed=message["status"] in FAILED)
        elif kind == "http.response.body":
            await self._take(message)
        else:  # files that the server sends itself, trailers and the like
            await self._give_up("stream")

    def _refusal(self) -> str | None:
        status, fields = self._start["status"], self._start["headers"]
        if status == _NOT_MODIFIED and self._old is not None:
            status, fields = self._old.status, self._old.renewed(fields)
        return refusal(self._rules, self._request.visitor, status, fields, self._asked_at, own=self._own)

    async def _take(self, message: Message) -> None:
        """A piece of the content."""
        self._body.append(bytes(message.get("body", b"")))
        self._size += len(self._body[-1])
        more, length = message.get("more_body", False), value(self._start["headers"], b"content-length")
        if self._size > self._rules.max_body:
            await self._give_up("large")
        elif more and length is None:
            await self._give_up("stream")
        elif not more:
            whole = length in {None, str(self._size).encode("ascii")} or self._start["status"] == _NOT_MODIFIED
            page = self._made()
            if whole and page.kept_for(self._clock.time()) > 0:
                self.page = page
                self._decided.set()
            else:
                await self._give_up("unsaid" if whole else "incomplete")

    def _made(self) -> Page:
        status, fields, body = self._start["status"], self._start["headers"], b"".join(self._body)
        if status == _NOT_MODIFIED and self._old is not None:
            status, fields, body = self._old.status, self._old.renewed(fields), self._old.body
        page = page_of(self._rules, status, fields, body, self._asked_at, own=self._own)
        return page._replace(varied=self._request.varied(listed(fields, b"vary")))

    async def _give_up(self, reason: str, *, failed: bool = False) -> None:
        """There will be no page: others are let go, and the client has the response, unless it gets the old page."""
        self.refused, self.failed = reason, failed
        instead = (
            failed
            and self._old is not None
            and self._old.stands_in(self._clock.time(), self._request.said, failed=True)
        )
        if instead:
            self._send = _nobody
        self._decided.set()
        held, self._held = self._held, []
        whole = [] if failed else self._unasked()
        for message in whole or held:
            await self._pass_on(message)
        if whole:
            self._send = _nobody

    def _unasked(self) -> list[Message]:
        """The whole response, where that is a 304 which the client has not asked for: the cache has."""
        if self._old is None or self._start.get("status") != _NOT_MODIFIED:
            return []
        page = self._old._replace(fields=self._old.renewed(self._start["headers"]))
        if self._request.knows(page):
            return []
        length = (b"content-length", str(len(page.body)).encode("ascii"))
        fields = [*(field for field in page.fields if field[0] != length[0]), length]
        return [
            {"type": "http.response.start", "status": page.status, "headers": fields},
            {"type": "http.response.body", "body": page.body, "more_body": False},
        ]

    async def _pass_on(self, message: Message) -> None:
        if self.left and self._task is not None:
            self._task.cancel()  # there is nobody to whom this could go on for ever
        else:
            await self._send(message)


async def _nobody(_message: Message) -> None:
    """Takes what nobody gets."""
