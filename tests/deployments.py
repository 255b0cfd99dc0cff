"""Clusters, and servers watched by sentinels, for tests: processes of our own on free ports of the loopback."""

import contextlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from servers import RedisServer, free_port

_GIVE_UP_SECONDS = 30.0
_SLOTS = 16_384
_NODE_TIMEOUT_MS = 500
_DOWN_AFTER_MS = 300
_QUICK_REPLICAS = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it does; errors of servers that are coming up count as not yet."""
    give_up = time.monotonic() + _GIVE_UP_SECONDS
    while time.monotonic() < give_up:
        with contextlib.suppress(Exception):
            if holds():
                return
        time.sleep(0.02)
    raise AssertionError("the servers did not come to an understanding")


class RedisCluster:
    """Primaries with an equal part of the slots each, and replicas of each, ready.

    Args:
        *options: further arguments of each server.
        primaries: how many.
        replicas: of each primary.
        certificates: where those for TLS are; the nodes then speak nothing else.
        client: arguments for the connections by which the cluster is set up.
    """

    def __init__(
        self,
        *options: str,
        primaries: int = 3,
        replicas: int = 0,
        certificates: Path | None = None,
        **client: Any,
    ) -> None:
        self._options = options if certificates is None else ("--tls-cluster", "yes", *options)
        self._certificates = certificates
        self._client = client
        self.nodes: list[RedisServer] = []
        self._buses: dict[int, int] = {}
        try:
            self.primaries = [self.add() for _ in range(primaries)]
            self.replicas = [[self.add() for _ in range(replicas)] for _ in range(primaries)]
            self._settle()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """Two of the nodes."""
        return f"{_scheme(self._certificates)}+cluster://" + ",".join(
            f"127.0.0.1:{node.port}" for node in self.nodes[:2]
        )

    def add(self) -> RedisServer:
        """One more node, which knows nobody yet."""
        bus = free_port()
        enabled = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
        quick = ("--cluster-node-timeout", str(_NODE_TIMEOUT_MS), "--cluster-replica-validity-factor", "0")
        node = RedisServer(*enabled, *quick, *_QUICK_REPLICAS, *self._options, certificates=self._certificates)
        self._buses[node.port] = bus
        self.nodes.append(node)
        return node

    def ask(self, node: RedisServer, *words: str | bytes | int) -> Any:
        """One command to one node."""
        return node.command(*words, **self._client)

    def meet(self, node: RedisServer) -> None:
        """Make a node known to the cluster."""
        self.ask(self.nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port, self._buses[node.port])
        eventually(lambda: all(self._known(one) == len(self.nodes) for one in self.nodes))

    def identity(self, node: RedisServer) -> str:
        """What the cluster calls it."""
        name: bytes = self.ask(node, "CLUSTER", "MYID")
        return name.decode()

    def owner(self, slot: int) -> RedisServer:
        """The primary that had the slot at first."""
        return self.primaries[slot * len(self.primaries) // _SLOTS]

    def calls(self, node: RedisServer, command: str) -> int:
        """How often a node has executed a command."""
        return self._counted(node, "commandstats", f"cmdstat_{command}:calls=")

    def refusals(self, node: RedisServer, code: str) -> int:
        """How often a node has answered with an error of that name."""
        return self._counted(node, "errorstats", f"errorstat_{code}:count=")

    def agree(self) -> None:
        """Wait until all nodes see the same: who claims a slot before it has heard of all epochs may lose it again."""

        def view(node: RedisServer) -> set[tuple[str, ...]]:
            lines = (line.split() for line in self.ask(node, "CLUSTER", "NODES").decode().splitlines())
            return {(words[0], words[6], *(word for word in words[8:] if word[0] != "[")) for words in lines}

        eventually(lambda: all(view(node) == view(self.nodes[0]) for node in self.nodes[1:]))

    def close(self) -> None:
        """End all."""
        for node in self.nodes:
            node.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _settle(self) -> None:
        for number, node in enumerate(self.primaries):
            first, last = (_SLOTS * edge // len(self.primaries) for edge in (number, number + 1))
            self.ask(node, "CLUSTER", "ADDSLOTSRANGE", first, last - 1)
            self.ask(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            self.ask(self.nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port, self._buses[node.port])
        eventually(lambda: all(self._known(node) == len(self.nodes) for node in self.nodes))
        for primary, replicas in zip(self.primaries, self.replicas, strict=True):
            for replica in replicas:
                self.ask(replica, "CLUSTER", "REPLICATE", self.identity(primary))
        eventually(lambda: all("cluster_state:ok" in self._info_of_cluster(node) for node in self.nodes))
        for replica in [one for some in self.replicas for one in some]:
            eventually(partial(self._follows, replica))
        wanted = len(self.nodes)
        eventually(
            lambda: all(
                sum(len(part) - 2 for part in self.ask(node, "CLUSTER", "SLOTS")) == wanted for node in self.nodes
            )
        )

    def _follows(self, node: RedisServer) -> bool:
        return "master_link_status:up" in self._info(node, "replication")

    def _known(self, node: RedisServer) -> int:
        nodes: bytes = self.ask(node, "CLUSTER", "NODES")
        return sum(b" connected" in line and b"handshake" not in line for line in nodes.splitlines())

    def _counted(self, node: RedisServer, section: str, start: str) -> int:
        found = [line.removeprefix(start) for line in self._info(node, section) if line.startswith(start)]
        return int(found[0].partition(",")[0]) if found else 0

    def _info(self, node: RedisServer, section: str) -> list[str]:
        text: bytes = self.ask(node, "INFO", section)
        return text.decode().split("\r\n")

    def _info_of_cluster(self, node: RedisServer) -> str:
        text: bytes = self.ask(node, "CLUSTER", "INFO")
        return text.decode()


class WatchedServers:
    """A master with replicas, and sentinels that watch it, ready.

    Args:
        *options: further arguments of each server.
        sentinels: how many; a majority of them decides.
        lines: further ones for each sentinel's configuration.
        certificates: where those for TLS are; servers and sentinels then speak nothing else.
        down_after_ms: how long a server says nothing before the sentinels take it for dead.
        client: arguments for the connections to servers by which they are set up.
    """

    service = "main"

    def __init__(
        self,
        *options: str,
        sentinels: int = 3,
        lines: tuple[str, ...] = (),
        certificates: Path | None = None,
        down_after_ms: int = _DOWN_AFTER_MS,
        **client: Any,
    ) -> None:
        self._client = client
        self._down_after_ms = down_after_ms
        self._certificates = certificates
        self.sentinels: list[RedisServer] = []
        self.servers = [RedisServer(*_QUICK_REPLICAS, *options, certificates=certificates)]
        try:
            following = ("--replicaof", f"127.0.0.1 {self.master.port}")
            self.servers.append(RedisServer(*_QUICK_REPLICAS, *following, *options, certificates=certificates))
            self._watch(sentinels, lines)
        except BaseException:
            self.close()
            raise

    @property
    def master(self) -> RedisServer:
        """The first one."""
        return self.servers[0]

    @property
    def replica(self) -> RedisServer:
        """The second one."""
        return self.servers[1]

    @property
    def url(self) -> str:
        """The sentinels and the service."""
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"{_scheme(self._certificates)}+sentinel://{places}/{self.service}"

    def fail_over(self) -> None:
        """Have the replica take over, as an operator does."""
        eventually(lambda: self.sentinels[0].command("SENTINEL", "FAILOVER", self.service) == b"OK")

    def named(self, sentinel: RedisServer) -> int:
        """The port of the master that a sentinel names."""
        return int(sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)[1])

    def close(self) -> None:
        """End all."""
        for process in (*self.sentinels, *self.servers):
            process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _watch(self, sentinels: int, lines: tuple[str, ...]) -> None:
        eventually(lambda: b"master_link_status:up" in self.replica.command("INFO", "replication", **self._client))
        for _ in range(sentinels):
            self.sentinels.append(
                Sentinel(
                    f"sentinel monitor {self.service} 127.0.0.1 {self.master.port} {sentinels // 2 + 1}",
                    f"sentinel down-after-milliseconds {self.service} {self._down_after_ms}",
                    f"sentinel failover-timeout {self.service} 2000",
                    *lines,
                    certificates=self._certificates,
                )
            )
        for sentinel in self.sentinels:  # else an old master keeps that role for eight seconds
            sentinel.command("SENTINEL", "DEBUG", "publish-period", 300, "info-period", 500)
        eventually(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))

    def _knows_all(self, sentinel: RedisServer) -> bool:
        said = sentinel.command("SENTINEL", "MASTER", self.service)
        about = dict(zip(said[::2], said[1::2], strict=True))
        return int(about[b"num-slaves"]) == 1 and int(about[b"num-other-sentinels"]) == len(self.sentinels) - 1


def _scheme(certificates: Path | None) -> str:
    return "redis" if certificates is None else "rediss"


class Sentinel(RedisServer):
    """A sentinel of our own.

    Args:
        *lines: of its configuration.
    """

    def __init__(self, *lines: str, certificates: Path | None = None) -> None:
        self._lines = lines
        super().__init__(certificates=certificates)

    def arguments(self) -> list[str]:
        """A file that it rewrites, and what makes it a sentinel."""
        file = self.directory / "sentinel.conf"
        if not file.exists():
            words = iter(self._listening())
            listening = (f"{name.removeprefix('--')} {value}" for name, value in zip(words, words, strict=True))
            fixed = (*listening, "bind 127.0.0.1", f"dir {self.directory}")
            file.write_text("\n".join((*fixed, *self._lines, "")))
        return [str(file), "--sentinel"]
