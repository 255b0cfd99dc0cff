"""Settings: what is accepted, from where, and what is said about the rest."""

import dataclasses
import pickle
import re
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from toolcache.errors import SettingsError
from toolcache.settings import STRATEGIES, Options, Settings

PASSWORD = "hunter2-and-some-more"
NAMES = {field.name for field in dataclasses.fields(Settings)}

# A value other than the default for every setting: as an argument, as text, and what it becomes.
SAMPLES: list[tuple[str, Any, str, Any]] = [
    ("enabled", False, "off", False),
    ("namespace", "shop", "shop", "shop"),
    ("tenant", "acme", "acme", "acme"),
    ("redis_url", "redis://host:6380/2", "redis://host:6380/2", "redis://host:6380/2"),
    ("redis_username", "app", "app", "app"),
    ("redis_password", PASSWORD, PASSWORD, PASSWORD),
    ("directory", "/srv/cache", "/srv/cache", Path("/srv/cache")),
    ("files", False, "no", False),
    ("fallback", False, "0", False),
    ("mirror", ["catalog", "metadata"], "catalog, metadata", ("catalog", "metadata")),
    ("default_ttl", timedelta(minutes=5), "5m", 300.0),
    ("ttls", {"search": "30m", "catalog": 60}, "search=30m, catalog=60", {"search": 1800.0, "catalog": 60.0}),
    ("costs", {"embedding": 0.0001}, "embedding=0.0001", {"embedding": 0.0001}),
    ("prices", {"gpt-4o": 2.5, "a=b": 0}, "gpt-4o=2.5, a=b=0", {"gpt-4o": 2.5, "a=b": 0.0}),
    ("grace", "1d", "24h", 86_400.0),
    ("grace_retry", 3, "3s", 3.0),
    ("refresh_ahead", 0.8, "0.8", 0.8),
    ("soft_timeout", "200ms", "0.2s", 0.2),
    ("hard_timeout", 30, "30s", 30.0),
    ("negative_ttl", "1m", "60s", 60.0),
    ("jitter", 0.1, "0.1", 0.1),
    ("strategy", "lru", "lru", "lru"),
    (
        "tiers",
        {"hot": ("16MB", "5m"), "warm": (2**25, 3600), "cold": ("64 MiB", None)},
        "hot=16MB/300s, warm=32MiB/1h, cold=64MiB/none",
        {"hot": (16 * 10**6, 300.0), "warm": (2**25, 3600.0), "cold": (2**26, None)},
    ),
    ("max_memory", "100MB", "100MB", 10**8),
    ("max_entries", 5000, "5000", 5000),
    ("max_disk", 1 << 20, "1MiB", 1 << 20),
    ("max_entry", "1MB", "1000000", 10**6),
    ("compress_above", None, "never", None),
    ("compressor", "zstd", "zstd", "zstd"),
    ("vector_precision", "float16", "float16", "float16"),
    ("secret", b"0123456789abcdef", "0123456789abcdef", b"0123456789abcdef"),
    ("op_timeout", 0.25, "250ms", 0.25),
    ("connect_timeout", "2s", "2", 2.0),
    ("file_timeout", 1, "1s", 1.0),
    ("failure_threshold", 3, "3", 3),
    ("recovery_time", ("2s", "30s"), "2s, 30s", (2.0, 30.0)),
    ("journal_max_age", "1h", "1h", 3600.0),
    ("coherence", False, "no", False),
    ("lock", False, "off", False),
    ("lease", "3s", "3", 3.0),
    ("lock_timeout", 30, "30s", 30.0),
    ("fsync", "always", "always", "always"),
    ("metrics", False, "off", False),
    ("strict", True, "true", True),
    ("metrics", False, "false", False),
]


TIERS = {"hot": ("1MB", "5m"), "warm": ("1MB", "1h"), "cold": ("1MB", None)}


