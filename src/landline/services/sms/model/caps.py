"""Caps as values: the periods they are counted by, how much of one a process takes ahead, and what is left of them for
the messages of a request."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum

from landline.core import money
from landline.services.sms.model.settings import Caps

MOST_AHEAD = 2_000
"""Messages or segments; of spend, what so many of the request's dearest messages cost."""
SPEND = "spend"
"""The unit of caps on what messages cost, in millionths of the currency."""
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
    currency: str = ""
    """Of spend."""

    @property
    def words(self) -> str:
        """The cap as it was configured."""
        amount = f"{money.text(self.limit)} {self.currency}" if self.unit == SPEND else f"{self.limit} {self.unit}"
        return f"{amount} a {self.period.value}"


def purses(caps: Caps, at: datetime, currency: str) -> tuple[Purse, ...]:
    """An empty purse for each cap there is, always in the same order, in which their rows are locked."""
    limits = ((Period.DAY, caps.per_day), (Period.MONTH, caps.per_month))
    spend = ((Period.DAY, caps.spend_per_day), (Period.MONTH, caps.spend_per_month))
    return (
        *(Purse(period, caps.unit, period.begins_on(at), limit) for period, limit in limits if limit is not None),
        *(
            Purse(period, SPEND, period.begins_on(at), money.micros(limit) or 0, currency=currency)
            for period, limit in spend
            if limit is not None
        ),
    )


@dataclass(frozen=True, slots=True)
class Needs:
    """What the messages of a request would take: `units` each of the caps on their number, and what each costs."""

    messages: int
    units: int
    costs: Sequence[int]

    def of(self, purse: Purse) -> int:
        """All of them together."""
        return sum(self.costs) if purse.unit == SPEND else self.messages * self.units

    def ahead(self, purse: Purse) -> int:
        """The most that is taken ahead."""
        return MOST_AHEAD * max(self.costs, default=0) if purse.unit == SPEND else MOST_AHEAD


class Budget:
    """The purses in hand, for the messages of one request one after the other."""

    __slots__ = ("_ample", "_costs", "_purses", "_units")

    def __init__(self, purses: Sequence[Purse], needs: Needs) -> None:
        self._purses = purses
        self._units = needs.units
        self._costs = needs.costs
        self._ample = all(purse.left >= needs.of(purse) for purse in purses)

    def full(self, index: int) -> Purse | None:
        """The purse that has too little left for the message at `index`; None when it may be sent."""
        if self._ample:
            return None
        return next((purse for purse in self._purses if purse.left < self._taken(purse, index)), None)

    def take(self, index: int) -> None:
        """The message at `index` is sent."""
        for purse in self._purses:
            purse.left -= self._taken(purse, index)

    def _taken(self, purse: Purse, index: int) -> int:
        return self._costs[index] if purse.unit == SPEND else self._units


def portion(limit: int, used: int, needed: int, share: int, most_ahead: int = MOST_AHEAD) -> int:
    """How much to take of a cap of which `used` is gone, when `needed` is lacking and `share` processes take of it.

    Ahead is taken a part of what remains, so that towards the end no process sits on what another one lacks.
    """
    remaining = max(0, limit - used)
    ahead = min(most_ahead, remaining // (_PARTS * share))
    return min(remaining, max(needed, ahead))
