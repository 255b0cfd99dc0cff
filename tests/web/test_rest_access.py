"""Who may ask, from where, how often; and what is written down of it."""

import hmac
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from rest import ADMIN, READ, TOKENS, WRITE, asking, bearer

from toolcache import SettingsError, ToolCache
from toolcache.testing import FakeClock
from toolcache.web import limits
from toolcache.web.app import app
from toolcache.web.limits import Buckets
from toolcache.web.serving import serve
from toolcache.web.tokens import Tokens

STATS = "/api/v1/cache/domains"


@pytest.fixture
async def cache() -> AsyncIterator[ToolCache]:
    async with ToolCache(files=False, namespace="shop") as made:
        yield made


async def test_a_token_opens_what_its_scope_says(cache: ToolCache) -> None:
    """D9: without a token nothing is told, with one what it is for."""
    async with asking(cache, token=READ) as client:
        assert (await client.get(STATS)).status_code == 200
        del client.headers["authorization"]
        refused = await client.get(STATS)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["status"] == 401


@pytest.mark.parametrize(
    "shown", ["Bearer wrong-wrong-wrong-wrong", "Bearer", "Basic YTpi", "Bearer \xe4\xf6\xfc", "x" * 5000]
)
async def test_what_is_no_token_is_refused(cache: ToolCache, shown: str) -> None:
    """D9: a wrong token, none, another scheme and nonsense are 401, and none of it is repeated."""
    async with asking(cache) as client:
        refused = await client.get(STATS, headers=[(b"Authorization", shown.encode("latin-1"))])
        assert refused.status_code == 401
        assert shown.partition(" ")[2] not in refused.text or not shown.partition(" ")[2]


async def test_two_tokens_at_once_are_none(cache: ToolCache) -> None:
    """D9: a request with two Authorization fields is refused, whichever of them a proxy has looked at."""
    async with asking(cache, token=None, tokens=TOKENS) as client:
        fields = [("Authorization", f"Bearer {READ}"), ("Authorization", f"Bearer {ADMIN}")]
        assert (await client.get(STATS, headers=fields)).status_code == 401


async def test_a_token_in_the_query_is_none(cache: ToolCache) -> None:
    """D9: a token in the address, where logs and histories keep it, opens nothing."""
    async with asking(cache, token=None, tokens=TOKENS) as client:
        assert (await client.get(STATS, params={"access_token": ADMIN})).status_code == 401


async def test_guessing_is_slowed_down(cache: ToolCache) -> None:
    """D9: who shows ten wrong tokens is told to wait; who has the right one is not kept out by that."""
    clock = FakeClock()
    async with asking(cache, clock=clock) as client:
        statuses = [(await client.get(STATS, headers=bearer("wrong-" * 5))).status_code for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        assert (await client.get(STATS)).status_code == 200
        clock.advance(1)
        assert (await client.get(STATS, headers=bearer("wrong-" * 5))).status_code == 401


async def test_requests_are_limited_for_each_token(cache: ToolCache) -> None:
    """D9: twice the rate at once, then as many a second as the rate says; each token has its own."""
    clock = FakeClock()
    async with asking(cache, clock=clock, rate=2) as client:
        statuses = [(await client.get(STATS)).status_code for _ in range(5)]
        assert statuses == [200] * 4 + [429]
        late = await client.get(STATS)
        assert int(late.headers["retry-after"]) >= 1
        assert (await client.get(STATS, headers=bearer(READ))).status_code == 200
        clock.advance(1)
        assert [(await client.get(STATS)).status_code for _ in range(3)] == [200, 200, 429]


async def test_without_tokens_this_machine_may_read(cache: ToolCache) -> None:
    """D9: with no token configured, requests of this machine to this machine may read, as far as they are told to."""
    async with asking(cache, token=None) as client:
        assert (await client.get(STATS)).status_code == 200
    async with asking(cache, token=None, anonymous=None) as client:
        assert (await client.get(STATS)).status_code == 401


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::7", "testclient"])
async def test_without_tokens_others_may_nothing(cache: ToolCache, peer: str) -> None:
    """D9: from another machine, or from who knows where, nothing is open without a token but the word of health."""
    async with asking(cache, token=None, peer=peer) as client:
        assert (await client.get(STATS)).status_code == 401
        assert (await client.get("/health")).json() == {"status": "ok"}


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.7", "[2001:db8::1]"]
)
async def test_a_name_that_is_made_to_point_here_opens_nothing(cache: ToolCache, host: str) -> None:
    """D9: DNS rebinding: a request for a name that is not this machine's is not of its user, though it comes from here."""
    async with asking(cache, token=None, base=f"http://{host}:8377") as client:
        assert (await client.get(STATS)).status_code == 401
    async with asking(cache, base=f"http://{host}:8377") as client:  # a token is not sent by a page of others
        assert (await client.get(STATS)).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8377", "[::1]:8377", "LOCALHOST", "127.8.9.1"])
