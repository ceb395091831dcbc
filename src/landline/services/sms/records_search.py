"""The SQL of finding messages: a piece of a resource's messages, read in the order of their ids and filtered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from landline.core.ids import ResourceId
from landline.services.sms.model.messages import State
from landline.store.database import Connection, Record

# What was read is counted as well: where it is all that may be read and nothing of it matched, the next page begins
# behind it.
_PIECE = """
WITH seen AS MATERIALIZED (
    SELECT {columns} FROM {table} m
    WHERE m.resource_id = $1 AND m.message_id >= $2 AND m.message_id < $3 ORDER BY m.message_id DESC LIMIT $4
), found AS MATERIALIZED (
    SELECT * FROM seen
    WHERE ($6::text IS NULL OR sender = $6) AND ($7::text IS NULL OR recipient = $7)
        AND ($8::text IS NULL OR coalesce(tag, '') = $8) AND ($9::text IS NULL OR carrier = $9){more}
    ORDER BY message_id DESC LIMIT $5
)
SELECT piece.*, found.* FROM (
    SELECT (SELECT count(*) FROM seen) AS read, (SELECT message_id FROM seen ORDER BY message_id LIMIT 1) AS last
) piece LEFT JOIN found ON true ORDER BY found.message_id DESC
"""

# Whether a carrier has it is in no row of its own (docs/design/blocks.md).
_OUTGOING = _PIECE.format(
    table="sms_messages",
    columns=f"""m.message_id, m.accepted_at, m.ended_at, m.code, m.segments, m.sender, m.recipient, m.tag, m.carrier,
        CASE WHEN m.state = {int(State.QUEUED)} AND EXISTS (
            SELECT FROM sms_submissions s WHERE s.block_id = m.block_id AND s.message_id = m.message_id
        ) THEN {int(State.SUBMITTED)}::smallint ELSE m.state END AS state""",
    more=" AND ($10::smallint IS NULL OR state = $10) AND ($11::integer IS NULL OR code = $11)",
)

_INCOMING = _PIECE.format(
    table="sms_inbound",
    columns="m.message_id, m.received_at, m.segments, m.sender, m.recipient, m.tag, m.carrier, m.keyword",
    more="",
)


@dataclass(frozen=True, slots=True)
class Sought:
    """Which messages; None: any. An empty tag: those without one."""

    sender: str | None = None
    recipient: str | None = None
    tag: str | None = None
    carrier: str | None = None
    state: State | None = None
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What matched, newest first; how many rows were read, and the id of the oldest of them."""

    rows: Sequence[Record]
    read: int
    last: UUID | None


async def outgoing(
    connection: Connection, resource: ResourceId, sought: Sought, first: UUID, end: UUID, rows_read: int, limit: int
) -> Found:
    """Up to `limit` of the last `rows_read` messages whose ids are at least `first` and less than `end`."""
    more = None if sought.state is None else int(sought.state), sought.code
    return await _piece(connection, _OUTGOING, resource, first, end, rows_read, limit, *_common(sought), *more)


async def incoming(
    connection: Connection, resource: ResourceId, sought: Sought, first: UUID, end: UUID, rows_read: int, limit: int
) -> Found:
    """The same of texts from phones."""
    return await _piece(connection, _INCOMING, resource, first, end, rows_read, limit, *_common(sought))


def _common(sought: Sought) -> tuple[str | None, ...]:
    return sought.sender, sought.recipient, sought.tag, sought.carrier


async def _piece(connection: Connection, sql: str, *arguments: Any) -> Found:
    rows = await connection.fetch(sql, *arguments)
    return Found([row for row in rows if row["message_id"] is not None], rows[0]["read"], rows[0]["last"])