def test_tiers_say_what_the_strategy_is_and_how_much_memory_there_is() -> None:
    """B2: tiers alone are enough, may be said twice, and can be replaced; without them the strategy divides ``max_memory``."""
    settings = Settings(tiers=TIERS)
    assert (settings.strategy, settings.max_memory) == ("tiered", 3 * 10**6)
    assert Settings(tiers=TIERS, strategy="tiered", max_memory="3MB") == settings
    assert settings.replace(namespace="shop").tiers == settings.tiers
    larger = settings.replace(tiers={**TIERS, "cold": ("4MB", None)})
    assert (larger.strategy, larger.max_memory) == ("tiered", 6 * 10**6)
    assert Settings(strategy="tiered").tiers is None
    assert Settings(strategy="tiered").max_memory == 64 << 20
    assert Settings(strategy="lru").replace(tiers=TIERS).strategy == "tiered"


def test_every_setting_has_a_sample() -> None:
    """BUG-106: the tests below leave no setting out, and the typed keywords are the fields."""
    assert {name for name, *_ in SAMPLES} == NAMES
    assert set(get_type_hints(Options)) == NAMES


@pytest.mark.parametrize(("name", "argument", "text", "expected"), SAMPLES, ids=[name for name, *_ in SAMPLES])
def test_a_setting_means_the_same_from_every_source(
    tmp_path: Path, name: str, argument: Any, text: str, expected: Any
) -> None:
    """A1, BUG-106: as keyword, variable, line of a .env file and option of a URL, and it differs from the default."""
    variable = f"TOOLCACHE_{name.upper()}"
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{variable}={text}\n")
    options: Any = {name: argument}
    assert getattr(Settings(), name) != expected
    assert getattr(Settings(**options), name) == expected
    assert getattr(Settings.from_env({variable: text}, dotenv=None), name) == expected
    assert getattr(Settings.from_env({}, dotenv=dotenv), name) == expected
    if name != "redis_url":
        url = f"redis://localhost?{name}={text.replace(' ', '%20')}"
        assert getattr(Settings.from_url(url), name) == expected


def test_the_example_offers_every_setting() -> None:
    """E6: .env.example has a line for each setting, switched off, and each line can be switched on."""
    text = (Path(__file__).parent.parent / ".env.example").read_text(encoding="utf-8")
    lines = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", text, re.MULTILINE))
    offered = {name.removeprefix("TOOLCACHE_").lower() for name in lines if name.startswith("TOOLCACHE_")}
    assert offered == NAMES
    assert {"USE_REDIS", "REDIS_URL", "REDIS_PASSWORD", "AI_CACHE_ENABLED", "AI_CACHE_TTL_HOURS"} <= lines.keys()
    for name, value in lines.items():
        assert isinstance(Settings.from_env({name: value}, dotenv=None), Settings)
    assert re.findall(r"^[^#\n].*$", text, re.MULTILINE) == []


def test_the_defaults_are_those_of_the_manual() -> None:
    """DECISIONS: sizes in binary units, the breaker's five failures, one and sixty seconds."""
    settings = Settings()
    assert (settings.max_memory, settings.max_disk, settings.max_entry) == (64 << 20, 1 << 30, 8 << 20)
    assert (settings.compress_above, settings.default_ttl, settings.op_timeout) == (16 << 10, 3600.0, 0.5)
    assert (settings.failure_threshold, settings.recovery_time, settings.file_timeout) == (5, (1.0, 60.0), 2.0)
    assert (settings.namespace, settings.redis_url, settings.strategy, settings.fsync) == (
        "default",
        None,
        "adaptive",
        "promised",
    )


def test_settings_are_frozen_comparable_and_can_be_sent_to_another_process() -> None:
    """Settings are a value: equal by content, not to be changed, picklable."""
    settings = Settings(namespace="shop", ttls={"search": 60})
    assert settings == Settings(namespace="shop", ttls={"search": "1m"})
    assert hash(settings) == hash(Settings(namespace="shop", ttls={"search": "1m"}))
    assert pickle.loads(pickle.dumps(settings)) == settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.namespace = "other"  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize("target", STRATEGIES.values())
