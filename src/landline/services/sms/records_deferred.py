"""The SQL of messages with a timer of their own: to be sent at a time, tried again, or ended when no report came."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from landline.services.sms.model.crowds import Fairly
from landline.services.sms.records_progress import OPEN, once
from landline.store.database import Connection, Record


async def claim_deferred(
    connection: Connection,
    claim: UUID,
    owner: UUID,
    now: datetime,
    lease_until: datetime,
    limit: int,
    *,
    carriers: Sequence[str],
    others_since: datetime,
    fairly: Fairly | None = None,
) -> list[Record]:
    """Deferred messages that are due, from now on in the hands of `owner` under the block `claim`; it is not opened
    where there are none. Those of other than `carriers` only when they have been due since `others_since`."""
    statement, more = (_CLAIM, []) if fairly is None else (_CLAIM_FAIRLY, [*_columns_of(fairly), fairly.of_each])
    rows = await connection.fetch(statement, now, claim, owner, lease_until, limit, carriers, others_since, *more)
    return once(rows)


_CLAIMED = f"""
opened AS (
    INSERT INTO sms_blocks (block_id, owner, due_at) SELECT $2::uuid, $3::uuid, $4::timestamptz
    WHERE EXISTS (SELECT FROM due)
),
claimed AS (
    UPDATE sms_messages m SET claim_id = $2 FROM due
    WHERE m.resource_id = due.resource_id AND m.message_id = due.message_id RETURNING m.*
)
{OPEN.replace("FROM sms_messages m", "FROM claimed m")}
"""
_CLAIM = f"""
WITH due AS (
    SELECT m.resource_id, m.message_id FROM sms_messages m
    WHERE due_at <= $1 AND claim_id IS NULL AND (carrier = ANY($6) OR due_at <= $7)
    ORDER BY due_at LIMIT $5 FOR UPDATE OF m SKIP LOCKED
),
{_CLAIMED}
"""
_SENDERS = """
RECURSIVE sender AS (
    (
        SELECT carrier, resource_id, sender FROM sms_messages WHERE due_at IS NOT NULL AND claim_id IS NULL
        ORDER BY carrier, resource_id, sender LIMIT 1
    )
    UNION ALL
    SELECT next.* FROM sender AS s CROSS JOIN LATERAL (
        SELECT carrier, resource_id, sender FROM sms_messages m WHERE due_at IS NOT NULL AND claim_id IS NULL
        AND (m.carrier, m.resource_id, m.sender) > (s.carrier, s.resource_id, s.sender)
        ORDER BY carrier, resource_id, sender LIMIT 1
    ) AS next
),
wanted AS (
    SELECT * FROM sender WHERE carrier <> ALL(${}) AND (carrier, resource_id, sender) NOT IN
        (SELECT * FROM unnest(${}::text[], ${}::uuid[], ${}::text[]))
)
"""
"""Every sender with timers, each found by its key after the one before, but for some crowds."""
_OF_EACH = 10
"""Of so many of each sender is chosen at least: only some of the senders may have any that are due."""
# What was found is locked by its key: the CASE keeps PostgreSQL from reading the index of all that is due beside it.
_CLAIM_FAIRLY = f"""
WITH {_SENDERS.format(8, 9, 10, 11)},
found AS (
    SELECT first.* FROM wanted w CROSS JOIN LATERAL (
        SELECT each.*, row_number() OVER (ORDER BY each.due_at) AS turn FROM (
            SELECT m.resource_id, m.message_id, m.due_at FROM sms_messages m
            WHERE m.carrier = w.carrier AND m.resource_id = w.resource_id AND m.sender = w.sender
            AND m.claim_id IS NULL
            AND m.due_at <= CASE WHEN w.carrier = ANY($6) THEN $1::timestamptz ELSE $7::timestamptz END
            ORDER BY m.due_at
            LIMIT (SELECT least($12::bigint, greatest($5 / greatest(count(*), 1), {_OF_EACH})) FROM wanted)
        ) AS each
    ) AS first
    ORDER BY first.turn, first.due_at LIMIT $5
),
due AS (
    SELECT m.resource_id, m.message_id FROM found f JOIN sms_messages m USING (resource_id, message_id)
    WHERE CASE WHEN m.claim_id IS NULL THEN m.due_at <= $1 END FOR UPDATE OF m SKIP LOCKED
),
{_CLAIMED}
"""


def _columns_of(fairly: Fairly) -> list[list[Any]]:
    senders = [(crowd.carrier, *crowd.sender) for crowd in fairly.without if crowd.sender is not None]
    carriers = [crowd.carrier for crowd in fairly.without if crowd.sender is None]
    return [carriers, *([each[column] for each in senders] for column in range(3))]


async def give_back(connection: Connection, claims: Sequence[UUID], owner: UUID, now: datetime) -> None:
    """Whatever is in somebody's hands under `claims`, which `owner` holds now, is in nobody's any more, and due."""
    await connection.execute(
        "UPDATE sms_messages SET claim_id = NULL, due_at = $3 FROM sms_blocks b"
        " WHERE b.block_id = ANY($1) AND b.owner = $2 AND claim_id = b.block_id",
        claims,
        owner,
        now,
    )


async def next_deferred(
    connection: Connection, now: datetime, carriers: Sequence[str], pause: timedelta, fairly: Fairly | None = None
) -> datetime | None:
    """When there is something to claim, as `claim_deferred` would with `others_since` a `pause` ago."""
    statement, more = (_NEXT, []) if fairly is None else (_NEXT_FAIRLY, _columns_of(fairly))
    return await connection.fetchval(statement, now, carriers, pause, *more)


_NEXT = """
SELECT least(
    (SELECT min(CASE WHEN carrier = ANY($2) THEN due_at ELSE due_at + $3 END) FROM sms_messages
        WHERE due_at <= $1 AND claim_id IS NULL),
    (SELECT min(due_at) FROM sms_messages WHERE due_at > $1 AND claim_id IS NULL)
)
"""
_NEXT_FAIRLY = f"""
WITH {_SENDERS.format(4, 5, 6, 7)}
SELECT min(CASE WHEN carrier = ANY($2) OR due_at > $1 THEN due_at ELSE due_at + $3 END)
FROM wanted w CROSS JOIN LATERAL (
    SELECT m.due_at FROM sms_messages m
    WHERE m.carrier = w.carrier AND m.resource_id = w.resource_id AND m.sender = w.sender
    AND m.due_at IS NOT NULL AND m.claim_id IS NULL ORDER BY m.due_at LIMIT 1
) AS first
"""
