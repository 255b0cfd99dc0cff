"""Whether Redis is still the server that was told of all that lasts: deletes, clears, results.

Another one may have come in its place: started again empty or from an older copy, or a replica that had not heard of
everything; or it was flushed. Until it has been told, its word that a value is there counts less than what this host knows.
"""

from toolcache.layer import Layer
from toolcache.protocols import SupportsIdentity


class Told:
    """Which server one cache has seen told.

    Args:
        redis: where it is asked for; None where it is not configured.

    Attributes:
        flushes: how often it was flushed, as far as was heard.
    """

    def __init__(self, redis: Layer | None) -> None:
        store = redis.store if redis else None
        self._store = store if isinstance(store, SupportsIdentity) else None
        self._run_id: str | None = None
        self._before = 0
        self.flushes = 0

    @property
    def run_id(self) -> str | None:
        """Of the server last connected to."""
        return None if self._store is None else self._store.run_id

    @property
    def flushed(self) -> bool:
        """Whether it was flushed since it was told."""
        return self.flushes != self._before

    @property
    def another(self) -> bool:
        """Whether it is one that may not have been told. Cheap, synchronous."""
        return (run_id := self.run_id) is not None and (run_id != self._run_id or self.flushed)

    def flush(self) -> None:
        """It was flushed: what has to outlive that is to be told again, although it is the same server."""
        self.flushes += 1

    def by(self, run_id: str, flushes: int) -> None:
        """The server of this identity, flushed so often, has been told."""
        self._run_id, self._before = run_id, flushes
