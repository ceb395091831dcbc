"""The rows of `sms_settings` and `sms_caps`."""

from datetime import date

from landline.core.ids import ResourceId
from landline.store.database import Connection


async def settings(connection: Connection, resource: ResourceId) -> str | None:
    """What `resource` has set, as JSON."""
    return await connection.fetchval("SELECT settings::text FROM sms_settings WHERE resource_id = $1", resource)


async def locked_settings(connection: Connection, resource: ResourceId) -> str:
    """What `resource` has set, as JSON, kept from others until the transaction ends."""
    await connection.execute(
        "INSERT INTO sms_settings (resource_id, settings) VALUES ($1, '{}') ON CONFLICT DO NOTHING", resource
    )
    return await connection.fetchval(
        "SELECT settings::text FROM sms_settings WHERE resource_id = $1 FOR UPDATE", resource
    )


async def set_settings(connection: Connection, resource: ResourceId, document: str) -> None:
    """`document` (JSON) is what `resource` has set; its row is there."""
    await connection.execute(
        "UPDATE sms_settings SET settings = $2::text::jsonb WHERE resource_id = $1", resource, document
    )


async def locked_cap(connection: Connection, resource: ResourceId, period: str, unit: str, begins_on: date) -> int:
    """What is used of a cap in the period that began on `begins_on`, kept from others until the transaction ends."""
    key = (resource, period, unit, begins_on)
    await connection.execute(
        "INSERT INTO sms_caps (resource_id, period, unit, begins_on, used) VALUES ($1, $2, $3, $4, 0)"
        " ON CONFLICT DO NOTHING",
        *key,
    )
    return await connection.fetchval(
        "SELECT used FROM sms_caps WHERE resource_id = $1 AND period = $2 AND unit = $3 AND begins_on = $4 FOR UPDATE",
        *key,
    )


async def use(
    connection: Connection, resource: ResourceId, period: str, unit: str, begins_on: date, amount: int
) -> None:
    """Add `amount`, which is negative when it is given back, to what is used."""
    await connection.execute(
        "UPDATE sms_caps SET used = used + $5 WHERE resource_id = $1 AND period = $2 AND unit = $3 AND begins_on = $4",
        resource,
        period,
        unit,
        begins_on,
        amount,
    )


async def forget_caps(connection: Connection, resource: ResourceId, before: date) -> None:
    """Remove the resource's periods that began before `before`."""
    await connection.execute("DELETE FROM sms_caps WHERE resource_id = $1 AND begins_on < $2", resource, before)
