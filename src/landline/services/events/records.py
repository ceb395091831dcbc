"""SQL of event delivery: events, their blocks, and their deliveries to subscriptions. The subscriptions themselves, and
dead letters: `records_subscriptions`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from landline.core.ids import ResourceId
from landline.services.events.model import Again, Dead, Delivered, Delivery, Event, Outcome, Verdict
from landline.store.database import Connection, Database
from landline.store.parts import Part
from landline.store.sharing import shared

Row = Mapping[str, Any]

_INSERT = """
INSERT INTO events_deliveries (resource_id, about, event_id, subscription_id, since, next_at, at, type, subject, data)
SELECT resource_id, about, event_id, subscription_id, since, since, at, type, subject, data
FROM (SELECT ${}::timestamptz AS since) AS now
CROSS JOIN unnest(${}::uuid[], ${}::uuid[], ${}::text[], ${}::text[], ${}::integer[], ${}::integer[])
    AS s (resource_id, subscription_id, type, subject, first, last)
CROSS JOIN LATERAL unnest((${}::uuid[])[first:last], (${}::uuid[])[first:last], (${}::timestamptz[])[first:last],
    (${}::bytea[])[first:last])
    AS e (about, event_id, at, data)
ON CONFLICT DO NOTHING
"""

# Each row with all of its own: a slice of an array is found by going through what stands before it, which of thousands
# that share nothing is too long a way.
_INSERT_MANY = """
INSERT INTO events_deliveries (resource_id, about, event_id, subscription_id, since, next_at, at, type, subject, data)
SELECT resource_id, about, event_id, subscription_id, since, since, at, type, subject, data
FROM (SELECT ${}::timestamptz AS since) AS now
CROSS JOIN unnest(${}::uuid[], ${}::uuid[], ${}::text[], ${}::text[], ${}::uuid[], ${}::uuid[], ${}::timestamptz[],
    ${}::bytea[])
    AS e (resource_id, subscription_id, type, subject, about, event_id, at, data)
ON CONFLICT DO NOTHING
"""
_MANY = 2_000

COLUMNS = (
    "d.resource_id, d.about, d.event_id, d.subscription_id, d.block_id, d.since, d.next_at, d.at, d.attempts,"
    " d.type, d.subject, d.data"
)
_KEY = "(resource_id, about, event_id, subscription_id)"

MATCH = (
    "(d.resource_id, d.about, d.event_id, d.subscription_id) = (r.resource_id, r.about, r.event_id, r.subscription_id)"
)

_KEEP = """
INSERT INTO events_batches (block_id, owner, due_at, since, events) VALUES (${}, ${}, ${}, ${}, ${})
"""
_OF_BATCHES = "SELECT block_id, since, events FROM events_batches WHERE block_id = ANY($1)"
_THERE = """
SELECT d.event_id, d.subscription_id
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) AS r (resource_id, about, event_id, subscription_id)
CROSS JOIN LATERAL (
    SELECT event_id, subscription_id FROM events_deliveries d
    WHERE (d.resource_id, d.about, d.event_id, d.subscription_id)
        = (r.resource_id, r.about, r.event_id, r.subscription_id)
    LIMIT 1
) d
"""

_OF_BLOCKS = f"""
SELECT {COLUMNS} FROM events_deliveries d WHERE d.block_id = ANY($1) AND d.delivered_at IS NULL
"""

# Its first row, most often, and without what it told, which nobody needs any more. To look whether there is one already
# costs PostgreSQL half as much again: `_FINISHED` is for what is known to have one, or turned out to.
_FINISHED_FIRST = """
INSERT INTO events_deliveries (resource_id, about, event_id, subscription_id, block_id, since, at, delivered_at,
    attempts, status, type, subject, data)
SELECT s.resource_id, e.about, e.event_id, s.subscription_id, s.block_id, s.since, s.since, e.at, s.attempts, s.status,
    '', '', ''
FROM unnest(${}::uuid[], ${}::uuid[], ${}::uuid[], ${}::timestamptz[], ${}::smallint[], ${}::smallint[], ${}::integer[],
    ${}::integer[])
    AS s (resource_id, subscription_id, block_id, since, attempts, status, first, last)
CROSS JOIN LATERAL unnest((${}::uuid[])[first:last], (${}::uuid[])[first:last], (${}::timestamptz[])[first:last])
    AS e (about, event_id, at)
"""
# It is in its block, by whose id it will be pruned, also where a process that had lost the block has put it on the
# ladder, or given it up, meanwhile.
_FINISHED = f"""{_FINISHED_FIRST}
ON CONFLICT {_KEY} DO UPDATE SET delivered_at = excluded.delivered_at, attempts = excluded.attempts,
    status = excluded.status, next_at = NULL, dead_at = NULL, reason = NULL, block_id = excluded.block_id, data = ''
