"""The SQL of what is taken away: threads whose time is over, what deleted ones held, old answers to creations."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from landline.core.ids import ResourceId
from landline.services.chat.model.ids import ThreadId
from landline.services.chat.records import Key
from landline.store.database import Connection, Database, Record


async def due(connection: Connection, now: datetime, limit: int) -> list[Record]:
    """Threads whose retention is over, locked; those another process is at are left out."""
    return await connection.fetch(
        "SELECT * FROM chat_threads WHERE delete_at <= $1 AND deleted_at IS NULL"
        " ORDER BY delete_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED",
        now,
        limit,
    )


async def next_due(database: Database) -> datetime | None:
    """When the next thread's retention is over."""
    return await database.fetchval(
        "SELECT min(delete_at) FROM chat_threads WHERE delete_at IS NOT NULL AND deleted_at IS NULL"
    )


async def to_purge(database: Database, limit: int) -> list[Key]:
    """Deleted threads that still hold something."""
    rows = await database.fetch(
        "SELECT resource_id, thread_id FROM chat_threads WHERE deleted_at IS NOT NULL AND purged_at IS NULL LIMIT $1",
        limit,
    )
    return keys(rows)


async def purge_messages(database: Database, key: Key, limit: int) -> bool:
    """Take up to `limit` messages of a deleted thread away; whether there may be more."""
    done = await database.execute(
        "DELETE FROM chat_messages m USING (SELECT message_id FROM chat_messages"
        "  WHERE resource_id = $1 AND thread_id = $2 ORDER BY message_id LIMIT $3) AS old"
        " WHERE m.resource_id = $1 AND m.thread_id = $2 AND m.message_id = old.message_id",
        *key,
        limit,
    )
    return int(done.rsplit(" ", 1)[1]) >= limit


async def purge_rest(connection: Connection, key: Key, now: datetime) -> None:
    """A deleted thread holds no messages any more: take its participants, topic and metadata away."""
    await connection.execute("DELETE FROM chat_participants WHERE resource_id = $1 AND thread_id = $2", *key)
    await connection.execute(
        "UPDATE chat_threads SET purged_at = $3, topic = '', metadata = '{}' WHERE resource_id = $1 AND thread_id = $2",
        *key,
        now,
    )


async def forget_threads(database: Database, before: datetime, limit: int) -> bool:
    """Forget that there were up to `limit` threads, purged and deleted so long ago; whether there may be more."""
    return await _some(
        database,
        "DELETE FROM chat_threads WHERE ctid = ANY(ARRAY(SELECT ctid FROM chat_threads"
        " WHERE deleted_at < $1 AND purged_at IS NOT NULL ORDER BY deleted_at LIMIT $2))",
        before,
        limit,
    )


async def forget_creations(database: Database, before: datetime, limit: int) -> bool:
    """Forget what up to `limit` creations so long ago were answered; whether there may be more."""
    return await _some(
        database,
        "DELETE FROM chat_creations WHERE ctid = ANY(ARRAY(SELECT ctid FROM chat_creations"
        " WHERE created_at < $1 ORDER BY created_at LIMIT $2))",
        before,
        limit,
    )


async def _some(database: Database, sql: str, before: datetime, limit: int) -> bool:
    return int((await database.execute(sql, before, limit)).rpartition(" ")[2]) >= limit


def keys(rows: Sequence[Record]) -> list[Key]:
    """The keys of rows of threads."""
    return [(ResourceId(UUID(int=row["resource_id"].int)), ThreadId(UUID(int=row["thread_id"].int))) for row in rows]
