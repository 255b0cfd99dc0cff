"""A fleet of three, of which one is killed and whose Redis is lost: what is seen of it is what it did."""

from pathlib import Path

import pytest
from fleet_seen import calls, proof
from fleet_seen.proof import Proof, Seen, counted, counts_of, dollars_of, loss, prove
from fleet_seen.worker import OPTIONS
from prometheus_client.parser import text_string_to_metric_families

from toolcache.savings import Saved, savings_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module", params=[False, True], ids=["killed-before", "killed-meanwhile"])
def played(request: pytest.FixtureRequest) -> Proof:
    """The proof, with one killed before Redis is, or while it is away, which it is for three seconds."""
    return prove(3.0, late=request.param)


@pytest.fixture(params=["shared", "elsewhere"])
def seen(played: Proof, request: pytest.FixtureRequest) -> Seen:
    """What is read on the host of the fleet, and where there is Redis alone, which was lost in between."""
    read: Seen = getattr(played, request.param)
    return read


def test_whoever_ended_well_has_counted_every_call(played: Proof, seen: Seen) -> None:
    """D2: of each process, what is read is what it noted itself, for every domain and tool and kind of answer."""
    assert len(played.living) == proof.WORKERS - 1
    for pid, notes in played.living.items():
        assert counted(seen.owners[pid]) == counts_of(notes)
        assert len(notes) > 100


def test_of_the_killed_one_no_more_than_a_second_is_missing(played: Proof) -> None:
    """D2: it had written down all that it had done until a second before its end, and nothing that it had not."""
    lost = loss(played)
    assert lost.written > 0
    assert lost.missing <= sum(at >= played.killed_at - lost.allowed for at, *_ in played.killed)
    assert lost.seconds <= lost.allowed
    assert lost.odd == 0


def test_the_whole_is_the_sum_of_its_processes(played: Proof, seen: Seen) -> None:
    """D2: the fleet's total is what its processes have written, each counted once; Redis was told again of what it had lost."""
    total = counted(seen.minutes)
    assert {process.pid for process in seen.minutes.processes} == {*played.living, played.victim}
    assert total == sum((counted(one) for one in seen.owners.values()), start=type(total)())
    assert total == counted(played.shared.minutes)
    assert seen.minutes.complete


def test_minutes_hours_and_days_agree(seen: Seen) -> None:
    """D2: the same calls are in the minutes, the hours and the days, and in the points of each."""
    assert counted(seen.minutes) == counted(seen.hours) == counted(seen.days)
    for metrics in (seen.minutes, seen.hours, seen.days):
        assert sum(point.hits for point in metrics) == metrics.hits > 0
        assert metrics.dispatch.replays == metrics.total.hits_replayed == seen.minutes.dispatch.replays > 0
        assert metrics.layers["redis"].down_seconds == pytest.approx(seen.minutes.layers["redis"].down_seconds)


def test_savings_are_the_dollars_of_the_workers(played: Proof, seen: Seen) -> None:
    """D4: the ledger of a process is what it reckons by its own prices; that of the fleet is theirs together."""
    # What one has never computed itself, it has from others, at their cost.
    for pid, notes in played.living.items():
        own = savings_of(seen.owners[pid], OPTIONS["prices"], kept=seen.minutes)
        saved, spent = dollars_of(counts_of(notes))
        assert own.cost_saved == pytest.approx(saved)
        assert own.cost_spent == pytest.approx(spent)
    ledgers = [savings_of(counts, OPTIONS["prices"], kept=seen.minutes) for counts in seen.owners.values()]
    together = Saved.sums(ledgers)
    assert {name: getattr(seen.savings, name) for name in Saved._fields} == pytest.approx(together)
    total = counted(seen.minutes)
    assert seen.savings.cost_saved == pytest.approx(dollars_of(total)[0])
    answered = sum(number for (_, _, became), number in total.items() if became in {"hit", "replayed"})
    assert seen.savings.computations_avoided == seen.savings.cached_responses == answered
    assert not seen.savings.unknown