async def test_names_of_this_machine(cache: ToolCache, host: str) -> None:
    """D9: the loopback names are this machine's."""
    async with asking(cache, token=None, base=f"http://{host}") as client:
        assert (await client.get(STATS)).status_code == 200


@pytest.mark.parametrize("field", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"])
async def test_what_a_proxy_passes_on_is_not_of_this_machine(cache: ToolCache, field: str) -> None:
    """D9: behind a proxy every request seems to come from here; one that says so is asked for a token."""
    async with asking(cache, token=None) as client:
        assert (await client.get(STATS, headers={field: "192.0.2.7"})).status_code == 401


async def test_only_names_that_are_allowed(cache: ToolCache) -> None:
    """D9: ``allowed_hosts`` refuses requests for other names, whoever asks."""
    async with asking(cache, allowed_hosts=("cache.example.org",)) as client:
        assert (await client.get(STATS)).status_code == 200
        assert (await client.get(STATS, headers={"Host": "cache.example.org:443"})).status_code == 200
        assert (await client.get(STATS, headers={"Host": "other.example.org"})).status_code == 421


async def test_a_request_is_for_one_host(cache: ToolCache) -> None:
    """D9: of two Host fields a proxy may believe the other one: such a request is refused, as is one without."""
    async with asking(cache, token=None) as client:
        for fields in ([("Host", "localhost"), ("Host", "evil.example")], [("Host", "")]):
            assert (await client.get(STATS, headers=fields)).status_code == 400


async def test_pages_of_others_may_not_ask(cache: ToolCache) -> None:
    """D9: a page of another origin is refused, whether the browser tells the origin or only that it is another site."""
    async with asking(cache, token=None) as client:
        for fields in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:9999"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            refused = await client.get(STATS, headers=fields)
            assert refused.status_code == 403, fields
            assert "access-control-allow-origin" not in refused.headers
        for fields in (
            {"Origin": "http://localhost"},
            {"Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        ):
            assert (await client.get(STATS, headers=fields)).status_code == 200, fields


async def test_origins_that_are_allowed_may_ask(cache: ToolCache) -> None:
    """D9: with ``cors`` a page of that origin is answered, and its preflight too; no other is."""
    ops = "https://ops.example.org"
    async with asking(cache, cors=(ops,)) as client:
        answer = await client.get(STATS, headers={"Origin": ops})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ops)
        assert "Origin" in answer.headers["vary"]
        asked = {"Origin": ops, "Access-Control-Request-Method": "GET"}
        preflight = await client.options(STATS, headers=asked)
        assert preflight.status_code == 204
        assert "GET" in preflight.headers["access-control-allow-methods"]
        assert "Authorization" in preflight.headers["access-control-allow-headers"]
        other = await client.options(STATS, headers=asked | {"Origin": "https://evil.example"})
        assert other.status_code == 403
        assert "access-control-allow-origin" not in other.headers


async def test_the_application_around_may_say_who_may(cache: ToolCache) -> None:
    """D9: ``authorize`` grants what it says, and nothing where it says None."""

    def authorize(scope: object) -> str | None:
        assert isinstance(scope, dict)
        return "read" if (b"x-user", b"ada") in scope["headers"] else None

    async with asking(cache, token=None, tokens=TOKENS, authorize=authorize, peer="192.0.2.7") as client:
        assert (await client.get(STATS, headers={"X-User": "ada"})).status_code == 200
        assert (await client.get(STATS)).status_code == 401


async def test_whom_the_application_around_does_not_know_is_not_let_in_for_being_near(cache: ToolCache) -> None:
    """D9: behind a proxy that says nothing of itself everybody seems to be on this machine: None of ``authorize`` is final."""
    async with asking(cache, token=None, authorize=lambda _: None, anonymous="admin") as client:
        refused = await client.get(STATS)
        assert refused.status_code == 401
        assert "its own machine" not in refused.json()["detail"]
    async with asking(cache, token=None, authorize=lambda _: "read") as client:
        assert (await client.get(STATS)).status_code == 200


async def test_an_application_around_may_have_tokens_of_its_own(cache: ToolCache) -> None:
    """D9: ``authorize`` is asked of who shows a token that is none of the server's; what it does not know is refused."""

    def authorize(scope: Any) -> str | None:
        return "read" if (b"authorization", b"Bearer of-the-application") in scope["headers"] else None

    async with asking(cache, token=None, tokens=TOKENS, authorize=authorize) as client:
        theirs = [("Authorization", "Bearer of-the-application")]
        assert (await client.get(STATS, headers=theirs)).status_code == 200
        assert (await client.get(STATS, headers=bearer(READ))).status_code == 200
        assert (await client.get(STATS, headers=bearer("of-nobody"))).status_code == 401
        assert (await client.get(STATS, headers=theirs * 2)).status_code == 401


async def test_nothing_secret_is_written_down(cache: ToolCache, caplog: pytest.LogCaptureFixture) -> None:
    """D9: the log tells the endpoint, the status and a name for the token, but neither token, path nor query."""
    caplog.set_level(logging.DEBUG)
    async with asking(cache) as client:
        await client.get("/api/v1/cache/secret-key-of-a-user?secret=parameter")
        await client.get("/secret/path")
        await client.get(STATS, headers={"X-Request-ID": "known-7"})
        await client.get(STATS, headers={"X-Request-ID": "forged\tline"})
    ours = [record.getMessage() for record in caplog.records if record.name == "toolcache.web"]
    assert len(ours) == 4
    assert not [text for text in ours if "secret" in text or ADMIN in text or "forged" in text]
    assert ours[2].startswith("GET /api/v1/cache/domains 200 ")
    assert ours[2].endswith(" known-7")


@pytest.mark.parametrize("shown", [READ, ADMIN, "wrong", ""])
def test_every_token_is_compared_each_time_in_constant_time(monkeypatch: pytest.MonkeyPatch, shown: str) -> None:
    """D9: a wrong token, the first and the last take the same comparisons, of digests, which end no sooner for a likeness."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    tokens = Tokens(TOKENS)
    monkeypatch.setattr("toolcache.web.tokens.hmac", SimpleNamespace(compare_digest=compare))
    who = tokens.holder(shown.encode())
    assert (who is None) is (shown not in TOKENS)
    assert [len(one) for pair in compared for one in pair] == [32] * 2 * len(TOKENS)


def test_tokens_are_not_shown() -> None:
    """D9: the representation of tokens tells their scopes alone."""
    tokens = Tokens(TOKENS)
    assert repr(tokens) == "<Tokens: read, write, admin>"
    assert not [one for one in vars(tokens).values() if READ in repr(one)]


@pytest.mark.parametrize(
    "tokens",
    [{"short": "read"}, {"x" * 15: "read"}, {READ: "reed"}, {READ: READ}, {" " + READ: "read"}, {READ: None}],
    ids=["short", "nearly", "no-scope", "turned", "space", "none"],
)
async def test_tokens_that_cannot_be_are_refused(cache: ToolCache, tokens: dict[str, str]) -> None:
    """D9: a short token, or one without a scope, is refused without being repeated."""
    with pytest.raises(SettingsError) as refused:
        app(cache, tokens=tokens)
    assert next(iter(tokens)).strip() not in str(refused.value)


def test_tokens_of_the_environment() -> None:
    """D9: ``TOOLCACHE_TOKENS`` lists scopes and tokens; a token may hold an equals sign."""
    said = {"TOOLCACHE_TOKENS": f"read={READ}, admin=abc=def=ghi=jkl=="}
    assert Tokens.from_env(said) == {READ: "read", "abc=def=ghi=jkl==": "admin"}
    assert Tokens.from_env({}) == {}
    for wrong in (READ, f"read={READ},write={READ}"):
        with pytest.raises(SettingsError) as refused:
            Tokens.from_env({"TOOLCACHE_TOKENS": wrong})
        assert READ not in str(refused.value)


async def test_the_environment_speaks_where_tokens_are_not_given(
    cache: ToolCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D9: without ``tokens=`` those of the environment count, and a cache made from it does not mind the variable."""
    monkeypatch.setenv("TOOLCACHE_TOKENS", f"write={WRITE}")
    async with ToolCache.from_env(dotenv=None, files=False) as other, asking(other, token=WRITE, tokens=None) as client:
        assert (await client.get(STATS)).status_code == 200
        assert (await client.get(STATS, headers=bearer(READ))).status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "cache.example.org", ""])
