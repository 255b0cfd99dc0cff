"""Spans: the minutes, hours and days that are counted apart, how long each is kept, and which a period is read from."""

from typing import Final, NamedTuple

from toolcache.durations import Duration, seconds
from toolcache.keys.text import STATISTICS, store_key


class Span(NamedTuple):
    """One kind of span.

    Attributes:
        letter: the first of its groups' names.
        seconds: how long one is.
        kept: seconds that its counts are kept, from its beginning.
    """

    letter: str
    seconds: int
    kept: int

    def begun(self, at: float) -> int:
        """When the span of an instant began."""
        return int(at) // self.seconds * self.seconds

    def group(self, namespace: str, at: int) -> str:
        """The store key of the group of those counts."""
        return store_key(STATISTICS, namespace, f"{self.letter}:{at}")


MINUTE: Final = Span("m", 60, 6 * 3_600)
HOUR: Final = Span("h", 3_600, 8 * 86_400)
DAY: Final = Span("d", 86_400, 400 * 86_400)
SPANS: Final = (MINUTE, HOUR, DAY)


class Reach(NamedTuple):
    """What a period is read from: so many spans of a kind, the last of which is the present one."""

    span: Span
    number: int

    def beginnings(self, now: float) -> list[int]:
        """When each began, oldest first."""
        last = self.span.begun(now)
        return [last - back * self.span.seconds for back in range(self.number - 1, -1, -1)]


def reach_of(period: Duration, step: Duration | None = None) -> Reach:
    """Where to read a period: by the minute up to six hours, by the hour up to eight days, else by the day.

    Args:
        period: seconds, a ``timedelta`` or text such as ``"1h"``.
        step: a minute, an hour or a day, for other points than these.

    Raises:
        ValueError: the period is longer than counts are kept, or the step is none of these.

    Examples:
        >>> reach_of("1h").number, reach_of("30d").span.letter
        (60, 'd')
    """
    length = seconds(period, name="period")
    fits = [span for span in SPANS if length <= span.kept]
    if step is not None:
        wanted = seconds(step, name="step")
        fits = [span for span in SPANS if span.seconds == wanted]
        if not fits:
            raise ValueError(f"step is a minute, an hour or a day ('1m', '1h', '1d'), not {step!r}")
    if not fits or length > fits[0].kept:
        most = (fits or SPANS)[-1 if not fits else 0]
        raise ValueError(
            f"period {period!r} is longer than counts are kept: by the minute for 6 hours, by the hour for 8 days, by the "
            f"day for 400 days; ask for {most.kept // most.seconds:,} × {most.seconds:,} s at most"
        )
    return Reach(fits[0], max(1, -(-int(length) // fits[0].seconds)))


def reaching(window: float) -> float:
    """A period that a window of so many seconds lies in: a present span that has just begun counts for nothing.

    Raises:
        ValueError: the window is longer than counts are kept.
    """
    return window + reach_of(window).span.seconds
