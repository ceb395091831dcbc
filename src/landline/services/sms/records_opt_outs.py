"""The SQL of opt-outs: who wants nothing more from which sender, since when, and who said so."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from landline.core.ids import ResourceId
from landline.store.database import Connection, Record

# As in records_search: a page reads a bounded piece, and says where it ended.
_PIECE = """
WITH seen AS MATERIALIZED (
    SELECT sender, recipient, at, origin FROM sms_optouts
    WHERE resource_id = $1 AND {behind} ORDER BY sender, recipient LIMIT $4
), found AS MATERIALIZED (
    SELECT * FROM seen
    WHERE ($6::text IS NULL OR recipient = $6) AND ($7::timestamptz IS NULL OR at >= $7)
        AND ($8::timestamptz IS NULL OR at < $8)
    ORDER BY sender, recipient LIMIT $5
), last AS (
    SELECT sender, recipient FROM seen ORDER BY sender DESC, recipient DESC LIMIT 1
)
SELECT piece.*, found.* FROM (
    SELECT (SELECT count(*) FROM seen) AS read, (SELECT sender FROM last) AS last_sender,
        (SELECT recipient FROM last) AS last_recipient
) piece LEFT JOIN found ON true ORDER BY found.sender, found.recipient
"""
_OF_ALL = _PIECE.format(behind="(sender, recipient) > ($2::text, $3::text)")
_OF_ONE = _PIECE.format(behind="sender = $2::text AND recipient > $3::text")


@dataclass(frozen=True, slots=True)
class Sought:
    """Which opt-outs; None: any."""

    sender: str | None = None
    recipient: str | None = None
    since: datetime | None = None
    until: datetime | None = None


Place = tuple[str, str]
"""Sender and recipient: opt-outs are listed in their order."""
BEGINNING: Place = ("", "")


@dataclass(frozen=True, slots=True)
class Found:
    """What matched, in order; how many rows were read, and the place of the last of them."""

    rows: Sequence[Record]
    read: int
    last: Place


async def page(
    connection: Connection, resource: ResourceId, sought: Sought, behind: Place, rows_read: int, limit: int
) -> Found:
    """Up to `limit` of the next `rows_read` opt-outs of `resource` behind a place."""
    sql = _OF_ALL
    if sought.sender is not None:
        sql, behind = _OF_ONE, (sought.sender, behind[1])
    bounds = rows_read, limit, sought.recipient, sought.since, sought.until
    rows = await connection.fetch(sql, resource, *behind, *bounds)
    first = rows[0]
    last = (first["last_sender"] or "", first["last_recipient"] or "")
    return Found([row for row in rows if row["sender"] is not None], first["read"], last)


async def add(
    connection: Connection, resource: ResourceId, sender: str, recipients: Sequence[str], at: datetime, origin: str
) -> list[str]:
    """`recipients` want nothing more from `sender`; those who had not said so before."""
    rows = await connection.fetch(
        "INSERT INTO sms_optouts (resource_id, sender, recipient, at, origin)"
        " SELECT $1, $2, recipient, $4, $5 FROM (SELECT DISTINCT unnest($3::text[]) AS recipient ORDER BY 1) r"
        " ON CONFLICT DO NOTHING RETURNING recipient",
        resource,
        sender,
        recipients,
        at,
        origin,
    )
    return [row["recipient"] for row in rows]


async def enter(
    connection: Connection, resource: ResourceId, entries: Sequence[tuple[str, str, datetime]], origin: str
) -> int:
    """Of (sender, recipient, since when): they want nothing more; how many had not said so before."""
    return await connection.fetchval(
        "WITH entered AS (INSERT INTO sms_optouts (resource_id, sender, recipient, at, origin)"
        " SELECT DISTINCT ON (sender, recipient) $1::uuid, sender, recipient, at, $5::text"
        "  FROM unnest($2::text[], $3::text[], $4::timestamptz[]) AS e (sender, recipient, at)"
        "  ORDER BY sender, recipient, at"
        " ON CONFLICT DO NOTHING RETURNING 1) SELECT count(*) FROM entered",
        resource,
        [sender for sender, _, _ in entries],
        [recipient for _, recipient, _ in entries],
        [at for _, _, at in entries],
        origin,
    )


async def add_as(connection: Connection, resource: ResourceId, moved: Sequence[tuple[str, str, str]]) -> None:
    """Of (recipient, sender, other sender): recipients that opted out of the one have opted out of the other, too."""
    await connection.execute(
        "INSERT INTO sms_optouts (resource_id, sender, recipient, at, origin)"
        " SELECT o.resource_id, k.other, o.recipient, o.at, o.origin"
        " FROM unnest($2::text[], $3::text[], $4::text[]) AS k (recipient, sender, other)"
        " JOIN sms_optouts o ON o.resource_id = $1 AND o.sender = k.sender AND o.recipient = k.recipient"
        " ORDER BY o.recipient ON CONFLICT DO NOTHING",
        resource,
        [recipient for recipient, _, _ in moved],
        [sender for _, sender, _ in moved],
        [other for _, _, other in moved],
    )


async def remove(connection: Connection, resource: ResourceId, sender: str, recipients: Sequence[str]) -> None:
    """`recipients` want messages from `sender` again."""
    await connection.execute(
        "DELETE FROM sms_optouts WHERE resource_id = $1 AND sender = $2 AND recipient = ANY($3)",
        resource,
        sender,
        recipients,
    )


async def lift(connection: Connection, resource: ResourceId, entries: Sequence[tuple[str, str]]) -> int:
    """Of (sender, recipient): they want messages again; how many had opted out."""
    return await connection.fetchval(
        "WITH lifted AS (DELETE FROM sms_optouts o"
        " USING unnest($2::text[], $3::text[]) AS e (sender, recipient)"
        " WHERE o.resource_id = $1 AND (o.sender, o.recipient) = (e.sender, e.recipient) RETURNING 1)"
        " SELECT count(*) FROM lifted",
        resource,
        [sender for sender, _ in entries],
        [recipient for _, recipient in entries],
    )
