"""Settings: what a cache can be told, from arguments, the environment, a ``.env`` file or a URL.

Each field is a keyword of ``ToolCache(...)``, a ``TOOLCACHE_…`` variable, an option in the query of a URL and a line of
``.env.example``. A name that is none of them is an error: an option that is silently ignored is worse than none.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Self, TypedDict, Unpack

from toolcache import freshness_options, sources, spelling
from toolcache.codec.compress import Method
from toolcache.codec.envelope import MAX_BODY
from toolcache.codec.vectors import Precision
from toolcache.durations import Duration, Size
from toolcache.errors import SettingsError
from toolcache.fields import Frozen, each
from toolcache.protocols import MemoryPolicy
from toolcache.sources import Given
from toolcache.spelling import Reader

if TYPE_CHECKING:
    from pathlib import Path
else:
    Path = os.PathLike  # so that annotations can be read; the module itself is a tenth of an import

STRATEGIES: Final = {
    "adaptive": "toolcache.memory.adaptive:Adaptive",
    "fifo": "toolcache.memory.fifo:FIFO",
    "lfu": "toolcache.memory.lfu:LFU",
    "lru": "toolcache.memory.lru:LRU",
    "s3fifo": "toolcache.memory.s3fifo:S3FIFO",
    "tiered": "toolcache.memory.tiered:Tiered",
    "ttl": "toolcache.memory.ttl:TTL",
}
"""The eviction policies of memory, by name."""

Fsync = Literal["promised", "always", "never"]
Strategy = Literal["adaptive", "fifo", "lfu", "lru", "s3fifo", "tiered", "ttl"]

_SECRETS: Final = frozenset({"redis_password", "secret"})


class Options(TypedDict, total=False):
    """The keywords of ``ToolCache(...)``, ``Settings(...)`` and their constructors, as people may write them."""

    enabled: bool
    namespace: str
    tenant: str | None
    redis_url: str | None
    redis_username: str | None
    redis_password: str | None
    directory: str | os.PathLike[str] | None
    files: bool
    fallback: bool
    mirror: Iterable[str]
    default_ttl: Duration | None
    ttls: Mapping[str, Duration]
    costs: Mapping[str, float]
    prices: Mapping[str, float]
    grace: Duration | None
    grace_retry: Duration
    refresh_ahead: float | None
    soft_timeout: Duration | None
    hard_timeout: Duration | None
    negative_ttl: Duration | None
    jitter: float | None
    strategy: Strategy | Callable[[], MemoryPolicy]
    tiers: Mapping[str, tuple[Size, Duration | None]] | None
    max_memory: Size
    max_entries: int | None
    max_disk: Size
    max_entry: Size
    compress_above: Size | None
    compressor: Method
    vector_precision: Precision
    secret: str | bytes | None
    op_timeout: Duration
    connect_timeout: Duration
    file_timeout: Duration
    failure_threshold: int
    recovery_time: Duration | tuple[Duration, Duration]
    journal_max_age: Duration
    coherence: bool
    lock: bool
    lease: Duration
    lock_timeout: Duration
    fsync: Fsync
    strict: bool
    metrics: bool


class Settings(Frozen):
    """What a cache is told. Frozen: parse once, pass around.

    Durations are seconds, ``timedelta`` or text (``"7d"``, ``"2h30m"``); sizes are bytes or text (``"100MB"`` is 10⁸,
    ``"64MiB"`` 2²⁶). Where None means no limit, the text ``none`` or ``never`` stands for it. Each has a default.

    Attributes:
        enabled: False computes always and stores no value; requests that run once do so all the same.
        namespace: keeps apart what shares a Redis or a directory: 1 to 64 of ``A-Za-z0-9._-``.
        tenant: becomes part of the digest of each domain key and task, so that tenants never share an entry.
        redis_url: ``redis://``, ``redis+sentinel://`` or ``redis+cluster://`` (each with ``rediss`` for TLS, certificates
            verified), or ``unix://``; None for no Redis.
        redis_username: ACL user; wins over the URL's.
        redis_password: wins over the URL's.
        directory: where the files lie; unless given, a place in the user's cache directory, another for each Redis.
            Caches that share a directory must use the same Redis.
        files: False keeps nothing on disk.
        fallback: False keeps files out of it where Redis is configured.
        mirror: domains that are always written to files too.
        default_ttl: how long values without a lifetime of their own are good; None for ever.
        ttls: the same for single domains: ``{"search": "30m"}``, as text ``search=30m,catalog=2d``.
        costs: what computing one value of a domain costs in US dollars: ``{"embedding": 0.0001}``; for the savings in
            ``stats()`` and ``savings()``.
        prices: US dollars for a million tokens, by model: ``{"gpt-4o": 2.5}``, as text ``gpt-4o=2.5,small=0.15``; for computations
            that say what they cost in tokens alone.
        grace: how long past its time a value may stand in for one that cannot be computed, or not in time; None for never.
        grace_retry: how long such a value goes on to do so before the next try.
        refresh_ahead: the share of its time, such as 0.8, after which a value that is asked for is computed anew in the
            background; None for never.
        soft_timeout: how long a caller waits for a computation before an old value stands in; None for no limit.
        hard_timeout: how long a computation may take; None for no limit.
        negative_ttl: how long a computed None is good; None for as long as any other value.
        jitter: the share of its time by which a computed value may be good for less, at random; None for not at all.
        strategy: which entry leaves memory first: ``"adaptive"``, ``"s3fifo"``, ``"lru"``, ``"lfu"``, ``"fifo"``, ``"ttl"`` or
            ``"tiered"``; or a class of one's own that is a ``MemoryPolicy``.
        tiers: of the strategy ``"tiered"``, what each of ``"hot"``, ``"warm"`` and ``"cold"`` may hold, and how long an entry may
            be unused there: ``{"hot": ("16MB", "5m"), "warm": ("16MB", "1h"), "cold": ("32MB", None)}``, as text
            ``hot=16MB/5m,warm=16MB/1h,cold=32MB/none``. Unless given, a quarter, a quarter and half of ``max_memory``, with
            these times.
        max_memory: bytes that memory may hold; with ``tiers``, those of all tiers together.
        max_entries: entries that memory may hold; None for no such limit.
        max_disk: bytes that the files may take.
        max_entry: bytes of the largest encoded value.
        compress_above: encoded values above this size are compressed; None for never.
        compressor: ``"zlib"`` or ``"zstd"`` (needs the ``zstd`` extra before Python 3.14).
        vector_precision: ``"exact"``, or ``"float32"`` or ``"float16"`` to halve vectors for those who accept the loss.
        secret: authenticates stored bytes; at least 16 bytes, the same for all who share a store.
        op_timeout: what one call may spend on Redis.
        connect_timeout: what opening a connection to Redis may take, in the background.
        file_timeout: what one call may spend on files.
        failure_threshold: failures in a row that open a breaker.
        recovery_time: how long an open breaker rests, first and longest: ``("1s", "60s")``; one duration is fixed.
        journal_max_age: how long a value that Redis missed is still told to it; the mark of a delete is kept ten
            minutes longer.
        coherence: has Redis tell memory what other processes write; False asks every 5 s.
        lock: of the processes that share Redis or the files and lack one value, one computes it; the others wait for it.
        lease: how long a process that computes is waited for without a sign of life.
        lock_timeout: how long others wait for one that is alive; then they compute themselves.
        fsync: ``"promised"`` syncs what was promised to survive a power cut, ``"always"`` everything, ``"never"`` nothing.
        strict: a write that no configured store took raises ``CacheWriteError``.
        metrics: writes down once a second what was counted, for ``metrics()`` and all who look at the fleet; False keeps out
            of it, as those do who only look.

    Raises:
        SettingsError: a name that is no setting, or a value that cannot be; the text says which, where and what can.
    """

    enabled: bool = True
    namespace: str = "default"
    tenant: str | None = None
    redis_url: str | None = None
    redis_username: str | None = None
    redis_password: str | None = None
    directory: Path | None = None
    files: bool = True
    fallback: bool = True
    mirror: tuple[str, ...] = ()
    default_ttl: float | None = 3600.0
    ttls: Mapping[str, float] = each(factory=dict)
    costs: Mapping[str, float] = each(factory=dict)
    prices: Mapping[str, float] = each(factory=dict)
    grace: float | None = None
    grace_retry: float = 10.0
    refresh_ahead: float | None = None
    soft_timeout: float | None = None
    hard_timeout: float | None = None
    negative_ttl: float | None = None
    jitter: float | None = None
    strategy: Strategy | Callable[[], MemoryPolicy] = "adaptive"
    tiers: Mapping[str, tuple[int, float | None]] | None = None
    max_memory: int = 64 << 20
    max_entries: int | None = None
    max_disk: int = 1 << 30
    max_entry: int = 8 << 20
    compress_above: int | None = 16 << 10
    compressor: Method = "zlib"
    vector_precision: Precision = "exact"
    secret: bytes | None = None
    op_timeout: float = 0.5
    connect_timeout: float = 5.0
    file_timeout: float = 2.0
    failure_threshold: int = 5
    recovery_time: tuple[float, float] = (1.0, 60.0)
    journal_max_age: float = 86_400.0
    coherence: bool = True
    lock: bool = True
    lease: float = 10.0
    lock_timeout: float = 60.0
    fsync: Fsync = "promised"
    strict: bool = False
    metrics: bool = True

    def __init__(self, **options: Unpack[Options]) -> None:
        _fill(self, sources.arguments(options))

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        dotenv: str | os.PathLike[str] | None = ".env",
        **options: Unpack[Options],
    ) -> Self:
        """Settings from ``TOOLCACHE_…`` variables and the usual names, then from ``options``, which win.

        ``USE_REDIS`` unset: Redis if there is a URL; true without one: ``redis://localhost:6379``; false: no Redis,
        whatever else says so. ``REDIS_URL``, ``REDIS_PASSWORD``, ``AI_CACHE_ENABLED`` and ``AI_CACHE_TTL_HOURS`` are
        read where the ``TOOLCACHE_…`` name is not set. Empty variables count as unset.

        Args:
            environ: the variables; those of the process unless given.
            dotenv: a file of further variables, read if it is there; the environment wins over it.
            options: as for ``Settings(...)``.
        """
        given = sources.environment(environ, dotenv)
        merged = given | sources.arguments(options)
        if "redis_url" in given and given["redis_url"].value is None:
            merged["redis_url"] = given["redis_url"]
        return cls._of(merged)

    @classmethod
    def from_url(cls, url: str, **options: Unpack[Options]) -> Self:
        """Settings from a Redis URL whose query may hold settings; ``options`` win.

        redis-py's own options (``ssl_ca_certs``, ``db``, …) stay in the URL.

        Examples:
            >>> Settings.from_url("rediss://user:pw@host:6380/0?namespace=shop&max_memory=100MB").namespace
            'shop'
        """
        if "redis_url" in options:
            raise SettingsError("argument redis_url: the URL is given already, as the first argument")
        if not isinstance(url, str):
            raise SettingsError(f"from_url takes text such as {sources.DEFAULT_REDIS!r}, not {type(url).__name__}")
        given = sources.query(url, settings=cls._fields)
        try:
            _redis_url(given["redis_url"].value)
        except SettingsError as error:
            others = (option for option in sources.options(url) if option not in cls._fields)
            meant = (spelling.nearest(option, cls._fields) for option in others)
            raise SettingsError(f"the URL: {error}{next(filter(None, meant), '')}") from None
        return cls._of(given | sources.arguments(options))

    def replace(self, **options: Unpack[Options]) -> Self:
        """A copy in which ``options`` win."""
        kept = vars(self)
        if options.get("tiers") is not None:
            kept = {name: value for name, value in kept.items() if name not in {"strategy", "max_memory"}}
        return self._of(sources.arguments(kept | options))

    @classmethod
    def _of(cls, given: Mapping[str, Given]) -> Self:
        settings = cls.__new__(cls)
        _fill(settings, given)
        return settings

    def __hash__(self) -> int:
        return hash(tuple(value for value in vars(self).values() if not isinstance(value, Mapping)))

    def __repr__(self) -> str:
        usual = vars(Settings())
        shown = [f"{name}={_public(name, value)!r}" for name, value in vars(self).items() if value != usual[name]]
        return f"Settings({', '.join(shown)})"


def _redis_url(value: Any, _name: str = "redis_url") -> str:
    from toolcache.stores.redis.url import Address

    Address.parse(value)
    return str(value)


_READERS: Final[Mapping[str, Reader]] = {
    "enabled": spelling.switch,
    "namespace": spelling.namespace,
    "tenant": spelling.optional(spelling.words),
    "redis_url": spelling.optional(_redis_url),
    "redis_username": spelling.optional(spelling.words),
    "redis_password": spelling.optional(spelling.words),
    "directory": spelling.optional(spelling.path),
    "files": spelling.switch,
    "fallback": spelling.switch,
    "mirror": spelling.domains,
    "default_ttl": spelling.unlimited(spelling.span),
    "ttls": spelling.per_domain(spelling.span),
    "costs": spelling.per_domain(spelling.dollars),
    "prices": spelling.prices,
    **freshness_options.READERS,
    "strategy": spelling.choice_or_class(*STRATEGIES),
    "tiers": spelling.unlimited(spelling.tiers),
    "max_memory": spelling.byte_size,
    "max_entries": spelling.unlimited(spelling.count),
    "max_disk": spelling.byte_size,
    "max_entry": spelling.bounded_size(MAX_BODY),
    "compress_above": spelling.unlimited(spelling.byte_size),
    "compressor": spelling.choice("zlib", "zstd"),
    "vector_precision": spelling.choice("exact", "float32", "float16"),
    "secret": spelling.optional(spelling.secret),
    "op_timeout": spelling.span,
    "connect_timeout": spelling.span,
    "file_timeout": spelling.span,
    "failure_threshold": spelling.count,
    "recovery_time": spelling.recovery,
    "journal_max_age": spelling.span,
    "coherence": spelling.switch,
    "lock": spelling.switch,
    "lease": spelling.span,
    "lock_timeout": spelling.span,
    "fsync": spelling.choice("promised", "always", "never"),
    "strict": spelling.switch,
    "metrics": spelling.switch,
}


def _fill(settings: Settings, given: Mapping[str, Given]) -> None:
    for name in given.keys() - set(Settings._fields):
        _unknown(given[name].origin, name, Settings._fields)
    read = {name: _parse(name, one) for name, one in given.items()}
    if read.get("tiers") is not None:
        _check_tiers(read)
    Frozen.__init__(settings, **read)
    if settings.mirror and not (settings.files and (settings.fallback or settings.redis_url is None)):
        raise SettingsError("mirror writes domains to files, and files=False or fallback=False keeps them out")


def _check_tiers(read: dict[str, Any]) -> None:
    """Tiers are the strategy's that has some, and say how much memory there is."""
    if read.setdefault("strategy", "tiered") != "tiered":
        raise SettingsError(f"tiers belong to strategy='tiered', and strategy is {read['strategy']!r}: leave one out")
    whole = sum(size for size, _ in read["tiers"].values())
    if read.setdefault("max_memory", whole) != whole:
        raise SettingsError(f"the tiers hold {whole:,} bytes in all, and max_memory is another: leave it out")


def _parse(name: str, given: Given) -> Any:
    try:
        return _READERS[name](given.value, name)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{given.origin}: {error}") from None


def _public(name: str, value: Any) -> Any:
    if name in _SECRETS:
        return "***"
    if name != "redis_url":
        return value
    from toolcache.stores.redis.url import Address

    return Address.parse(value).redacted


def _unknown(origin: str, name: str, known: Iterable[str]) -> NoReturn:
    raise SettingsError(f"{origin}: there is no setting {name!r}{spelling.nearest(name, known)}")
