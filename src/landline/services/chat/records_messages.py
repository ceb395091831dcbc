"""The SQL of messages: written in a thread's order, read within what a participant may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from landline.core.ids import RawId
from landline.services.chat.model.ids import MessageId, milliseconds
from landline.services.chat.model.values import Kind
from landline.services.chat.records import PARTICIPANT, THREAD, Key
from landline.store.database import Connection, Record


@dataclass(frozen=True, slots=True)
class Row:
    """A message about to be written; `metadata`, `attachments` and `participants` are JSON."""

    key: Key
    message_id: MessageId
    sequence: int
    created_at: datetime
    kind: Kind
    sender: RawId
    sender_display_name: str | None
    content: str | None
    metadata: str | None = None
    attachments: str | None = None
    participants: str | None = None


_INSERT = f"""
WITH written AS (
    INSERT INTO chat_messages (resource_id, thread_id, message_id, sequence, version, created_at, kind, sender,
        sender_display_name, content, metadata, attachments, participants)
    SELECT m.resource_id, m.thread_id, m.message_id, m.sequence, m.message_id, m.created_at, m.kind, m.sender,
        m.sender_display_name, m.content, m.metadata, m.attachments, m.participants
    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::text[], $7::text[],
        $8::text[], $9::text[], $10::text[], $11::text[], $12::text[])
        AS m (resource_id, thread_id, message_id, sequence, created_at, kind, sender, sender_display_name, content,
        metadata, attachments, participants)
)
UPDATE chat_threads t SET sequence = l.sequence, last_message_id = l.message_id,
    last_message_at = l.at
FROM unnest($13::uuid[], $14::uuid[], $15::bigint[], $16::bigint[], $17::timestamptz[])
    AS l (resource_id, thread_id, message_id, sequence, at)
CROSS JOIN LATERAL (SELECT ctid FROM {THREAD.format("l.resource_id", "l.thread_id")}) AS found
WHERE t.ctid = found.ctid -- it is locked
"""


async def insert(connection: Connection, rows: Sequence[Row]) -> None:
    """Write `rows` of threads this transaction holds locked; of each thread in its order."""
    last = {row.key: row for row in rows}
    await connection.execute(
        _INSERT,
        [row.key[0] for row in rows],
        [row.key[1] for row in rows],
        [row.message_id for row in rows],
        [row.sequence for row in rows],
        [row.created_at for row in rows],
        [row.kind for row in rows],
        [row.sender for row in rows],
        [row.sender_display_name for row in rows],
        [row.content for row in rows],
        [row.metadata for row in rows],
        [row.attachments for row in rows],
        [row.participants for row in rows],
        [key[0] for key in last],
        [key[1] for key in last],
        [row.message_id for row in last.values()],
        [row.sequence for row in last.values()],
        [row.created_at for row in last.values()],
    )


# What a participant may see is asked in the statement that reads, so that one snapshot answers both: who was removed
# meanwhile sees nothing of what was written after.
_PARTICIPANT = PARTICIPANT.format("$1", "$2", "$3")
_VISIBLE = f"""
m.resource_id = $1 AND m.thread_id = $2
AND m.message_id <= (
    SELECT CASE WHEN removed_at IS NULL THEN 9223372036854775807 ELSE visible_until END FROM {_PARTICIPANT}
)
AND m.created_at >= (SELECT share_history_from FROM {_PARTICIPANT})
"""

# The thread is locked for an edit and for a removal, so one of them came first, whatever the clocks said: the removal's
# own message is the last that the removed may see, and in the thread by the time of a later edit.
_EDITED_LATER = f"""
m.edited_at IS NOT NULL AND m.deleted_at IS NULL
AND EXISTS (SELECT FROM (SELECT removed_at, visible_until FROM {_PARTICIPANT}) AS p WHERE p.removed_at IS NOT NULL
    AND coalesce(m.changed_after >= p.visible_until, m.edited_at > p.removed_at)) AS edited_later
"""


async def visible(
    connection: Connection, key: Key, user: RawId, since: datetime | None, before: MessageId | None, limit: int
) -> list[Record]:
    """The messages that `user` may see, the newest first. Of those with `edited_later`, which were edited after the
    user was removed, not what they say."""
    # A message's id is never below the millisecond it was created in, so the index ends the search for `since`.
    return await connection.fetch(
        f"SELECT m.*, {_EDITED_LATER} FROM chat_messages m"
        f" WHERE {_VISIBLE} AND m.message_id < coalesce($4::bigint, 9223372036854775807)"
        " AND m.message_id >= $5 AND m.created_at >= coalesce($6::timestamptz, '-infinity')"
        " ORDER BY m.message_id DESC LIMIT $7",
        *key,
        user,
        before,
        milliseconds(since) if since is not None else 0,
        since,
        limit,
    )


async def visible_one(connection: Connection, key: Key, user: RawId, message: MessageId) -> Record | None:
    """The message, if `user` may see it; see `visible`."""
    return await connection.fetchrow(
        f"SELECT m.*, {_EDITED_LATER} FROM chat_messages m WHERE {_VISIBLE} AND m.message_id = $4", *key, user, message
    )


async def visible_ids(
    connection: Connection, wanted: Sequence[tuple[Key, RawId, MessageId]]
) -> set[tuple[Key, RawId, MessageId]]:
    """Which of these messages their users may see; only of threads they are in. How far these have read is this
    transaction's to change from now on (`records.read`); always in the same order, as `records.lock` has it."""
    ordered = sorted(wanted)
    rows = await connection.fetch(
        "SELECT w.resource_id, w.thread_id, w.raw_id, w.message_id"
        " FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[])"
        "  AS w (resource_id, thread_id, raw_id, message_id)"
        " CROSS JOIN LATERAL (SELECT removed_at, share_history_from"
        f" FROM {PARTICIPANT.format('w.resource_id', 'w.thread_id', 'w.raw_id')} FOR NO KEY UPDATE) AS p"
        " JOIN chat_messages m USING (resource_id, thread_id, message_id)"
        " WHERE p.removed_at IS NULL AND m.created_at >= p.share_history_from",
        [key[0] for key, _, _ in ordered],
        [key[1] for key, _, _ in ordered],
        [user for _, user, _ in ordered],
        [message for _, _, message in ordered],
    )
    return {((row["resource_id"], row["thread_id"]), row["raw_id"], row["message_id"]) for row in rows}


async def edit(
    connection: Connection,
    key: Key,
    message: MessageId,
    *,
    version: int,
    now: datetime,
    content: str,
    metadata: str,
    attachments: str | None,
) -> None:
    """Change a message of a thread that this transaction holds locked."""
    await connection.execute(
        "UPDATE chat_messages m SET version = $4, edited_at = $5, content = $6, metadata = $7, attachments = $8,"
        f" changed_after = (SELECT last_message_id FROM {THREAD.format('$1', '$2')})"
        " WHERE m.resource_id = $1 AND m.thread_id = $2 AND m.message_id = $3",
        *key,
        message,
        version,
        now,
        content,
        metadata,
        attachments,
    )


async def erase(connection: Connection, key: Key, message: MessageId, *, version: int, now: datetime) -> None:
    """Delete what a message said; that there was one stays."""
    await connection.execute(
        "UPDATE chat_messages SET version = $4, deleted_at = $5, content = NULL, metadata = NULL, attachments = NULL"
        " WHERE resource_id = $1 AND thread_id = $2 AND message_id = $3",
        *key,
        message,
        version,
        now,
    )
