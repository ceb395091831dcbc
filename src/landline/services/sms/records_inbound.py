"""The SQL of what phones send us: received texts, opt-outs, and the keywords a number answers to."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from landline.core.ids import ResourceId
from landline.ports.sms_carrier import Arrival
from landline.store.database import Connection, Record


async def receive(
    connection: Connection, resource: ResourceId, message_id: UUID, carrier: str, arrival: Arrival, keyword: str | None
) -> bool:
    """Store a received text; False when the carrier brought it before."""
    done = await connection.execute(
        "INSERT INTO sms_inbound (resource_id, message_id, received_at, segments, carrier, carrier_key, sender,"
        " recipient, keyword, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        " ON CONFLICT (carrier, carrier_key) DO NOTHING",
        resource,
        message_id,
        arrival.at,
        arrival.segments,
        carrier,
        arrival.key,
        arrival.sender,
        arrival.recipient,
        keyword,
        arrival.text,
    )
    return done == "INSERT 0 1"


async def opt_out(
    connection: Connection, resource: ResourceId, sender: str, recipients: Sequence[str], at: datetime, origin: str
) -> None:
    """`recipients` want nothing more from `sender`."""
    await connection.execute(
        "INSERT INTO sms_optouts (resource_id, sender, recipient, at, origin)"
        " SELECT $1, $2, recipient, $4, $5 FROM (SELECT DISTINCT unnest($3::text[]) AS recipient) r"
        " ON CONFLICT DO NOTHING",
        resource,
        sender,
        recipients,
        at,
        origin,
    )


async def opt_in(connection: Connection, resource: ResourceId, sender: str, recipients: Sequence[str]) -> None:
    """`recipients` want messages from `sender` again."""
    await connection.execute(
        "DELETE FROM sms_optouts WHERE resource_id = $1 AND sender = $2 AND recipient = ANY($3)",
        resource,
        sender,
        recipients,
    )


async def find(connection: Connection, message_id: UUID) -> Record | None:
    """The received text."""
    return await connection.fetchrow("SELECT * FROM sms_inbound WHERE message_id = $1", message_id)


async def keywords(connection: Connection, resource: ResourceId, number: str) -> str | None:
    """The languages set for `number`, as JSON."""
    return await connection.fetchval(
        "SELECT languages::text FROM sms_keywords WHERE resource_id = $1 AND number = $2", resource, number
    )


async def set_keywords(connection: Connection, resource: ResourceId, number: str, languages: str | None) -> None:
    """Set the languages of `number`, or with None go back to plain English."""
    if languages is None:
        await connection.execute("DELETE FROM sms_keywords WHERE resource_id = $1 AND number = $2", resource, number)
        return
    await connection.execute(
        "INSERT INTO sms_keywords (resource_id, number, languages) VALUES ($1, $2, $3::text::jsonb)"
        " ON CONFLICT (resource_id, number) DO UPDATE SET languages = excluded.languages",
        resource,
        number,
        languages,
    )
