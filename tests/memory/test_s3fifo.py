"""S3-FIFO keeps its contract, resists what it should resist, and has the hit ratio of its authors' simulator."""

from traces import QUICK, hits_on, made_trace, read_trace, reference, traces

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
    for _ in range(3):
        for number in range(100):
            use(driver, f"{number}", size=1_000)
    for number in range(1_000):
        while sum(entry.size for entry in driver.held.values()) > 90_000:
            driver.evict()
        driver.write(f"large {number}", size=10_000)
    assert sum(not key.startswith("large") for key in driver.held) >= 75


def test_an_eviction_is_bounded() -> None:
    """However many entries were hit, one eviction passes over a thousand of them at most."""
    driver = PolicyDriver(S3FIFO())
    for number in range(5_000):
        driver.write(str(number))
    driver.evict()
    for _ in range(3):
        for key in driver.held:
            driver.hit(key)
    seen = {key: entry.seen for key, entry in driver.held.items()}
    driver.evict()
    assert sum(entry.seen != seen[key] for key, entry in driver.held.items()) <= 1_000


def test_scans_do_not_drive_out_what_is_asked_for_often() -> None:
    """Where scans pass through, more hits than LRU has."""
    trace = made_trace()
    assert hits_on(trace, S3FIFO(), 100) > hits_on(trace, LRU(), 100)


def test_reference() -> None:
    """On recorded traces, within one point of the authors' simulator."""
    trace = made_trace()
    for size in (100, 1_000):
        assert hits_on(trace, S3FIFO(), size) > hits_on(trace, LRU(), size) - 0.02 * len(trace)
    for name in traces(*QUICK):
        recorded = read_trace(name)
        for size, counts in reference(name).items():
            ratio = hits_on(recorded, S3FIFO(), size) / len(recorded)
            assert abs(ratio - counts["hit_ratio"]["S3FIFO_libcachesim"]) < 0.01
