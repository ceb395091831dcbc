"""Caps as values: the periods they are counted by, and how much of one a process takes ahead."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum

from landline.services.sms.model.settings import Caps

MOST_AHEAD = 2_000
_PARTS = 8


class Period(Enum):
    """What a cap is for, by UTC's calendar."""

    DAY = "day"
    MONTH = "month"

    def begins_on(self, at: datetime) -> date:
        """The first day of the period that `at` (UTC) is in."""
        day = at.date()
        return day if self is Period.DAY else day.replace(day=1)


@dataclass(slots=True)
class Purse:
    """What this process may still spend of a cap without asking the database."""

    period: Period
    unit: str
    begins_on: date
    limit: int
    left: int = 0
    dry_until: datetime | None = None
    """Nothing more was to be had: not asked again before then."""

    @property
    def words(self) -> str:
        """The cap as it was configured."""
        return f"{self.limit} {self.unit} a {self.period.value}"


def purses(caps: Caps, at: datetime) -> tuple[Purse, ...]:
    """An empty purse for each cap there is, the day's before the month's: the order their rows are locked in."""
    limits = ((Period.DAY, caps.per_day), (Period.MONTH, caps.per_month))
    return tuple(Purse(period, caps.unit, period.begins_on(at), limit) for period, limit in limits if limit is not None)


def portion(limit: int, used: int, needed: int, share: int) -> int:
    """How much to take of a cap of which `used` is gone, when `needed` is lacking and `share` processes take of it.

    Ahead is taken a part of what remains, so that towards the end no process sits on what another one lacks.
    """
    remaining = max(0, limit - used)
    ahead = min(MOST_AHEAD, remaining // (_PARTS * share))
    return min(remaining, max(needed, ahead))
