"""ToolCache: a cache that knows what agents cache."""

import os
import threading
from collections.abc import Mapping
from typing import Self, Unpack

from toolcache.assembly import assemble
from toolcache.clock import SYSTEM
from toolcache.completions import Completions
from toolcache.credentials import AnyCredentialProvider
from toolcache.discovery import Discovery
from toolcache.embeddings import Embeddings
from toolcache.errors import SettingsError
from toolcache.protocols import Clock
from toolcache.results import Results
from toolcache.settings import Options, Settings


class ToolCache(Discovery, Embeddings, Completions, Results):
    """A cache over memory → Redis → files that knows the domains of agents.

    Every getter takes ``compute``: on a miss it is run, its value stored and returned, once per key, whoever asks.
    Without it a miss is None. A ``source``, ``query`` or ``text`` is whatever keys accept: text, or a dict that
    describes where something comes from; a digest computed elsewhere is passed as ``Digest(hex)``. Opening one does no
    I/O: a store that is down is found at the first use, and the cache goes on without it.

    Args:
        settings: the defaults unless given.
        clock: another than the machine's, for tests.
        credentials: gives user and password of Redis at each connect, where those change: an object with
            ``get_credentials_async()`` or ``get_credentials()``, such as a ``redis.CredentialProvider``.
        options: single settings, by name; see ``Settings``. They win.

    Raises:
        SettingsError: a setting is unknown or cannot be.

    Examples:
        >>> async with ToolCache(namespace="shop", max_memory="100MB") as cache:
        ...     tools = await cache.get_catalog("https://tools.example.org", compute=discover)
    """

    def __init__(
        self,
        settings: Settings | None = None,
        /,
        *,
        clock: Clock = SYSTEM,
        credentials: AnyCredentialProvider | None = None,
        **options: Unpack[Options],
    ) -> None:
        if settings is None:
            settings = Settings(**options)
        elif not isinstance(settings, Settings):
            raise SettingsError(
                f"ToolCache takes Settings or keywords, not {type(settings).__name__}: see from_url for a URL"
            )
        elif options:
            settings = settings.replace(**options)
        super().__init__(assemble(settings, clock=clock, credentials=credentials), settings)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        dotenv: str | os.PathLike[str] | None = ".env",
        *,
        credentials: AnyCredentialProvider | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """A cache as the environment says, and a ``.env`` file if there is one; see ``Settings.from_env``."""
        return cls(Settings.from_env(environ, dotenv, **options), credentials=credentials)

    @classmethod
    def from_url(
        cls, url: str, *, credentials: AnyCredentialProvider | None = None, **options: Unpack[Options]
    ) -> Self:
        """A cache over the Redis of a URL, whose query may hold settings; see ``Settings.from_url``."""
        return cls(Settings.from_url(url, **options), credentials=credentials)

    @property
    def closed(self) -> bool:
        """Whether ``aclose()`` was called."""
        return self._machine.homes.closed


_default: ToolCache | None = None
_lock = threading.Lock()


def get_cache() -> ToolCache:
    """The process's own cache: made from the environment at first use, and made anew once it was closed."""
    global _default  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _default is None or _default.closed:
            _default = ToolCache.from_env()
        return _default
