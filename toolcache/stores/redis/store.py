"""Blobs in Redis: read with plain commands, written by a script that keeps the newer version."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from toolcache.blob import HEADER_SIZE, end_of, read_header
from toolcache.clock import SYSTEM
from toolcache.credentials import AnyCredentialProvider
from toolcache.errors import SettingsError
from toolcache.events import Event, StoreFault
from toolcache.forks import watch
from toolcache.groups import Grouped
from toolcache.listing import Page
from toolcache.protocols import Clock, PutResult, StoreRestingError, Watch, Write
from toolcache.stores.redis import groups, pages
from toolcache.stores.redis.cluster import Cluster
from toolcache.stores.redis.credentials import Credentials
from toolcache.stores.redis.dialer import Dialer
from toolcache.stores.redis.ear import Ear, channel_of
from toolcache.stores.redis.lanes import Lanes, LoopLanes
from toolcache.stores.redis.puts import OTHER_TYPE, PUT, at_once, in_calls, outcomes, portions, words
from toolcache.stores.redis.sentinel import SentinelDialer
from toolcache.stores.redis.url import Address
from toolcache.stores.redis.wire import Script, answer_of, confused, denied, milliseconds, pack
from toolcache.swaps import Standing, Swapped
from toolcache.wakes import Wakes

# A read cannot know how large the value is, and a large one would hold up everybody else's. So it asks for the first
# piece, and for the few longer ones again over the other connection: as a whole, since two pieces might be of two
# versions, and for no more than the header says. (GETRANGE of a missing key is empty, which no blob is.)
_FIRST: Final = 65_536
_GET_FIRST: Final = b"*4\r\n$8\r\nGETRANGE\r\n$%d\r\n%b\r\n$1\r\n0\r\n$5\r\n65535\r\n"
_TRAILER: Final = 64  # MAC and checksum are shorter
_READS_AT_ONCE: Final = 4_096

_SWAP: Final = Script("swap")
_NO_CLAIMS: Final = "the user may not GET, SET or DEL the keys of claims"
_NO_MESSAGES: Final = "the user may not PUBLISH on the channel of messages"
_NO_CLAIMS_FOR: Final = 3.0
_STAMP: Final = 8  # bytes behind the record of a claim: when its lease ends


class RedisStore:
    """Blobs in one Redis (or Valkey) server, 6.2 or newer, over multiplexed connections of each event loop.

    A user of its own needs the commands GETRANGE, SET, GET and DEL, EVAL, EVALSHA and TIME; SELECT for another database;
    DBSIZE, SCAN, INFO and CLIENT SETNAME for what is not vital; CLIENT ID, CLIENT TRACKING, SUBSCRIBE, PING and the
    channel ``__redis__:invalidate`` for ``track``; PUBLISH and the channels ``tc1:w:*`` to be told of the end of claims, and
    PUBSUB, lest it be told of its own; PUBLISH and the channels ``tc1:x:*`` for messages of one process to the others;
    HGETALL, HGET, HSTRLEN, HSET, PTTL and PEXPIRE for statistics, and MEMORY USAGE, lest it read what is huge.

    Args:
        url: ``redis://``, ``rediss://`` (TLS, verified) or ``unix://``; None for ``redis://localhost:6379/0``.
        op_timeout: seconds after which a silent server is given up. Callers bring their own deadlines.
        connect_timeout: seconds that connecting may take; it goes on when the caller that wanted it has left.
        credentials: a provider with ``get_credentials_async()`` or ``get_credentials()``, asked at each connect,
            instead of user and password.
        client: a ``redis.asyncio`` client or pool whose settings (not connections) are borrowed, instead of a URL.
            It is never closed.
        max_entry: bytes of the largest body; of a larger one only the beginning is read, which no reader takes.
        clock: set to the server's time at each connect.
        announce: told of what is wrong with single keys, and of connections that cannot be made.
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
        credentials: AnyCredentialProvider | None = None,
        client: Any = None,
        max_entry: int | None = None,
        clock: Clock = SYSTEM,
        announce: Callable[[Event], None] | None = None,
        **options: Any,
    ) -> None:
        self._announce = announce or (lambda _event: None)
        address = Address.parse(url, **options)
        kinds: dict[str, Callable[..., Dialer | Cluster]] = {
            "server": Dialer,
            "sentinel": SentinelDialer,
            "cluster": Cluster,
        }
        self._credentials = None if credentials is None else Credentials(credentials, timeout=connect_timeout)
        self._servers = kinds[address.deployment](
            address,
            client=client,
            credentials=self._credentials,
            clock=clock,
            timeout=connect_timeout,
            patience=op_timeout,
            announce=self._announce,
        )
        if client is not None and (url is not None or options):
            raise SettingsError("a client brings its own address: give either a client, or a URL and options")
        self._max_entry = math.inf if max_entry is None else max_entry
        self._lanes = LoopLanes(self._servers.lanes)
        self._wakes = Wakes()
        self._ears: list[Ear] = []
        self._no_claims_until = -math.inf
        self._clock = clock
        watch(self)

    def forked(self) -> None:
        """The parent listens on; here nobody does, until there is a connection for it."""
        self._ears = []

    def __repr__(self) -> str:
        return f"<RedisStore {self.redacted_url}>"

    @property
    def redacted_url(self) -> str:
        """Where the server is, without the password."""
        return self._servers.redacted_url

    @property
    def run_id(self) -> str | None:
        """The server process last connected to; None before that, and where it does not say."""
        return self._servers.run_id

    async def renewed(self) -> bool:
        """Whether the credentials are others than those with which it was last tried to log in."""
        return self._credentials is not None and await self._credentials.changed()

    def reads_stand(self) -> bool:
        """Whether reads have their connections in the running loop, which writes do not share."""
        return self._lanes.stand

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        """The blobs, in order; None where there is none, or a value of another type.

        Raises:
            RedisError: (redis-py's) the server cannot be reached or refuses.
        """
        if len(keys) > _READS_AT_ONCE:
            slices = (keys[start : start + _READS_AT_ONCE] for start in range(0, len(keys), _READS_AT_ONCE))
            return [blob for some in slices for blob in await self.get_many(some)]
        if not keys:
            return []
        lanes = self._lanes.here()
        raw = [key.encode() for key in keys]
        replies = await lanes.exchange([_GET_FIRST % (len(key), key) for key in raw], raw, reading=True)
        blobs = [self._blob(reply) for reply in replies]
        long = {
            at: pack(b"GETRANGE", raw[at], b"0", b"%d" % last)
            for at, blob in enumerate(blobs)
            if blob is not None and len(blob) == _FIRST and (last := self._last_byte(blob))
        }
        if long:
            wholes = await lanes.exchange([*long.values()], [raw[at] for at in long], bulk=True, reading=True)
            for at, whole in zip(long, wholes, strict=True):
                blobs[at] = self._blob(whole)
        return blobs

    async def put_many(self, writes: Sequence[Write], /) -> list[PutResult]:
        """Apply writes; those of one key in order. A blob may be stored although this raises or is cancelled.

        Raises:
            RedisError: (redis-py's) the server cannot be reached or refuses.
        """
        sizes = [len(write.blob) for write in writes]
        if at_once(sizes) and max(sizes, default=0) <= _FIRST:
            return await self._put(writes)
        large = {write.key for write, size in zip(writes, sizes, strict=True) if size > _FIRST}
        places: tuple[list[int], list[int]] = ([], [])
        for at, write in enumerate(writes):
            places[write.key in large].append(at)
        results: dict[int, PutResult] = {}
        said = await asyncio.gather(
            *(self._put_in_turn([writes[at] for at in places[bulk]], bulk=bulk) for bulk in (False, True)),
            return_exceptions=True,
        )
        for some, done in zip(places, said, strict=True):
            if isinstance(done, BaseException):
                raise done
            results.update(zip(some, done, strict=True))
        return [results[at] for at in range(len(writes))]

    @property
    def hears(self) -> bool:
        """Whether the server's word that a claim has ended comes here."""
        return any(ear.hears for ear in self._ears)

    async def swap(
        self,
        key: str,
        expected: bytes,
        new: bytes | None,
        /,
        *,
        ttl: float,
        lease: float | None = None,
        durable: bool = False,  # noqa: ARG002 - how it keeps its data is the server's affair
        pending: bool = False,  # noqa: ARG002 - this is who is owed
    ) -> Swapped:
        """Have ``new`` stand where exactly ``expected`` stands; see ``SupportsClaim``.

        Raises:
            RedisError: (redis-py's) the server cannot be reached or refuses; what it did is not known.
            StoreRestingError: the user may not do what claims take, which says nothing of other writes.
        """
        if self._clock.monotonic() < self._no_claims_until:
            raise StoreRestingError(_NO_CLAIMS)
        ears = b"%d" % sum(ear.hears and ear.channel == channel_of(key) for ear in self._ears)
        words = [expected, new or b"", milliseconds(ttl), b"" if lease is None else milliseconds(lease), ears]
        bulk = len(expected) + len(words[1]) > _FIRST
        (said,) = await self.run(_SWAP, [([key.encode()], words)], bulk=bulk)
        if denied(said):
            self._no_claims_until = self._clock.monotonic() + _NO_CLAIMS_FOR
            raise StoreRestingError(_NO_CLAIMS) from said
        match answer_of(said):
            case [int(done), bytes(raw), int(now_ms)]:
                if done and expected and lease is None:  # as the server tells all others
                    self._wakes.wake(key)
                return Swapped(bool(done), _standing(raw, now_ms))
        raise confused()

    async def until_ended(self, key: str, standing: Standing, /) -> None:  # noqa: ARG002 - the word names the key alone
        """Wait until the server tells that the claim has ended."""
        await self._wakes.wait(key)

    async def run(
        self, script: Script, calls: Sequence[tuple[Sequence[bytes], Sequence[bytes]]], *, bulk: bool = False
    ) -> list[Any]:
        """The replies of a script, in order, as ``exchange`` gives them; it is loaded where it is not known (any more).

        Args:
            script: to run.
            calls: keys, which on a cluster are of one slot, and arguments of each call.
            bulk: whether the calls would hold up others.
        """
        lanes = self._lanes.here()
        commands, places, unknown = [], [], []
        for keys, arguments in calls:
            commands.append(script.call(keys, arguments))
            places.append(keys[0])
        replies = await lanes.exchange(commands, places, bulk=bulk)
        for at, reply in enumerate(replies):
            if type(reply) is not bytes and type(reply).__name__ == "NoScriptError":
                unknown.append(at)
        if unknown:
            whole = [script.call(*calls[at], whole=True) for at in unknown]
            said = await lanes.exchange(whole, [places[at] for at in unknown], bulk=bulk)
            for at, reply in zip(unknown, said, strict=True):
                replies[at] = reply
        return replies

    async def track(self, prefixes: Sequence[str], watch: Watch, /) -> None:
        """Tell ``watch`` what changes beneath ``prefixes``, over a connection of its own, until that is lost.

        Raises:
            UntrackedError: the server is too old, or the user may not use CLIENT, or the channel of its messages.
            RedisError: (redis-py's) the server cannot be reached, or has fallen silent.
        """
        ear = Ear(watch, channel_of(prefixes[0]), channel_of(prefixes[0], "x"), self._wakes)
        self._ears.append(ear)
        try:
            await self._servers.track(await self._lanes.here().primaries(), prefixes, ear)
        finally:
            ear.hears = False
            self._ears.remove(ear)

    async def publish(self, channel: str, message: bytes, /) -> int:
        """Have all told who listen to a channel; how many this server knows of, of a cluster's one.

        Raises:
            RedisError: (redis-py's) the server cannot be reached or refuses.
            StoreRestingError: the user may not publish, which says nothing of what else the server does.
        """
        where = channel.encode()
        command = pack(b"PUBLISH", where, message)
        (said,) = await self._lanes.here().exchange([command], [where], bulk=len(message) > _FIRST)
        if denied(said):
            raise StoreRestingError(_NO_MESSAGES) from said
        return int(answer_of(said))

    async def put_grouped(self, records: Sequence[Grouped], /) -> None:
        """Store records in their groups, in one round trip; see ``SupportsGroups``."""
        await groups.put(records, self.run, self._announce)

    async def read_groups(self, names: Sequence[str], /) -> list[dict[str, bytes] | None]:
        """Of each group the blobs by name; see ``SupportsGroups``."""
        return await groups.read(names, self._lanes.here().exchange, self._announce)

    async def count(self) -> int:
        """Keys in the database, those of others included."""
        return sum([int(await _ask(server, b"DBSIZE")) for server in await self._lanes.here().primaries()])

    async def scan(self, prefix: str, /) -> AsyncIterator[str]:
        """The keys that start with ``prefix``, each at least once."""
        cursor = None
        while True:
            found, cursor = await self._keys(prefix, cursor)
            for key in found:
                yield key.decode(errors="replace")
            if cursor is None:
                return

    async def page(self, prefix: str, cursor: Any = None, /) -> Page:
        """Some of the keys that start with ``prefix``, with the beginnings of their blobs; see ``SupportsPages``."""
        found, cursor = await self._keys(prefix, cursor)
        return await pages.page(found, cursor, self._lanes.here().exchange)

    async def _keys(self, prefix: str, cursor: pages.Cursor | None) -> tuple[list[bytes], pages.Cursor | None]:
        return await pages.keys(prefix, cursor, self._lanes.here().primaries, lambda: self.run_id)

    async def aclose(self) -> None:
        """Close the connections, once what is under way has ended or ``op_timeout`` has passed."""
        await self._lanes.aclose()

    def _blob(self, reply: Any) -> bytes | None:
        """What a reply to GETRANGE holds; a value of another type counts as absent, any other error is raised."""
        if isinstance(reply, bytes):
            return reply or None
        if not isinstance(reply, Exception):
            raise confused()
        if not str(reply).startswith("WRONGTYPE"):
            raise reply
        self._announce(StoreFault(self.name, "get", "semantic", OTHER_TYPE))
        return None

    def _last_byte(self, first: bytes) -> int:
        """Where the blob that begins so ends, or a little further; 0 if it is none, or larger than any of ours."""
        header = read_header(first)
        if header is None or header.body_len > self._max_entry:
            return 0
        return HEADER_SIZE + header.meta_len + header.body_len + _TRAILER

    async def _put_in_turn(self, writes: Sequence[Write], *, bulk: bool) -> list[PutResult]:
        return [result for some in portions(writes) for result in await self._put(some, bulk=bulk)]

    async def _put(self, writes: Sequence[Write], *, bulk: bool = False) -> list[PutResult]:
        """Apply writes in as few calls as there may be."""
        if not writes:
            return []
        keys = [write.key.encode() for write in writes]
        calls = in_calls(self._lanes.here().together(keys))
        said = await self.run(PUT, list(words(writes, keys, calls)), bulk=bulk)
        if len(calls) == 1 and not isinstance(said[0], Exception):
            return outcomes(writes, said[0], self._announce)
        results: dict[int, PutResult] = {}
        alone: list[Sequence[int]] = []
        for call, reply in zip(calls, said, strict=True):
            if len(call) > 1 and type(reply).__name__ == "TryAgainError":
                # While a slot of a cluster moves, its keys are in two places, and a call that names several is sent away.
                alone += [[at] for at in call]
            else:
                results.update(zip(call, outcomes([writes[at] for at in call], reply, self._announce), strict=True))
        if alone:
            said = await self.run(PUT, list(words(writes, keys, alone)), bulk=bulk)
            for (at,), reply in zip(alone, said, strict=True):
                (results[at],) = outcomes([writes[at]], reply, self._announce)
        return [results[at] for at in range(len(writes))]


def _standing(raw: bytes, now_ms: int) -> Standing:
    end = end_of(raw)
    if end is None:
        return Standing(raw, raw)
    stamp = raw[end:]
    left = (int.from_bytes(stamp, "big") - now_ms) / 1000 if len(stamp) == _STAMP else math.inf
    return Standing(raw, raw[:end], left)


async def _ask(server: Lanes, *words: bytes) -> Any:
    (reply,) = await server.exchange([pack(*words)], [b""], reading=True)
    return answer_of(reply)
