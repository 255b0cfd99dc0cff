"""What to do about a fault, by the words that the cache has for it."""

from typing import Final

_REDIS: Final = {
    "connection refused": "start it, or correct the port in the URL (redis_url, REDIS_URL)",
    "unknown host": "correct the host in the URL (redis_url, REDIS_URL), or its name server",
    "timed out": "look whether a firewall is between, or the server is overloaded; --timeout waits longer",
    "no answer": "look whether a firewall is between, or the server is overloaded; --timeout waits longer",
    "access denied": "correct user and password (redis_username, redis_password), or what the ACL permits: docs/how-to/redis.md",
    "certificate not trusted": "name its authority in the URL: ?ssl_ca_certs=/path/to/ca.pem",
    "TLS failed": "begin the URL with redis:// if the server speaks no TLS, with rediss:// if it does",
    "no such database": "choose another database at the end of the URL",
    "too many clients": "raise maxclients of the server, or close what leaves connections open",
    "connection lost": "look into the server's log: it ended the connection",
    "OOM": "it is full: raise maxmemory, or choose a maxmemory-policy of volatile-ttl",
    "READONLY": "it is a replica: name the primary in the URL, or its sentinels",
    "MISCONF": "it cannot save its data: look at its disk and its log",
    "MasterNotFoundError": "correct the name of the service in the URL; or a failover is under way: wait",
    "NOREPLICAS": "too few replicas are connected: min-replicas-to-write",
    "LOADING": "it is reading its data: wait",
    "NOPERM": "give the user the permissions listed in docs/how-to/redis.md",
    "NOAUTH": "give a password: redis_password, REDIS_PASSWORD",
    "WRONGPASS": "correct user and password: redis_username, redis_password",
}
_FILES: Final = {
    "permission denied": "make the directory writable for this user, or choose another one: directory, --dir",
    "no space left on device": "free some room, or lower max_disk",
    "read-only file system": "choose a directory that can be written: directory, --dir",
    "quota": "free some room, or raise max_disk",
    "not a directory": "choose another directory: directory, --dir",
}


def for_redis(fault: str) -> str:
    """What to do about a fault of Redis."""
    return _first(_REDIS, fault) or "look into the server's log"


def for_files(fault: str) -> str:
    """What to do about a fault of the files."""
    return _first(_FILES, fault) or "look at the directory's rights and its disk"


def _first(table: dict[str, str], fault: str) -> str:
    return next((what for words, what in table.items() if words in fault), "")
