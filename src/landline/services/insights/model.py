"""What is counted of messages, and what the counts say: rates, and percentiles of the delivery time.

A message's outcome is counted in the hour it was accepted in, so that an hour's rates are those of its own messages;
replies and opt-outs are counted in the hour they came.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from math import ceil, log
from typing import TypeAlias

from landline.core.countries import country
from landline.core.ids import ResourceId

TAG_CHARACTERS = 200
"""Tags are counted by their first so many characters (a request's may have 2,048)."""


class Measure(IntEnum):
    """What is counted. The numbers are stored."""

    ACCEPTED = 1
    SEGMENTS = 2
    """Of accepted messages."""
    DELIVERED = 3
    SEGMENTS_DELIVERED = 4
    FAILED = 5
    """`detail`: ACS's detail code (acs-wire.md 4.7)."""
    DELIVERY_TIME = 6
    """Delivered messages again, `detail` being the bucket of the time from accepted to delivered."""
    REPLIES = 7
    """Texts that a phone sent to the number, keywords too."""
    OPT_OUTS = 8
    COST = 9
    """Of accepted messages by their carriers' prices, in millionths of the currency."""
    PRICED = 10
    """Accepted messages that had a price."""


@dataclass(frozen=True, slots=True)
class Count:
    """`count` more of `measure`. `hour`: the instant it began. `tag`: empty for none."""

    resource: ResourceId
    hour: datetime
    sender: str
    tag: str
    country: str
    carrier: str
    measure: Measure
    detail: int
    count: int


Key: TypeAlias = tuple[ResourceId, int, str, str, str, str]
"""Resource, hour (since 1970, UTC), sender, tag, country, carrier."""
Cells: TypeAlias = dict[int, int]
"""Counts by measure and detail, put together by `cell`."""

_DETAIL_BITS = 16


def cell(measure: Measure, detail: int = 0) -> int:
    """`measure` and `detail` (below 65,536) in one number."""
    return measure << _DETAIL_BITS | detail


NO_CARRIER = "(none)"
"""What the carrier is called of messages that have none, as no route had one for them."""
_ACCEPTED = cell(Measure.ACCEPTED)
_SEGMENTS = cell(Measure.SEGMENTS)
_DELIVERED = cell(Measure.DELIVERED)
_SEGMENTS_DELIVERED = cell(Measure.SEGMENTS_DELIVERED)
_FAILED = cell(Measure.FAILED)
_DELIVERY_TIME = cell(Measure.DELIVERY_TIME)
_REPLIES = cell(Measure.REPLIES)
_OPT_OUTS = cell(Measure.OPT_OUTS)
_COST = cell(Measure.COST)
_PRICED = cell(Measure.PRICED)


class Tally:
    """Collects what happened to many messages in one transaction, about a microsecond each; `Insights.count` stores it.

    Throughout, `sender` is the resource's own number and `recipient` the phone at the other end, also of a reply.
    """

    __slots__ = ("groups",)

    def __init__(self) -> None:
        self.groups: dict[Key, Cells] = {}

    def accepted(
        self,
        resource: ResourceId,
        at: datetime,
        sender: str,
        tag: str | None,
        recipient: str,
        carrier: str,
        segments: int,
        n: int = 1,
        cost: int | None = None,
    ) -> None:
        """`n` messages of `segments` segments each were accepted, those that end at once too. `cost`: of each."""
        priced = None if cost is None else (n, cost * n)
        self.accepted_in(resource, at, sender, tag, country(recipient), carrier, segments, n, priced)

    def accepted_in(
        self,
        resource: ResourceId,
        at: datetime,
        sender: str,
        tag: str | None,
        nation: str,
        carrier: str,
        segments: int,
        n: int,
        priced: tuple[int, int] | None = None,
    ) -> None:
        """As `accepted`, for those who know the recipients' country already. `priced`: how many of the messages have a
        price, and what these cost together, in millionths."""
        cells = self._cells(resource, at, sender, tag, nation, carrier)
        cells[_ACCEPTED] = cells.get(_ACCEPTED, 0) + n
        cells[_SEGMENTS] = cells.get(_SEGMENTS, 0) + segments * n
        if priced is not None:
            cells[_PRICED] = cells.get(_PRICED, 0) + priced[0]
            cells[_COST] = cells.get(_COST, 0) + priced[1]

    def ended(
        self,
        resource: ResourceId,
        accepted_at: datetime,
        ended_at: datetime,
        sender: str,
        tag: str | None,
        recipient: str,
        carrier: str,
        delivered: bool,
        code: int,
        segments_delivered: int,
    ) -> None:
        """A message, counted as accepted with this `carrier`, came to its end. `code`: why it failed."""
        cells = self._cells(resource, accepted_at, sender, tag, country(recipient), carrier)
        if delivered:
            time = _DELIVERY_TIME + bucket((ended_at - accepted_at).total_seconds())
            cells[_DELIVERED] = cells.get(_DELIVERED, 0) + 1
            cells[time] = cells.get(time, 0) + 1
        else:
            cells[_FAILED + code] = cells.get(_FAILED + code, 0) + 1
        if segments_delivered:
            cells[_SEGMENTS_DELIVERED] = cells.get(_SEGMENTS_DELIVERED, 0) + segments_delivered

    def moved(
        self,
        resource: ResourceId,
        accepted_at: datetime,
        sender: str,
        tag: str | None,
        recipient: str,
        carrier: str,
        to_carrier: str,
        segments: int,
        cost: int | None = None,
    ) -> None:
        """A message that was counted as accepted with `carrier` goes by `to_carrier` from now on (failover): without
        this, one carrier would deliver what another accepted. Its cost goes along as it was accepted."""
        self.accepted(resource, accepted_at, sender, tag, recipient, carrier, segments, -1, cost)
        self.accepted(resource, accepted_at, sender, tag, recipient, to_carrier, segments, 1, cost)

    def replied(
        self, resource: ResourceId, at: datetime, sender: str, tag: str | None, recipient: str, carrier: str
    ) -> None:
        """The phone `recipient` texted `sender`; `tag` is of the message it answers, if that is known."""
        cells = self._cells(resource, at, sender, tag, country(recipient), carrier)
        cells[_REPLIES] = cells.get(_REPLIES, 0) + 1

    def opted_out(
        self, resource: ResourceId, at: datetime, sender: str, tag: str | None, recipient: str, carrier: str
    ) -> None:
        """`recipient` wants nothing more from `sender`; count it only when it was not so before."""
        cells = self._cells(resource, at, sender, tag, country(recipient), carrier)
        cells[_OPT_OUTS] = cells.get(_OPT_OUTS, 0) + 1

    def counts(self) -> Iterator[Count]:
        """All counts, each group's together."""
        for (resource, hour, sender, tag, nation, carrier), cells in self.groups.items():
            for key, count in cells.items():
                measure, detail = Measure(key >> _DETAIL_BITS), key & (1 << _DETAIL_BITS) - 1
                yield Count(resource, instant(hour), sender, tag, nation, carrier, measure, detail, count)

    def _cells(
        self, resource: ResourceId, at: datetime, sender: str, tag: str | None, nation: str, carrier: str
    ) -> Cells:
        tag = tag[:TAG_CHARACTERS] if tag else ""
        key = (resource, int(at.timestamp()) // 3600, sender, tag, nation, carrier)
        cells = self.groups.get(key)
        if cells is None:
            cells = self.groups[key] = {}
        return cells


def instant(hour: int) -> datetime:
    """When `hour` (since 1970, UTC) begins."""
    return datetime.fromtimestamp(hour * 3600, UTC)


_GROWTH = 1.1
_LOG_GROWTH = log(_GROWTH)
_LAST_BUCKET = 260  # more than a year
RELATIVE_ERROR = (_GROWTH - 1) / (_GROWTH + 1)
"""How far a percentile may be off, 4.8 %: a bucket's edges are 10 % apart, and it stands for what is equally far from
both (Masson, Rim, Lee: DDSketch, VLDB 2019, §2.1). Times below a millisecond count as one."""


def bucket(seconds: float) -> int:
    """The bucket of a duration; 0 up to a millisecond, and for clocks that disagree."""
    milliseconds = seconds * 1000.0
    if milliseconds <= 1.0:
        return 0
    return min(ceil(log(milliseconds) / _LOG_GROWTH), _LAST_BUCKET)


def seconds_of(found: int) -> float:
    """The duration that a bucket stands for."""
    return 0.001 if found == 0 else 2.0 * _GROWTH**found / (_GROWTH + 1.0) / 1000.0


@dataclass(slots=True)
class Figures:
    """The counts of one group of messages, and what they say. A rate of nothing is None."""

    accepted: int = 0
    segments: int = 0
    delivered: int = 0
    segments_delivered: int = 0
    failed_by_code: dict[int, int] = field(default_factory=dict[int, int])
    times: dict[int, int] = field(default_factory=dict[int, int])
    """Delivered messages by bucket of their delivery time."""
    replies: int = 0
    opt_outs: int = 0
    cost: int = 0
    """In millionths of the currency."""
    priced: int = 0

    @classmethod
    def of(cls, cells: Iterable[tuple[int, int]]) -> "Figures":
        """From (cell, count) pairs, each cell once."""
        figures = cls()
        for key, count in sorted(cells):
            measure, detail = key >> _DETAIL_BITS, key & (1 << _DETAIL_BITS) - 1
            if measure == Measure.FAILED:
                figures.failed_by_code[detail] = count
            elif measure == Measure.DELIVERY_TIME:
                figures.times[detail] = count
            else:
                setattr(figures, _FIELDS[Measure(measure)], count)
        return figures

    @property
    def failed(self) -> int:
        return sum(self.failed_by_code.values())

    @property
    def pending(self) -> int:
        """Accepted and not ended yet."""
        return self.accepted - self.delivered - self.failed

    @property
    def delivery_rate(self) -> float | None:
        """Delivered of those that ended: what is still on its way makes no hour look bad."""
        return _rate(self.delivered, self.delivered + self.failed)

    @property
    def response_rate(self) -> float | None:
        """Replies for each delivered message; may exceed 1."""
        return _rate(self.replies, self.delivered)

    @property
    def opt_out_rate(self) -> float | None:
        """Opt-outs for each delivered message."""
        return _rate(self.opt_outs, self.delivered)

    def delivery_seconds(self, share: float) -> float | None:
        """The time within which `share` (0 to 1) of the delivered messages were delivered, off by `RELATIVE_ERROR` at
        most: nearest rank, as the values themselves would have it."""
        rank = ceil(share * sum(self.times.values()))
        passed = 0
        for found, count in sorted(self.times.items()):
            passed += count
            if passed >= rank:
                return seconds_of(found)
        return None


_FIELDS = {
    Measure.ACCEPTED: "accepted",
    Measure.SEGMENTS: "segments",
    Measure.DELIVERED: "delivered",
    Measure.SEGMENTS_DELIVERED: "segments_delivered",
    Measure.REPLIES: "replies",
    Measure.OPT_OUTS: "opt_outs",
    Measure.COST: "cost",
    Measure.PRICED: "priced",
}


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None
