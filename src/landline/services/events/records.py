"""SQL of event delivery: the rows of subscriptions and deliveries, and nothing else's."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from landline.core.ids import ResourceId
from landline.services.events.model import Again, Dead, Delivered, Delivery, Event, Outcome, Verdict
from landline.store.database import Database
from landline.store.parts import Part
from landline.store.sharing import shared

Row = Mapping[str, Any]

_INSERT = """
INSERT INTO events_deliveries
    (resource_id, about, event_id, subscription_id, block_id, since, next_at, at, type, subject, data)
SELECT resource_id, about, event_id, subscription_id, block_id, since, CASE WHEN block_id IS NULL THEN since END,
    at, type, subject, data
FROM (SELECT ${}::timestamptz AS since) AS now
CROSS JOIN unnest(${}::uuid[], ${}::uuid[], ${}::uuid[], ${}::text[], ${}::text[], ${}::integer[], ${}::integer[])
    AS s (resource_id, subscription_id, block_id, type, subject, first, last)
CROSS JOIN LATERAL unnest((${}::uuid[])[first:last], (${}::uuid[])[first:last], (${}::timestamptz[])[first:last],
    (${}::bytea[])[first:last])
    AS e (about, event_id, at, data)
ON CONFLICT DO NOTHING
"""

# Each row with all of its own: a slice of an array is found by going through what stands before it, which of thousands
# that share nothing is too long a way.
_INSERT_MANY = """
INSERT INTO events_deliveries
    (resource_id, about, event_id, subscription_id, block_id, since, next_at, at, type, subject, data)
SELECT resource_id, about, event_id, subscription_id, block_id, since, CASE WHEN block_id IS NULL THEN since END,
    at, type, subject, data
FROM (SELECT ${}::timestamptz AS since) AS now
CROSS JOIN unnest(${}::uuid[], ${}::uuid[], ${}::uuid[], ${}::text[], ${}::text[], ${}::uuid[], ${}::uuid[],
    ${}::timestamptz[], ${}::bytea[])
    AS e (resource_id, subscription_id, block_id, type, subject, about, event_id, at, data)
ON CONFLICT DO NOTHING
"""
_MANY = 2_000

_COLUMNS = (
    "d.resource_id, d.about, d.event_id, d.subscription_id, d.block_id, d.since, d.next_at, d.at, d.attempts,"
    " d.type, d.subject, d.data"
)
_KEY = "(resource_id, about, event_id, subscription_id)"

_MATCH = (
    "(d.resource_id, d.about, d.event_id, d.subscription_id) = (r.resource_id, r.about, r.event_id, r.subscription_id)"
)

_OF_BLOCKS = f"""
SELECT {_COLUMNS} FROM events_deliveries d WHERE d.block_id = ANY($1) AND d.delivered_at IS NULL
"""

# Subscription by subscription, so that the backlog of one does not stand before the due rows of another.
_CLAIM = f"""
WITH r AS (
    SELECT due.* FROM events_subscriptions s CROSS JOIN LATERAL (
        SELECT resource_id, about, event_id, subscription_id FROM events_deliveries
        WHERE resource_id = s.resource_id AND subscription_id = s.subscription_id AND next_at <= $1
        ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) due
    WHERE s.state = 'enabled' AND s.subscription_id <> ALL($3)
),
opened AS (
    INSERT INTO events_blocks (block_id, owner, due_at)
    SELECT $4::uuid, $5::uuid, $6::timestamptz WHERE EXISTS (SELECT FROM r)
)
UPDATE events_deliveries d SET next_at = NULL, block_id = $4 FROM r WHERE {_MATCH} RETURNING {_COLUMNS}
"""

_NEXT_DUE = """
SELECT min(due.next_at) FROM events_subscriptions s CROSS JOIN LATERAL (
    SELECT next_at FROM events_deliveries
    WHERE resource_id = s.resource_id AND subscription_id = s.subscription_id AND next_at IS NOT NULL
    ORDER BY next_at LIMIT 1
) due
WHERE s.state = 'enabled' AND s.subscription_id <> ALL($1)
"""

# It stays in its block, by whose id it will be pruned, and is in it again where a process that had lost the block has
# put it back on the ladder, or given it up, meanwhile.
_FINISHED = f"""
WITH r AS MATERIALIZED (
    SELECT * FROM unnest(${{}}::uuid[], ${{}}::uuid[], ${{}}::uuid[], ${{}}::timestamptz[], ${{}}::smallint[],
        ${{}}::smallint[], ${{}}::integer[], ${{}}::integer[])
        AS s (resource_id, subscription_id, block_id, at, attempts, status, first, last)
    CROSS JOIN LATERAL unnest((${{}}::uuid[])[first:last], (${{}}::uuid[])[first:last]) AS e (about, event_id)
)
UPDATE events_deliveries d SET delivered_at = r.at, attempts = r.attempts, status = r.status, next_at = NULL,
    dead_at = NULL, reason = NULL, block_id = r.block_id
