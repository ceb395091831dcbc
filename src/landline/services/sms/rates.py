"""How fast each sender may send: at the rate set for it or its kind's, by one bucket for all carriers of a process."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from statistics import fmean
from typing import NamedTuple

import structlog

from landline.core import phone
from landline.core.errors import Invalid, Unavailable
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.ports.clock import Clock
from landline.services.sms import records_routing
from landline.services.sms.model.pacing import TokenBucket
from landline.store.changes import Changes
from landline.store.database import Database

log = structlog.get_logger()
_SUBJECT = "sms.rates"
_REMEMBERED = 50_000
_AGAIN = timedelta(seconds=1)
"""How often rates are read while changes cannot be heard of, or the database is away."""
FASTEST_PER_S = 100_000.0
SLOWEST_PER_S = 0.001

_LEAST_PART = 1e-3
"""Of a process that has none of a carrier's binds: its bucket waits, and is told when that changes."""

Sender = tuple[ResourceId, str]


class _Parts(NamedTuple):
    """What part of each rate is this process's."""

    senders: float
    carriers: dict[str, float]


class Rates:
    """Buckets of senders and carriers, in memory. `defaults` are rates by kind of sender, none for the kinds left out;
    a phone number counts as toll-free or geographic, as its form tells. `carriers` are the rates of those carriers
    that have one, in segments a second. `share` is how many processes share a rate; `parts` are those of the carriers
    that are shared by their binds, for a process without any could make nothing of it. A sender's rate is shared as its
    carriers are on the average, so that all parts together are never more than the whole."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        clock: Clock,
        *,
        defaults: Mapping[SenderKind, float],
        carriers: Mapping[str, float],
        share: Callable[[], int],
        parts: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._database = database
        self._changes = changes
        self._clock = clock
        self._defaults = dict(defaults)
        self._carrier_rates = dict(carriers)
        self._share = share
        self._bound = parts
        self._parts = self._parts_now()
        now = clock.now().timestamp()
        self._carriers = {
            name: TokenBucket(rate * self._parts.carriers[name], now=now) for name, rate in carriers.items()
        }
        self._rates: dict[Sender, float] = {}
        self._buckets: dict[Sender, TokenBucket | None] = {}
        self._version = 0
        self._read_version: int | None = None
        self._again_at: datetime | None = None
        self.on_changed: Callable[[], None] = _nobody
        """Called when rates are others now: lanes that wait for a bucket are to be told (`Lanes.retuned`), and whoever
        waits for them rung."""
        self.on_stale: Callable[[], None] = _nobody
        """Called when a rate was changed here or elsewhere: `refresh` will read it."""
        changes.watch(_SUBJECT, self._forget)

    async def refresh(self) -> None:
        """Make sure `bucket` knows the present rates; await it before each `Lanes.take`. Costs nothing while nothing
        changed. With the database away the rates last known stay in force."""
        parts = self._parts_now()
        if self._read_version == self._version and self._changes.trusted and parts == self._parts:
            return
        now = self._clock.now()
        if self._read_version is not None and self._again_at is not None and now < self._again_at <= now + _AGAIN:
            return
        version, self._again_at = self._version, now + _AGAIN
        try:
            await self._read()
        except Unavailable as error:
            log.warning("sms.rates_not_read", reason=error.message)
            return
        self._read_version = version
        if self._changes.trusted:
            self._again_at = None
        self._retune(parts)

    def bucket(self, sender: Sender) -> TokenBucket | None:
        """The bucket that limits `sender`; None when nothing does. For `Lanes(limit=...)`."""
        try:
            return self._buckets[sender]
        except KeyError:
            return self._make(sender)

    def carrier_bucket(self, carrier: str) -> TokenBucket | None:
        """The bucket of a carrier, always the same; None when it has no rate. For `Lanes(bucket=...)`."""
        return self._carriers.get(carrier)

    def default(self, sender: str) -> float | None:
        """Messages a second of a sender for which nothing was set."""
        kind = phone.sender_kind(sender)
        return self._defaults.get(kind) if kind is not None else None

    async def rate(self, resource: ResourceId, sender: str) -> float | None:
        """Messages a second set for the sender, read from the database; None when nothing was."""
        async with self._database.connection() as connection:
            return await records_routing.rate(connection, resource, sender)

    async def set(self, resource: ResourceId, sender: str, rate_per_s: float | None) -> None:
        """Have the sender send at most `rate_per_s`, or with None as its kind does. Raises `Invalid`."""
        if rate_per_s is not None and not SLOWEST_PER_S <= rate_per_s <= FASTEST_PER_S:
            raise Invalid(
                f"A rate is from {SLOWEST_PER_S} to {FASTEST_PER_S:.0f} messages a second.", target="messagesPerSecond"
            )
        key = f"{resource} {sender}"
        async with self._database.transaction() as connection:
            await records_routing.set_rate(connection, resource, sender, rate_per_s)
            await self._changes.publish(connection, _SUBJECT, key)
        self._changes.forget(_SUBJECT, key)

    def _forget(self, _key: str | None) -> None:
        self._version += 1
        self._again_at = None
        self.on_stale()

    async def _read(self) -> None:
        async with self._database.connection() as connection:
            rows = await records_routing.rates(connection)
        self._rates = {(row["resource_id"], row["sender"]): row["rate_per_s"] for row in rows}

    def _rate_here(self, sender: Sender) -> float | None:
        rate = self._rates.get(sender)
        if rate is None:
            rate = self.default(sender[1])
        return None if rate is None else rate * self._parts.senders

    def _parts_now(self) -> _Parts:
        even, bound = 1 / max(self._share(), 1), self._bound()
        senders = fmean(bound.values()) if bound else even
        carriers = {name: max(bound.get(name, even), _LEAST_PART) for name in self._carrier_rates}
        return _Parts(max(senders, _LEAST_PART), carriers)

    def _make(self, sender: Sender) -> TokenBucket | None:
        now = self._clock.now().timestamp()
        if len(self._buckets) >= _REMEMBERED:
            self._buckets = {
                key: kept for key, kept in self._buckets.items() if kept is not None and not kept.full(now)
            }
        rate = self._rate_here(sender)
        bucket = self._buckets[sender] = None if rate is None else TokenBucket(rate, now=now)
        return bucket

    def _retune(self, parts: _Parts) -> None:
        now = self._clock.now().timestamp()
        changed = parts != self._parts
        self._parts = parts
        for carrier, bucket in self._carriers.items():
            bucket.retune(self._carrier_rates[carrier] * parts.carriers[carrier], now=now)
        for sender, bucket in list(self._buckets.items()):
            rate = self._rate_here(sender)
            if rate == (None if bucket is None else bucket.rate_per_s):
                continue
            changed = True
            if rate is None or bucket is None:
                del self._buckets[sender]
            else:
                bucket.retune(rate, now=now)
        if changed:
            self.on_changed()


def _nobody() -> None:
    return None
