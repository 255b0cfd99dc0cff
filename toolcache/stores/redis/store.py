"""Blobs in Redis: read with plain commands, written by a script that keeps the newer version."""

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

from toolcache.blob import HEADER_SIZE, read_header
from toolcache.clock import SYSTEM
from toolcache.errors import SettingsError
from toolcache.events import BlobRejected, Event, StoreFault
from toolcache.protocols import Clock, PutResult, PutStatus, Watch, Write
from toolcache.stores.redis.dialer import Dialer
from toolcache.stores.redis.lanes import Lane, Lanes, LoopLanes
from toolcache.stores.redis.url import Address
from toolcache.stores.redis.wire import Script, pack
from toolcache.versions import ZERO

# A read cannot know how large the value is, and a large one would hold up everybody else's. So it asks for the first
# piece, and for the few longer ones again over the other connection: as a whole, since two pieces might be of two
# versions, and for no more than the header says. (GETRANGE of a missing key is empty, which no blob is.)
_FIRST: Final = 65_536
_GET_FIRST: Final = b"*4\r\n$8\r\nGETRANGE\r\n$%d\r\n%b\r\n$1\r\n0\r\n$5\r\n65535\r\n"
_TRAILER: Final = 64  # MAC and checksum are shorter
_READS_AT_ONCE: Final = 4_096
_WRITES_AT_ONCE: Final = 128
_WRITE_BYTES: Final = 262_144
_SCAN_COUNT: Final = b"500"

_PUT: Final = Script("put")
_STATUS: Final = {b"S": PutStatus.STORED, b"A": PutStatus.ALREADY, b"N": PutStatus.NEWER, b"F": PutStatus.FOREIGN}
_OTHER_TYPE: Final = "a key holds a value of another type"

# Where they stand in a blob's header.
_VERSION: Final = slice(4, 20)
_DIGEST: Final = slice(48, 52)


