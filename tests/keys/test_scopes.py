"""Scopes: said once, for all that is called inside."""

import asyncio
import contextvars
from typing import Any

import pytest

from toolcache.errors import MissingScopeError, UnsupportedKeyError
from toolcache.keys.scopes import read, readers, scope


def told(*names: str) -> tuple[object, ...]:
    return read("f", readers("f", names), strict=False)


def test_scopes_add_up_and_end() -> None:
    """BUG-111: the inner one wins, and what was said outside holds again behind it, after errors too."""
    assert told("tenant", "user") == (None, None)
    with scope(tenant="a", user="u"):
        with scope(tenant="b"):
            assert told("tenant", "user") == ("b", "u")
        with pytest.raises(ZeroDivisionError), scope(tenant="b"):
            _ = 1 / 0
        assert told("tenant", "user") == ("a", "u")
    assert told("tenant", "user") == (None, None)


async def test_a_scope_is_that_of_its_task() -> None:
    """BUG-111: tasks begun inside have it, others do not; one scope may be entered by many at once."""
    acme, other = scope(tenant="acme"), scope(tenant="other")
    turn = asyncio.Barrier(3)

    async def work(*mine: Any) -> Any:
        for one in mine:
            one.__enter__()
        await turn.wait()
        inside = (*told("tenant"), *await asyncio.create_task(child()))
        await turn.wait()
        for one in reversed(mine):
            one.__exit__(None, None, None)
        return (*inside, *told("tenant"))

    async def child() -> tuple[object, ...]:
        return told("tenant")

    inside = await asyncio.gather(work(acme), work(other, acme, acme), work())
    assert list(inside) == [("acme", "acme", None), ("acme", "acme", None), (None, None, None)]


@pytest.mark.parametrize("value", [None, "", object(), [object()]])
def test_what_says_nothing_is_refused(value: Any) -> None:
    """BUG-111: a tenant that nobody has found out is a mistake at the place where it is made, and names the scope."""
    with pytest.raises(UnsupportedKeyError, match="'tenant'"):
        scope(tenant=value)


def test_a_scope_is_no_decorator() -> None:
    """BUG-111: above an async function it would be over before that runs."""
    assert not callable(scope(tenant="a"))


def test_scopes_of_ones_own() -> None:
    """BUG-111: a function tells them; what finds nothing, or an empty text, says nothing."""
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")
    by = readers("f", {"tenant": tenant.get, "locale": lambda: ""})
    assert read("f", by, strict=False) == (None, None)
    with pytest.raises(MissingScopeError) as caught:
        read("f", by, strict=True)
    assert caught.value.scope == "tenant"
    token = tenant.set("acme")
    assert read("f", by, strict=False) == ("acme", None)
    tenant.reset(token)
