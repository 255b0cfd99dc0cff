"""Makes many entries miss at once, by one epoch: it costs the same for ten of them and for a million."""

from collections.abc import Sequence

from toolcache.blob import EPOCH, NEVER
from toolcache.drafts import Draft, Outcome
from toolcache.entry import Durability, Invalidation
from toolcache.epochs import NAMESPACE
from toolcache.home import Homes
from toolcache.horizon import Horizon
from toolcache.parts import Due, Parts
from toolcache.risk import Risk
from toolcache.writer import Writer


class Invalidator:
    """Writes the epochs of one cache.

    Args:
        parts: the cache's parts.
        horizon: what has been cleared, as far as this process knows.
        writer: keeps epochs in the layers.
        homes: runs what outlives its caller.
        risk: told of what no layer took.
    """

    def __init__(self, parts: Parts, horizon: Horizon, writer: Writer, homes: Homes, risk: Risk) -> None:
        self._parts = parts
        self._horizon = horizon
        self._writer = writer
        self._homes = homes
        self._risk = risk
        self._far = parts.redis is not None or parts.files is not None

    async def clear(self, due: Due) -> Invalidation:
        """Forget the namespace in every layer."""
        self._parts.memory.clear()
        return await self._raise("clear", "namespace", [NAMESPACE], due)

    async def invalidate(self, scope: str, labels: Sequence[str], due: Due) -> Invalidation:
        """Forget in every layer what any of these tags, or of the cache's own, covers; ``scope`` says what they are."""
        return await self._raise("invalidate", scope, labels, due)

    async def _raise(self, operation: str, scope: str, labels: Sequence[str], due: Due) -> Invalidation:
        now_ms = int(self._parts.clock.time() * 1000)
        drafts = [
            Draft(
                name=self._horizon.name(label),
                version=self._parts.hybrid.epoch(),
                created_ms=now_ms,
                gone_ms=NEVER,
                flags=EPOCH,
            )
            for label in labels
        ]
        self._forget(drafts)
        if not self._far or not drafts:
            return Invalidation(scope, "done", None, None)
        outcomes = await self._writer.write(drafts, due=due)
        self._forget(drafts)  # a layer may have known a later epoch, which these are now above
        self._risk.report(operation, drafts, outcomes, raising=True)
        return self._receipt(scope, outcomes)

    def _receipt(self, scope: str, outcomes: Sequence[Outcome]) -> Invalidation:
        """What became of an invalidation, layer by layer; where it has several parts, of the one that fared worst."""
        redis = files = None
        worst = min(outcomes, key=lambda outcome: (outcome.durability, outcome.on_file))
        if self._parts.files is not None:
            files = "done" if all(outcome.on_file for outcome in outcomes) else "failed"
        if self._parts.redis is not None:
            redis = "done" if worst.durability is Durability.REDIS else "queued" if worst.on_file else "failed"
        return Invalidation(scope, "done", redis, files)

    def _forget(self, drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            self._horizon.heed(draft.name, draft.version)
