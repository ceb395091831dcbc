"""SQL of communication users and of the keys that sign their tokens."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from landline.core.ids import ResourceId
from landline.services.identity.model import User
from landline.store.database import Connection, Record

_KEY_LOCK = 0x6C6C6B79  # "llky": one maker of signing keys at a time


async def insert_users(connection: Connection, users: Sequence[User]) -> None:
    await connection.execute(
        "INSERT INTO identity_user (resource_id, user_id, created_at)"
        " SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[])",
        [user.resource_id for user in users],
        [user.user_id for user in users],
        [user.created_at for user in users],
    )


async def generations(
    connection: Connection, users: Sequence[tuple[ResourceId, UUID]]
) -> dict[tuple[ResourceId, UUID], int]:
    """The token generation of each of `users` that there is."""
    rows = await connection.fetch(
        "SELECT resource_id, user_id, token_generation FROM identity_user"
        " JOIN unnest($1::uuid[], $2::uuid[]) AS wanted (resource_id, user_id) USING (resource_id, user_id)",
        [resource_id for resource_id, _ in users],
        [user_id for _, user_id in users],
    )
    return {(ResourceId(row["resource_id"]), row["user_id"]): row["token_generation"] for row in rows}


async def revoke_tokens(connection: Connection, resource_id: ResourceId, user_id: UUID) -> bool:
    """Make every token of the user issued so far worthless; False when there is no such user."""
    generation = await connection.fetchval(
        "UPDATE identity_user SET token_generation = token_generation + 1 WHERE resource_id = $1 AND user_id = $2"
        " RETURNING token_generation",
        resource_id,
        user_id,
    )
    return generation is not None


async def delete_user(connection: Connection, resource_id: ResourceId, user_id: UUID) -> bool:
    """False when there is no such user."""
    found = await connection.fetchval(
        "DELETE FROM identity_user WHERE resource_id = $1 AND user_id = $2 RETURNING user_id", resource_id, user_id
    )
    return found is not None


async def lock_keys(connection: Connection) -> None:
    """No other process makes a signing key until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _KEY_LOCK)


async def signing_keys(connection: Connection, now: datetime) -> list[Record]:
    """kid, sealed, retire_at of the keys whose tokens may still live; the one that signs comes first."""
    return await connection.fetch(
        "SELECT kid, sealed, retire_at FROM identity_signing_key WHERE retire_at IS NULL OR retire_at > $1"
        " ORDER BY retire_at DESC NULLS FIRST, created_at DESC",
        now,
    )


async def insert_signing_key(
    connection: Connection, kid: str, sealed: bytes, *, now: datetime, others_retire_at: datetime
) -> None:
    """Write a new signing key; the present one retires at `others_retire_at`."""
    await connection.execute("UPDATE identity_signing_key SET retire_at = $1 WHERE retire_at IS NULL", others_retire_at)
    await connection.execute(
        "INSERT INTO identity_signing_key (kid, sealed, created_at) VALUES ($1, $2, $3)", kid, sealed, now
    )
