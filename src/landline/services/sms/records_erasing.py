"""The SQL of erasing what is stored of one phone's number. Messages are found by `records_search`."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from landline.core.ids import ResourceId
from landline.services.sms.model.messages import State
from landline.store.database import Connection, Record

_WITH_MESSAGES = ("sms_attempts", "sms_esme_messages")


async def outgoing(connection: Connection, resource: ResourceId, ids: Sequence[UUID], before: datetime) -> list[UUID]:
    """Delete those messages of `ids` that ended before, with their tries; which it were."""
    rows = await connection.fetch(
        "DELETE FROM sms_messages WHERE resource_id = $1 AND message_id = ANY($2)"
        f" AND state >= {int(State.DELIVERED)} AND ended_at < $3 RETURNING message_id",
        resource,
        ids,
        before,
    )
    erased = [row["message_id"] for row in rows]
    for table in _WITH_MESSAGES:
        await connection.execute(
            f"DELETE FROM {table} WHERE resource_id = $1 AND message_id = ANY($2)", resource, erased
        )
    return erased


async def incoming(connection: Connection, resource: ResourceId, ids: Sequence[UUID], before: datetime) -> list[UUID]:
    """Delete those texts of `ids` that came before; which it were."""
    rows = await connection.fetch(
        "DELETE FROM sms_inbound WHERE resource_id = $1 AND message_id = ANY($2) AND received_at < $3"
        " RETURNING message_id",
        resource,
        ids,
        before,
    )
    return [row["message_id"] for row in rows]


async def left(connection: Connection, resource: ResourceId, ids: Sequence[UUID]) -> list[Record]:
    """The state of those messages of `ids` that are there."""
    return await connection.fetch(
        "SELECT message_id, state FROM sms_messages WHERE resource_id = $1 AND message_id = ANY($2)", resource, ids
    )


async def rest(connection: Connection, resource: ResourceId, number: str) -> int:
    """Delete what waits for SMPP accounts about `number`, and what pools know of it; how many wait no more."""
    await connection.execute(
        "DELETE FROM sms_sticky WHERE resource_id = $1 AND recipient = $2"
        " AND pool = ANY(ARRAY(SELECT name FROM sms_pools WHERE resource_id = $1))",
        resource,
        number,
    )
    done = await connection.execute(
        # Of a receipt the recipient is the phone, of a text the sender; the other is a number of the resource's own.
        "DELETE FROM sms_esme_out WHERE resource_id = $1"
        " AND CASE WHEN submitted_at IS NULL THEN sender ELSE recipient END = $2",
        resource,
        number,
    )
    return int(done.rpartition(" ")[2])