def test_each_registered_strategy_loads(target: str) -> None:
    """A name in the registry leads to a policy."""
    module, _, name = target.partition(":")
    assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize(
    ("make", "origin", "suggestion"),
    [
        (lambda: Settings(redis_ulr="x"), "argument redis_ulr", "'redis_url'"),  # type: ignore[call-arg]  # misspelt
        (
            lambda: Settings.from_env({"TOOLCACHE_NAMESPASE": "x"}, dotenv=None),
            "environment variable TOOLCACHE_NAMESPASE",
            "'namespace'",
        ),
        (lambda: Settings.from_url("redis://h?max_memori=1"), "the URL: URL option max_memori", "'max_memory'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(make: Any, origin: str, suggestion: str) -> None:
    """BUG-106: no misspelt option is ignored, wherever it comes from."""
    with pytest.raises(SettingsError) as caught:
        make()
    assert str(caught.value).startswith(origin)
    assert f"did you mean {suggestion}?" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"enabled": "perhaps"}, "enabled is a switch"),
        ({"enabled": 2}, "enabled is a switch"),
        ({"namespace": "a:b"}, "a namespace is 1 to 64"),
        ({"namespace": ""}, "namespace"),
        ({"namespace": "x" * 65}, "namespace"),
        ({"namespace": "shop\n"}, "namespace"),
        ({"tenant": ""}, "tenant"),
        ({"directory": 3}, "directory is the path"),
        ({"mirror": "catalogue"}, "did you mean 'catalog'"),
        ({"mirror": 5}, "argument mirror: mirror takes names of domains, a list or text such as 'catalog,emb.*not int"),
        ({"mirror": None}, "mirror takes names of domains.* not NoneType"),
        ({"mirror": b"catalog"}, "mirror takes names of domains.* not bytes"),
        ({"mirror": [["catalog"]]}, r"mirror: \['catalog'\] is none of"),
        ({"mirror": ["catalog"], "files": False}, "files=False"),
        ({"mirror": ["catalog"], "fallback": False, "redis_url": "redis://h"}, "fallback=False"),
        ({"default_ttl": 0}, "default_ttl"),
        ({"default_ttl": "soon"}, "default_ttl='soon'"),
        ({"default_ttl": True}, "argument default_ttl: default_ttl takes seconds.* not bool"),
        ({"ttls": {"serch": 1}}, "did you mean 'search'"),
        ({"ttls": {"general": 1}}, "'general' is none of"),
        ({"ttls": {"search": 0}}, r"ttls\['search'\]"),
        ({"ttls": "search"}, "domain=value"),
        ({"ttls": 5}, "argument ttls: ttls takes a value for each of some domains, a dict .* text .*, not int"),
        ({"ttls": ["search"]}, "ttls takes a value for each .* not list"),
        ({"ttls": {"search": True}}, r"ttls\['search'\] takes seconds.* not bool"),
        ({"costs": 5}, "argument costs: costs takes a value for each of some domains.*not int"),
        ({"costs": {"search": -1}}, r"costs\['search'\]"),
        ({"costs": {"search": "cheap"}}, r"costs\['search'\]"),
        ({"prices": 5}, "argument prices: prices takes a price for each of some models.*not int"),
        ({"prices": {"small": -1}}, r"prices\['small'\] is what a million tokens cost.*not -1"),
        ({"prices": {"small": "cheap"}}, r"prices\['small'\]"),
        ({"prices": {"small": True}}, r"prices\['small'\]"),
        ({"prices": {"": 1}}, "'' names no model"),
        ({"prices": {7: 1}}, "7 names no model"),
        ({"prices": "small"}, "model=price"),
        ({"costs": {"search": True}}, r"costs\['search'\]"),
        ({"strategy": "lfo"}, "strategy is one of"),
        ({"strategy": "toolcache.memory.lru:LRU"}, "strategy is one of"),
        (
            {"strategy": dict},
            r"dict is no MemoryPolicy: it lacks admit, replace, evict, forget, touch \(a method, or None\)",
        ),
        ({"strategy": 7}, "strategy is one of .*, or a class that is a MemoryPolicy, not 7"),
        ({"tiers": {"hot": ("1MB", "5m")}}, "tiers gives a size and a time to each of hot, warm, cold"),
        ({"tiers": {**TIERS, "tepid": ("1MB", 1)}}, "tiers gives a size and a time to each of hot, warm, cold"),
        ({"tiers": "hot=1MB/5m"}, "tiers gives a size and a time to each of hot, warm, cold"),
        ({"tiers": 5}, "tiers gives a size and a time to each of hot, warm, cold"),
        ({"tiers": {**TIERS, "hot": "1MB"}}, r"tiers\['hot'\] is a size and a time"),
        ({"tiers": {**TIERS, "hot": ("1MB", "soon")}}, r"tiers\['hot'\]='soon'"),
        ({"tiers": {**TIERS, "warm": (0, "1h")}}, r"tiers\['warm'\]"),
        ({"tiers": TIERS, "strategy": "lru"}, "tiers belong to strategy='tiered'"),
        ({"tiers": TIERS, "max_memory": "64MB"}, "the tiers hold 3,000,000 bytes in all, and max_memory is another"),
        ({"max_memory": "many"}, "max_memory='many'"),
        ({"max_memory": 0}, "max_memory"),
        ({"max_entry": "9GB"}, "argument max_entry: max_entry is at most 4,294,967,295 bytes, not '9GB'"),
        ({"max_entries": 0}, "max_entries"),
        ({"max_entries": True}, "max_entries"),
        ({"max_entries": 1.5}, "max_entries"),
        ({"secret": "short"}, "at least 16 bytes"),
        ({"op_timeout": -1}, "op_timeout"),
        ({"failure_threshold": "some"}, "failure_threshold"),
        ({"recovery_time": (60, 1)}, "recovery_time"),
        ({"recovery_time": (1, 2, 3)}, "recovery_time"),
        ({"fsync": "sometimes"}, "fsync is one of"),
    ],
)
def test_a_value_that_cannot_be_is_refused(options: Any, wrong: str) -> None:
    """An error says which setting, that it was an argument, and what is accepted; it is a ValueError too."""
    with pytest.raises(SettingsError, match=wrong) as caught:
        Settings(**options)
    assert isinstance(caught.value, ValueError)


