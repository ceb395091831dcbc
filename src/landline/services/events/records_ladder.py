"""The SQL of what waits for its next try: looked for, and claimed, subscription by subscription."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from landline.services.events.model import Delivery
from landline.services.events.records import COLUMNS, MATCH, delivery_of
from landline.store.database import Database

_FLOORS = """
SELECT s.subscription_id, first.next_at FROM events_subscriptions s CROSS JOIN LATERAL (
    SELECT next_at FROM events_deliveries
    WHERE resource_id = s.resource_id AND subscription_id = s.subscription_id AND next_at < $1
    ORDER BY next_at LIMIT 1
) first
"""
_FLOOR = "coalesce(({0}::timestamptz[])[array_position({1}::uuid[], s.subscription_id)], {2}::timestamptz)"

# Subscription by subscription, so that the backlog of one does not stand before the due rows of another.
_CLAIM = f"""
WITH r AS (
    SELECT due.* FROM events_subscriptions s CROSS JOIN LATERAL (
        SELECT resource_id, about, event_id, subscription_id FROM events_deliveries
        WHERE resource_id = s.resource_id AND subscription_id = s.subscription_id AND next_at <= $1
        AND next_at >= {_FLOOR.format("$8", "$7", "$9")}
        ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) due
    WHERE s.state = 'enabled' AND s.subscription_id <> ALL($3)
),
opened AS (
    INSERT INTO events_blocks (block_id, owner, due_at)
    SELECT $4::uuid, $5::uuid, $6::timestamptz WHERE EXISTS (SELECT FROM r)
)
UPDATE events_deliveries d SET next_at = NULL, block_id = $4 FROM r WHERE {MATCH} RETURNING {COLUMNS}
"""

_LOOK = f"""
SELECT min(due.next_at) AS next_at, count(*) FILTER (WHERE due.next_at <= $2) AS due
FROM events_subscriptions s CROSS JOIN LATERAL (
    SELECT next_at FROM events_deliveries
    WHERE resource_id = s.resource_id AND subscription_id = s.subscription_id
    AND next_at >= {_FLOOR.format("$4", "$3", "$5")}
    ORDER BY next_at LIMIT 1
) due
WHERE s.state = 'enabled' AND s.subscription_id <> ALL($1)
"""


@dataclass(frozen=True, slots=True)
class Floors:
    """From when on what waits is gone through: of the subscriptions in `of`, and of all others. While a backup goes on
    there may be any number of rows before that, all dead, which nobody can take away."""

    of: Mapping[UUID, datetime]
    others: datetime

    @property
    def columns(self) -> tuple[list[UUID], list[datetime], datetime]:
        """As the statements have them."""
        return list(self.of), list(self.of.values()), self.others


EVERYTHING = Floors({}, datetime.min.replace(tzinfo=UTC))


async def floors(database: Database, upto: datetime) -> Floors:
    """Before which there is nothing now, `upto` at most; whoever writes of an instant before then is found later."""
    rows = await database.fetch(_FLOORS, upto)
    return Floors({row["subscription_id"]: row["next_at"] for row in rows}, upto)


async def claim(
    database: Database,
    now: datetime,
    limit: int,
    without: Collection[UUID],
    *,
    block: UUID,
    owner: UUID,
    lease_until: datetime,
    floors: Floors = EVERYTHING,
) -> list[Delivery]:
    """Up to `limit` due rows of each enabled subscription not in `without`, now in `block` of `owner`; it is not opened
    where there are none."""
    rows = await database.fetch(_CLAIM, now, limit, list(without), block, owner, lease_until, *floors.columns)
    return [delivery_of(row) for row in rows]


async def look(
    database: Database, without: Collection[UUID], now: datetime, floors: Floors = EVERYTHING
) -> tuple[datetime | None, int]:
    """When the next row of an enabled subscription not in `without` is due, and how many of these have due ones now."""
    row = await database.fetchrow(_LOOK, list(without), now, *floors.columns)
    assert row is not None, "an aggregate has a row"
    return row["next_at"], row["due"]
