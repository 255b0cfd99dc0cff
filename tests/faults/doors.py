"""What a worker asks that its requests be run once, and stand-ins for it, by which the judge is tried."""

import asyncio
import contextlib
import fcntl
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

Act = Callable[[str, int, str], Awaitable[Any]]
"""Runs a request, in this attempt, with this idempotency key."""
Told = Callable[[str, Any, str | None], None]
"""Is told of a request's output, or of the name of what was raised instead."""
_LOOK: Final = 0.005


class Door(Protocol):
    """Has requests run, once each, whoever asks."""

    async def ask(self, requests: Sequence[str], act: Act, told: Told) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


class Locked:
    """A file for each request, locked while it runs: right on one host, and slow."""

    def __init__(self, directory: str) -> None:
        self._root = Path(directory)
        self._root.mkdir(parents=True, exist_ok=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Nothing is open."""

    async def ask(self, requests: Sequence[str], act: Act, told: Told) -> None:
        await asyncio.gather(*(self._ask(request, act, told) for request in dict.fromkeys(requests)))

    async def _ask(self, request: str, act: Act, told: Told) -> None:
        with self._opened(request) as file:
            while not self._turn(file):  # noqa: ASYNC110 - a lock tells nobody
                await asyncio.sleep(_LOOK)
            output = self._kept(request)
            if output is None:
                output = await act(request, 1, request)
                self._keep(request, output)
        told(request, output, None)

    @contextlib.contextmanager
    def _opened(self, request: str) -> Iterator[int]:
        file = os.open(self._root / f"{request}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield file
        finally:
            os.close(file)

    def _turn(self, file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _kept(self, request: str) -> Any:
        path = self._root / request
        return json.loads(path.read_bytes()) if path.exists() else None

    def _keep(self, request: str, output: Any) -> None:
        passing = self._root / f"{request}.{os.getpid()}"
        passing.write_bytes(json.dumps(output).encode())
        passing.replace(self._root / request)


class Unlocked(Locked):
    """Looks, runs and keeps, without a lock, as caches do: wrong, and to be found so."""

    def _turn(self, file: int) -> bool:
        return True


class Impatient(Locked):
    """Locks, but does not wait for long: wrong, and to be found so."""

    def _turn(self, file: int) -> bool:
        self._looks = getattr(self, "_looks", 0) + 1
        return super()._turn(file) or self._looks % 7 == 0


STAND_INS: Final[dict[str, type[Locked]]] = {"locked": Locked, "unlocked": Unlocked, "impatient": Impatient}
