"""Redis addresses: what is understood, what is refused, and that nothing secret is repeated."""

import ssl
import subprocess
import sys
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.errors import SettingsError
from toolcache.stores.redis.store import RedisStore
from toolcache.stores.redis.url import Address

_SECRET = "hunter2"

_FORMS = [
    ("redis://cache.internal", {"host": "cache.internal"}),
    ("redis://cache.internal:6380/3", {"host": "cache.internal", "port": 6380, "db": 3}),
    ("redis://cache.internal?db=4", {"host": "cache.internal", "db": 4}),
    ("redis://[::1]:7000", {"host": "::1", "port": 7000}),
    ("redis://app:p%40ss%2Fw@h", {"host": "h", "username": "app", "password": "p@ss/w"}),
    ("redis://:only@h", {"host": "h", "password": "only"}),
    ("redis://h?username=u&password=p", {"host": "h", "username": "u", "password": "p"}),
    ("redis://h?client_name=me", {"host": "h", "client_name": "me"}),
    ("redis://h?protocol=2", {"host": "h"}),
    ("valkey://h", {"host": "h"}),
    ("valkeys://h", {"host": "h", "tls": True}),
    ("unix:///run/redis.sock?db=2", {"path": "/run/redis.sock", "db": 2}),
    ("unix://u:p@/run/my%20redis.sock", {"path": "/run/my redis.sock", "username": "u", "password": "p"}),
    (
        "redis+sentinel://u:p%2Cq@one,two:26380,[::1]:26381/my%2Fmaster/3?sentinel_username=s&sentinel_password=sp",
        {
            "deployment": "sentinel",
            "nodes": (("one", 26379), ("two", 26380), ("::1", 26381)),
            "service": "my/master",
            "db": 3,
            "username": "u",
            "password": "p,q",
            "sentinel_username": "s",
            "sentinel_password": "sp",
        },
    ),
    ("valkey+sentinel:///m", {"deployment": "sentinel", "nodes": (("localhost", 26379),), "service": "m"}),
    (
        "rediss+sentinel://h/m?ssl_ca_certs=/ca.pem",
        {
            "deployment": "sentinel",
            "nodes": (("h", 26379),),
            "service": "m",
            "tls": True,
            "extra": {"ssl_ca_certs": "/ca.pem"},
        },
    ),
    (
        "redis+cluster://app:pw@one:7000,two,[2001:db8::1]?read_from_replicas=true",
        {
            "deployment": "cluster",
            "nodes": (("one", 7000), ("two", 6379), ("2001:db8::1", 6379)),
            "username": "app",
            "password": "pw",
            "read_from_replicas": True,
        },
    ),
    ("rediss+cluster://h/0", {"deployment": "cluster", "nodes": (("h", 6379),), "tls": True}),
    ("valkeys+cluster://h", {"deployment": "cluster", "nodes": (("h", 6379),), "tls": True}),
    ("rediss://h:6380", {"host": "h", "port": 6380, "tls": True}),
    ("rediss://h?ssl_ca_certs=/ca.pem", {"host": "h", "tls": True, "extra": {"ssl_ca_certs": "/ca.pem"}}),
    (
        "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=no&ssl_min_version=1.3&ssl_ciphers=HIGH",
        {
            "host": "h",
            "tls": True,
            "extra": {
                "ssl_cert_reqs": "none",
                "ssl_check_hostname": False,
                "ssl_min_version": ssl.TLSVersion.TLSv1_3,
                "ssl_ciphers": "HIGH",
            },
        },
    ),
]


@pytest.mark.parametrize(("url", "meant"), _FORMS)
def test_every_form_of_url_is_understood(url: str, meant: dict[str, Any]) -> None:
    """BUG-104: scheme, user, password, place, database, socket path and TLS options all arrive."""
    assert Address.parse(url) == Address(**meant)


