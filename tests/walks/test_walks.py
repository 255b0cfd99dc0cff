"""The real code walks beside its model; ``make walks`` walks further."""

from pathlib import Path

import pytest
from walks.age_walk import AgeWalk
from walks.fence_walk import LAYERINGS, FenceWalk
from walks.request_walk import RequestWalk
from walks.walk import DivergedError, Walk

from toolcache import record
from toolcache.record import Put, Verdict


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_code_and_model_agree(seed: int, tmp_path: Path) -> None:
    """FAULTS 6, I1, I3, I4, I5, I8, I10: 2,000 steps of three processes, in every weather, clocks wrong in half of them."""
    await Walk(seed, tmp_path).go()


async def test_a_divergence_is_noticed_and_told_with_its_seed(tmp_path: Path) -> None:
    """A model that forgets one tombstone does not agree with the code for long: the check can fail."""
    walk = Walk(1, tmp_path)
    put = walk.model.put
    walk.model.put = lambda key, record: put(key, record) if record.number else True  # type: ignore[method-assign]  # so it forgets
    with pytest.raises(DivergedError, match=r"SEED=1, step \d+: "):
        await walk.go()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_requests_run_once_in_every_weather(seed: int, tmp_path: Path) -> None:
    """G4, G5, G6, ID-01, ID-12, ID-24, ID-33: 2,000 steps of four processes on two hosts, swap by swap, in every weather."""
    await RequestWalk(seed, tmp_path).go()


async def test_a_second_answer_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that leaves no answer standing is found soon, and told with its seed: the check can fail."""

    def overwrite(self: record.Attempt, _seen: record.Seen, *, answer: record.Record) -> Put | Verdict:
        return Put(answer, Verdict.OURS, self.retention)

    monkeypatch.setattr(record.Attempt, "commit", overwrite)
    with pytest.raises(DivergedError, match=r"SEED=1, step \d+: .*"):
        await RequestWalk(1, tmp_path).go()


@pytest.mark.parametrize(("layering", "steps"), list(zip(LAYERINGS, (1_000, 300, 60, 40), strict=True)))
async def test_nothing_forgotten_is_served_in_any_order(layering: str, steps: int, tmp_path: Path) -> None:
    """BUG-35, SPEC 6, C11: by every kind of invalidation, on every layer; ``make walks WHAT=invalidations`` goes further."""
    await FenceWalk(1, tmp_path, layering).go(steps)


@pytest.mark.parametrize(("layering", "steps"), list(zip(LAYERINGS, (400, 300, 30, 20), strict=True)))
async def test_nothing_forgotten_stands_in(layering: str, steps: int, tmp_path: Path) -> None:
    """BUG-65: neither where computing fails nor where it takes too long, whatever was refreshed or expired meanwhile."""
    walk = AgeWalk(1, tmp_path, layering)
    await walk.go(steps)
    assert walk.stood_in


@pytest.mark.parametrize("broken", ["toolcache.flight.Flight.detach", "toolcache.epochs.Epochs.covers"])
async def test_what_is_served_although_it_was_forgotten_is_noticed(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one of the fences something old is served soon: the check can fail."""
    monkeypatch.setattr(broken, lambda *_: None)
    with pytest.raises(DivergedError, match=r"SEED=1, step \d+, memory: "):
        await FenceWalk(1, tmp_path, "memory").go(500)
