"""S3-FIFO keeps its contract, resists what it should resist, and has the hit ratio of its authors' simulator."""

import pytest
from traces import hits_on, made_trace, read_trace, reference, traces

from toolcache.memory.lru import LRU
from toolcache.memory.s3fifo import S3FIFO
from toolcache.testing import MemoryPolicyContract
from toolcache.testing.policies import PolicyDriver


class TestContract(MemoryPolicyContract):
    def make(self) -> S3FIFO:
        return S3FIFO()


def use(driver: PolicyDriver, key: str, size: int = 100) -> None:
    """Read a key; a miss comes in, and something leaves for it if 100 are held."""
    if not driver.hit(key):
        if len(driver.held) >= 100:
            driver.evict()
        driver.write(key, size)


def test_a_hit_calls_nothing() -> None:
    """BUG-92: the policy reads the counts that are kept anyway, so that a hit pays for no bookkeeping."""
    assert S3FIFO().touch is None


def test_a_scan_evicts_nothing_that_is_used() -> None:
    """Keys in use survive ten thousand that are asked for once; under LRU none would."""
    favourites = [f"favourite {i}" for i in range(80)]
    survivors = {}
    for policy in (S3FIFO(), LRU()):
        driver = PolicyDriver(policy)
        for _ in range(3):
            for key in favourites:
                use(driver, key)
        for number in range(10_000):
            use(driver, f"scan {number}")
        survivors[type(policy)] = sum(key in driver.held for key in favourites)
    assert survivors[S3FIFO] >= 75
    assert survivors[LRU] == 0


def test_a_key_that_comes_back_is_kept() -> None:
    """A key asked for again soon after it left goes to main, past those that are asked for once."""
    driver = PolicyDriver(S3FIFO())
    for number in range(100):
        use(driver, f"old {number}")
    use(driver, "back")
    number = 0
    while "back" in driver.held:
        use(driver, f"once {number}")
        number += 1
    use(driver, "back")
    for later in range(50):
        use(driver, f"later {later}")
    assert number < 50
    assert "back" in driver.held


def test_a_replaced_entry_keeps_its_standing() -> None:
    """A favourite whose value is written anew stays a favourite."""
    driver = PolicyDriver(S3FIFO())
    for number in range(100):
        use(driver, f"{number}")
    for number in range(100):
        use(driver, f"{number}")
        driver.write(f"{number}")
    for number in range(1_000):
        use(driver, f"scan {number}")
    assert sum(f"{number}" in driver.held for number in range(100)) > 80


def test_the_small_queue_is_a_tenth_by_bytes() -> None:
    """Of entries of unequal size, new ones may take a tenth of the bytes, not a tenth of the number."""
    driver = PolicyDriver(S3FIFO())
    for number in range(100):
        use(driver, f"{number}", size=100)
    for number in range(100):
        use(driver, f"{number}", size=100)
    kept = []
    for number in range(1_000):
        use(driver, f"large {number}", size=1_000)
        kept.append(sum(key.startswith("large") for key in driver.held))
    assert max(kept[500:]) <= 12


def test_an_eviction_is_bounded() -> None:
    """However many entries were hit, one eviction passes over some dozens of them, not over all."""
    driver = PolicyDriver(S3FIFO())
    for number in range(5_000):
        driver.write(str(number))
    driver.evict()
    for _ in range(3):
        for key in driver.held:
            driver.hit(key)
    seen = {key: entry.seen for key, entry in driver.held.items()}
    driver.evict()
    assert sum(entry.seen != seen[key] for key, entry in driver.held.items()) <= 64


def test_the_border_follows_the_misses() -> None:
    """Keys that come back just after the small queue let them go make it longer, until they find themselves there."""
    driver = PolicyDriver(S3FIFO())
    found = []
    for number in range(2_000):
        use(driver, f"{number}")
        found.append(driver.hit(f"{number - 15}"))
        if not found[-1]:
            use(driver, f"{number - 15}")
    assert sum(found[-500:]) > 400


@pytest.mark.parametrize("held", [10, 100, 1_000])
def test_the_border_comes_back(held: int) -> None:
    """When main's keys are missed just after they left, main gets its share back, however few it has."""
    policy = S3FIFO()
    driver = PolicyDriver(policy)
    for number in range(held):
        driver.write(str(number))
    policy._share = 0.9
    for _ in range(held // 2):
        driver.write(driver.evict())
    assert 0.02 <= policy._share < 0.7


def test_scans_do_not_drive_out_what_is_asked_for_often() -> None:
    """Where scans pass through, more hits than LRU has."""
    trace = made_trace()
    assert hits_on(trace, S3FIFO(), 100) > hits_on(trace, LRU(), 100)


def test_reference() -> None:
    """On recorded traces, within two points of the authors' simulator, and never two points under LRU."""
    trace = made_trace()
    for size in (100, 1_000):
        assert hits_on(trace, S3FIFO(), size) > hits_on(trace, LRU(), size) - 0.02 * len(trace)
    for name in traces("glimpse", "multi1", "two_pools", "web12", "cdn_sized"):
        recorded = read_trace(name)
        for size, counts in reference(name).items():
            ratio = hits_on(recorded, S3FIFO(), size) / len(recorded)
            assert ratio > counts["hit_ratio"]["S3FIFO_libcachesim"] - 0.02
            assert ratio > counts["hit_ratio"]["LRU"] - 0.02
