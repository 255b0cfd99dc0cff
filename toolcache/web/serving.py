"""A server of its own for a cache: ``await serve(cache)``, and ``toolcache serve``."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from toolcache.errors import SettingsError
from toolcache.tool_cache import ToolCache
from toolcache.web.app import app
from toolcache.web.gate import Gate
from toolcache.web.hosts import is_loopback
from toolcache.web.tokens import VARIABLE, Tokens

PORT: Final = 8377


async def serve(
    cache: ToolCache,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    on_listening: Callable[[str], None] | None = None,
    **options: Any,
) -> None:
    """Serve a cache until the task is cancelled, or the process is told to end (SIGINT, SIGTERM).

    Args:
        cache: an open one. One that is opened with ``metrics=False`` does not count what the server itself reads.
        host: a name or address of this machine; beyond loopback only with tokens.
        port: 0 takes a free one.
        on_listening: called with the URL once requests are taken.
        options: see ``app``.

    Raises:
        SettingsError: an option cannot be; or the host is reached from other machines, and there is no token.
        OSError: the port is taken, or the host is not this machine's.
        ModuleNotFoundError: the extra ``server`` is not installed.

    Examples:
        >>> async with ToolCache.from_env(metrics=False) as cache:
        ...     await serve(cache, port=8377)
    """
    if (tokens := options.get("tokens")) is None:
        tokens = options["tokens"] = Tokens.from_env()
    if not tokens and not is_loopback(host):
        raise SettingsError(
            f"host={host!r} is reached from other machines, and there is no token: give tokens={{'…': 'read'}}, or set "
            f"{VARIABLE}=read=…,admin=…; or serve 127.0.0.1"
        )
    application = app(cache, **options)
    with _listener(host, port) as listener:
        at = listener.getsockname()
        shown = f"[{at[0]}]" if ":" in at[0] else at[0]
        if on_listening is not None:
            on_listening(f"http://{shown}:{at[1]}/")
        await _serve(application, listener)


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), port), family=family, backlog=128)


async def _serve(application: Gate, listener: socket.socket) -> None:
    from toolcache.web.wire import Server, config

    server = Server(config(application), application.end)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
