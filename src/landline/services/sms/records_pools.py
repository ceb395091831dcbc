"""The SQL of sender pools and of who knows which sender."""

from collections.abc import Mapping, Sequence

from landline.core.ids import ResourceId
from landline.services.sms.model.pools import Pool
from landline.store.database import Connection


async def find(connection: Connection, resource: ResourceId, name: str) -> Pool | None:
    """The pool of that name."""
    row = await connection.fetchrow(
        "SELECT name, senders, sticky FROM sms_pools WHERE resource_id = $1 AND name = $2", resource, name
    )
    return None if row is None else Pool(row["name"], tuple(row["senders"]), row["sticky"])


async def of_resource(connection: Connection, resource: ResourceId) -> list[Pool]:
    """All pools, by name."""
    rows = await connection.fetch(
        "SELECT name, senders, sticky FROM sms_pools WHERE resource_id = $1 ORDER BY name", resource
    )
    return [Pool(row["name"], tuple(row["senders"]), row["sticky"]) for row in rows]


async def put(connection: Connection, resource: ResourceId, pool: Pool) -> None:
    """Make or replace it."""
    await connection.execute(
        "INSERT INTO sms_pools (resource_id, name, senders, sticky) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (resource_id, name) DO UPDATE SET senders = excluded.senders, sticky = excluded.sticky",
        resource,
        pool.name,
        list(pool.senders),
        pool.sticky,
    )


async def delete(connection: Connection, resource: ResourceId, name: str) -> bool:
    """Remove it and what its recipients knew; whether it was there."""
    await connection.execute("DELETE FROM sms_sticky WHERE resource_id = $1 AND pool = $2", resource, name)
    done = await connection.execute("DELETE FROM sms_pools WHERE resource_id = $1 AND name = $2", resource, name)
    return done == "DELETE 1"


async def sticky(connection: Connection, resource: ResourceId, pool: str, recipients: Sequence[str]) -> dict[str, str]:
    """The sender that each of `recipients` knows, if it knows one."""
    rows = await connection.fetch(
        "SELECT recipient, sender FROM sms_sticky WHERE resource_id = $1 AND pool = $2 AND recipient = ANY($3)",
        resource,
        pool,
        recipients,
    )
    return {row["recipient"]: row["sender"] for row in rows}


async def stick(connection: Connection, resource: ResourceId, pool: Pool, chosen: Mapping[str, str]) -> dict[str, str]:
    """Remember `chosen` senders, unless the pool has a sender that another request remembered meanwhile; who sends."""
    # In the order of the recipients, so that two requests at once lock rows in the same order.
    rows = await connection.fetch(
        "INSERT INTO sms_sticky AS s (resource_id, pool, recipient, sender)"
        " SELECT $1, $2, c.recipient, c.sender FROM unnest($3::text[], $4::text[]) AS c (recipient, sender)"
        " ORDER BY c.recipient"
        " ON CONFLICT (resource_id, pool, recipient) DO UPDATE SET sender ="
        "  CASE WHEN s.sender = ANY($5) THEN s.sender ELSE excluded.sender END"
        " RETURNING recipient, sender",
        resource,
        pool.name,
        list(chosen),
        list(chosen.values()),
        list(pool.senders),
    )
    return {row["recipient"]: row["sender"] for row in rows}