@pytest.mark.parametrize(
    "options",
    [
        {"host": "h", "port": 7000, "db": 2, "username": "u", "password": "p"},
        {"path": "/run/redis.sock"},
        {"tls": True, "ssl_ca_certs": "/ca.pem", "ssl_certfile": "/c.pem", "ssl_keyfile": "/k.pem"},
        {"tls": True, "ssl_ca_data": "pem", "ssl_ca_path": "/cas", "ssl_password": "p"},
        {"tls": True, "ssl_min_version": ssl.TLSVersion.TLSv1_3, "ssl_check_hostname": False},
        {"client_name": "me"},
    ],
)
def test_keywords_say_the_same(options: dict[str, Any]) -> None:
    """BUG-104: what a URL can say, keywords can."""
    extra = {name: value for name, value in options.items() if name.startswith("ssl_")}
    own = {name: value for name, value in options.items() if name not in extra}
    assert Address.parse(**options) == Address(**own, extra=extra)


def test_keywords_win_over_the_url() -> None:
    """BUG-104: a password kept elsewhere replaces the URL's; None is not there."""
    address = Address.parse("redis://app:old@h:1/2", password="new", port=None, db=5)
    assert (address.username, address.password, address.port, address.db) == ("app", "new", 1, 5)


def test_the_default_is_the_local_server() -> None:
    """BUG-105: without a URL there is still a place to look."""
    assert Address.parse().redacted == "redis://localhost:6379/0"