def test_an_error_says_where_the_value_stands(tmp_path: Path) -> None:
    """BUG-104: the variable, or the line of the file, is named."""
    dotenv = tmp_path / "settings.env"
    dotenv.write_text("# the cache\nTOOLCACHE_NAMESPACE=shop\nexport TOOLCACHE_OP_TIMEOUT=quick\n")
    with pytest.raises(
        SettingsError, match=r"settings\.env, line 3, variable TOOLCACHE_OP_TIMEOUT: op_timeout='quick'"
    ):
        Settings.from_env({}, dotenv=dotenv)
    with pytest.raises(SettingsError, match="environment variable TOOLCACHE_OP_TIMEOUT"):
        Settings.from_env({"TOOLCACHE_OP_TIMEOUT": "slow"}, dotenv=dotenv)
    with pytest.raises(SettingsError, match="URL option op_timeout"):
        Settings.from_url("redis://localhost?op_timeout=slow")
    with pytest.raises(SettingsError, match="environment variable TOOLCACHE_MAX_ENTRY: max_entry is at most"):
        Settings.from_env({"TOOLCACHE_MAX_ENTRY": "4GiB"}, dotenv=None)


# -- the environment -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, None),
        ({"REDIS_URL": "redis://a"}, "redis://a"),
        ({"TOOLCACHE_REDIS_URL": "redis://b", "REDIS_URL": "redis://a"}, "redis://b"),
        ({"USE_REDIS": "true"}, "redis://localhost:6379"),
        ({"USE_REDIS": "TRUE", "REDIS_URL": "redis://a"}, "redis://a"),
        ({"USE_REDIS": "false", "REDIS_URL": "redis://a"}, None),
        ({"USE_REDIS": "0", "TOOLCACHE_REDIS_URL": "redis://b"}, None),
        ({"USE_REDIS": "", "REDIS_URL": "redis://a"}, "redis://a"),
    ],
)
def test_use_redis_decides_about_redis(environ: dict[str, str], url: str | None) -> None:
    """B9: unset means Redis where there is a URL; true without one is this host; false is never."""
    assert Settings.from_env(environ, dotenv=None).redis_url == url


