"""The SQL that reads the log of changes: what is new for everybody, what a user missed, what is settled."""

from collections.abc import Sequence
from datetime import datetime

from landline.core.ids import RawId, ResourceId
from landline.services.chat.records import THREAD, Key
from landline.services.chat.records_log import WRITING
from landline.store.database import Connection, Database, Record

# The database's oid tells copies of one server apart, the server's identifier servers, and the timeline (the first
# eight digits of a WAL file's name) a server from what it was before a restore or a failover.
_STATE = """
SELECT s.epoch, s.place, s.floor, concat_ws('.', (SELECT system_identifier FROM pg_control_system()),
    substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
    (SELECT oid FROM pg_database WHERE datname = current_database())) AS here
FROM (SELECT true) AS one LEFT JOIN chat_log_state s ON true
"""
_COLUMNS = """
l.position, l.resource_id AS of_resource, l.thread_id AS of_thread, l.kind AS change, l.at AS changed_at,
l.version AS change_version, l.roster_version, l.detail, m.*
"""


async def state(database: Database, new_epoch: str) -> tuple[str, int]:
    """(epoch, floor). Where positions do not go on from where they were, `new_epoch` begins."""
    row = await database.fetchrow(_STATE)
    assert row is not None
    if row["place"] == row["here"]:
        return row["epoch"], row["floor"]
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO chat_log_state (single, epoch, place, floor) VALUES (true, $1, $2, 0)"
            " ON CONFLICT (single) DO UPDATE SET epoch = excluded.epoch, place = excluded.place"
            " WHERE chat_log_state.place <> excluded.place",
            new_epoch,
            row["here"],
        )
        found = await connection.fetchrow("SELECT epoch, floor FROM chat_log_state")
    assert found is not None
    return found["epoch"], found["floor"]


async def last_position(database: Database) -> int:
    """The last position that anybody took."""
    return await database.fetchval("SELECT last_value FROM chat_log_positions")


async def settled(database: Database) -> int:
    """A position up to which nothing can appear any more: all that later statements do not find is not there."""
    # Two statements: who took a position up to `last` held the lock by then, and does until it commits.
    last = await last_position(database)
    writing = await database.fetchval(
        "SELECT min(((classid::bigint & 65535) << 32) | objid::bigint) FROM pg_locks"
        f" WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = {WRITING} AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return last if writing is None else min(last, writing)


async def after(
    database: Database, position: int, upto: int | None, resources: Sequence[ResourceId], limit: int
) -> list[Record]:
    """The changes after `position`, at most up to `upto`, with the messages of those of `resources`. Without `upto` it
    may be that a lower position appears later."""
    return await database.fetch(
        f"SELECT {_COLUMNS} FROM chat_log l LEFT JOIN chat_messages m ON l.resource_id = ANY($3::uuid[])"
        " AND m.resource_id = l.resource_id AND m.thread_id = l.thread_id AND m.message_id = l.message_id"
        " WHERE l.position > $1 AND l.position <= coalesce($2::bigint, 9223372036854775807)"
        " ORDER BY l.position LIMIT $4",
        position,
        upto,
        resources,
        limit,
    )


async def missed(
    database: Database, resource: ResourceId, user: RawId, position: int, upto: int, limit: int
) -> list[Record]:
    """What `user` may see of the changes after `position` and up to `upto`, which is settled: `still` tells whether the
    user is in the thread now. Of threads that are deleted only that."""
    return await database.fetch(
        f"SELECT {_COLUMNS}, s.until_position IS NULL AS still FROM chat_stays s"
        " JOIN chat_log l ON l.resource_id = s.resource_id AND l.thread_id = s.thread_id"
        "  AND l.position BETWEEN s.from_position AND coalesce(s.until_position, 9223372036854775807)"
        " LEFT JOIN LATERAL"
        f" (SELECT thread_id, deleted_at FROM {THREAD.format('l.resource_id', 'l.thread_id')}) AS t"
        "  ON t.deleted_at IS NULL"
        " LEFT JOIN chat_messages m ON m.resource_id = l.resource_id AND m.thread_id = l.thread_id"
        "  AND m.message_id = l.message_id"
        " WHERE s.resource_id = $1 AND s.raw_id = $2 AND coalesce(s.until_position, 9223372036854775807) > $3"
        " AND l.position > $3 AND l.position <= $4 AND (t.thread_id IS NOT NULL OR l.kind = 'threadDeleted')"
        " AND (l.message_id IS NULL OR m.created_at >= s.share_history_from)"
        " ORDER BY l.position LIMIT $5",
        resource,
        user,
        position,
        upto,
        limit,
    )


async def rosters(connection: Connection, wanted: Sequence[tuple[Key, int]]) -> list[dict[RawId, datetime]]:
    """Who is told of each of these changes (thread, position), and from when on each is shown messages."""
    rows = await connection.fetch(
        "SELECT w.number, s.raw_id, s.share_history_from"
        " FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) WITH ORDINALITY"
        "  AS w (resource_id, thread_id, position, number)"
        " JOIN chat_stays s ON s.resource_id = w.resource_id AND s.thread_id = w.thread_id"
        "  AND w.position BETWEEN s.from_position AND coalesce(s.until_position, 9223372036854775807)",
        [key[0] for key, _ in wanted],
        [key[1] for key, _ in wanted],
        [position for _, position in wanted],
    )
    found: list[dict[RawId, datetime]] = [{} for _ in wanted]
    for row in rows:
        found[row["number"] - 1][row["raw_id"]] = row["share_history_from"]
    return found


async def still_in(connection: Connection, key: Key) -> set[RawId]:
    """Who is in a thread now."""
    rows = await connection.fetch(
        "SELECT raw_id FROM chat_stays WHERE resource_id = $1 AND thread_id = $2 AND until_position IS NULL", *key
    )
    return {row["raw_id"] for row in rows}