FROM r WHERE {_MATCH}
"""

# A row that leaves its block. What another process delivered or has in hand meanwhile is left to it; and where this is
# written again, because the answer was lost, it is done once. Whose a block is is asked as it is when one is closed.
_MOVED = f"""
UPDATE events_deliveries d SET
    next_at = r.next_at, dead_at = r.dead_at, reason = r.reason, block_id = NULL,
    attempts = r.attempts, status = r.status, error = r.error,
    failures = CASE WHEN r.failure IS NULL THEN d.failures
        ELSE coalesce(d.failures, '[]'::jsonb) || r.failure::jsonb END
FROM unnest(${{}}::uuid[], ${{}}::uuid[], ${{}}::uuid[], ${{}}::uuid[], ${{}}::uuid[], ${{}}::timestamptz[],
    ${{}}::timestamptz[], ${{}}::text[], ${{}}::smallint[], ${{}}::smallint[], ${{}}::text[], ${{}}::text[])
    AS r (resource_id, about, event_id, subscription_id, block_id, next_at, dead_at, reason, attempts, status, error,
        failure)
WHERE {_MATCH} AND d.delivered_at IS NULL AND d.block_id = r.block_id AND EXISTS (
    SELECT FROM events_blocks b WHERE b.block_id = r.block_id AND (b.owner = ${{}} OR b.owner IS NULL))
"""

_TRIES = """
SELECT s.name, d.event_id, d.next_at, d.delivered_at, d.attempts, d.status, d.failures, d.reason
FROM events_deliveries d LEFT JOIN events_subscriptions s ON s.subscription_id = d.subscription_id
WHERE d.resource_id = $1 AND d.about = $2 ORDER BY d.at, d.event_id, s.name
"""

_PRUNE = """
DELETE FROM events_deliveries WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM events_deliveries WHERE block_id < $1 AND delivered_at IS NOT NULL ORDER BY block_id LIMIT $2))
"""

# From one subscription with such rows to the next, so that the rows themselves are not gone through.
_OF_EACH = """
    (SELECT resource_id, subscription_id FROM events_deliveries WHERE {time} IS NOT NULL
    ORDER BY resource_id, subscription_id LIMIT 1)
    UNION ALL
    SELECT next.* FROM {each} CROSS JOIN LATERAL (
        SELECT resource_id, subscription_id FROM events_deliveries
        WHERE {time} IS NOT NULL
            AND (resource_id, subscription_id) > ({each}.resource_id, {each}.subscription_id)
        ORDER BY resource_id, subscription_id LIMIT 1
    ) next
"""
_PRUNE_GONE = f"""
WITH RECURSIVE waits AS ({_OF_EACH.format(time="next_at", each="waits")})
DELETE FROM events_deliveries WHERE ctid = ANY(ARRAY(
    SELECT d.ctid FROM waits CROSS JOIN LATERAL (
        SELECT ctid FROM events_deliveries
        WHERE resource_id = waits.resource_id AND subscription_id = waits.subscription_id AND next_at IS NOT NULL
        LIMIT $1
    ) d
    WHERE NOT EXISTS (SELECT FROM events_subscriptions s WHERE s.subscription_id = waits.subscription_id)
    LIMIT $1))