def test_use_redis_false_is_the_last_word() -> None:
    """B9: an operator can switch Redis off, whatever the program says."""
    settings = Settings.from_env({"USE_REDIS": "false"}, dotenv=None, redis_url="redis://a")
    assert settings.redis_url is None


def test_a_use_redis_that_cannot_be_read_is_refused() -> None:
    """A switch that says neither yes nor no is an error, not a guess."""
    with pytest.raises(SettingsError, match="environment variable USE_REDIS"):
        Settings.from_env({"USE_REDIS": "maybe"}, dotenv=None)


def test_the_usual_names_work_and_ours_win() -> None:
    """E6: the names that other programs of the host use are read where ours are not set."""
    usual = {"REDIS_PASSWORD": PASSWORD, "AI_CACHE_ENABLED": "false", "AI_CACHE_TTL_HOURS": "24"}
    settings = Settings.from_env(usual, dotenv=None)
    assert (settings.redis_password, settings.enabled, settings.default_ttl) == (PASSWORD, False, 86_400.0)
    ours = {"TOOLCACHE_REDIS_PASSWORD": "other", "TOOLCACHE_ENABLED": "true", "TOOLCACHE_DEFAULT_TTL": "1m"}
    settings = Settings.from_env(usual | ours, dotenv=None)
    assert (settings.redis_password, settings.enabled, settings.default_ttl) == ("other", True, 60.0)


@pytest.mark.parametrize("hours", ["a day", "0", "-1", "inf", "nan"])
def test_hours_that_are_none_are_refused(hours: str) -> None:
    """A lifetime in hours is checked like any other, and the error names the variable."""
    with pytest.raises(SettingsError, match="environment variable AI_CACHE_TTL_HOURS"):
        Settings.from_env({"AI_CACHE_TTL_HOURS": hours}, dotenv=None)


def test_arguments_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearer source wins, and the process's own environment is read by default."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("TOOLCACHE_NAMESPACE=file\nTOOLCACHE_TENANT=file\nTOOLCACHE_STRATEGY=lru\n")
    monkeypatch.setenv("TOOLCACHE_NAMESPACE", "environment")
    monkeypatch.setenv("TOOLCACHE_TENANT", "environment")
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env(namespace="argument")
    assert (settings.namespace, settings.tenant, settings.strategy) == ("argument", "environment", "lru")


