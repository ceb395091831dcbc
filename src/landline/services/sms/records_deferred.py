"""The SQL of messages with a timer of their own: to be sent at a time, tried again, or ended when no report came."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from landline.services.sms.model.crowds import NO_CROWDS, Crowds
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
    without: Crowds = NO_CROWDS,
) -> list[Record]:
    """Deferred messages that are due, from now on in the hands of `owner` under the block `claim`; it is not opened
    where there are none. Those of other than `carriers` only when they have been due since `others_since`; of the
    crowds `without` none."""
    rows = await connection.fetch(
        "WITH due AS (SELECT m.resource_id, m.message_id FROM sms_messages m WHERE due_at <= $1 AND claim_id IS NULL"
        f" AND (carrier = ANY($6) OR due_at <= $7){_of_others(without, 8)} ORDER BY due_at LIMIT $5"
        " FOR UPDATE OF m SKIP LOCKED),"
        " opened AS (INSERT INTO sms_blocks (block_id, owner, due_at)"
        "  SELECT $2::uuid, $3::uuid, $4::timestamptz WHERE EXISTS (SELECT FROM due)),"
        " claimed AS (UPDATE sms_messages m SET claim_id = $2 FROM due"
        "  WHERE m.resource_id = due.resource_id AND m.message_id = due.message_id RETURNING m.*)"
        f" {OPEN.replace('FROM sms_messages m', 'FROM claimed m')}",
        now,
        claim,
        owner,
        lease_until,
        limit,
        carriers,
        others_since,
        *_columns_of(without),
    )
    return once(rows)


def _of_others(without: Crowds, first: int) -> str:
    """SQL: whether `m` is of none of these crowds, which are arguments from number `first` on. Empty without any: the
    statement is then the same as ever, and planned once."""
    if not without:
        return ""
    return (
        f" AND m.carrier <> ALL(${first}) AND NOT EXISTS (SELECT FROM"
        f" unnest(${first + 1}::uuid[], ${first + 2}::text[], ${first + 3}::text[]) AS c (resource_id, sender, carrier)"
        " WHERE c.resource_id = m.resource_id AND c.sender = m.sender AND c.carrier = m.carrier)"
    )


def _columns_of(without: Crowds) -> list[list[Any]]:
    if not without:
        return []
    senders = [(*crowd.sender, crowd.carrier) for crowd in without if crowd.sender is not None]
    carriers = [crowd.carrier for crowd in without if crowd.sender is None]
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
    connection: Connection,
    now: datetime,
    carriers: Sequence[str],
    pause: timedelta,
    without: Crowds = NO_CROWDS,
) -> datetime | None:
    """When there is something to claim, as `claim_deferred` would with `others_since` a `pause` ago."""
    return await connection.fetchval(
        "SELECT least((SELECT min(CASE WHEN carrier = ANY($2) THEN due_at ELSE due_at + $3 END) FROM sms_messages m"
        f"  WHERE due_at <= $1 AND claim_id IS NULL{_of_others(without, 4)}),"
        f" (SELECT min(due_at) FROM sms_messages m WHERE due_at > $1 AND claim_id IS NULL{_of_others(without, 4)}))",
        now,
        carriers,
        pause,
        *_columns_of(without),
    )
