"""Listing servers one after another: how far it has come, and what happens where they change meanwhile."""

from collections.abc import Sequence
from typing import Any

import pytest
from redis import exceptions as replies

from toolcache.protocols import StoreRestingError
from toolcache.stores.redis import pages


class Server:
    """Answers SCAN from a script, and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []

    async def exchange(self, commands: Sequence[bytes], _keys: Sequence[bytes], *, reading: bool) -> list[Any]:
        assert reading
        self.asked += [command.split(b"\r\n")[4] for command in commands]
        return [self.answers.pop(0)]


class Servers:
    """Those that there are, and the run of the one last connected to."""

    def __init__(self, *servers: Server) -> None:
        self.there: list[Any] = list(servers)
        self.run: str | None = "run"

    async def primaries(self) -> Any:
        return self.there

    async def all(self, most: int = 9) -> list[bytes]:
        """The keys of all pages."""
        found: list[bytes] = []
        cursor = None
        for _ in range(most):
            some, cursor = await pages.keys("p", cursor, self.primaries, lambda: self.run)
            found += some
            if cursor is None:
                return found
        raise AssertionError("it does not end")


async def test_one_server_comes_after_another() -> None:
    """All nodes that have slots, each to its end."""
    first, second = Server([b"5", [b"a", b"b"]], [b"0", [b"c"]]), Server([b"0", []])
    assert await Servers(first, second).all() == [b"a", b"b", b"c"]
    assert (first.asked, second.asked) == ([b"0", b"5"], [b"0"])


async def test_it_begins_anew_where_a_server_was_replaced() -> None:
    """A cursor means nothing to another process: keys may come twice, none is passed over."""
    first, second = Server([b"5", [b"a"]]), Server([b"9", [b"b", b"a"]], [b"0", [b"c"]])
    servers = Servers(first)
    _, cursor = await pages.keys("p", None, servers.primaries, lambda: servers.run)
    servers.there = [second]
    _, cursor = await pages.keys("p", cursor, servers.primaries, lambda: servers.run)
    assert second.asked == [b"0"]
    servers.run = "another"
    second.answers = [[b"0", [b"a", b"b", b"c"]]]
    found, cursor = await pages.keys("p", cursor, servers.primaries, lambda: servers.run)
    assert (second.asked, found, cursor) == ([b"0", b"0"], [b"a", b"b", b"c"], None)


async def test_a_user_who_may_not_scan_is_no_fault_of_the_server() -> None:
    """It may be asked for all else; a reply that is none raises as any other."""
    with pytest.raises(StoreRestingError, match="SCAN"):
        await Servers(Server(replies.NoPermissionError("scan"))).all()
    with pytest.raises(replies.InvalidResponse):
        await Servers(Server(b"?")).all()


async def test_beginnings_are_read_as_far_as_the_meta_goes() -> None:
    """What has gone meanwhile, is of another type or has a key of no ASCII, is left out."""
    asked: list[bytes] = []

    async def exchange(commands: Sequence[bytes], _keys: Sequence[bytes], *, reading: bool) -> list[Any]:
        assert reading
        asked.extend(commands)
        return [b"x", b"", replies.ResponseError("WRONGTYPE")]

    page = await pages.page([b"a", b"b", b"c", b"\xff"], None, exchange)
    assert [one.key for one in page.found] == ["a"]
    assert len(asked) == 3

    async def fail(_commands: Sequence[bytes], _keys: Sequence[bytes], *, reading: bool) -> list[Any]:
        return [replies.ResponseError("LOADING")]

    with pytest.raises(replies.ResponseError, match="LOADING"):
        await pages.page([b"a"], None, fail)
