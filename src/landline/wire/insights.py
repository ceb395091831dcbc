"""JSON shapes of the insights on the admin API. A rate or percentile of nothing is left out."""

from msgspec import field

from landline.wire.base import Wire


class DeliverySeconds(Wire):
    """Percentiles of the time from accepted to delivered, in seconds."""

    p50: float
    p90: float
    p95: float
    p99: float


class Insight(Wire, kw_only=True):
    """One group of messages: what it was grouped by, its counts, and what they say."""

    number: str | None = None
    tag: str | None = None
    """Empty for messages without one."""
    country: str | None = None
    carrier: str | None = None
    hour: str | None = None
    """When the hour began: `2026-03-01T14:00:00Z`."""
    day: str | None = None
    """`2026-03-01`, UTC."""
    accepted: int
    segments: int
    delivered: int
    segments_delivered: int
    failed: int
    failed_by_code: dict[str, int]
    pending: int
    delivery_rate: float | None = None
    delivery_seconds: DeliverySeconds | None = None
    replies: int
    response_rate: float | None = None
    opt_outs: int
    opt_out_rate: float | None = None
    cost: str | None = None
    """A decimal; left out where no message had a price."""
    priced: int | None = None
    """How many of the accepted messages had one."""


class Insights(Wire, kw_only=True):
    """A page of groups. `from` and `to` are the whole hours that were read, `to` not included."""

    from_: str = field(name="from")
    to: str
    by: list[str]
    value: list[Insight]
    totals: Insight
    currency: str | None = None
    """What the cost is in."""
    continuation_token: str | None = None
