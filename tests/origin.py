"""An ASGI application that answers as a test says, and clients of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Fields = Mapping[str, str] | list[tuple[str, str]]


def raw(fields: Fields) -> list[tuple[bytes, bytes]]:
    """Header fields as ASGI has them."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return [(name.lower().encode("latin-1"), content.encode("latin-1")) for name, content in pairs]


@dataclass
class Answer:
    """What the application answers: a response, whole or in pieces."""

    body: bytes = b"page"
    fields: Fields = field(default_factory=dict)
    status: int = 200
    pieces: int = 1
    error: Exception | None = None


@dataclass
class Response:
    """What a client has got."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    pieces: int

    def __getitem__(self, name: str) -> str:
        return next(content for key, content in self.fields if key == name)

    def get(self, name: str) -> str | None:
        """A field."""
        return next((content for key, content in self.fields if key == name), None)

    @property
    def cache(self) -> str:
        """What the cache says that it has done."""
        return self["cache-status"].removeprefix("toolcache; ")


class Origin:
    """The application.

    Attributes:
        answer: made for each request, out of its scope.
        asked: the scopes of all requests.
        gate: what each request waits for before it is answered; open unless a test shuts it.
        heard: the types of what it received of each client besides the request.
    """

    def __init__(self) -> None:
        self.answer: Callable[[MutableMapping[str, Any]], Answer] = lambda _scope: Answer()
        self.asked: list[MutableMapping[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.heard: list[str] = []

    def says(self, body: bytes = b"page", status: int = 200, pieces: int = 1, **fields: str) -> None:
        """Answer so from now on."""
        named = {name.replace("_", "-"): content for name, content in fields.items()}
        self.answer = lambda _scope: Answer(body, named, status, pieces)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer a request."""
        self.asked.append(scope)
        message = await receive()
        assert message == {"type": "http.request", "body": b"", "more_body": False}
        await self.gate.wait()
        answer = self.answer(scope)
        if answer.error is not None:
            raise answer.error
        fields = raw(answer.fields)
        if answer.pieces == 1 and not any(name == b"content-length" for name, _ in fields):
            fields.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": fields})
        size = -(-len(answer.body) // answer.pieces) or 1
        pieces = [answer.body[at : at + size] for at in range(0, len(answer.body), size)] or [b""]
        for number, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})


class Client:
    """Asks an ASGI application, without a server.

    Args:
        app: whom.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def ask(self, method: str, url: str, fields: Fields = (), **more: Any) -> Response:  # type: ignore[assignment]  # no fields
        """The response to a request."""
        messages: list[MutableMapping[str, Any]] = []
        received = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            return next(received, {"type": "http.disconnect"})

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        await self._app(self.scope(method, url, fields, **more), receive, send)
        start, *bodies = messages
        assert start["type"] == "http.response.start"
        assert bodies
        assert [one.get("more_body", False) for one in bodies] == [True] * (len(bodies) - 1) + [False]
        told = [(name.decode(), content.decode("latin-1")) for name, content in start["headers"]]
        return Response(start["status"], told, b"".join(one["body"] for one in bodies), len(bodies))

    async def get(self, url: str = "/", fields: Fields = (), **more: Any) -> Response:  # type: ignore[assignment]  # no fields
        """The response to a GET."""
        return await self.ask("GET", url, fields, **more)

    @staticmethod
    def scope(method: str, url: str, fields: Fields = (), **more: Any) -> MutableMapping[str, Any]:  # type: ignore[assignment]  # no fields
        """The scope of a request."""
        path, _, query = url.partition("?")
        return {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", b"shop.example"), *raw(fields or {})],
            **more,
        }


async def pieces_of(items: list[bytes]) -> AsyncIterator[bytes]:
    """Them, one after another."""
    for item in items:
        yield item
