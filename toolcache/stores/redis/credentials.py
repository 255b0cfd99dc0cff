"""A user's credential provider: asked off the loop if it can only block, never longer than connecting may take.

What it raises is not passed on, nor what it returns if that is no password: both may hold a secret.
"""

import asyncio
import threading
from collections.abc import Awaitable
from concurrent.futures import Future
from typing import Any, Final

from toolcache.errors import SettingsError
from toolcache.forks import watch

_SHARE: Final = 0.9
"""Of the time that connecting may take; a provider that took all of it would be taken for a silent server."""


class CredentialsError(Exception):
    """There are no credentials; says why in words of our own.

    ``late`` ones may come in a moment; what is wrong with others is who asks, or whom.
    """

    def __init__(self, why: str, *, late: bool = False) -> None:
        super().__init__(f"no credentials (the provider {why})")
        self.late = late


class Credentials:
    """What a provider says, for all connections of a store.

    Args:
        provider: has ``get_credentials_async()`` or ``get_credentials()``, as redis-py describes them.
        timeout: seconds that connecting may take.

    Attributes:
        asking: how many wait for it now.

    Raises:
        SettingsError: it has neither.
    """

    def __init__(self, provider: Any, *, timeout: float) -> None:
        if isinstance(provider, type) or not any(callable(getattr(provider, name, None)) for name in _METHODS):
            raise SettingsError(
                "credentials takes an object with get_credentials_async() or get_credentials(), such as a "
                f"redis.CredentialProvider, not {_told(provider)}"
            )
        self._provider = provider
        self._timeout = _SHARE * timeout
        self._given: tuple[str, ...] | None = None
        self._thread: Future[Any] | None = None
        self.asking = 0
        watch(self)

    async def give(self) -> tuple[str, ...]:
        """The password, or user and password, for a connection that is being opened.

        Raises:
            CredentialsError: the provider raised, took too long, or returned something else.
        """
        self._given = None
        self._given = given = await self._ask()
        return given

    async def changed(self) -> bool:
        """Whether it gives others than it gave last; never raises for the provider."""
        try:
            return await self._ask() != self._given
        except CredentialsError:
            return False

    async def _ask(self) -> tuple[str, ...]:
        self.asking += 1
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                said = await self._answer()
        except Exception as error:  # noqa: BLE001 - a provider may raise anything, with the token in its text
            late = deadline.expired()
            why = f"did not answer within {self._timeout:g} s" if late else f"raised {type(error).__name__}"
            raise CredentialsError(why, late=late) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise CredentialsError("raised CancelledError") from None
        finally:
            self.asking -= 1
        if not _usable(said):
            raise CredentialsError("returned no tuple of a password, or of user and password")
        return tuple(said)

    def _answer(self) -> Awaitable[Any]:
        asynchronous = getattr(self._provider, "get_credentials_async", None)
        blocking = getattr(self._provider, "get_credentials", None)
        # redis-py's base class has both, and its asynchronous one calls the other on the loop.
        inherited = getattr(asynchronous, "__module__", None) == "redis.credentials"
        if callable(asynchronous) and not (inherited and callable(blocking)):
            answer: Awaitable[Any] = asynchronous()
            return answer
        # One thread at a time, of its own: a provider that hangs takes no worker away from others, and may go on
        # hanging when the process ends.
        if self._thread is None or self._thread.done():
            self._thread = Future()
            self._thread.set_running_or_notify_cancel()
            threading.Thread(
                target=_run, args=(blocking, self._thread), name="toolcache-credentials", daemon=True
            ).start()
        return asyncio.wrap_future(self._thread)

    def forked(self) -> None:
        """The parent's thread does not run here."""
        self._thread = None
        self.asking = 0


_METHODS: Final = ("get_credentials_async", "get_credentials")


def _run(blocking: Any, answer: "Future[Any]") -> None:
    try:
        answer.set_result(blocking())
    except BaseException as error:  # noqa: BLE001 - it is for those who wait
        answer.set_exception(error)


def _usable(said: Any) -> bool:
    if not isinstance(said, tuple | list) or len(said) not in {1, 2} or not all(isinstance(one, str) for one in said):
        return False
    try:
        return bool("".join(said).encode())
    except UnicodeEncodeError:
        return False


def _told(provider: Any) -> str:
    return f"the class {provider.__name__}" if isinstance(provider, type) else type(provider).__name__
