"""The SQL of threads and their participants. Messages: `records_messages`.

Instants come in as parameters. Bulk statements take arrays, one element a row.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from landline.core.ids import RawId, ResourceId
from landline.services.chat.model.ids import MessageId, ThreadId
from landline.services.chat.model.values import Participant, Properties
from landline.store.database import Connection, Record

Key = tuple[ResourceId, ThreadId]
Seat = tuple[datetime, RawId]
"""Where somebody is among those who are in a thread: when they came, and who they are."""
# A row that each message changes has very many old states by the end of a backup, which a look-up by its key goes
# through in the order they were written. So it begins with the last of them (docs/design/plans.md).
THREAD = (
    "chat_threads WHERE resource_id = {0} AND thread_id >= {1} AND thread_id <= {1} ORDER BY thread_id DESC LIMIT 1"
)
"""What to select of, for one thread."""
PARTICIPANT = (
    "chat_participants WHERE resource_id = {0} AND thread_id = {1} AND raw_id >= {2} AND raw_id <= {2}"
    " ORDER BY raw_id DESC LIMIT 1"
)
"""The same for one who is or was in it."""
_METADATA = msgspec.json.Decoder(dict[str, str])


def metadata(stored: str | None) -> dict[str, str]:
    """Stored metadata as a dictionary."""
    return _METADATA.decode(stored) if stored else {}


def stored(value: object) -> str:
    """`value` as it is stored: JSON text."""
    return msgspec.json.encode(value).decode()


def participant(row: Record) -> Participant:
    """A row of `chat_participants` as a value."""
    return Participant(row["raw_id"], row["display_name"], row["share_history_from"], metadata(row["metadata"]))


async def claim_creation(
    connection: Connection, resource: ResourceId, user: RawId, repeatability_id: str, digest: bytes, now: datetime
) -> Record | None:
    """Claim the creation for this transaction and return None; or the stored one (digest, answer) when there is."""
    claimed = await connection.fetchval(
        "INSERT INTO chat_creations (resource_id, raw_id, repeatability_id, digest, answer, created_at)"
        " VALUES ($1, $2, $3, $4, '', $5) ON CONFLICT DO NOTHING RETURNING true",
        resource,
        user,
        repeatability_id,
        digest,
        now,
    )
    if claimed:
        return None
    return await connection.fetchrow(
        "SELECT digest, answer FROM chat_creations WHERE resource_id = $1 AND raw_id = $2 AND repeatability_id = $3",
        resource,
        user,
        repeatability_id,
    )


async def keep_answer(
    connection: Connection, resource: ResourceId, user: RawId, repeatability_id: str, answer: bytes
) -> None:
    await connection.execute(
        "UPDATE chat_creations SET answer = $4 WHERE resource_id = $1 AND raw_id = $2 AND repeatability_id = $3",
        resource,
        user,
        repeatability_id,
        answer,
    )


async def insert_thread(
    connection: Connection,
    key: Key,
    properties: Properties,
    *,
    created_by: RawId,
    created_at: datetime,
    delete_at: datetime | None,
    version: int,
) -> None:
    await connection.execute(
        "INSERT INTO chat_threads (resource_id, thread_id, created_at, created_by, topic, metadata, retention_days,"
        " version, sequence, last_message_id, roster_version, delete_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, 0, $10)",
        *key,
        created_at,
        created_by,
        properties.topic,
        stored(properties.metadata),
        properties.retention_days,
        version,
        version - 1,
        delete_at,
    )


async def add_participants(
    connection: Connection, key: Key, participants: Sequence[Participant], now: datetime
) -> None:
    """Write participants that are not in the thread at the moment; who was in it before sees it anew."""
    await connection.execute(
        "INSERT INTO chat_participants (resource_id, thread_id, raw_id, display_name, share_history_from, metadata,"
        " added_at)"
        " SELECT $1, $2, p.*, $7 FROM unnest($3::text[], $4::text[], $5::timestamptz[], $6::text[]) AS p"
        " ON CONFLICT (resource_id, thread_id, raw_id) DO UPDATE SET display_name = excluded.display_name,"
        " share_history_from = excluded.share_history_from, metadata = excluded.metadata,"
        " added_at = excluded.added_at, removed_at = NULL, visible_until = NULL, last_topic = NULL",
        *key,
        [each.raw_id for each in participants],
        [each.display_name for each in participants],
        [each.share_history_from for each in participants],
        [stored(each.metadata) for each in participants],
        now,
    )


async def remove_participant(
    connection: Connection, key: Key, user: RawId, now: datetime, visible_until: MessageId, topic: str
) -> None:
    """Take somebody out of a locked thread that has `topic`: the last that they know of."""
    await connection.execute(
        "UPDATE chat_participants SET removed_at = $4, visible_until = $5, last_topic = $6, read_message_id = NULL,"
        " read_at = NULL WHERE resource_id = $1 AND thread_id = $2 AND raw_id = $3",
        *key,
        user,
        now,
        visible_until,
        topic,
    )


async def lock(connection: Connection, keys: Sequence[Key]) -> dict[Key, Record]:
    """The threads of `keys` that are not deleted, locked until the transaction ends; always in the same order, so that
    two writers of the same threads wait for each other and never in a circle."""
    ordered = sorted(keys)
    rows = await connection.fetch(
        "SELECT t.* FROM unnest($1::uuid[], $2::uuid[]) AS k (resource_id, thread_id) CROSS JOIN LATERAL"
        f" (SELECT * FROM {THREAD.format('k.resource_id', 'k.thread_id')} FOR NO KEY UPDATE) AS t"
        " WHERE t.deleted_at IS NULL",
        [resource for resource, _ in ordered],
        [thread for _, thread in ordered],
    )
    return {(row["resource_id"], row["thread_id"]): row for row in rows}


async def roster_changed(connection: Connection, key: Key, version: int) -> None:
    """The participants of a locked thread change in this transaction."""
    await connection.execute(
        "UPDATE chat_threads SET roster_version = roster_version + 1, version = $3"
        " WHERE resource_id = $1 AND thread_id = $2",
        *key,
        version,
    )


async def update_thread(
    connection: Connection, key: Key, properties: Properties, version: int, delete_at: datetime | None
) -> None:
    await connection.execute(
        "UPDATE chat_threads SET topic = $3, metadata = $4, retention_days = $5, version = $6, delete_at = $7"
        " WHERE resource_id = $1 AND thread_id = $2",
        *key,
        properties.topic,
        stored(properties.metadata),
        properties.retention_days,
        version,
        delete_at,
    )


async def delete_thread(connection: Connection, key: Key, user: RawId | None, now: datetime, version: int) -> None:
    """Mark a locked thread deleted: from the commit on nobody sees it."""
    await connection.execute(
        "UPDATE chat_threads SET deleted_at = $3, deleted_by = $4, version = $5"
        " WHERE resource_id = $1 AND thread_id = $2",
        *key,
        now,
        user,
        version,
    )


async def deleter(connection: Connection, key: Key) -> str | None:
    """Who deleted the thread, while that is remembered."""
    return await connection.fetchval(
        "SELECT deleted_by FROM chat_threads WHERE resource_id = $1 AND thread_id = $2", *key
    )


async def rosters(connection: Connection, keys: Sequence[Key]) -> dict[Key, list[RawId]]:
    """Who is in each of these threads, in the order they came."""
    rows = await connection.fetch(
        "SELECT p.resource_id, p.thread_id, p.raw_id FROM unnest($1::uuid[], $2::uuid[]) AS k (resource_id, thread_id)"
        " JOIN chat_participants p USING (resource_id, thread_id) WHERE p.removed_at IS NULL"
        " ORDER BY p.added_at, p.raw_id",
        [resource for resource, _ in keys],
        [thread for _, thread in keys],
    )
    found: dict[Key, list[RawId]] = {}
    for row in rows:
        found.setdefault((row["resource_id"], row["thread_id"]), []).append(row["raw_id"])
    return found


async def thread_of(connection: Connection, key: Key, user: RawId) -> Record | None:
    """The thread if it is there, with what it is to `user`: `member` None never in it, False no more, True in it."""
    return await connection.fetchrow(
        "SELECT t.*, p.removed_at IS NULL AS member_now, p.raw_id IS NOT NULL AS member_ever"
        f" FROM (SELECT * FROM {THREAD.format('$1', '$2')}) AS t"
        f" LEFT JOIN (SELECT raw_id, removed_at FROM {PARTICIPANT.format('$1', '$2', '$3')}) AS p ON true"
        " WHERE t.deleted_at IS NULL",
        *key,
        user,
    )


# Who was removed may read what was there until then, so its thread is listed, as it was then. A process of an earlier
# version keeps no last topic: it is in the last message about one that they may see.
_LAST_TOPIC = """coalesce(p.last_topic, (SELECT m.content FROM chat_messages m WHERE m.resource_id = p.resource_id
    AND m.thread_id = p.thread_id AND m.message_id <= p.visible_until AND m.kind = 'topicUpdated'
    ORDER BY m.message_id DESC LIMIT 1), '')"""

# Each half is in its index's order and ends at the limit: thousands of threads that were left cost nobody anything.
_THREADS_OF = f"""
SELECT * FROM (
    (SELECT t.thread_id, t.topic, coalesce(t.last_message_at, t.created_at) AS last_message_at
    FROM chat_participants p JOIN chat_threads t USING (resource_id, thread_id)
    WHERE p.resource_id = $1 AND p.raw_id = $2 AND p.removed_at IS NULL AND t.deleted_at IS NULL
    AND ($3::timestamptz IS NULL OR coalesce(t.last_message_at, t.created_at) >= $3)
    AND ($4::uuid IS NULL OR p.thread_id < $4) ORDER BY p.thread_id DESC LIMIT $5)
    UNION ALL
    (SELECT t.thread_id, {_LAST_TOPIC} AS topic, p.removed_at AS last_message_at
    FROM chat_participants p JOIN chat_threads t USING (resource_id, thread_id)
    WHERE p.resource_id = $1 AND p.raw_id = $2 AND p.removed_at IS NOT NULL AND t.deleted_at IS NULL
    AND ($3::timestamptz IS NULL OR p.removed_at >= $3)
    AND ($4::uuid IS NULL OR p.thread_id < $4) ORDER BY p.thread_id DESC LIMIT $5)
) AS threads ORDER BY thread_id DESC LIMIT $5
"""


async def threads_of(
    connection: Connection,
    resource: ResourceId,
    user: RawId,
    since: datetime | None,
    before: ThreadId | None,
    limit: int,
) -> list[Record]:
    """The threads `user` is or was in, the youngest first, in which something that it may see happened since `since`.
    The last that who was removed may see is the message about that."""
    return await connection.fetch(_THREADS_OF, resource, user, since, before, limit)


async def participants(
    connection: Connection, key: Key, skip: int = 0, limit: int | None = None, after: Seat | None = None
) -> list[Record]:
    """Who is in the thread, in the order they came; those after a seat, whether somebody still has it or not."""
    return await connection.fetch(
        "SELECT raw_id, display_name, share_history_from, metadata, added_at FROM chat_participants"
        " WHERE resource_id = $1 AND thread_id = $2 AND removed_at IS NULL"
        " AND ($5::timestamptz IS NULL OR (added_at, raw_id) > ($5, $6)) ORDER BY added_at, raw_id"
        " OFFSET $3 LIMIT $4",
        *key,
        skip,
        limit,
        *(after or (None, None)),
    )


async def shown_since(connection: Connection, key: Key, written_at: datetime) -> tuple[RawId, ...]:
    """Who is in the thread and is shown what was written at that instant, in the order they came."""
    rows = await connection.fetch(
        "SELECT raw_id FROM chat_participants WHERE resource_id = $1 AND thread_id = $2 AND removed_at IS NULL"
        " AND share_history_from <= $3 ORDER BY added_at, raw_id",
        *key,
        written_at,
    )
    return tuple(row["raw_id"] for row in rows)


async def participants_named(connection: Connection, key: Key, users: Sequence[RawId]) -> dict[RawId, Participant]:
    """Those of `users` who are in the thread."""
    rows = await connection.fetch(
        "SELECT raw_id, display_name, share_history_from, metadata FROM chat_participants"
        " WHERE resource_id = $1 AND thread_id = $2 AND raw_id = ANY($3) AND removed_at IS NULL",
        *key,
        users,
    )
    return {row["raw_id"]: participant(row) for row in rows}


# By their places, which are those of the last states: their rows are locked, by a statement before this one.
_READ = f"""
UPDATE chat_participants p SET read_message_id = n.message_id, read_at = $5
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) AS n (resource_id, thread_id, raw_id, message_id)
CROSS JOIN LATERAL (
    SELECT ctid, removed_at, read_message_id FROM {PARTICIPANT.format("n.resource_id", "n.thread_id", "n.raw_id")}
) AS found
WHERE p.ctid = found.ctid AND found.removed_at IS NULL AND coalesce(found.read_message_id, 0) < n.message_id
RETURNING p.resource_id, p.thread_id, p.raw_id
"""


async def read(
    connection: Connection, receipts: Sequence[tuple[Key, RawId, MessageId]], now: datetime
) -> set[tuple[Key, RawId]]:
    """Move how far participants have read, forward only; those that moved. Their rows are locked already
    (`records_messages.visible_ids`)."""
    rows = await connection.fetch(
        _READ,
        [key[0] for key, _, _ in receipts],
        [key[1] for key, _, _ in receipts],
        [user for _, user, _ in receipts],
        [message for _, _, message in receipts],
        now,
    )
    return {((row["resource_id"], row["thread_id"]), row["raw_id"]) for row in rows}


async def receipts(connection: Connection, key: Key, skip: int, limit: int, after: Seat | None) -> list[Record]:
    """How far each participant has read, in the order they came: an order that nobody changes who reads on meanwhile.
    Those after a seat."""
    return await connection.fetch(
        "SELECT raw_id, read_message_id, read_at, added_at FROM chat_participants"
        " WHERE resource_id = $1 AND thread_id = $2 AND removed_at IS NULL AND read_message_id IS NOT NULL"
        " AND ($5::timestamptz IS NULL OR (added_at, raw_id) > ($5, $6)) ORDER BY added_at, raw_id"
        " OFFSET $3 LIMIT $4",
        *key,
        skip,
        limit,
        *(after or (None, None)),
    )