async def test_beyond_this_machine_only_with_a_token(cache: ToolCache, host: str) -> None:
    """D9: a server that others reach does not begin without a token, and says what to do."""
    with pytest.raises(SettingsError, match="TOOLCACHE_TOKENS"):
        await serve(cache, host=host, port=0)


async def test_no_tokens_said_are_those_of_the_environment(cache: ToolCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """D9: ``tokens=None`` of ``serve`` means what it means to ``app``, also beyond this machine."""
    monkeypatch.setenv("TOOLCACHE_TOKENS", f"read={READ}")
    with pytest.raises(OSError, match="assign"):  # which comes after the question whether there are any
        await serve(cache, host="192.0.2.7", port=0, tokens=None)


@pytest.mark.parametrize(
    "options",
    [{"cors": "https://a.example"}, {"cors": ("*",)}, {"allowed_hosts": "a"}, {"rate": 0}, {"anonymous": "all"}],
    ids=lambda options: next(iter(options)),
)
async def test_options_that_cannot_be_are_refused(cache: ToolCache, options: dict[str, object]) -> None:
    """D9: a wrong option is an error when the application is made."""
    with pytest.raises(SettingsError):
        app(cache, tokens={}, **options)  # type: ignore[arg-type]  # wrong on purpose


def test_buckets_take_bounded_room() -> None:
    """D9: who asks from ever new addresses has no more buckets kept than there may be, and the one in use stays."""
    buckets = Buckets(1.0, 1.0)
    assert buckets.take("first", 0.0) == 0.0
    for number in range(2 * limits.MOST):
        buckets.take(str(number), 0.0)
        assert buckets.take("first", 0.0) > 0
    assert len(buckets._buckets) == limits.MOST