class RedisStore:
    """Blobs in one Redis (or Valkey) server, 6.2 or newer, over two multiplexed connections for each event loop.

    A user of its own needs the commands GETRANGE, SET, EVAL, EVALSHA and TIME; SELECT for another database;
    DBSIZE, SCAN, INFO and CLIENT SETNAME for what is not vital; CLIENT ID, CLIENT TRACKING, SUBSCRIBE, PING and the
    channel ``__redis__:invalidate`` for ``track``.

    Args:
        url: ``redis://``, ``rediss://`` (TLS, verified) or ``unix://``; None for ``redis://localhost:6379/0``.
        op_timeout: seconds after which a silent server is given up. Callers bring their own deadlines.
        connect_timeout: seconds that connecting may take; it goes on when the caller that wanted it has left.
        credential_provider: anything with ``get_credentials_async``, asked at each connect, instead of a password.
        client: a ``redis.asyncio`` client or pool whose settings (not connections) are borrowed, instead of a URL.
            It is never closed.
        max_entry: bytes of the largest body; of a larger one only the beginning is read, which no reader takes.
        clock: set to the server's time at each connect.
        announce: told of what is wrong with single keys.
        **options: what ``Address.parse`` takes: host, port, username, password, ssl_ca_certs, ... They win over the URL.

    Raises:
        SettingsError: for a URL or an option that is not understood.

    Examples:
        >>> store = RedisStore("rediss://app:s3cret@cache.internal", ssl_ca_certs="/etc/ssl/internal.pem")
        >>> store.redacted_url
        'rediss://app:***@cache.internal:6379/0'
    """

    name = "redis"

    def __init__(
        self,
        url: str | None = None,
        *,
        op_timeout: float = 0.5,
        connect_timeout: float = 5.0,
        credential_provider: Any = None,
        client: Any = None,
        max_entry: int | None = None,
        clock: Clock = SYSTEM,
        announce: Callable[[Event], None] | None = None,
        **options: Any,
    ) -> None:
        self._dialer = Dialer(
            Address.parse(url, **options),
            client=client,
            provider=credential_provider,
            clock=clock,
            timeout=connect_timeout,
            patience=op_timeout,
        )
        if client is not None and (url is not None or options):
            raise SettingsError("a client brings its own address: give either a client, or a URL and options")
        self._max_entry = math.inf if max_entry is None else max_entry
        self._announce = announce or (lambda _event: None)
        self._lanes = LoopLanes(lambda: Lanes(self._dialer.dial_and_align, self._dialer.dial))

    def __repr__(self) -> str:
        return f"<RedisStore {self.redacted_url}>"

    @property
    def redacted_url(self) -> str:
        """Where the server is, without the password."""
        return self._dialer.redacted_url

    @property
    def run_id(self) -> str | None:
        """The server process last connected to; None before that, and where it does not say."""
        return self._dialer.run_id

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        """The blobs, in order; None where there is none, or a value of another type.

        Raises:
            RedisError: (redis-py's) the server cannot be reached or refuses.
        """
        if len(keys) <= _READS_AT_ONCE:
            return await self._get(keys)
        slices = (keys[start : start + _READS_AT_ONCE] for start in range(0, len(keys), _READS_AT_ONCE))
        return [blob for some in slices for blob in await self._get(some)]

    async def put_many(self, writes: Sequence[Write], /) -> list[PutResult]:
        """Apply writes; those of one key in order. A blob may be stored although this raises or is cancelled.

        Raises:
            RedisError: (redis-py's) the server cannot be reached or refuses.
        """
        results: dict[int, PutResult] = {}

        async def put(places: list[int], *, bulk: bool) -> None:
            for some in _batches(writes, places):
                done = await self._put([writes[at] for at in some], bulk=bulk)
                results.update(zip(some, done, strict=True))

        large = {write.key for write in writes if len(write.blob) > _FIRST}
        if not large:
            await put(list(range(len(writes))), bulk=False)
        else:
            places: tuple[list[int], list[int]] = ([], [])
            for at, write in enumerate(writes):
                places[write.key in large].append(at)
            for failed in await asyncio.gather(
                put(places[False], bulk=False), put(places[True], bulk=True), return_exceptions=True
            ):
                if failed is not None:
                    raise failed
        return [results[at] for at in range(len(writes))]

    async def run(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes], *, bulk: bool = False
    ) -> Any:
        """The reply of a script, loaded where the server does not know it (any more)."""
        lane = self._lane(bulk=bulk)
        for whole in (False, True):
            connection = await lane.connection()
            (reply,) = await connection.call(script.call(keys, arguments, whole=whole))
            if type(reply).__name__ != "NoScriptError":
                break
        return _answer(reply)

    async def track(self, prefixes: Sequence[str], watch: Watch, /) -> None:
        """Tell ``watch`` what changes beneath ``prefixes``, over a connection of its own, until that is lost.

        Raises:
            UntrackedError: the server is too old, or the user may not use CLIENT, or the channel of its messages.
            RedisError: (redis-py's) the server cannot be reached, or has fallen silent.
        """
        # Opened first, so that it is known which server is read; the listener has to be connected to the same one.
        await self._lanes.here().small.connection()
        tracking = await self._dialer.dial_for_tracking()
        await tracking.run(prefixes, watch, run_id=lambda: self._dialer.run_id)

    async def count(self) -> int:
        """Keys in the database, those of others included."""
        return int(await self._ask(b"DBSIZE"))

    async def scan(self, prefix: str, /) -> AsyncIterator[str]:
        """The keys that start with ``prefix``, each at least once."""
        pattern = re.sub(r"([\\*?\[\]])", r"\\\1", prefix).encode() + b"*"
        cursor = b"0"
        while True:
            cursor, keys = await self._ask(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _SCAN_COUNT)
            for key in keys:
                yield key.decode(errors="replace")
            if cursor == b"0":
                return

    async def aclose(self) -> None:
        """Close the connections, once what is under way has ended or ``op_timeout`` has passed."""
        await self._lanes.aclose()

    async def _get(self, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        lanes = self._lanes.here()
        connection = await lanes.small.connection()
        raw = [key.encode() for key in keys]
        replies = await connection.call(b"".join([_GET_FIRST % (len(key), key) for key in raw]), len(raw))
        blobs = [self._blob(reply) for reply in replies]
        long = {
            at: pack(b"GETRANGE", raw[at], b"0", b"%d" % last)
            for at, blob in enumerate(blobs)
            if blob is not None and len(blob) == _FIRST and (last := self._last_byte(blob))
        }
        if long:
            connection = await lanes.bulk.connection()
            for at, whole in zip(long, await connection.call(b"".join(long.values()), len(long)), strict=True):
                blobs[at] = self._blob(whole)
        return blobs

    def _blob(self, reply: Any) -> bytes | None:
        """What a reply to GETRANGE holds; a value of another type counts as absent, any other error is raised."""
        if isinstance(reply, bytes):
            return reply or None
        if not isinstance(reply, Exception):
            raise _confused()
        if not str(reply).startswith("WRONGTYPE"):
            raise reply
        self._announce(StoreFault(self.name, "get", "semantic", _OTHER_TYPE))
        return None

    def _last_byte(self, first: bytes) -> int:
        """Where the blob that begins so ends, or a little further; 0 if it is none, or larger than any of ours."""
        header = read_header(first)
        if header is None or header.body_len > self._max_entry:
            return 0
        return HEADER_SIZE + header.meta_len + header.body_len + _TRAILER

    async def _put(self, writes: Sequence[Write], *, bulk: bool) -> list[PutResult]:
        keys = [write.key.encode() for write in writes]
        arguments = [word for write in writes for word in (write.blob, write.dead if write.once else b"")]
        said = await self.run(_PUT, keys, arguments, bulk=bulk)
        if not isinstance(said, list) or len(said) != len(writes):
            raise _confused()
        return [self._outcome(write, one) for write, one in zip(writes, said, strict=True)]

    def _outcome(self, write: Write, said: Any) -> PutResult:
        """What ``put.lua`` says of one write."""
        if not isinstance(said, bytes) or (status := _STATUS.get(said[:1])) is None:
            raise _confused()
        there, held = said[1:2], said[2:]
        if status is PutStatus.FOREIGN:
            self._announce(StoreFault(self.name, "put", "semantic", _OTHER_TYPE))
        elif there == b"X":
            self._announce(BlobRejected(self.name, "foreign", write.blob[_DIGEST].hex()))
        version = write.blob[_VERSION] if status is PutStatus.STORED else held or ZERO
        return PutResult(status, version, there == b"L")

    async def _ask(self, *words: bytes) -> Any:
        connection = await self._lanes.here().small.connection()
        (reply,) = await connection.call(pack(*words))
        return _answer(reply)

    def _lane(self, *, bulk: bool) -> Lane:
        lanes = self._lanes.here()
        return lanes.bulk if bulk else lanes.small


def _batches(writes: Sequence[Write], places: list[int]) -> Iterator[list[int]]:
    """The places in runs of at most as many keys and bytes as one script call takes; a larger write goes alone."""
    some: list[int] = []
    size = 0
    for at in places:
        more = len(writes[at].blob)
        if some and (len(some) == _WRITES_AT_ONCE or size + more > _WRITE_BYTES):
            yield some
            some, size = [], 0
        some.append(at)
        size += more
    if some:
        yield some


def _answer(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _confused() -> Exception:
    from redis.exceptions import InvalidResponse

    return InvalidResponse("the server's reply is none that this command has")