"""
_OLD = """ARRAY(
    SELECT d.ctid FROM {each} CROSS JOIN LATERAL (
        SELECT ctid FROM events_deliveries
        WHERE resource_id = {each}.resource_id AND subscription_id = {each}.subscription_id AND {time} < $1
        ORDER BY {time} LIMIT $2
    ) d LIMIT $2)"""
_PRUNE_DEAD = f"""
WITH RECURSIVE waits AS ({_OF_EACH.format(time="next_at", each="waits")}),
died AS ({_OF_EACH.format(time="dead_at", each="died")})
DELETE FROM events_deliveries WHERE ctid = ANY(
    {_OLD.format(time="next_at", each="waits")} || {_OLD.format(time="dead_at", each="died")})
"""


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """A failed try as it is remembered with its delivery."""

    at: datetime
    attempt: int
    status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """What a try of `delivery` came to."""

    delivery: Delivery
    outcome: Outcome
    verdict: Verdict


_FAILURES = msgspec.json.Decoder(list[Failure])


def inserting(deliveries: Sequence[Delivery], now: datetime) -> Part:
    """New deliveries; one without a block lies in the backlog, due at once. Repeated ones are left as they are."""
    alike = shared(deliveries, _shared_by_events)
    if len(alike.keys) > _MANY:
        keys = [_shared_by_events(delivery) for delivery in deliveries]
        return Part(_INSERT_MANY, (now, *_columns(keys, 5), *_own_columns(deliveries)))
    return Part(_INSERT, (now, *_columns(alike.keys, 5), alike.first, alike.last, *_own_columns(alike.rows)))


def _own_columns(deliveries: Sequence[Delivery]) -> list[list[Any]]:
    events = [delivery.event for delivery in deliveries]
    return [
        [event.about or event.event_id for event in events],
        [event.event_id for event in events],
        [event.at for event in events],
        [event.data for event in events],
    ]


async def of_blocks(database: Database, blocks: Sequence[UUID]) -> list[Delivery]:
    """The unfinished deliveries of `blocks`."""
    return [_delivery(row) for row in await database.fetch(_OF_BLOCKS, blocks)]


async def claim(
    database: Database,
    now: datetime,
    limit: int,
    without: Collection[UUID],
    *,
    block: UUID,
    owner: UUID,
    lease_until: datetime,
) -> list[Delivery]:
    """Up to `limit` due rows of each enabled subscription not in `without`, now in `block` of `owner`; it is not opened
    where there are none."""
    rows = await database.fetch(_CLAIM, now, limit, list(without), block, owner, lease_until)
    return [_delivery(row) for row in rows]


async def next_due(database: Database, without: Collection[UUID]) -> datetime | None:
    """When the next row of an enabled subscription not in `without` is due."""
    return await database.fetchval(_NEXT_DUE, list(without))


def writing(results: Sequence[Result], owner: UUID) -> list[Part]:
    """What tries of the process `owner` came to, in two parts at most."""
    finished = [r for r in results if isinstance(r.verdict, Delivered)]
    moved = [r for r in results if not isinstance(r.verdict, Delivered)]
    parts: list[Part] = []
    if finished:
        alike = shared(finished, _shared_by_results)
        events = [result.delivery.event for result in alike.rows]
        keys = ([event.about or event.event_id for event in events], [event.event_id for event in events])
        parts.append(Part(_FINISHED, (*_columns(alike.keys, 6), alike.first, alike.last, *keys)))
    if moved:
        changes = (
            [r.delivery.block for r in moved],
            [r.verdict.next_at if isinstance(r.verdict, Again) else None for r in moved],
            [r.outcome.at if isinstance(r.verdict, Dead) else None for r in moved],
            [r.verdict.reason if isinstance(r.verdict, Dead) else None for r in moved],
            [_attempts(r) for r in moved],
            [r.outcome.status for r in moved],
            [r.outcome.error for r in moved],
            [_failure(r) for r in moved],
            owner,
        )
        parts.append(Part(_MOVED, (*_keys(moved), *changes)))
    return parts


async def discard(database: Database, deliveries: Sequence[Delivery]) -> None:
    """Forget deliveries whose subscription is gone."""
    await database.execute(
        f"DELETE FROM events_deliveries WHERE {_KEY} IN"
        " (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]))",
        *_delivery_keys(deliveries),
    )


async def tries(database: Database, resource: ResourceId, about: UUID) -> list[tuple[Row, list[Failure]]]:
    """The deliveries of the events about a message: name, next_at, delivered_at, attempts, status; their failures."""
    rows = await database.fetch(_TRIES, resource, about)
    return [(row, _FAILURES.decode(row["failures"]) if row["failures"] else []) for row in rows]


async def prune_delivered(database: Database, before: UUID, limit: int) -> int:
    """Delete up to `limit` delivered rows of blocks older than the time-ordered id `before`; how many it were."""
    return _count(await database.execute(_PRUNE, before, limit))


async def prune_dead(database: Database, before: datetime, limit: int) -> int:
    """Delete up to `limit` rows that died, or came due and found no enabled subscription, before; how many it were."""
    return _count(await database.execute(_PRUNE_DEAD, before, limit))


async def prune_gone(database: Database, limit: int) -> int:
    """Delete up to `limit` rows that wait for subscriptions that are gone; how many it were. They were on their way
    when the subscription was removed, and failed later."""
    return _count(await database.execute(_PRUNE_GONE, limit))


def _delivery(row: Row) -> Delivery:
    about = row["about"] if row["about"] != row["event_id"] else None
    event = Event(
        row["event_id"], ResourceId(row["resource_id"]), row["type"], row["subject"], row["data"], row["at"], about
    )
    return Delivery(event, row["subscription_id"], row["since"], row["attempts"], row["block_id"])


def _shared_by_events(delivery: Delivery) -> tuple[object, ...]:
    event = delivery.event
    return event.resource, delivery.subscription, delivery.block, event.type, event.subject


def _shared_by_results(result: Result) -> tuple[object, ...]:
    delivery, outcome = result.delivery, result.outcome
    return (
        delivery.event.resource,
        delivery.subscription,
        delivery.block,
        outcome.at,
        delivery.attempts + 1,
        outcome.status,
    )


def _columns(rows: Sequence[tuple[object, ...]], count: int) -> list[list[object]]:
    """`rows` of `count` values each as that many arrays."""
    return [[row[index] for row in rows] for index in range(count)]


def _keys(results: Sequence[Result]) -> tuple[list[UUID], list[UUID], list[UUID], list[UUID]]:
    return _delivery_keys([result.delivery for result in results])


def _delivery_keys(deliveries: Sequence[Delivery]) -> tuple[list[UUID], list[UUID], list[UUID], list[UUID]]:
    events = [delivery.event for delivery in deliveries]
    return (
        [event.resource for event in events],
        [event.about or event.event_id for event in events],
        [event.event_id for event in events],
        [delivery.subscription for delivery in deliveries],
    )


def _attempts(result: Result) -> int:
    tried = result.outcome.status is not None or result.outcome.error is not None
    return result.delivery.attempts + tried


def _failure(result: Result) -> str | None:
    outcome = result.outcome
    if isinstance(result.verdict, Delivered) or (outcome.status is None and outcome.error is None):
        return None
    failure = Failure(outcome.at, result.delivery.attempts + 1, outcome.status, outcome.error)
    return msgspec.json.encode([failure]).decode()


def _count(tag: str) -> int:
    return int(tag.rpartition(" ")[2])
