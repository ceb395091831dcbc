"""SQL of communication resources and their sealed keys."""

from collections.abc import Iterable
from datetime import datetime

from landline.core.ids import ResourceId
from landline.services.resources.model import Resource, SealedKey, Slot
from landline.store.database import Connection, Record

_COLUMNS = "resource_id, name, location, created_at"


async def insert(connection: Connection, resource: Resource, keys: Iterable[SealedKey]) -> bool:
    """Write `resource` with its keys; False when the name is taken and nothing was written."""
    done = await connection.fetchval(
        f"INSERT INTO resources_resource ({_COLUMNS}) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (name) DO NOTHING RETURNING resource_id",
        resource.resource_id,
        resource.name,
        resource.location,
        resource.created_at,
    )
    if done is None:
        return False
    await connection.executemany(
        "INSERT INTO resources_key (resource_id, slot, generation, sealed, created_at) VALUES ($1, $2, $3, $4, $5)",
        [(key.resource_id, key.slot.value, key.generation, key.sealed, resource.created_at) for key in keys],
    )
    return True


async def everything(connection: Connection) -> tuple[list[Resource], list[SealedKey]]:
    """All resources, the oldest first, and all keys, primaries first."""
    resources = await connection.fetch(
        f"SELECT {_COLUMNS} FROM resources_resource ORDER BY created_at, resource_id",
    )
    keys = await connection.fetch("SELECT resource_id, slot, generation, sealed FROM resources_key ORDER BY slot")
    return [_resource(row) for row in resources], [_key(row) for row in keys]


async def by_name(connection: Connection, name: str) -> Resource | None:
    """The resource called `name`; None when there is none."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM resources_resource WHERE name = $1", name)
    return _resource(row) if row else None


async def keys_of(connection: Connection, resource_id: ResourceId, *, lock: bool = False) -> list[SealedKey]:
    """A resource's keys, the primary first; with `lock` nobody else rotates them until the transaction ends."""
    rows = await connection.fetch(
        "SELECT resource_id, slot, generation, sealed FROM resources_key WHERE resource_id = $1 ORDER BY slot"
        + (" FOR UPDATE" if lock else ""),
        resource_id,
    )
    return [_key(row) for row in rows]


async def replace_key(connection: Connection, key: SealedKey, at: datetime) -> None:
    """Put `key`, made at `at`, in the place of the one in its slot."""
    await connection.execute(
        "UPDATE resources_key SET generation = $3, sealed = $4, created_at = $5 WHERE resource_id = $1 AND slot = $2",
        key.resource_id,
        key.slot.value,
        key.generation,
        key.sealed,
        at,
    )


async def current_labels(connection: Connection, resource_ids: Iterable[ResourceId]) -> set[tuple[ResourceId, str]]:
    """(resource, key label) of every key that is good now, of the resources asked about."""
    rows = await connection.fetch(
        "SELECT resource_id, slot, generation FROM resources_key WHERE resource_id = ANY($1)", list(resource_ids)
    )
    return {(ResourceId(row["resource_id"]), f"{row['slot']}:{row['generation']}") for row in rows}


def _resource(row: Record) -> Resource:
    return Resource(ResourceId(row["resource_id"]), row["name"], row["location"], row["created_at"])


def _key(row: Record) -> SealedKey:
    return SealedKey(ResourceId(row["resource_id"]), Slot(row["slot"]), row["generation"], row["sealed"])
