"""The rows of `numbers_owned`."""

from datetime import datetime

from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.services.numbers.model import OwnedNumber
from landline.store.database import Connection, Record

_COLUMNS = "resource_id, number, kind, sms_inbound, sms_outbound, calling_inbound, calling_outbound, carrier"


async def insert(connection: Connection, owned: OwnedNumber, now: datetime) -> bool:
    """Whether the row is new; False when this resource, or for a number any other, has it already."""
    row = await connection.fetchrow(
        f"INSERT INTO numbers_owned ({_COLUMNS}, added_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
        " ON CONFLICT DO NOTHING RETURNING number",
        owned.resource,
        owned.number,
        owned.kind.value,
        owned.sms_inbound,
        owned.sms_outbound,
        owned.calling_inbound,
        owned.calling_outbound,
        owned.carrier,
        now,
    )
    return row is not None


async def delete(connection: Connection, resource: ResourceId, number: str) -> bool:
    """Whether there was such a row."""
    row = await connection.fetchrow(
        "DELETE FROM numbers_owned WHERE resource_id = $1 AND number = $2 RETURNING number", resource, number
    )
    return row is not None


async def of_resource(connection: Connection, resource: ResourceId) -> list[OwnedNumber]:
    """Everything the resource owns, in the order it was added."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM numbers_owned WHERE resource_id = $1 ORDER BY added_at, number", resource
    )
    return [_owned(row) for row in rows]


async def sender(connection: Connection, resource: ResourceId, number: str) -> OwnedNumber | None:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM numbers_owned WHERE resource_id = $1 AND number = $2", resource, number
    )
    return _owned(row) if row else None


async def owner(connection: Connection, number: str) -> OwnedNumber | None:
    """The one owner of a phone number or short code."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM numbers_owned WHERE number = $1 AND kind <> 'alphanumeric'", number
    )
    return _owned(row) if row else None


def _owned(row: Record) -> OwnedNumber:
    return OwnedNumber(
        row["resource_id"],
        row["number"],
        SenderKind(row["kind"]),
        row["sms_inbound"],
        row["sms_outbound"],
        row["calling_inbound"],
        row["calling_outbound"],
        row["carrier"],
    )