@pytest.mark.parametrize(
    ("url", "options", "told"),
    [
        ("http://h", {}, "redis://"),
        ("localhost:6379", {}, "redis://"),
        ("redis+cluster://h/1", {}, "no database but 0"),
        ("redis+cluster://h?db=1", {}, "no database but 0"),
        ("redis+cluster://h", {"db": 1}, "no database but 0"),
        ("redis+cluster://h,i:x", {}, "percent-encoded"),
        ("redis+cluster://h", {"port": 7000}, "argument port is for a single server"),
        ("redis+cluster://h", {"tls": True}, "argument tls is for a single server"),
        ("redis+cluster://h?sentinel_password=p", {}, r"redis\+sentinel://"),
        ("redis+cluster://h?ssl_ca_certs=/ca.pem", {}, r"rediss\+cluster://"),
        ("redis+cluster://h?read_from_replicas=perhaps", {}, "true or false"),
        ("redis+sentinel://h", {}, "names the service"),
        ("redis+sentinel://h/?db=1", {}, "names the service"),
        ("redis+sentinel://h/mymaster/x", {}, "database"),
        ("redis+sentinel://h/mymaster", {"host": "i"}, "argument host is for a single server"),
        ("redis+sentinel://h/mymaster?read_from_replicas=true", {}, r"redis\+cluster://"),
        ("redis+sentinel://h/mymaster?service=other", {}, "the URL says it already"),
        ("redis+sentry://h/mymaster", {}, "redis://"),
        ("redis://h?read_from_replicas=true", {}, r"redis\+cluster://"),
        (None, {"sentinel_password": "p"}, r"redis\+sentinel://"),
        (None, {"nodes": (("h", 1),)}, "nodes is unknown"),
        (None, {"deployment": "cluster"}, "deployment is unknown"),
        ("redis://h:notaport", {}, "percent-encoded"),
        ("redis://h:0", {}, "port"),
        ("redis://h:99999", {}, "port"),
        ("redis://h/one", {}, "database"),
        ("redis://h/-1", {}, "database"),
        ("unix://", {}, "socket"),
        ("redis://h?decode_responses=true", {}, "bytes"),
        ("redis://h?socket_timeout=5", {}, "op_timeout"),
        ("redis://h?socket_connect_timeout=5", {}, "connect_timeout"),
        ("redis://h?max_connections=5", {}, "carry all commands"),
        ("redis://h?protocol=3", {}, "protocol"),
        ("redis://h?host=other", {}, "host"),
        ("redis://h?colour=red", {}, "known are"),
        ("redis://h?db=1&db=2", {}, "URL option db is given twice"),
        ("redis://h/1?db=1", {}, "URL option db is given twice"),
        ("redis://:p@h?password=p", {}, "URL option password is given twice"),
        ("redis://h?ssl_ca_certs=/ca.pem", {}, "rediss://"),
        ("rediss://h?ssl_cert_reqs=maybe", {}, "required"),
        ("rediss://h?ssl_min_version=0.9", {}, "1.2"),
        ("rediss://h?ssl_check_hostname=perhaps", {}, "true or false"),
        (None, {"decode_responses": True}, "bytes"),
        (None, {"ssl_ca_certs": "/ca.pem"}, "rediss://"),
        (None, {"port": True}, "port"),
        (None, {"db": -1}, "db"),
        (None, {"tls": True, "ssl_min_version": []}, "1.2"),
        (None, {"host": ""}, "host"),
        (7, {}, "text"),
    ],
)
def test_what_is_not_understood_is_refused(url: Any, options: dict[str, Any], told: str) -> None:
    """BUG-104, BUG-105: at construction, saying what to do; nothing is dropped silently."""
    with pytest.raises(SettingsError, match=told):
        RedisStore(url, **options)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{_SECRET}/x@h",
        f"redis://u:{_SECRET}@h:{_SECRET}",
        f"http://u:{_SECRET}@h",
        f"redis://u:{_SECRET}@h?colour=1",
        f"redis://u:{_SECRET}@h/{_SECRET}",
        f"rediss://h?password={_SECRET}&ssl_cert_reqs={_SECRET}",
        f"redis+cluster://u:{_SECRET}@h/1",
        f"redis+cluster://u:{_SECRET}/x@h,i",
        f"redis+cluster://h,u:{_SECRET}@i,j:{_SECRET}",
        f"redis+sentinel://u:{_SECRET}@h?sentinel_password={_SECRET}",
    ],
)
def test_a_refusal_repeats_nothing_secret(url: str) -> None:
    """BUG-107: however the URL is misspelt, no piece of it but names of options is repeated."""
    with pytest.raises(SettingsError) as refused:
        RedisStore(url)
    assert _SECRET not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"redis://app:{_SECRET}@h:7000/3", "redis://app:***@h:7000/3"),
        (f"redis://:{_SECRET}@[::1]", "redis://:***@[::1]:6379/0"),
        ("redis://app@h", "redis://app@h:6379/0"),
        (f"rediss://h?ssl_keyfile=/k&ssl_certfile=/c&ssl_password={_SECRET}", "rediss://h:6379/0"),
        (f"unix://:{_SECRET}@/run/redis.sock", "unix://:***@/run/redis.sock?db=0"),
        (f"redis+cluster://u:{_SECRET}@[::1],h:7000", "redis+cluster://u:***@[::1]:6379,h:7000"),
        (f"rediss+cluster://h?password={_SECRET}", "rediss+cluster://:***@h:6379"),
        (
            f"redis+sentinel://:{_SECRET}@h,i:1/main/2?sentinel_password={_SECRET}",
            "redis+sentinel://:***@h:26379,i:1/main/2",
        ),
    ],
)
def test_an_address_shows_no_password(url: str, shown: str) -> None:
    """BUG-107: neither the store nor its address, printed in any way."""
    store = RedisStore(url)
    assert store.redacted_url == shown
    assert shown in repr(store)
    assert _SECRET not in repr(store) + str(store) + repr(Address.parse(url)) + repr(vars(store))


@given(password=st.text(min_size=1), user=st.text(min_size=1))
def test_any_password_arrives(password: str, user: str) -> None:
    """BUG-104: whatever characters it has, percent-encoded."""
    address = Address.parse(f"redis://{quote(user, safe='')}:{quote(password, safe='')}@h")
    assert (address.username, address.password) == (user, password)
    assert Address.parse("redis://h", password=password).password == password


def test_nothing_is_connected_or_loaded_before_it_is_used() -> None:
    """BUG-105: making a store imports no driver and opens no socket, wherever the URL points."""
    code = (
        "import socket, sys\n"
        "def fail(*a, **k): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = socket.getaddrinfo = fail\n"
        "import toolcache\n"
        "from toolcache.stores.redis.store import RedisStore\n"
        "store = RedisStore('redis://no.such.host.invalid')\n"
        "loaded = [name for name in sys.modules if name.partition('.')[0] in ('redis', 'hiredis')]\n"
        "assert not loaded, loaded\n"
        "assert store.redacted_url and store.run_id is None\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
