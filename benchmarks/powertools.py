"""What AWS Powertools' idempotency comes to over Redis in some cases that matter.

``python benchmarks/powertools.py`` needs a server at localhost:6379, or at REDIS_URL, and what ``make bench`` installs. It prints what is seen
in that run;
docs/explanation/dispatch.md says what the same cases come to with toolcache.
"""

import importlib
import os
import secrets
import threading
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

_HOME: Final = "aws_lambda_powertools.utilities.idempotency"
_LEASE: Final = 0.3


class Powertools:
    """Its decorator for functions, over its layer for Redis."""

    def __init__(self, url: str) -> None:
        self._home = importlib.import_module(_HOME)
        self._client = importlib.import_module("redis").Redis.from_url(url)
        self._layer = importlib.import_module(f"{_HOME}.persistence.redis").RedisCachePersistenceLayer

    def get_remaining_time_in_millis(self) -> int:
        """What it asks of its platform: how long a claim is leased."""
        return int(_LEASE * 1000)

    def once(self, run: Callable[[], Any], order: str) -> Any:
        """Run it for an order."""
        config = self._home.IdempotencyConfig(event_key_jmespath="order", lambda_context=self)
        run_once = self._home.idempotent_function(
            lambda request: run(),  # noqa: ARG005 - found by its name
            data_keyword_argument="request",
            persistence_store=self._layer(client=self._client),  # which keeps the first configuration it is given
            config=config,
        )
        return run_once(request={"order": order})


def shown(call: Callable[[], Any]) -> str:
    """What a call returns or raises."""
    try:
        return f"returns {call()!r}"
    except Exception as error:  # noqa: BLE001 - it is to be shown
        return f"raises {type(error).__name__}"


def repeated(powertools: Powertools, output: Any) -> str:
    """What a call that is repeated word for word comes to."""
    order = secrets.token_hex(8)
    powertools.once(lambda: output, order)
    return shown(lambda: powertools.once(lambda: output, order))


def running(powertools: Powertools) -> str:
    """What a second caller comes to while the first one's run goes on, within its lease."""
    order = secrets.token_hex(8)
    begun, end = threading.Event(), threading.Event()

    def run() -> bool:
        begun.set()
        return end.wait()

    first = threading.Thread(target=lambda: powertools.once(run, order))
    first.start()
    begun.wait()
    second = shown(lambda: powertools.once(lambda: "the second one", order))
    end.set()
    first.join()
    return second


def main() -> None:
    """All cases, a line each."""
    powertools = Powertools(os.environ.get("REDIS_URL", "redis://localhost:6379"))
    nowhere = Powertools("redis://localhost:1")
    print("aws-lambda-powertools", version("aws-lambda-powertools"))
    print("an output of 0, asked for again:", repeated(powertools, 0))
    print("a tuple, asked for again:", repeated(powertools, (1, 2)))
    print("asked for while it runs:", running(powertools))
    print("Redis is down:", shown(lambda: nowhere.once(lambda: "an output", "an order")))


if __name__ == "__main__":
    main()
