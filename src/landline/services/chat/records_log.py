"""The SQL that writes the log of changes, in the transactions that make them (docs/design/chat-feed.md)."""

from collections.abc import Sequence
from datetime import datetime

from landline.core.ids import RawId, ResourceId
from landline.services.chat.model.changes import ChatChange
from landline.services.chat.model.log import Entry, Logged, entry
from landline.services.chat.model.values import Participant
from landline.services.chat.records import THREAD, Key, stored
from landline.store.database import Connection, Database

WRITING = 0x6C67
"""The upper 16 bits of the advisory locks of writers; the rest is a position below all that the writer takes."""

# The lock is held before a position is taken, and until the transaction has ended: whoever sees neither the lock nor
# the row knows that the position is nobody's. The rows are sorted, so all read, before the first position is taken.
_APPEND = f"""
WITH held AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(({WRITING}::bigint << 48) + last_value)::text AS held FROM chat_log_positions
)
INSERT INTO chat_log (resource_id, thread_id, position, kind, at, roster_version, version, message_id, detail)
SELECT c.resource_id, c.thread_id, nextval('chat_log_positions'), c.kind, c.at, c.roster_version, c.version,
    c.message_id, c.detail
FROM (
    SELECT n.*, t.roster_version
    FROM held, unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::text[])
        WITH ORDINALITY AS n (resource_id, thread_id, kind, at, version, message_id, detail, number)
    CROSS JOIN LATERAL (SELECT roster_version FROM {THREAD.format("n.resource_id", "n.thread_id")}) AS t
    WHERE held.held IS NOT NULL ORDER BY n.number
) AS c
RETURNING position
"""
_Kept = tuple[Key, ChatChange, Entry]


async def append(connection: Connection, changes: Sequence[tuple[ResourceId, ChatChange]]) -> None:
    """Log `changes` of threads that this transaction holds locked, of each thread in its order."""
    kept: list[_Kept] = []
    for resource, change in changes:
        made = entry(change)
        if made is not None:
            kept.append(((resource, change.thread), change, made))
    if not kept:
        return
    rows = await connection.fetch(
        _APPEND,
        [key[0] for key, _, _ in kept],
        [key[1] for key, _, _ in kept],
        [made.kind for _, _, made in kept],
        [change.at for _, change, _ in kept],
        [change.version for _, change, _ in kept],
        [made.message for _, _, made in kept],
        [stored(made.detail) if made.detail else None for _, _, made in kept],
    )
    assert len(rows) == len(kept), "a change is logged of a thread that is there"
    for row, (key, _, made) in zip(rows, kept, strict=True):
        await _keep_stays(connection, key, made, row["position"])


async def _keep_stays(connection: Connection, key: Key, made: Entry, position: int) -> None:
    those = made.detail.participants if made.detail else ()
    match made.kind:
        case Logged.THREAD_CREATED | Logged.PARTICIPANTS_ADDED:
            await _come(connection, key, those, position)
        case Logged.PARTICIPANTS_REMOVED:
            await _go(connection, key, [each.raw_id for each in those], position)
        case Logged.THREAD_DELETED:
            await _go(connection, key, None, position)
        case _:
            pass


async def _come(connection: Connection, key: Key, those: Sequence[Participant], position: int) -> None:
    await connection.execute(
        "INSERT INTO chat_stays (resource_id, raw_id, thread_id, from_position, share_history_from)"
        " SELECT $1, p.raw_id, $2, $5, p.since FROM unnest($3::text[], $4::timestamptz[]) AS p (raw_id, since)",
        *key,
        [each.raw_id for each in those],
        [each.share_history_from for each in those],
        position,
    )


async def _go(connection: Connection, key: Key, those: Sequence[RawId] | None, position: int) -> None:
    await connection.execute(
        "UPDATE chat_stays SET until_position = $4 WHERE resource_id = $1 AND thread_id = $2"
        " AND until_position IS NULL AND ($3::text[] IS NULL OR raw_id = ANY($3))",
        *key,
        those,
        position,
    )


async def purge(database: Database, key: Key, limit: int) -> bool:
    """Take away up to `limit` of all that the log says of a deleted thread but that it was deleted; whether there may
    be more."""
    done = await database.execute(
        "DELETE FROM chat_log WHERE ctid = ANY(ARRAY(SELECT ctid FROM chat_log"
        "  WHERE resource_id = $1 AND thread_id = $2 AND kind <> $3 ORDER BY position LIMIT $4))",
        *key,
        Logged.THREAD_DELETED,
        limit,
    )
    return int(done.rpartition(" ")[2]) >= limit


async def trim(database: Database, before: datetime, limit: int) -> bool:
    """Take up to `limit` of the oldest changes away when they are of `before`; whether there may be more."""
    async with database.transaction() as connection:
        # The floor is there before the rows are gone: who reads later sees it, who reads now has them.
        floor = await connection.fetchval(
            "WITH old AS (SELECT position, at FROM chat_log ORDER BY position LIMIT $2)"
            " SELECT max(position) FROM old WHERE at < $1 AND position < coalesce("
            "  (SELECT min(position) FROM old WHERE at >= $1), 9223372036854775807)",
            before,
            limit,
        )
        if floor is None:
            return False
        await connection.execute("UPDATE chat_log_state SET floor = greatest(floor, $1)", floor)
        done = await connection.execute("DELETE FROM chat_log WHERE position <= $1", floor)
    return int(done.rpartition(" ")[2]) >= limit


async def trim_stays(database: Database, limit: int) -> bool:
    """Take up to `limit` stays away that ended before all that the log has; whether there may be more. Not with each
    portion of `trim`: it looks through all stays."""
    done = await database.execute(
        "DELETE FROM chat_stays WHERE ctid = ANY(ARRAY(SELECT ctid FROM chat_stays"
        "  WHERE until_position < coalesce((SELECT min(position) FROM chat_log), 9223372036854775807) LIMIT $1))",
        limit,
    )
    return int(done.rpartition(" ")[2]) >= limit