def test_a_missing_file_is_fine_and_an_unreadable_one_is_not(tmp_path: Path) -> None:
    """A .env file is read if there is one; one that is not text is an error with its path."""
    assert Settings.from_env({}, dotenv=tmp_path / "none") == Settings()
    assert Settings.from_env({}, dotenv=tmp_path) == Settings()
    (tmp_path / ".env").write_bytes(b"TOOLCACHE_NAMESPACE=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"\.env cannot be read"):
        Settings.from_env({}, dotenv=tmp_path / ".env")


def test_arguments_alone_read_no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``Settings(...)`` is what its arguments say; only ``from_env`` looks around."""
    (tmp_path / ".env").write_text("TOOLCACHE_NAMESPACE=file\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLCACHE_NAMESPACE", "environment")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    assert (Settings().namespace, Settings().redis_url) == ("default", None)


def test_other_programs_variables_are_left_alone() -> None:
    """Only names that begin with TOOLCACHE_ can be misspelt settings; where recorded data lies is none."""
    environ = {"PATH": "/bin", "TOOLCACHED": "x", "TOOLCACHE_DATA": "/srv/data", "TOOLCACHE_TEST_SERVER": "x"}
    assert Settings.from_env(environ, dotenv=None) == Settings()


# -- the URL -------------------------------------------------------------------------------------------------------


def test_a_url_carries_settings_and_keeps_what_is_redis_pys() -> None:
    """BUG-104: TLS, user, password, database and certificate stay in the URL; settings leave it; arguments win."""
    url = f"rediss://user:{PASSWORD}@host:6380/0?namespace=shop&max_memory=100MB&ssl_ca_certs=/etc/ca.pem"
    settings = Settings.from_url(url, max_memory="1MB")
    assert settings.redis_url == f"rediss://user:{PASSWORD}@host:6380/0?ssl_ca_certs=%2Fetc%2Fca.pem"
    assert (settings.namespace, settings.max_memory) == ("shop", 10**6)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host",
        "user:hunter2@host:6379",
        "redis://:hunter2@host:port",
        "redis://:hunter2@host:99999",
        "redis://host/hunter2",
        "redis://:hunter2@host?password=&x=hunter2",
        "redis://:hunter2@[::1",
        "",
    ],
)
def test_a_wrong_url_is_told_without_its_password(url: str) -> None:
    """BUG-107: one clear message, wherever the URL comes from, and nothing of what may be a password in it."""
    makers: list[Any] = [
        lambda: Settings(redis_url=url),
        lambda: Settings.from_url(url),
        lambda: Settings.from_env({"REDIS_URL": url}, dotenv=None) if url else Settings(redis_url=url),
    ]
    for make in makers:
        with pytest.raises(SettingsError, match="URL") as caught:
            make()
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["unix:///run/redis.sock?db=1", "redis://[::1]:6379/3", "rediss://host"])
def test_the_forms_of_a_url(url: str) -> None:
    """BUG-104: sockets, IPv6 and TLS are accepted as they are."""
    assert Settings(redis_url=url).redis_url == url
    assert Settings.from_url(url).redis_url == url


def test_a_url_twice_is_refused() -> None:
    """The URL has one place."""
    with pytest.raises(SettingsError, match="argument redis_url"):
        Settings.from_url("redis://a", redis_url="redis://b")
    with pytest.raises(SettingsError, match="URL option redis_url is given twice"):
        Settings.from_url("redis://a?redis_url=redis://b")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("op_timeout=3&op_timeout=4", "op_timeout"),
        ("op_timeout=3&op_timeout=3", "op_timeout"),
        ("db=1&namespace=a&db=2", "db"),
    ],
)
def test_an_option_twice_is_refused(query: str, name: str) -> None:
    """BUG-104: of two values of one option none is dropped in silence, whether it is a setting or redis-py's."""
    with pytest.raises(SettingsError, match=f"URL option {name} is given twice"):
        Settings.from_url(f"redis://h?{query}")


# -- secrets -------------------------------------------------------------------------------------------------------


def test_a_repr_shows_what_differs_and_hides_what_is_secret() -> None:
    """BUG-107: a repr can go into a log."""
    settings = Settings(
        redis_url=f"rediss://user:{PASSWORD}@host:6380/0?ssl_password={PASSWORD}",
        redis_password=PASSWORD,
        secret=PASSWORD,
        namespace="shop",
    )
    assert repr(settings) == (
        "Settings(namespace='shop', redis_url='rediss://user:***@host:6380/0', redis_password='***', secret='***')"
    )
    assert PASSWORD not in str(settings)
    assert repr(Settings()) == "Settings()"
    assert "***" not in repr(Settings(redis_url="redis://host:6379"))


def test_an_error_about_a_secret_does_not_repeat_it() -> None:
    """BUG-107: neither the setting nor the exception chain tells a secret."""
    for options in ({"secret": "hunter2"}, {"redis_password": 7_007_007}, {"redis_password": ""}):
        with pytest.raises(SettingsError) as caught:
            Settings(**options)
        assert "hunter2" not in str(caught.value)
        assert "7007007" not in str(caught.value)
        assert caught.value.__cause__ is None
