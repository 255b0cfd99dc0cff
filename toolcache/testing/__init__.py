"""What tests of caches need: a clock to move, stores that fail on command, and the contract suites.

The suites are classes to inherit from; each tells in its docstring which fixtures it asks for. They need pytest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolcache.testing.alerts import AlertTester
    from toolcache.testing.chaos import ChaosStore
    from toolcache.testing.claims import ClaimContract
    from toolcache.testing.clock import FakeClock
    from toolcache.testing.codecs import CodecContract
    from toolcache.testing.groups import GroupsContract
    from toolcache.testing.policies import MemoryPolicyContract
    from toolcache.testing.recorder import Recorder
    from toolcache.testing.stores import StoreContract

__all__ = [
    "AlertTester",
    "ChaosStore",
    "ClaimContract",
    "CodecContract",
    "FakeClock",
    "GroupsContract",
    "MemoryPolicyContract",
    "Recorder",
    "StoreContract",
]

_HOMES = {
    "AlertTester": "alerts",
    "ChaosStore": "chaos",
    "ClaimContract": "claims",
    "CodecContract": "codecs",
    "FakeClock": "clock",
    "GroupsContract": "groups",
    "MemoryPolicyContract": "policies",
    "Recorder": "recorder",
    "StoreContract": "stores",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
