"""A process tells of its writes as it makes them, so that another knows what was promised when it has died."""

import json
import os
from dataclasses import dataclass
from typing import Any

from faults.oracle import Act, Oracle

from toolcache.entry import Durability


@dataclass(kw_only=True)
class Telling(Oracle):
    """An oracle that says each beginning and each end on a pipe: a line of JSON, the key and ``Act.told()``."""

    pipe: int

    def begin(self, kind: str, key: str) -> Act:
        """A write begins."""
        act = super().begin(kind, key)
        self._tell(key, act)
        return act

    def end(self, act: Act, durability: Durability | None = None, *, ttl: float | None = None) -> None:
        """A write has ended, and whoever reads the pipe knows it from now on."""
        super().end(act, durability, ttl=ttl)
        self._tell(next(key for key, acts in self.acts.items() if acts and acts[-1] is act), act)

    def _tell(self, key: str, act: Act) -> None:
        self.say((key, *act.told()))

    def say(self, what: Any) -> None:
        """One line."""
        os.write(self.pipe, json.dumps(what).encode() + b"\n")