"""

# The first row of what was tried in vain, or is put off, unless the batch is another process's by now: that one says
# what follows. Where this is written again, because the answer was lost, the row is there.
_FAILED = """
INSERT INTO events_deliveries (resource_id, about, event_id, subscription_id, since, at, type, subject, data,
    next_at, dead_at, reason, attempts, status, error, failures)
SELECT resource_id, about, event_id, subscription_id, since, at, type, subject, data, next_at, dead_at, reason,
    attempts, status, error, CASE WHEN failure IS NOT NULL THEN failure::jsonb END
FROM unnest(${}::uuid[], ${}::uuid[], ${}::uuid[], ${}::uuid[], ${}::uuid[], ${}::timestamptz[],
    ${}::timestamptz[], ${}::text[], ${}::smallint[], ${}::smallint[], ${}::text[], ${}::text[],
    ${}::timestamptz[], ${}::timestamptz[], ${}::text[], ${}::text[], ${}::bytea[])
    AS r (resource_id, about, event_id, subscription_id, block_id, next_at, dead_at, reason, attempts, status, error,
        failure, since, at, type, subject, data)
WHERE EXISTS (SELECT FROM events_batches b
    WHERE b.block_id = ANY(ARRAY[r.block_id]) AND (b.owner = ${} OR b.owner IS NULL)) -- ANY: see plans.md
ON CONFLICT DO NOTHING
"""

# A row that leaves its block. What another process delivered or has in hand meanwhile is left to it; and where this is
# written again, because the answer was lost, it is done once. Whose a block is is asked as it is when one is closed.
_MOVED = f"""
UPDATE events_deliveries d SET
    next_at = r.next_at, dead_at = r.dead_at, reason = r.reason, block_id = NULL,
    attempts = r.attempts,
    status = CASE WHEN r.failure IS NULL THEN d.status ELSE r.status END, -- without a try what the last one met
    error = CASE WHEN r.failure IS NULL THEN d.error ELSE r.error END,
    failures = CASE WHEN r.failure IS NULL THEN d.failures
        ELSE coalesce(d.failures, '[]'::jsonb) || r.failure::jsonb END
FROM unnest(${{}}::uuid[], ${{}}::uuid[], ${{}}::uuid[], ${{}}::uuid[], ${{}}::uuid[], ${{}}::timestamptz[],
    ${{}}::timestamptz[], ${{}}::text[], ${{}}::smallint[], ${{}}::smallint[], ${{}}::text[], ${{}}::text[])
    AS r (resource_id, about, event_id, subscription_id, block_id, next_at, dead_at, reason, attempts, status, error,
        failure)
WHERE {MATCH} AND d.delivered_at IS NULL AND d.block_id = r.block_id AND EXISTS (
    SELECT FROM events_blocks b WHERE b.block_id = ANY(ARRAY[r.block_id]) AND (b.owner = ${{}} OR b.owner IS NULL))
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
    AND (next_at < $1 OR dead_at < $1) -- an operator may revive it in this moment
