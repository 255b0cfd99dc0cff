"""A server that takes webhooks, as somebody else's would: it answers as it is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple


class Request(NamedTuple):
    """What came."""

    line: str
    headers: dict[str, str]
    body: bytes


class Hooks:
    """Takes requests, and answers each with the next of ``answers``; 200 where there is none left."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[bytes | None] = []
        self.port = 0
        self.asked = asyncio.Event()
        self.closed = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/cache?team=ops"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers["content-length"]))
            self.requests.append(Request(head[0], headers, body))
            self.asked.set()
            answer = self.answers.pop(0) if self.answers else b"HTTP/1.1 200 OK\r\n\r\n"
            if answer is None:  # says nothing, until the other side has gone
                await reader.read()
            else:
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.closed.set()


def status(code: int, *headers: str) -> bytes:
    """An answer."""
    return "\r\n".join((f"HTTP/1.1 {code} Whatever", *headers, "Content-Length: 0", "", "")).encode()


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[Hooks]:
    """A server on a free port of the loopback."""
    hooks = Hooks()
    server = await asyncio.start_server(hooks.handle, "127.0.0.1", 0, ssl=context)
    hooks.port = server.sockets[0].getsockname()[1]
    async with server:
        yield hooks
