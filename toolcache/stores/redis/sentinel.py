"""Opens connections to the master of a service that sentinels watch.

They are asked at each connect, so that whatever ends a connection leads to the master of the day: the death of the old
one, or its word that it takes no writes any more. A server is believed to be the master when it says so itself, since
a sentinel may not have heard of a failover yet.
"""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from toolcache.stores.redis.dialer import Dialer, load_driver
from toolcache.stores.redis.inquiry import inquire, most_telling
from toolcache.stores.redis.url import Place
from toolcache.stores.redis.wire import pack

if TYPE_CHECKING:
    from toolcache.stores.redis.connection import Connection


class SentinelDialer(Dialer):
    """How to reach the master; the arguments are a ``Dialer``'s, without a client.

    Attributes:
        place: of the master dialled last.
    """

    place: Place

    async def _dial(self) -> "Connection":
        """A new connection to the master; raises redis-py's MasterNotFoundError where who is named is none."""
        await load_driver()
        from redis.exceptions import TimeoutError as DriverTimeoutError

        try:
            async with asyncio.timeout(self._timeout):
                return await self._find()
        except TimeoutError:
            raise DriverTimeoutError(f"no master was found within {self._timeout:g} s") from None

    async def _find(self) -> "Connection":
        faults: list[Exception] = []
        named: set[Place] = set()
        askers = [partial(self._ask, sentinel) for sentinel in self._address.nodes]
        async with aclosing(inquire(askers)) as answers:
            async for answer in answers:
                if isinstance(answer, Exception):
                    faults.append(answer)
                elif answer not in named:
                    named.add(answer)
                    try:
                        return await self._master(answer)
                    except Exception as fault:  # noqa: BLE001 - another sentinel may know better
                        faults.insert(0, fault)
        raise faults[0] if named else most_telling(faults)

    async def _ask(self, sentinel: Place) -> Place:
        """Where one sentinel says that the master is."""
        from redis.asyncio.sentinel import MasterNotFoundError

        address = replace(
            self._address.at(sentinel),
            db=0,
            username=self._address.sentinel_username,
            password=self._address.sentinel_password,
        )
        driver = await load_driver()
        raw = driver.connection_to(address, None, self._timeout)
        connection = await driver.connect(raw, within=self._timeout, patience=self._patience)
        try:
            (said,) = await connection.call(
                pack(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._address.service.encode())
            )
        finally:
            connection.close()
        if isinstance(said, Exception):
            raise said
        if said is None:
            raise MasterNotFoundError("a sentinel does not know the service")
        host, port = said
        return host.decode(), int(port)

    async def _master(self, place: Place) -> "Connection":
        """A connection to the server at a place, if that is a master."""
        from redis import exceptions

        driver = await load_driver()
        raw = self._connection_to(place, driver)
        connection = await self._greet(raw, farewells=(exceptions.ReadOnlyError, exceptions.MasterDownError))
        try:
            connection.server = str(place)  # where the user may not ask who it is
            await _expect_master(connection)
        except BaseException:
            connection.close()
            raise
        self.place = place
        return connection

    def _connection(self, driver: Any) -> Any:
        return self._connection_to(self.place, driver)

    def _connection_to(self, place: Place, driver: Any) -> Any:
        return driver.connection_to(self._address.at(place), self._credentials, self._timeout)


async def _expect_master(connection: "Connection") -> None:
    from redis.asyncio.sentinel import MasterNotFoundError

    (said,) = await connection.call(pack(b"ROLE"))
    # A user who may not ask has to believe the sentinel.
    if isinstance(said, list) and said[:1] != [b"master"]:
        raise MasterNotFoundError("the sentinels name a master that is none any more, or not yet")