"""


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """A failed try as it is remembered with its delivery."""

    at: datetime
    attempt: int
    status: int | None
    error: str | None


class Result(msgspec.Struct, frozen=True):
    """What a try of `delivery` came to."""

    delivery: Delivery
    outcome: Outcome
    verdict: Verdict


_FAILURES = msgspec.json.Decoder(list[Failure])


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """A delivery in its batch. Versions that know more may add fields at its end: that is left unread."""

    subscription: UUID
    resource: UUID
    type: str
    subject: str
    about: UUID | None
    event_id: UUID
    at: datetime
    data: bytes


_KEEPING = msgspec.msgpack.Encoder(uuid_format="bytes")
_KEPT = msgspec.msgpack.Decoder(list[_Kept])


def keeping(deliveries: Sequence[Delivery], block: UUID, owner: UUID, lease_until: datetime, now: datetime) -> Part:
    """New deliveries as the batch `block` of `owner`."""
    kept = [
        _Kept(each.subscription, told.resource, told.type, told.subject, told.about, told.event_id, told.at, told.data)
        for each in deliveries
        for told in (each.event,)
    ]
    return Part(_KEEP, (block, owner, lease_until, now, _KEEPING.encode(kept)))


async def of_batches(database: Database, blocks: Sequence[UUID]) -> list[Delivery]:
    """The deliveries of the batches `blocks` of which nothing is known yet: each that came to something has a row."""
    found = [
        Delivery(_event(kept), kept.subscription, row["since"], block=row["block_id"])
        for row in await database.fetch(_OF_BATCHES, blocks)
        for kept in _KEPT.decode(row["events"])
    ]
    rows = await database.fetch(_THERE, *_delivery_keys(found)) if found else []
    there = {(row["event_id"], row["subscription_id"]) for row in rows}
    return [each for each in found if (each.event.event_id, each.subscription) not in there]


def inserting(deliveries: Sequence[Delivery], now: datetime) -> Part:
    """New deliveries for which there is no room in memory: they lie in the backlog, due at once. Repeated ones are left
    as they are."""
    alike = shared(deliveries, _shared_by_events)
    if len(alike.keys) > _MANY:
        keys = [_shared_by_events(delivery) for delivery in deliveries]
        return Part(_INSERT_MANY, (now, *_columns(keys, 4), *_own_columns(deliveries)))
    return Part(_INSERT, (now, *_columns(alike.keys, 4), alike.first, alike.last, *_own_columns(alike.rows)))


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
    return [delivery_of(row) for row in await database.fetch(_OF_BLOCKS, blocks)]


def writing(results: Sequence[Result], owner: UUID, *, again: bool = False) -> list[Part]:
    """What tries of the process `owner` came to, in three parts at most. What was written before raises `Duplicate`,
    unless it is written `again`."""
    parts: list[Part] = []
    finished = _once([r for r in results if isinstance(r.verdict, Delivered)])
    if finished:
        alike = shared(finished, _shared_by_results)
        events = [result.delivery.event for result in alike.rows]
        own = (
            [event.about or event.event_id for event in events],
            [event.event_id for event in events],
            [result.outcome.at for result in alike.rows],
        )
        again = again or any(result.delivery.stored for result in finished)
        columns = (*_columns(alike.keys, 6), alike.first, alike.last, *own)
        parts.append(Part(_FINISHED if again else _FINISHED_FIRST, columns))
    failed = _without([r for r in results if isinstance(r.verdict, Again | Dead)], finished)
    moved = [r for r in failed if r.delivery.stored]
    if moved:
        parts.append(Part(_MOVED, (*_keys(moved), *_changes(moved), owner)))
    first = [r for r in failed if not r.delivery.stored]
    if first:
        events = [result.delivery.event for result in first]
        told = (
            [result.delivery.since for result in first],
            [event.at for event in events],
            [event.type for event in events],
            [event.subject for event in events],
            [event.data for event in events],
        )
        parts.append(Part(_FAILED, (*_keys(first), *_changes(first), *told, owner)))
    return parts


def _once(finished: list[Result]) -> list[Result]:
    """`finished` with the last result only of what was delivered twice, which one statement cannot write."""
    if len({result.delivery.event.event_id for result in finished}) == len(finished):
        return finished
    return list({_key(result): result for result in finished}.values())


def _without(failed: list[Result], finished: list[Result]) -> list[Result]:
    """`failed` without what was in hand twice and has been delivered by the other: nor can it write both."""
    if not failed or not finished:
        return failed
    delivered = {_key(result) for result in finished}
    return [result for result in failed if _key(result) not in delivered]


def _key(result: Result) -> tuple[UUID, UUID]:
    return result.delivery.event.event_id, result.delivery.subscription


def _changes(failed: Sequence[Result]) -> tuple[list[Any], ...]:
    return (
        [r.delivery.block for r in failed],
        [r.verdict.next_at if isinstance(r.verdict, Again) else None for r in failed],
        [r.outcome.at if isinstance(r.verdict, Dead) else None for r in failed],
        [r.verdict.reason if isinstance(r.verdict, Dead) else None for r in failed],
        [_attempts(r) for r in failed],
        [r.outcome.status for r in failed],
        [r.outcome.error for r in failed],
        [_failure(r) for r in failed],
    )


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


async def erase(connection: Connection, resource: ResourceId, about: Sequence[UUID]) -> int:
    """Delete the deliveries of the events about these messages; how many it were."""
    return _count(
        await connection.execute(
            "DELETE FROM events_deliveries WHERE resource_id = $1 AND about = ANY($2)", resource, about
        )
    )


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


def _event(kept: _Kept) -> Event:
    return Event(kept.event_id, ResourceId(kept.resource), kept.type, kept.subject, kept.data, kept.at, kept.about)


def delivery_of(row: Row) -> Delivery:
    about = row["about"] if row["about"] != row["event_id"] else None
    event = Event(
        row["event_id"], ResourceId(row["resource_id"]), row["type"], row["subject"], row["data"], row["at"], about
    )
    return Delivery(event, row["subscription_id"], row["since"], row["attempts"], row["block_id"], stored=True)


def _shared_by_events(delivery: Delivery) -> tuple[object, ...]:
    event = delivery.event
    return event.resource, delivery.subscription, event.type, event.subject


def _shared_by_results(result: Result) -> tuple[object, ...]:
    """Without the instant: the answers to what a batch brought one by one differ in nothing else."""
    delivery = result.delivery
    return (
        delivery.event.resource,
        delivery.subscription,
        delivery.block,
        delivery.since,
        delivery.attempts + 1,
        result.outcome.status,
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