def test_the_outage_is_seen(played: Proof, seen: Seen) -> None:
    """D1: the counts tell of faults, of what was spared, of breakers that opened and for how long; and of files meanwhile."""
    redis = seen.minutes.layers["redis"]
    assert redis.opened >= len(played.living)
    assert redis.faults > 0
    assert redis.refused > 0
    assert played.away / 2 < redis.down_seconds
    assert seen.minutes.layers["file"].down_seconds == 0
    assert not played.during.complete
    assert 0 < played.during.hits < seen.minutes.hits


def test_whoever_is_asked_says_the_same(played: Proof, seen: Seen) -> None:
    """D9, D10: over HTTP and in a shell there are the same totals, by domain and tool as well, processes, outage and dollars."""
    assert seen.told.keys() == ({"rest", "command"} if seen is played.shared else {"rest"})
    tables = {"domains": seen.minutes.by("domain"), "tools": seen.minutes.by("tool")}
    known = {"total": seen.minutes.total}
    known |= {f"{part} {name}": row for part, rows in tables.items() for name, row in rows.items()}
    for stats, savings in seen.told.values():
        told = {"total": stats["total"]}
        told |= {f"{part} {name}": row for part in tables for name, row in stats[part].items()}
        assert {what: (row["hits"], row["misses"], row["computed"]) for what, row in told.items()} == {
            what: (row.hits, row.misses, row.computed) for what, row in known.items()
        }
        assert {process["pid"] for process in stats["processes"]} == {*played.living, played.victim}
        assert stats["layers"]["redis"]["down_seconds"] == pytest.approx(seen.minutes.layers["redis"].down_seconds)
        assert stats["dispatch"]["replays"] == seen.minutes.dispatch.replays
        assert stats["complete"]
        sums = {name: getattr(seen.savings, name) for name in Saved._fields}
        assert {name: savings[name] for name in sums} == pytest.approx(sums)


def test_the_page_shows_the_same(played: Proof) -> None:
    """D10: in a browser there are the same totals, by domain as well, dollars, processes and outage."""
    if played.shown is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    shown, read = played.shown, played.shared.minutes
    assert shown.calls.startswith(f"{read.hits:,} of {read.hits + read.misses:,}")
    assert shown.saved == f"${played.shared.savings.cost_saved:.2f}"
    for name, domain in read.by("domain").items():
        assert shown.rows["names", name][1] == f"{domain.hits + domain.misses:,}"
    redis = read.layers["redis"]
    told = shown.rows["layers", "Redis"]
    assert told[3:5] == [f"{redis.hits:,}", f"{redis.misses:,}"]
    assert told[7:10] == [f"{redis.faults:,}", f"{int(redis.down_seconds)} s", f"{redis.opened:,}"]
    for pid in (*played.living, played.victim):
        assert str(pid) in shown.rows["processes", str(pid)][0]
    assert shown.wrong == []


def test_prometheus_says_the_same(seen: Seen) -> None:
    """D8: the text for Prometheus has the same calls, dollars and outage."""
    samples = [sample for family in text_string_to_metric_families(seen.scraped) for sample in family.samples]

    def scraped(name: str, **labels: str) -> float:
        return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())

    total, redis = seen.minutes.total, seen.minutes.layers["redis"]
    assert scraped("toolcache_lookups_total", result="hit") == total.hits
    assert scraped("toolcache_lookups_total", result="miss") == total.misses
    assert scraped("toolcache_computed_total") == total.computed
    assert scraped("toolcache_spent_usd_total") == pytest.approx(total.dollars_spent)
    assert scraped("toolcache_dispatch_total", kind="replays") == seen.minutes.dispatch.replays
    assert scraped("toolcache_layer_down_seconds_total", layer="redis") == pytest.approx(redis.down_seconds)


def test_made_calls_have_that_shape(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """D2: where no recorded calls are at hand, there are made ones of every kind, with repetitions."""
    monkeypatch.setattr(calls, "_DATA", tmp_path)
    made = calls.calls()
    assert {call.kind for call in made} == {"read", "write", "answer", "search"}
    assert len({str(call) for call in made}) < len(made) / 2
