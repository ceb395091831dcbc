"""What can be asked of the counts: a range of whole hours, groups, filters, and from which tables that is answered."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from landline.core.errors import Invalid
from landline.services.insights.model import Figures, instant


class Dimension(Enum):
    """What counts can be grouped by; the first four also select."""

    NUMBER = "number"
    TAG = "tag"
    COUNTRY = "country"
    CARRIER = "carrier"
    HOUR = "hour"
    DAY = "day"


SELECTING = (Dimension.NUMBER, Dimension.TAG, Dimension.COUNTRY, Dimension.CARRIER)
Place = tuple[str | int, ...]
"""Where a group stands: its values in the order of `Question.by`; hours and days as numbers since 1970 (UTC)."""


@dataclass(frozen=True, slots=True)
class Question:
    """`start` and `end` (not included): hours since 1970, UTC."""

    start: int
    end: int
    by: tuple[Dimension, ...] = ()
    where: tuple[tuple[Dimension, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """The figures of one group."""

    place: Place
    figures: Figures


@dataclass(frozen=True, slots=True)
class Page:
    """Groups in the order of their places, the figures of all groups together, and the place behind which more groups
    follow, None at the end."""

    groups: list[Group]
    totals: Figures
    last: Place | None


@dataclass(frozen=True, slots=True)
class Spans:
    """Which hours and days to read: up to two ranges of hours around one of whole days; ends are not included."""

    before: tuple[int, int]
    days: tuple[int, int]
    after: tuple[int, int]


def spans(question: Question) -> Spans:
    """Whole days from the days' table where nobody asks for hours, the rest from the hours'."""
    first, last = -(-question.start // 24), question.end // 24
    if Dimension.HOUR in question.by or first >= last:
        return Spans((question.start, question.end), (0, 0), (question.end, question.end))
    return Spans((question.start, first * 24), (first, last), (last * 24, question.end))


@dataclass(frozen=True, slots=True)
class Kept:
    """How long hours and days are kept."""

    hours: timedelta
    days: timedelta

    def first_hour(self, now: datetime) -> int:
        """The first hour that is certainly kept."""
        return -(-int((now - self.hours).timestamp()) // 3600)

    def first_day(self, now: datetime) -> int:
        return -(-int((now - self.days).timestamp()) // 86400)

    def check(self, question: Question, now: datetime) -> None:
        """Raises `Invalid` when what `question` asks for may have been deleted."""
        needed, first_hour, first_day = spans(question), self.first_hour(now), self.first_day(now)
        for target, (start, end) in (("from", needed.before), ("to", needed.after)):
            if start < end and start < first_hour:
                raise Invalid(
                    f"Single hours are kept from {instant(first_hour):%Y-%m-%dT%H:%MZ} on. Before that, whole days are:"
                    " ask from midnight to midnight (UTC), and not by hour.",
                    target=target,
                )
        if needed.days[0] < needed.days[1] and needed.days[0] < first_day:
            raise Invalid(f"Days are kept from {instant(first_day * 24):%Y-%m-%d} on.", target="from")
