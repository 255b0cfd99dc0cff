"""Who is let in: known by a token, by the application around, or because they are on this machine; and how often."""

from collections.abc import Callable, Collection
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from toolcache.web import hosts
from toolcache.web.limits import Buckets
from toolcache.web.problems import Problem
from toolcache.web.tokens import Access, Tokens, Who

Authorize = Callable[[Scope], str | None]
"""Says "read", "write", "admin" or None of a request."""

_REALM: Final = 'Bearer realm="toolcache"'


class Rules:
    """Who may come in, and how often.

    Args:
        tokens: who is known by one.
        anonymous: what whoever asks on this machine may do, unless somebody else says it; None for nothing.
        authorize: asked of whoever has no token of these.
        allowed_hosts: names that requests may be for; any, if none is given.
        cors: origins whose pages may ask.
        rate: requests a second for each token or address; None for no limit.
        max_body: bytes of a request's body.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        anonymous: Access | None = None,
        authorize: Authorize | None = None,
        allowed_hosts: Collection[str] = (),
        cors: Collection[str] = (),
        rate: float | None = None,
        max_body: int = 1_000_000,
    ) -> None:
        self.tokens = tokens
        self.anonymous = anonymous
        self.authorize = authorize
        self.allowed_hosts = frozenset(name.lower() for name in allowed_hosts)
        self.cors = frozenset(cors)
        self.buckets = None if rate is None else Buckets(rate, 2 * rate)
        self.guesses = Buckets(1.0, 10.0)
        self.max_body = max_body

    def check_host(self, headers: Headers) -> None:
        """Whether a request is for this server.

        Raises:
            Problem: it is for none, for several, or for a name that is not allowed.
        """
        name = hosts.name_in(hosts.host_of(headers))
        if self.allowed_hosts and name not in self.allowed_hosts and not hosts.is_loopback(name):
            raise Problem(421, "this server is not known by that name: see allowed_hosts")

    def identify(self, scope: Scope, headers: Headers, now: float) -> Who:
        """Who asks.

        Raises:
            Problem: they show what is no token.
        """
        peer = scope.get("client")
        address = peer[0] if peer else "-"
        given = headers.getlist("authorization")
        if len(given) == 1:
            scheme, _, token = given[0].partition(" ")
            known = self.tokens.holder(token.strip().encode("latin-1")) if scheme.lower() == "bearer" else None
            if known is not None:
                return known
        # The application around may have tokens of its own.
        if len(given) <= 1 and self.authorize is not None and (word := self.authorize(scope)) is not None:
            return Who(address, Access[word.upper()])
        if given:
            raise self._stranger(address, now)
        if self.anonymous is not None and hosts.is_local(scope, headers):
            return Who(address, self.anonymous)
        return Who(address, Access.OPEN)

    def _stranger(self, address: str, now: float) -> Problem:
        if wait := self.guesses.take(address, now):
            return _too_many("too many tokens that are none", wait)
        return Problem(401, "that is no token of this server", {"WWW-Authenticate": f'{_REALM}, error="invalid_token"'})

    def check(self, who: Who, access: Access, now: float) -> None:
        """Whether they may, now.

        Raises:
            Problem: they may not, or have asked too often.
        """
        if self.buckets is not None and (wait := self.buckets.take(who.name, now)):
            raise _too_many("too many requests", wait)
        if who.access >= access:
            return
        if who.access is not Access.OPEN:
            needs = f'{_REALM}, error="insufficient_scope", scope="{access}"'
            raise Problem(403, f"this needs the scope {access}, and yours is {who.access}", {"WWW-Authenticate": needs})
        why = "this needs a token: send 'Authorization: Bearer …'"
        if not self.tokens and self.authorize is None:
            why = "this server has no tokens, so it answers its own machine alone, and only as far as it was told to"
        raise Problem(401, why, {"WWW-Authenticate": _REALM})


def _too_many(what: str, wait: float) -> Problem:
    return Problem(429, f"{what}: wait a moment", {"Retry-After": str(int(wait) + 1)})
