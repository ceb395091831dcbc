"""The SQL of what waits for customers who speak SMPP: claimed, brought or put off, given up."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from landline.core.ids import ResourceId
from landline.store.database import Connection, Record

_FIRST = UUID(int=0)
_COLUMNS_OUT = (
    "resource_id, system_id, out_id, message_id, attempts, submitted_at, done_at, code, delivered, sender, recipient,"
    " body, parts, canceled"
)
# Rows are found by their keys and changed by ctid: joined, all there are might be read, and each ask anew (plans.md).
_N = "SELECT ctid FROM sms_esme_out WHERE resource_id = $1 AND system_id = $2 AND out_id = n.out_id LIMIT 1"


async def claim(
    connection: Connection,
    resource: ResourceId,
    system_id: str,
    owner: UUID,
    now: datetime,
    lease_until: datetime,
    limit: int,
    floor: UUID = _FIRST,
) -> list[Record]:
    """Up to `limit` of what is due for an account, the oldest first; nobody else claims it before `lease_until`. What
    is older than the id `floor` is not looked for."""
    rows = await connection.fetch(
        "UPDATE sms_esme_out SET owner = $3, due_at = $5 WHERE ctid = ANY(ARRAY(SELECT ctid FROM sms_esme_out"
        " WHERE resource_id = $1 AND system_id = $2 AND out_id >= $7 AND due_at <= $4"
        " ORDER BY out_id LIMIT $6 FOR UPDATE SKIP LOCKED))"
        f" RETURNING {_COLUMNS_OUT}",
        resource,
        system_id,
        owner,
        now,
        lease_until,
        limit,
        floor,
    )
    return sorted(rows, key=lambda row: row["out_id"])


async def next_due(
    connection: Connection, resource: ResourceId, system_id: str, floor: UUID = _FIRST
) -> datetime | None:
    """When something is due for the account; `floor` as in `claim`."""
    return await connection.fetchval(
        "SELECT min(due_at) FROM sms_esme_out WHERE resource_id = $1 AND system_id = $2 AND out_id >= $3",
        resource,
        system_id,
        floor,
    )


async def oldest(connection: Connection, resource: ResourceId, system_id: str, upto: UUID) -> UUID:
    """The first that waits for the account, `upto` at most."""
    found = await connection.fetchval(
        "SELECT out_id FROM sms_esme_out WHERE resource_id = $1 AND system_id = $2 AND out_id < $3"
        " ORDER BY out_id LIMIT 1",
        resource,
        system_id,
        upto,
    )
    return upto if found is None else found


async def delivered(
    connection: Connection, resource: ResourceId, system_id: str, owner: UUID, outs: Sequence[UUID]
) -> None:
    """The account has taken these."""
    await connection.execute(
        f"DELETE FROM sms_esme_out WHERE ctid = ANY(ARRAY(SELECT ({_N}) FROM unnest($3::uuid[]) AS n (out_id)))"
        " AND owner = $4",
        resource,
        system_id,
        outs,
        owner,
    )


async def put_off(
    connection: Connection,
    resource: ResourceId,
    system_id: str,
    owner: UUID,
    outs: Sequence[tuple[UUID, datetime, int]],
) -> None:
    """The account has not taken these: (out id, when to bring it again, attempts so far)."""
    await connection.execute(
        "UPDATE sms_esme_out o SET owner = NULL, due_at = n.due_at, attempts = n.attempts"
        " FROM unnest($3::uuid[], $4::timestamptz[], $5::integer[]) AS n (out_id, due_at, attempts)"
        f" CROSS JOIN LATERAL ({_N}) AS found WHERE o.ctid = found.ctid AND o.owner = $6",
        resource,
        system_id,
        [out_id for out_id, _, _ in outs],
        [due_at for _, due_at, _ in outs],
        [attempts for _, _, attempts in outs],
        owner,
    )


async def inherit(connection: Connection, owner: UUID, now: datetime) -> None:
    """Nothing is in any other process's hands any more."""
    await connection.execute("UPDATE sms_esme_out SET owner = NULL, due_at = $2 WHERE owner <> $1", owner, now)


async def release(connection: Connection, owners: Collection[UUID], now: datetime) -> set[str]:
    """Nothing is in the hands of `owners` any more; the system ids it waits for."""
    rows = await connection.fetch(
        "UPDATE sms_esme_out SET owner = NULL, due_at = $2 WHERE owner = ANY($1) RETURNING system_id",
        list(owners),
        now,
    )
    return {row["system_id"] for row in rows}


async def latest(connection: Connection, resource: ResourceId, system_id: str, count: int) -> UUID | None:
    """The oldest of the latest `count` that wait for an account; None when they are fewer."""
    return await connection.fetchval(
        "SELECT out_id FROM sms_esme_out WHERE resource_id = $1 AND system_id = $2 ORDER BY out_id DESC"
        " OFFSET $3 LIMIT 1",
        resource,
        system_id,
        count - 1,
    )


async def give_up(connection: Connection, resource: ResourceId, system_id: str, before: UUID, *, limit: int) -> int:
    """Delete up to `limit` of what waits for an account and is older than the id `before`; how many it were."""
    tag = await connection.execute(
        "DELETE FROM sms_esme_out WHERE ctid = ANY(ARRAY(SELECT ctid FROM sms_esme_out"
        " WHERE resource_id = $1 AND system_id = $2 AND out_id < $3 ORDER BY out_id LIMIT $4))",
        resource,
        system_id,
        before,
        limit,
    )
    return int(tag.rpartition(" ")[2])
