"""What the command line finds wrong: health, doctor, its checks, and the settings it shows."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import call
from servers import RedisServer

from toolcache import Settings
from toolcache.cli.advice import for_files, for_redis
from toolcache.cli.checks import extras, files, redis, settings
from toolcache.cli.checks.finding import Finding
from toolcache.cli.health import troubles
from toolcache.metrics.snapshot import Process
from toolcache.stats import Health, LayerHealth


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working directory, and none of the settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("TOOLCACHE_", "REDIS_", "USE_REDIS", "AI_CACHE_", "COLUMNS", "FORCE_COLOR")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def layer(**more: Any) -> LayerHealth:
    """A layer that works, but for what is said."""
    well: dict[str, Any] = {
        "usable": True,
        "where": "redis://here/0",
        "breaker": "closed",
        "write_breaker": "closed",
        "last_fault": "",
        "entries": 3,
        "latency": 0.001,
    }
    return LayerHealth(**well | more)


def asked(**more: Any) -> Health:
    """A cache that works, but for what is said."""
    well: dict[str, Any] = {
        "status": "ok",
        "namespace": "shop",
        "enabled": True,
        "fallback": True,
        "memory_entries": 1,
        "memory_bytes": 10,
        "redis": layer(),
        "files": layer(where="/files"),
        "pending": 0,
        "oldest_pending_at": None,
    }
    return Health(**well | more)


class TestHealth:
    def test_a_cache_that_works(
        self, place: Path, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Each layer answers: exit code 0, and a document that says so."""
        stores = ["--redis-url", redis_server.url, "--dir", str(place / "files")]
        assert call(capsys, *stores, "health").code == 0
        told = json.loads(call(capsys, *stores, "health", "--json").out)
        assert (told["status"], told["problems"]) == ("ok", [])
        assert told["health"]["redis"]["usable"] is True

    def test_a_redis_that_is_away(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What is wrong is told with what to do about it: exit code 3."""
        stores = ["--redis-url", "redis://127.0.0.1:1", "--dir", str(place / "files")]
        ran = call(capsys, *stores, "health")
        assert ran.code == 3
        assert "Redis cannot be reached at redis://127.0.0.1:1/0: connection refused" in ran.out
        assert "→ start it, or correct the port" in ran.out
        told = json.loads(call(capsys, *stores, "health", "--json").out)
        assert told["status"] == "degraded"
        assert told["problems"][0]["unreachable"] is True

    def test_the_environment_of_others_is_not_this_ones(self) -> None:
        """Nothing is wrong with a cache that works."""
        assert troubles(asked(), []) == []

    @pytest.mark.parametrize(
        ("health", "says"),
        [
            (asked(enabled=False), "turned off"),
            (
                asked(redis=layer(usable=False, last_fault="timed out")),
                "cannot be reached at redis://here/0: timed out",
            ),
            (asked(redis=layer(write_breaker="open", last_fault="OutOfMemoryError OOM")), "takes no writes"),
            (asked(files=layer(usable=False, where="/files", last_fault="permission denied")), "/files: permission"),
            (asked(pending=12), "12 writes of this host are owed to Redis"),
        ],
        ids=["off", "away", "full", "files", "owed"],
    )
    def test_what_is_wrong(self, health: Health, says: str) -> None:
        """Each trouble is a sentence with a way out."""
        (one,) = troubles(health, [])
        assert says in one.says
        assert one.do

    def test_other_processes(self) -> None:
        """A breaker that is open in another process is told, with which process that is."""
        process = Process(owner="a" * 16, host="worker", pid=7, breakers={"redis": "open", "file": "closed"})
        (one,) = troubles(asked(), [process])
        assert one.says.startswith("process worker:7 does without Redis")

    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            ("connection refused", "start it"),
            ("access denied", "redis_password"),
            ("ReadOnlyError READONLY", "replica"),
            ("OutOfMemoryError OOM", "maxmemory"),
            ("something new", "log"),
        ],
    )
    def test_advice_for_redis(self, fault: str, words: str) -> None:
        """Each fault that the cache has words for has a way out, and so has any other."""
        assert words in for_redis(fault)

    @pytest.mark.parametrize(("fault", "words"), [("no space left on device", "free"), ("else", "rights")])
    def test_advice_for_files(self, fault: str, words: str) -> None:
        assert words in for_files(fault)


def found(of: Any, *arguments: Any) -> Mapping[str, Finding]:
    """What a check finds, by its words."""
    return {one.says: one for one in of(*arguments)}


class TestSettings:
    @pytest.mark.parametrize(
        ("options", "status", "says"),
        [
            ({}, "ok", "none contradicts another"),
            ({"enabled": False}, "bad", "turned off"),
            ({"files": False}, "warn", "neither Redis nor files"),
            ({"redis_password": "x"}, "warn", "redis_password is given"),
            ({"redis_url": "redis://here", "fallback": False}, "warn", "fallback is off"),
            ({"redis_url": "redis://here", "files": False}, "warn", "files is off"),
            ({"redis_url": "redis://here", "coherence": False}, "note", "coherence is off"),
            ({"soft_timeout": 1}, "warn", "soft_timeout without grace"),
            ({"soft_timeout": 2, "hard_timeout": 1, "grace": "1d"}, "warn", "not shorter than hard_timeout"),
            ({"lease": 60, "lock_timeout": 60}, "note", "not longer than lease"),
            ({"max_memory": "1MB"}, "warn", "is more than max_memory"),
            ({"max_disk": "1MB"}, "bad", "is more than max_disk"),
        ],
    )
    def test_what_contradicts(self, options: dict[str, Any], status: str, says: str) -> None:
        """Settings that contradict one another, or do nothing, are told with what to change; others are not."""
        seen = list(settings.settings(Settings(**options), {}, {}))
        (one,) = [one for one in seen if says in one.says]
        assert one.status == status
        assert len(seen) == 1
        assert bool(one.do) is (status != "ok")

    @pytest.mark.parametrize(
        ("environ", "says"),
        [
            ({"TOOLCACHE_REDIS_URL": "redis://a", "REDIS_URL": "redis://b"}, "name different servers"),
            ({"USE_REDIS": "no", "REDIS_URL": "redis://b"}, "turns Redis off"),
        ],
    )
    def test_variables_that_contradict(self, environ: dict[str, str], says: str) -> None:
        """So are variables."""
        (one,) = settings.settings(Settings(), {}, environ)
        assert says in one.says


class TestExtras:
    def test_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Extras that are not installed are named with what they are for; one that is wanted is bad."""
        real = extras._is_there
        monkeypatch.setattr(
            extras, "_is_there", lambda name: name not in {"uvicorn", "hiredis", "backports.zstd"} and real(name)
        )
        seen = list(extras.extras(Settings()))
        assert any("server (toolcache serve)" in one.says and "'.[server]'" in one.do for one in seen)
        assert any("hiredis" in one.says and one.status == "note" for one in seen)
        assert not [one for one in seen if one.status == "bad"]
        assert [one.says for one in extras.extras(Settings(compressor="zstd")) if one.status == "bad"]

    def test_nobody_is_told_to_install_another_project(self) -> None:
        """No advice names the distribution of somebody else."""
        said = [one.do for one in extras.extras(Settings())]
        assert not [text for text in said if "install toolcache" in text]


class TestFiles:
    def test_a_directory_of_ones_own(self, tmp_path: Path) -> None:
        """A directory that is there, or can be made, is well."""
        (tmp_path / "mine").mkdir(mode=0o700)
        assert {one.status for one in files.files(str(tmp_path / "mine"), 1)} <= {"ok", "note"}
        assert any("will be made" in one.says for one in files.files(str(tmp_path / "new" / "deep"), 1))

    def test_rights(self, tmp_path: Path) -> None:
        """Where others may write, and where there is no directory, it is bad."""
        tmp_path.chmod(0o777)
        assert any(one.status == "bad" and "chmod go-w" in one.do for one in files.files(str(tmp_path), 1))
        (tmp_path / "file").write_text("")
        assert any("is no directory" in one.says for one in files.files(str(tmp_path / "file" / "in"), 1))

    def test_room(self, tmp_path: Path) -> None:
        """Less room than the files may take is a warning."""
        assert any(one.status == "warn" and "are free" in one.says for one in files.files(str(tmp_path), 1 << 60))

    @pytest.mark.parametrize(
        ("path", "kind"),
        [("/", "ext4"), ("/home/me", "ext4"), ("/mnt/share/x", "nfs4"), ("/mnt/shared", "ext4"), ("/a b/c", "tmpfs")],
    )
    def test_what_it_lies_on(self, path: str, kind: str, tmp_path: Path) -> None:
        """The innermost mount counts, and whole names do."""
        mounts = tmp_path / "mountinfo"
        mounts.write_text(
            "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
            "30 22 0:40 / /mnt/share rw shared:2 - nfs4 server:/x rw\n"
            "31 22 0:41 / /a\\040b rw - tmpfs tmpfs rw\n"
            "nonsense\n"
        )
        assert files.file_system(path, str(mounts)) == kind

    @pytest.mark.parametrize(
        ("kind", "status"), [("nfs4", "bad"), ("tmpfs", "warn"), ("overlay", "note"), ("ext4", "ok"), ("", None)]
    )
    def test_file_systems(self, kind: str, status: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those of other hosts are bad, those in memory a warning, those of a container worth knowing."""
        monkeypatch.setattr(files, "file_system", lambda _path: kind)
        seen = [one.status for one in files.files(str(tmp_path), 1) if "lies" in one.says]
        assert seen == ([] if status is None else [status])


class TestRedis:
    async def _found(self, url: str, **options: Any) -> list[Finding]:
        return await redis.redis(Settings(redis_url=url, **options))

    async def test_a_server_that_is_well(self, redis_server: RedisServer) -> None:
        """Version, eviction, clock and tracking are looked at; nothing is wrong with a fresh server."""
        seen = await self._found(redis_server.url)
        assert {one.check for one in seen} == {"redis", "eviction", "clock", "tracking"}
        assert {one.status for one in seen} <= {"ok", "note"}
        assert any("maxmemory is not set" in one.says for one in seen)

    @pytest.mark.parametrize(
        ("policy", "status"),
        [("allkeys-lru", "warn"), ("volatile-lru", "note"), ("volatile-ttl", "ok"), ("noeviction", "ok")],
    )
    async def test_eviction(self, policy: str, status: str, redis_server: RedisServer) -> None:
        """A server that may evict what is promised is told, with the command that ends that."""
        redis_server.command("CONFIG", "SET", "maxmemory-policy", policy)
        try:
            seen = await self._found(redis_server.url)
        finally:
            redis_server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        (one,) = [one for one in seen if "maxmemory-policy is" in one.says]
        assert one.status == status
        assert ("volatile-ttl" in one.do) is (status != "ok")

    async def test_a_server_that_is_nearly_full(self, own_redis: RedisServer) -> None:
        """So is one whose memory is nearly used up."""
        own_redis.command("CONFIG", "SET", "maxmemory", "950kb")
        assert any("of maxmemory" in one.says and one.status == "warn" for one in await self._found(own_redis.url))

    async def test_a_user_who_may_not_track(self, own_redis: RedisServer) -> None:
        """A user without the permissions is told which ones are lacking."""
        own_redis.command("ACL", "SETUSER", "app", "on", ">pw", "~tc1:*", "+@all", "-client|tracking", "-info", "-time")
        seen = await self._found(own_redis.url.replace("//", "//app:pw@"))
        (tracking,) = [one for one in seen if one.check == "tracking"]
        assert tracking.status == "warn"
        assert "__redis__:invalidate" in tracking.do
        assert any("may not ask INFO" in one.says for one in seen)
        assert any("may not ask TIME" in one.says for one in seen)

    async def test_a_wrong_password(self, own_redis: RedisServer) -> None:
        """A password that is refused is told as that, and not shown."""
        (one,) = await self._found(own_redis.url.replace("//", "//app:wrongpw@"))
        assert one.status == "bad"
        assert "access denied" in one.says
        assert "wrongpw" not in repr(one)

    async def test_a_replica(self, own_redis: RedisServer) -> None:
        """A replica takes no writes, and is told."""
        own_redis.command("REPLICAOF", "127.0.0.1", "1")
        assert any("replica" in one.says and one.status == "bad" for one in await self._found(own_redis.url))

    @pytest.mark.parametrize(("ahead", "status"), [(0.0, "ok"), (1.0, "note"), (-60.0, "warn")])
    async def test_a_clock_that_differs(
        self, ahead: float, status: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A host whose clock is not that of Redis is told by how much, and which of them is ahead."""
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + ahead)
        (one,) = [one for one in await self._found(redis_server.url) if one.check == "clock"]
        assert one.status == status
        assert ("ahead of Redis" in one.says) is (ahead > 0)
        assert ("behind Redis" in one.says) is (ahead < 0)


class TestDoctor:
    def test_all_of_it(self, place: Path, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
        """Every check is told, and what is wrong decides the exit code."""
        stores = ["--redis-url", redis_server.url, "--dir", str(place / "files")]
        told = json.loads(call(capsys, *stores, "doctor", "--json").out)
        checks = {one["check"] for one in told["findings"]}
        assert {"version", "extras", "settings", "directory", "redis", "eviction", "clock", "tracking"} <= checks
        assert call(capsys, *stores, "doctor").code == 0
        (place / ".env").write_text("TOOLCACHE_SOFT_TIMEOUT=1s\n")
        ran = call(capsys, *stores, "doctor")
        assert ran.code == 1
        assert "→ give grace" in ran.out

    def test_redis_that_is_away(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A Redis that cannot be reached is exit code 3."""
        ran = call(capsys, "--redis-url", "redis://127.0.0.1:1", "--dir", str(place / "files"), "doctor")
        assert ran.code == 3
        assert "cannot be reached: connection refused" in ran.out


class TestConfig:
    def test_where_settings_come_from(
        self, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each setting is told with who gave it, and no secret is shown."""
        (place / ".env").write_text("TOOLCACHE_DEFAULT_TTL=5m\nTOOLCACHE_NAMESPACE=file\n")
        monkeypatch.setenv("REDIS_URL", "redis://app:hidden@elsewhere/3")
        monkeypatch.setenv("REDIS_PASSWORD", "hidden")
        monkeypatch.setenv("TOOLCACHE_SECRET", "hidden-and-long-enough")
        ran = call(capsys, "--namespace", "shop", "config", "--json")
        told = json.loads(ran.out)
        assert told["namespace"] == {"value": "shop", "from": "option --namespace"}
        assert told["default_ttl"] == {"value": 300.0, "from": ".env, line 1, variable TOOLCACHE_DEFAULT_TTL"}
        assert told["redis_url"]["value"] == "redis://app:***@elsewhere:6379/3"
        assert told["redis_password"]["value"] == told["secret"]["value"] == "***"
        assert told["strategy"]["from"] == "default"
        assert told.keys() == set(Settings._fields)
        assert "hidden" not in ran.out + call(capsys, "config").out + call(capsys, "config", "--all").out

    def test_what_is_shown(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Without ``--all`` only what was given is shown."""
        assert "every setting is as it is by default" in call(capsys, "config").out
        shown = call(capsys, "--backend", "memory", "config").out
        assert "files" in shown
        assert "max_memory" not in shown
        everything = call(capsys, "config", "--all").out
        assert all(name in everything for name in Settings._fields)
        assert "1 h" in everything

    def test_redis_by_name(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """``--backend redis`` shows the address that it means, and ``file`` that there is none."""
        told = json.loads(call(capsys, "--backend", "redis", "config", "--json").out)
        assert told["redis_url"] == {"value": "redis://localhost:6379/0", "from": "option --backend"}
        (place / ".env").write_text("REDIS_URL=redis://elsewhere\n")
        told = json.loads(call(capsys, "--backend", "file", "config", "--json").out)
        assert told["redis_url"] == {"value": None, "from": "option --backend"}
