"""Which record of a key counts."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.stores.log.frame import BARE, CLAIM, CLEAN, FIRST, GROUPED, PENDING, TOMBSTONE
from toolcache.stores.log.index import UNSEEN, Entry, Index, digest
from toolcache.testing.stores import version_of

KEY = digest(b"k")
ORDERS: dict[int, tuple[int, str] | None] = {0: (1, "a"), 1: (2, "a"), 2: (2, "b"), 3: None}


def entry(version: int, segment: int = 0, *, keep: int = 100, flags: int = 0) -> Entry:
    return Entry(version_of(version), keep, keep, segment, 0, 50, flags)


@pytest.fixture
def index() -> Index:
    return Index(ORDERS.__getitem__)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_order_of_meeting_does_not_matter(index: Index, order: tuple[int, ...]) -> None:
    """The highest version counts; of two copies the one in the later segment; its stay is the longest of all."""
    records = [entry(1, 0, keep=900), entry(2, 0), entry(2, 2, keep=50), entry(2, 1)]
    for at in order:
        index.admit(KEY, records[at])
    assert index.get(KEY) == entry(2, 2)._replace(gone=50, keep=900)


@pytest.mark.parametrize("first", ["mark", "record"])
def test_a_mark_settles_its_version_only(index: Index, first: str) -> None:
    """Whichever is met first, and whatever copies come later."""
    if first == "mark":
        index.mark(KEY, version_of(2))
    index.admit(KEY, entry(1, flags=PENDING))
    index.admit(KEY, entry(2, flags=PENDING))
    if first == "record":
        index.mark(KEY, version_of(2))
    index.admit(KEY, entry(2, 1, flags=PENDING))
    found = index.get(KEY)
    assert found is not None
    assert found.flags == CLEAN
    index.admit(KEY, entry(3, flags=PENDING))
    found = index.get(KEY)
    assert found is not None
    assert found.flags == PENDING


def test_first_is_true_only_of_what_is_alone(index: Index) -> None:
    """A loser met later takes it away; a copy keeps it."""
    index.admit(KEY, entry(2, flags=FIRST))
    index.admit(KEY, entry(2, 1, flags=FIRST))
    found = index.get(KEY)
    assert found is not None
    assert found.flags & FIRST
    index.admit(KEY, entry(1))
    found = index.get(KEY)
    assert found is not None
    assert not found.flags & FIRST


def test_a_record_of_a_removed_segment_gives_way(index: Index) -> None:
    """Its version no longer stands anywhere, so an older one may be written."""
    index.admit(KEY, entry(5, 3))
    index.admit(KEY, entry(4, 0))
    assert index.get(KEY) == entry(4, 0)


def test_following_never_shows_an_older_record_in_between(index: Index) -> None:
    """I3: the newest stood in a segment that was rewritten; until its copy is met, or all is known, it stays the answer."""
    index.admit(KEY, entry(5, 3))
    index.admit(KEY, entry(3, 0), hold=True)
    index.admit(KEY, entry(4, 0), hold=True)
    assert index.get(KEY) == entry(5, 3)
    index.admit(KEY, entry(5, 1), hold=True)
    index.release()
    assert index.get(KEY) == entry(5, 1)


def test_what_was_held_back_counts_if_no_copy_came(index: Index) -> None:
    """The newest was dead and is gone; the best of the others is the answer."""
    index.admit(KEY, entry(5, 3))
    index.admit(KEY, entry(4, 0), hold=True)
    index.admit(KEY, entry(3, 0), hold=True)
    index.release()
    assert index.get(KEY) == entry(4, 0)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.sampled_from(["seen", "stale", "unseen", "mark"])))
)
def test_to_renew_is_to_admit(steps: list[tuple[str, int, str]]) -> None:
    """I3: whether what was seen still stands, was overtaken meanwhile, or nobody looked: the index says the same."""
    kinds = (0, TOMBSTONE, PENDING, CLAIM | BARE, GROUPED)
    quick, plain = Index(ORDERS.__getitem__), Index(ORDERS.__getitem__)
    for number, (text, kind, how) in enumerate(steps, 1):
        key = digest(text.encode())
        if how == "mark":
            for each in (quick, plain):
                each.mark(key, version_of(2 * number - 2))
            continue
        old, seen = quick.stands(key)
        if how == "stale":  # another process wrote between the look and the append
            for each in (quick, plain):
                each.admit(key, entry(2 * number - 1, keep=number))
        flags = kinds[kind] | (FIRST if old is None else 0)
        new = entry(2 * number, 1, keep=100 * number, flags=flags)
        quick.renew(key, new._replace(segment=0, offset=5), UNSEEN if how == "unseen" else seen, 1, 7)
        plain.admit(key, new._replace(offset=12))
        assert quick.get(key) == plain.get(key)
        assert (len(quick), quick.owed()) == (len(plain), plain.owed())
