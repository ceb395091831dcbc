"""The SQL of users that were deleted: that they are to be let go of, and where they still are."""

from collections.abc import Sequence
from datetime import datetime

from landline.core.ids import RawId, ResourceId
from landline.services.chat.model.ids import MessageId, ThreadId, milliseconds
from landline.services.chat.records import Key
from landline.store.database import Connection, Database, Record


async def note(connection: Connection, resource: ResourceId, user: RawId, now: datetime) -> None:
    await connection.execute(
        "INSERT INTO chat_departures (resource_id, raw_id, left_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        resource,
        user,
        now,
    )


async def unchecked(database: Database, limit: int) -> list[tuple[ResourceId, RawId]]:
    """Some of those of whom nobody has looked yet whether they are still there."""
    rows = await database.fetch(
        "SELECT resource_id, raw_id FROM chat_unchecked_users ORDER BY resource_id, raw_id LIMIT $1", limit
    )
    return [(ResourceId(row["resource_id"]), RawId(row["raw_id"])) for row in rows]


async def checked(connection: Connection, resource: ResourceId, users: Sequence[RawId]) -> None:
    await connection.execute(
        "DELETE FROM chat_unchecked_users WHERE resource_id = $1 AND raw_id = ANY($2)", resource, users
    )


async def due(database: Database, looked_before: datetime, limit: int) -> list[Record]:
    """Departures that nobody looked after yet, and those looked after so long ago; the first that were noted."""
    return await database.fetch(
        "SELECT resource_id, raw_id, looked_at FROM chat_departures WHERE looked_at IS NULL OR looked_at <= $1"
        " ORDER BY left_at, raw_id LIMIT $2",
        looked_before,
        limit,
    )


async def first_looked_at(database: Database) -> datetime | None:
    return await database.fetchval("SELECT min(looked_at) FROM chat_departures")


async def looked(database: Database, resource: ResourceId, user: RawId, now: datetime) -> None:
    await database.execute(
        "UPDATE chat_departures SET looked_at = $3 WHERE resource_id = $1 AND raw_id = $2", resource, user, now
    )


async def threads(database: Database, resource: ResourceId, user: RawId, limit: int) -> list[ThreadId]:
    """Threads that `user` is or was in."""
    rows = await database.fetch(
        "SELECT thread_id FROM chat_participants WHERE resource_id = $1 AND raw_id = $2 AND removed_at IS NULL"
        " UNION ALL"
        " SELECT thread_id FROM chat_participants WHERE resource_id = $1 AND raw_id = $2 AND removed_at IS NOT NULL"
        " LIMIT $3",
        resource,
        user,
        limit,
    )
    return [ThreadId(row["thread_id"]) for row in rows]


async def erase(
    connection: Connection, key: Key, user: RawId, after: MessageId, now: datetime, limit: int
) -> MessageId | None:
    """Delete what the next `limit` messages of `user` after `after` say; the last of them, None when there was none."""
    return await connection.fetchval(
        "WITH erased AS (UPDATE chat_messages m SET version = greatest(m.version + 1, $5), deleted_at = $6,"
        "  sender_display_name = NULL, content = NULL, metadata = NULL, attachments = NULL"
        " FROM (SELECT message_id FROM chat_messages WHERE resource_id = $1 AND thread_id = $2 AND sender = $3"
        "  AND message_id > $4 AND kind IN ('text', 'html') ORDER BY message_id LIMIT $7) AS own"
        " WHERE m.resource_id = $1 AND m.thread_id = $2 AND m.message_id = own.message_id RETURNING m.message_id)"
        " SELECT max(message_id) FROM erased",
        *key,
        user,
        after,
        milliseconds(now),
        now,
        limit,
    )


async def forget_participant(database: Database, key: Key, user: RawId) -> None:
    """That `user` was in a thread, and left it."""
    await database.execute(
        "DELETE FROM chat_participants WHERE resource_id = $1 AND thread_id = $2 AND raw_id = $3"
        " AND (removed_at IS NOT NULL OR NOT EXISTS (SELECT FROM chat_threads t WHERE t.resource_id = $1"
        "  AND t.thread_id = $2 AND t.deleted_at IS NULL))",
        *key,
        user,
    )


async def done(database: Database, resource: ResourceId, user: RawId) -> None:
    await database.execute("DELETE FROM chat_departures WHERE resource_id = $1 AND raw_id = $2", resource, user)
