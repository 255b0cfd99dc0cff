"""The ledger of savings: what each line is made of, and that it adds up."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.metrics.counts import Counts, DispatchCounts
from toolcache.metrics.record import Record, decode, encode
from toolcache.metrics.snapshot import Metrics, Process, Snapshot
from toolcache.savings import Line, Saved, Savings, savings_of, wants_more
from toolcache.savings_text import dollars, explained, span
from toolcache.series import Series

SEARCH = Series("tool", tool="search")
SMALL = Series("model", model="small")
DAY = 86_400.0


def metrics(
    series: dict[Series, Counts] | None = None,
    *,
    usd: dict[Series, float] | None = None,
    tokens: dict[Series, float] | None = None,
    dispatch: DispatchCounts | None = None,
    complete: bool = True,
) -> Metrics:
    return Metrics(
        since=0.0,
        until=DAY,
        series=series or {},
        unit_usd=usd or {},
        unit_tokens=tokens or {},
        dispatch=dispatch or DispatchCounts(),
        complete=complete,
    )


def only(savings: Savings) -> Line:
    (line,) = savings.ledger
    return line


class TestUnitCosts:
    def test_declared(self) -> None:
        """D4: a declared cost is what each avoided computation saves, whatever computations reported, and wherever the hit was."""
        counts = Counts(hits_memory=1, hits_redis=2, hits_file=3, hits_waited=4, told=1, priced=1, dollars_spent=9.0)
        line = only(savings_of(metrics({SEARCH: counts}, usd={SEARCH: 0.25}, tokens={SEARCH: 100})))
        assert (line.computations_avoided, line.unit_usd, line.cost_saved, line.tokens_saved) == (10, 0.25, 2.5, 1000)
        assert (line.source, line.why, line.advice) == ("declared", "declared", "")

    def test_the_mean_of_what_was_reported(self) -> None:
        """D4: where nothing is declared, it is the mean of the computations that reported dollars, and of those that reported tokens."""
        counts = Counts(
            hits_memory=10,
            computed=4,
            told=3,
            priced=2,
            metered=2,
            dollars_spent=0.5,
            tokens_spent=300.0,
            unpriced_tokens=200.0,
        )
        line = only(savings_of(metrics({SEARCH: counts})))
        assert (line.unit_usd, line.cost_saved, line.cost_spent) == (0.25, 2.5, 0.5)
        assert (line.unit_tokens, line.tokens_saved, line.tokens_spent) == (150, 1500, 300)
        assert (line.source, line.why) == ("reported", "mean of 2 computations, as reported")

    def test_tokens_at_the_price_of_the_model(self) -> None:
        """D4: tokens that were reported without dollars come to dollars by the price of their model, and of no other."""
        counts = Counts(hits_memory=10, computed=2, told=2, metered=2, tokens_spent=4000.0, unpriced_tokens=4000.0)
        line = only(savings_of(metrics({SMALL: counts}), {"small": 2.5, "other": 99.0}))
        assert line.unit_usd == pytest.approx(0.005)
        assert line.cost_saved == pytest.approx(0.05)
        assert line.cost_spent == pytest.approx(0.01)
        assert (line.source, line.why) == ("priced", "mean of 2 computations, 2 by tokens at $2.5 a million")
        assert only(savings_of(metrics({SMALL: counts}), {"other": 99.0})).source == "unknown"
        assert only(savings_of(metrics({SEARCH: counts}), {"small": 2.5, "": 1.0})).source == "unknown"

    def test_told_dollars_win_over_the_price(self) -> None:
        """D4: of computations that told tokens and dollars the dollars count; of the others in the series, the price does."""
        counts = Counts(
            hits_memory=3,
            computed=3,
            told=3,
            priced=2,
            metered=2,
            dollars_spent=0.5,
            tokens_spent=3e6,
            unpriced_tokens=1e6,
        )
        line = only(savings_of(metrics({SMALL: counts}), {"small": 1.0}))
        assert (line.cost_spent, line.unit_usd, line.cost_saved) == (1.5, 0.5, 1.5)
        assert line.why == "mean of 3 computations, 1 by tokens at $1 a million"

    def test_declared_tokens_at_the_price_of_the_model(self) -> None:
        """D4: declared tokens come to dollars by the price where nothing else is known."""
        line = only(savings_of(metrics({SMALL: Counts(hits_memory=4)}, tokens={SMALL: 500_000}), {"small": 2.0}))
        assert (line.unit_usd, line.cost_saved, line.tokens_saved) == (1.0, 4.0, 2e6)
        assert (line.source, line.why) == ("priced", "declared tokens at $2 a million")

    def test_days_before_tell_what_the_period_does_not(self) -> None:
        """D4: the mean is that of all days kept where nobody has told of a cost in the period, and the line says so."""
        told = Counts(told=4, priced=4, metered=2, dollars_spent=2.0, tokens_spent=100.0)
        kept = Snapshot(0.0, 400 * DAY, {SEARCH: told})
        now = metrics({SEARCH: Counts(hits_memory=2)})
        line = only(savings_of(now, kept=kept))
        assert (line.unit_usd, line.unit_tokens, line.cost_saved, line.cost_spent) == (0.5, 50, 1.0, 0.0)
        assert line.why == "mean of 4 computations, as reported, of all days kept"
        told_now = metrics({SEARCH: Counts(hits_memory=2, told=1, priced=1, metered=1, dollars_spent=3.0)})
        assert only(savings_of(told_now, kept=kept)).unit_usd == 3.0

    def test_days_before_are_asked_for_only_where_they_can_help(self) -> None:
        """D4: a series with hits of which dollars or tokens are not known in the period wants the days before."""
        told = Counts(hits_memory=1, told=1, priced=1, metered=1)
        assert wants_more(metrics({SEARCH: Counts(hits_memory=1)}))
        assert wants_more(metrics({SEARCH: told._replace(metered=0)}))
        assert wants_more(metrics({SMALL: told._replace(priced=0)}))
        assert not wants_more(metrics({SMALL: told._replace(priced=0)}), {"small": 1.0})
        assert not wants_more(metrics({SEARCH: told}))
        assert not wants_more(metrics({SEARCH: Counts(hits_memory=1)}, usd={SEARCH: 1}, tokens={SEARCH: 1}))
        assert not wants_more(metrics({SEARCH: Counts(misses=1), Series("session"): Counts(hits_redis=1)}))
        assert not wants_more(metrics({SEARCH: Counts(hits_replayed=2)}))

    def test_a_cost_of_nothing_is_known(self) -> None:
        """D4: a computation that reports zero dollars costs nothing, which is another thing than not knowing."""
        line = only(savings_of(metrics({SEARCH: Counts(hits_memory=2, told=1, priced=1)})))
        assert (line.source, line.advice, line.cost_saved) == ("reported", "", 0.0)

    @pytest.mark.parametrize(
        ("series", "metered", "says"),
        [
            (SEARCH, 0, "declare it: costs={'tool': ...}; or report it: context.cost(usd=...)"),
            (SEARCH, 1, "report it: context.cost(usd=...), besides tokens"),
            (SMALL, 1, "give its model a price: prices={...}"),
            (Series("general"), 0, "report it: context.cost(usd=...)"),
            (Series("weather"), 0, "declare it: Domain(..., cost_usd=...); or report it: context.cost(usd=...)"),
            (Series("idempotency"), 0, "declare it: costs={'idempotency': ...}"),
        ],
    )
    def test_what_has_no_known_cost_is_listed_all_the_same(self, series: Series, metered: int, says: str) -> None:
        """D4: hits of which nobody knows the cost are in the ledger with nothing, and with what to do about it."""
        savings = savings_of(metrics({series: Counts(hits_memory=5, metered=metered, told=metered, seconds_saved=2.0)}))
        line = only(savings)
        assert (line.computations_avoided, line.unit_usd, line.cost_saved, line.seconds_saved) == (5, 0, 0, 2.0)
        assert (line.source, line.advice) == ("unknown", says)
        assert savings.unknown == (line,)
        assert says in savings.explain()


class TestWhatCounts:
    def test_stale_answers_avoid_nothing(self) -> None:
        """D4: a value past its time is a response served, and no computation avoided: one was tried."""
        savings = savings_of(metrics({SEARCH: Counts(hits_memory=3, misses=5, stale=2)}, usd={SEARCH: 1.0}))
        assert (savings.cached_responses, savings.computations_avoided, savings.cost_saved) == (5, 3, 3.0)

    def test_what_was_declared_was_also_spent(self) -> None:
        """D4: a computation that did not say what it cost has spent what its domain declares; one that did, what it said."""
        counts = Counts(
            computed=5, told=2, priced=1, metered=1, dollars_spent=7.0, tokens_spent=30.0, unpriced_tokens=30.0
        )
        savings = savings_of(metrics({SEARCH: counts}, usd={SEARCH: 0.5}, tokens={SEARCH: 10}))
        assert (savings.cost_spent, savings.tokens_spent) == (7.0 + 4 * 0.5, 30 + 4 * 10)
        assert savings.cached_responses == 0
        small = counts._replace(unpriced_tokens=1e6, tokens_spent=1e6)
        priced = savings_of(metrics({SMALL: small}, usd={SMALL: 0.5}), {"small": 1.0})
        assert priced.cost_spent == 7.0 + 1.0 + 3 * 0.5

    def test_what_has_not_saved_wants_no_advice(self) -> None:
        """D4: tokens that were spent are listed, also where no hit has saved any."""
        line = only(savings_of(metrics({SMALL: Counts(computed=1, told=1, metered=1, tokens_spent=7.0)})))
        assert (line.tokens_spent, line.advice) == (7.0, "")

    def test_replays_are_counted_once(self) -> None:
        """D4: an answer that the record of a run gave is in the line of replays, and no hit of its series as well."""
        counts = Counts(hits_redis=2, hits_replayed=3)
        runs = DispatchCounts(
            replays=3, cost_usd=2.0, tokens=40, cost_usd_saved=1.5, tokens_saved=30, seconds_saved=6.0
        )
        savings = savings_of(metrics({Series("idempotency"): counts}, usd={Series("idempotency"): 10.0}, dispatch=runs))
        hits, replays = savings.ledger
        assert (hits.what, hits.computations_avoided, hits.cost_saved) == ("hits", 2, 20.0)
        assert (replays.what, replays.computations_avoided, replays.cost_saved) == ("replays", 3, 1.5)
        assert (replays.tokens_saved, replays.seconds_saved, replays.unit_usd, replays.unit_tokens) == (
            30,
            6.0,
            0.5,
            10,
        )
        assert (replays.cost_spent, replays.tokens_spent) == (2.0, 40)
        assert (savings.computations_avoided, savings.cost_saved) == (5, 21.5)
        assert savings.by("domain")["idempotency"].cost_saved == 21.5

    def test_a_run_whose_answer_another_gave_has_avoided_nothing(self) -> None:
        """D4: a duplicate was answered by a record, and was run all the same."""
        savings = savings_of(metrics(dispatch=DispatchCounts(replays=3, duplicates=1, cost_usd_saved=2.0)))
        assert (savings.cached_responses, savings.computations_avoided) == (3, 2)

    def test_runs_that_report_nothing(self) -> None:
        """D4: replays of runs that did not say what they cost are listed, with what to do; runs alone are listed as spent."""
        assert "context.cost" in only(savings_of(metrics(dispatch=DispatchCounts(replays=2)))).advice
        line = only(savings_of(metrics(dispatch=DispatchCounts(executions=1, cost_usd=2.0))))
        assert (line.cost_spent, line.cached_responses, line.advice) == (2.0, 0, "")
        assert savings_of(metrics(dispatch=DispatchCounts(executions=2))).ledger == ()

    def test_sessions_are_no_savings(self) -> None:
        """D4: what an agent has kept of a conversation was never computed, so nothing was spared."""
        assert savings_of(metrics({Series("session"): Counts(hits_redis=7)})).ledger == ()

    def test_who_has_only_missed_is_not_listed(self) -> None:
        """D4: the ledger has no line without an answer and without a cost."""
        assert savings_of(metrics({SEARCH: Counts(misses=7, computed=7)})).ledger == ()


def test_what_others_have_written_is_never_below_nothing() -> None:
    """SZ-07: of a record, whoever has written it, counts and costs below zero are left out, so that savings are not either."""
    forged = Counts(hits_redis=-5, hits_file=2, seconds_saved=-1.0, misses=-1, stale=-3, dollars_spent=-2.0)
    snapshot = Snapshot(0, 60, {SEARCH: forged}, {SEARCH: -1.0}, {SEARCH: -1.0}, dispatch=DispatchCounts(replays=-1))
    record = decode(encode(Record(Process("0" * 16), snapshot)), "0" * 16, 0, 60)
    assert record is not None
    assert record.counts.series == {SEARCH: Counts(hits_file=2)}
    assert (record.counts.unit_usd, record.counts.unit_tokens) == ({}, {})
    line = only(savings_of(record.counts))
    assert (line.computations_avoided, line.cached_responses, line.cost_spent) == (2, 2, 0)


class TestSums:
    def test_by_domain_agent_tool_and_model(self) -> None:
        """D4: each label has its rows, of those that have it."""
        one = Series("response", agent="faq", model="small")
        two = Series("response", agent="sales", model="small")
        counts = Counts(hits_memory=1, seconds_saved=3.0)
        savings = savings_of(metrics({one: counts, two: counts, SEARCH: counts}, usd={one: 1.0, two: 2.0, SEARCH: 4.0}))
        assert {name: row.cost_saved for name, row in savings.by("domain").items()} == {"response": 3.0, "tool": 4.0}
        assert {name: row.cost_saved for name, row in savings.by("agent").items()} == {"faq": 1.0, "sales": 2.0}
        assert {name: row.cost_saved for name, row in savings.by("model").items()} == {"small": 3.0}
        assert {name: row.seconds_saved for name, row in savings.by("tool").items()} == {"search": 3.0}

    def test_the_dearest_first(self) -> None:
        """D4: the ledger begins with what has saved most."""
        cheap, dear = Series("a"), Series("b")
        told = metrics({cheap: Counts(hits_memory=9), dear: Counts(hits_memory=1)}, usd={cheap: 0.1, dear: 5.0})
        assert [line.series for line in savings_of(told).ledger] == [dear, cheap]

    def test_what_the_seeds_promise(self) -> None:
        """D4: responses, tokens and cost go by the names that users were told."""
        savings = savings_of(metrics({SEARCH: Counts(hits_memory=2)}, usd={SEARCH: 0.5}, tokens={SEARCH: 7}))
        assert (savings.cached_responses, savings.tokens_saved, savings.cost_saved) == (2, 14, 1.0)
        assert (savings.since, savings.until, savings.complete) == (0.0, DAY, True)


amounts = st.floats(0, 1e9, allow_subnormal=False)
numbers = st.integers(0, 10**9)
labels = st.sampled_from(["", "a", "b"])
serieses = st.builds(
    Series, st.sampled_from(["general", "tool", "model", "own", "idempotency", "session"]), labels, labels, labels
)
counted = st.builds(
    Counts,
    **dict.fromkeys(
        ("hits_memory", "hits_redis", "hits_file", "hits_waited", "stale", "computed", "hits_replayed"), numbers
    ),
    **dict.fromkeys(("told", "priced", "metered"), numbers),
    **dict.fromkeys(("seconds_saved", "dollars_spent", "tokens_spent", "unpriced_tokens"), amounts),
)
tables = st.dictionaries(serieses, counted, max_size=6)
units = st.dictionaries(serieses, amounts, max_size=6)
dispatches = st.builds(
    DispatchCounts,
    replays=numbers,
    duplicates=numbers,
    cost_usd=amounts,
    tokens=numbers,
    cost_usd_saved=amounts,
    seconds_saved=amounts,
)
some = st.builds(metrics, tables, usd=units, tokens=units, dispatch=dispatches)
priced = st.dictionaries(labels, amounts)


@given(some, priced, st.none() | some)
def test_lines_add_up(told: Metrics, prices: dict[str, float], kept: Metrics | None) -> None:
    """D4: the lines of the ledger add up to its sums exactly, each line of hits is hits × unit, and nothing is below zero or no number."""
    savings = savings_of(told, prices, kept=kept)
    assert {name: getattr(savings, name) for name in Saved._fields} == Saved.sums(savings.ledger)
    for line in (*savings.ledger, savings):
        assert all(0 <= getattr(line, name) < math.inf for name in Saved._fields)
    for line in savings.ledger:
        assert line.what == "replays" or line.cost_saved == line.computations_avoided * line.unit_usd
        assert line.what == "replays" or line.tokens_saved == line.computations_avoided * line.unit_tokens
        assert bool(line.advice) <= (not line.cost_saved)
    by_domain = Saved.sums(savings.by("domain").values())
    assert all(by_domain[name] == pytest.approx(getattr(savings, name)) for name in Saved._fields)
    assert str(savings).count("\n") == len(savings.ledger) + 4 + bool(savings.ledger)
    json.dumps([vars(line) for line in savings.ledger])


@given(tables, tables, units, units)
def test_savings_of_two_spans_add_up(
    one: dict[Series, Counts], two: dict[Series, Counts], usd: dict[Series, float], tokens: dict[Series, float]
) -> None:
    """D4: where costs are declared, the savings of both spans are those of one and those of the other."""
    every = one.keys() | two.keys()
    rows = {
        side: {series: counts._replace(computed=0) for series, counts in table.items()}
        for side, table in enumerate((one, two))
    }
    usd = dict.fromkeys(every, 0.5) | {series: unit + 0.01 for series, unit in usd.items()}
    tokens = dict.fromkeys(every, 3.0) | {series: unit + 1.0 for series, unit in tokens.items()}
    both = {s: rows[0].get(s, Counts()) + rows[1].get(s, Counts()) for s in every}
    whole, first, second = (savings_of(metrics(table, usd=usd, tokens=tokens)) for table in (both, rows[0], rows[1]))
    together = Saved.sums((first, second))
    assert all(getattr(whole, name) == pytest.approx(together[name]) for name in Saved._fields)


class TestText:
    def test_the_ledger(self) -> None:
        """D4: the text has a line for each series with its figures, where they come from, and the sums."""
        told = metrics(
            {SEARCH: Counts(hits_memory=1200, misses=4, stale=4, seconds_saved=4000.0), SMALL: Counts(hits_memory=2)},
            usd={SEARCH: 0.002},
        )
        title, _, heads, rule, search, small, _, total = savings_of(told).explain().split("\n")
        assert title == "Savings from 1970-01-01 00:00 to 1970-01-02 00:00 (UTC)"
        assert heads.split("  ")[0] == "what"
        assert set(rule) == {"-"}
        assert search.split() == [
            "tool",
            "tool=search",
            "1,204",
            "1,200",
            "$0.002",
            "$2.40",
            "0",
            "1",
            "h",
            "6",
            "min",
            "$0.00",
            "declared",
        ]
        assert small.split()[:5] == ["model", "model=small", "2", "2", "?"]
        assert "nobody knows what one costs: declare it: costs={'model': ...}" in small
        assert total.split()[:5] == ["in", "all", "1,206", "1,202", "$2.40"]
        assert search.index("1,204") + 5 == small.index(" 2 ") + 2 == heads.index("answered") + 8

    def test_names_of_others_are_shown_as_plain_text(self) -> None:
        """SZ-07: what an agent or a model is called cannot colour, clear or stretch a terminal."""
        hostile = Series("response", agent="\x1b[2J\n\u202e" + "x" * 500)
        shown = explained(savings_of(metrics({hostile: Counts(hits_memory=1)})))
        assert all(one.isprintable() for one in shown.replace("\n", ""))
        assert max(map(len, shown.split("\n"))) < 300

    def test_counts_of_others_may_be_missing(self) -> None:
        """D4: the text says so where a layer could not be asked; so does the field."""
        partial = savings_of(metrics(complete=False))
        assert not partial.complete
        assert "may be missing" in partial.explain()
        assert "may be missing" not in savings_of(metrics()).explain()

    def test_amounts(self) -> None:
        """D4: dollars have as many digits as tell something, spans of time two units."""
        assert span(math.inf) == span(1e15)
        assert list(map(dollars, (0, 1234.5, 0.002, 0.0000001, 1e-12))) == [
            *("$0.00", "$1,234.50", "$0.002", "$0.0000001", "<$0.00000001"),
        ]
        assert list(map(span, (0, 0.0002, 0.25, 59, 61, 3600, 90_000, 1e8))) == [
            *("0 s", "0 s", "0.25 s", "59 s", "1 min 1 s", "1 h 0 min", "1 d 1 h", "1,157 d 9 h"),
        ]
