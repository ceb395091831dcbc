"""The SQL of direct routing configurations."""

from datetime import datetime

import msgspec

from landline.core.ids import ResourceId
from landline.services.siprouting.model import Configuration
from landline.store.database import Connection

_DECODER = msgspec.json.Decoder(Configuration)
_EMPTY = msgspec.json.encode(Configuration()).decode()


async def get(connection: Connection, resource: ResourceId) -> Configuration:
    """What is configured; nothing when nothing ever was."""
    document = await connection.fetchval(
        "SELECT document FROM siprouting_configuration WHERE resource_id = $1", resource
    )
    return _DECODER.decode(document or _EMPTY)


async def lock(connection: Connection, resource: ResourceId, now: datetime) -> Configuration:
    """The same, and nobody else changes it until the transaction ends."""
    await connection.execute(
        "INSERT INTO siprouting_configuration (resource_id, document, changed_at) VALUES ($1, $2, $3)"
        " ON CONFLICT DO NOTHING",
        resource,
        _EMPTY,
        now,
    )
    document = await connection.fetchval(
        "SELECT document FROM siprouting_configuration WHERE resource_id = $1 FOR UPDATE", resource
    )
    return _DECODER.decode(document)


async def put(connection: Connection, resource: ResourceId, configuration: Configuration, now: datetime) -> None:
    """Write what `lock` has read and the caller changed."""
    await connection.execute(
        "UPDATE siprouting_configuration SET document = $2, changed_at = $3 WHERE resource_id = $1",
        resource,
        msgspec.json.encode(configuration).decode(),
        now,
    )
