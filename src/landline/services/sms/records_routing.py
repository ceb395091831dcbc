"""The SQL of how messages leave: routing rules and senders' rates."""

from landline.core.ids import ResourceId
from landline.store.database import Connection, Record


async def routes(connection: Connection) -> list[str]:
    """All stored rules, as JSON."""
    return [row["rule"] for row in await connection.fetch("SELECT rule::text AS rule FROM sms_routes")]


async def others(connection: Connection, name: str) -> int:
    """How many rules are stored under other names."""
    return await connection.fetchval("SELECT count(*) FROM sms_routes WHERE name <> $1", name)


async def set_route(connection: Connection, name: str, rule: str) -> None:
    """Store the rule (JSON) of that name, in place of one there is."""
    await connection.execute(
        "INSERT INTO sms_routes (name, rule) VALUES ($1, $2::text::jsonb)"
        " ON CONFLICT (name) DO UPDATE SET rule = excluded.rule",
        name,
        rule,
    )


async def delete_route(connection: Connection, name: str) -> bool:
    """Whether there was such a rule."""
    found = await connection.fetchrow("DELETE FROM sms_routes WHERE name = $1 RETURNING name", name)
    return found is not None


async def rates(connection: Connection) -> list[Record]:
    """Every sender's rate that was set."""
    return await connection.fetch("SELECT resource_id, sender, rate_per_s FROM sms_rates")


async def rate(connection: Connection, resource: ResourceId, sender: str) -> float | None:
    """The sender's rate, if it was set."""
    return await connection.fetchval(
        "SELECT rate_per_s FROM sms_rates WHERE resource_id = $1 AND sender = $2", resource, sender
    )


async def set_rate(connection: Connection, resource: ResourceId, sender: str, rate_per_s: float | None) -> None:
    """Set the sender's rate, or with None have it as its kind's."""
    if rate_per_s is None:
        await connection.execute("DELETE FROM sms_rates WHERE resource_id = $1 AND sender = $2", resource, sender)
        return
    await connection.execute(
        "INSERT INTO sms_rates (resource_id, sender, rate_per_s) VALUES ($1, $2, $3)"
        " ON CONFLICT (resource_id, sender) DO UPDATE SET rate_per_s = excluded.rate_per_s",
        resource,
        sender,
        rate_per_s,
    )
