"""The SQL of messages with a timer of their own: to be sent at a time, tried again, or ended when no report came."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from landline.services.sms.model.crowds import Crowd, Crowds
from landline.services.sms.records_progress import OPEN
from landline.store.blocks import LEASE
from landline.store.database import Connection, Record


@dataclass(frozen=True, slots=True)
class Claim:
    """By whom, and when, what is due is taken up: under a `block` of its own, with a lease."""

    block: UUID
    owner: UUID
    at: datetime

    @property
    def columns(self) -> tuple[datetime, UUID, UUID, datetime]:
        """What the statements begin with."""
        return self.at, self.block, self.owner, self.at + LEASE


async def claim_deferred(
    connection: Connection,
    claim: Claim,
    limit: int,
    *,
    carriers: Sequence[str],
) -> list[Record]:
    """Deferred messages that are due at one of `carriers`, from now on in the hands of the `claim`'s owner under its
    block, which is not opened where there are none. Those that are due elsewhere are read, too."""
    return await connection.fetch(_CLAIM, *claim.columns, limit, carriers)


async def claim_of_each(
    connection: Connection,
    claim: Claim,
    limit: int,
    *,
    senders: Sequence[Crowd],
) -> list[Record]:
    """Likewise of each of `senders` no more than `limit`; nothing else is read."""
    return await connection.fetch(_CLAIM_OF_EACH, *claim.columns, limit, *_columns(senders))


@dataclass(frozen=True, slots=True)
class Waiting:
    """The senders of whom something is due, the longest first; when the first of anybody is, or was, due."""

    due: Sequence[Crowd]
    next_at: datetime | None


async def waiting(connection: Connection, carriers: Sequence[str], without: Crowds, now: datetime) -> Waiting:
    """Whose timers are due at some carriers, but for some crowds. Nobody's are looked for while none is due anywhere:
    `next_at` is the first of all carriers then."""
    wanted = [carrier for carrier in carriers if Crowd(carrier) not in without]
    kept_out = [crowd for crowd in without if crowd.sender is not None]
    rows = await connection.fetch(_WAITING, now, wanted, *_columns(kept_out))
    due = [Crowd(row["carrier"], (row["resource_id"], row["sender"])) for row in rows if row["due_at"] <= now]
    return Waiting(due, rows[0]["due_at"] if rows else None)


async def claim_ending(
    connection: Connection,
    claim: Claim,
    limit: int,
    *,
    carriers: Sequence[str],
    since: datetime,
) -> list[Record]:
    """Likewise those at other than `carriers` that have been due `since` then and are to be ended, or may be: they are
    late, or in doubt. All others that are due there are read for it."""
    return await connection.fetch(_CLAIM_ENDING, *claim.columns, limit, carriers, since)


async def elsewhere(connection: Connection, carriers: Sequence[str]) -> bool:
    """Whether any message at another carrier than `carriers` has a timer, be it due or not."""
    return await connection.fetchval(_ELSEWHERE, carriers)


_CLAIMED = f"""
opened AS (
    INSERT INTO sms_blocks (block_id, owner, due_at) SELECT $2::uuid, $3::uuid, $4::timestamptz
    WHERE EXISTS (SELECT FROM due)
),
claimed AS (
    UPDATE sms_messages m SET claim_id = $2 FROM due
    WHERE m.resource_id = due.resource_id AND m.message_id = due.message_id RETURNING m.*
)
{OPEN.replace("FROM sms_messages m", "FROM claimed m")}
"""
# IS TRUE keeps PostgreSQL from reading, and sorting, all timers of a carrier, for which there is an index, too.
_CLAIM = f"""
WITH due AS (
    SELECT m.resource_id, m.message_id FROM sms_messages m
    WHERE due_at <= $1 AND claim_id IS NULL AND (carrier = ANY($6)) IS TRUE
    ORDER BY due_at LIMIT $5 FOR UPDATE OF m SKIP LOCKED
),
{_CLAIMED}
"""
_CLAIM_ENDING = f"""
WITH due AS (
    SELECT m.resource_id, m.message_id FROM sms_messages m
    WHERE due_at <= $7 AND claim_id IS NULL AND carrier <> ALL($6)
    AND (report_by <= $1 OR valid_until <= $1 OR doubt > 0)
    ORDER BY due_at LIMIT $5 FOR UPDATE OF m SKIP LOCKED
),
{_CLAIMED}
"""
_ELSEWHERE = """
WITH RECURSIVE found AS (
    (SELECT carrier FROM sms_messages WHERE due_at IS NOT NULL AND claim_id IS NULL ORDER BY carrier LIMIT 1)
    UNION ALL
    SELECT next.carrier FROM found AS f CROSS JOIN LATERAL (
        SELECT carrier FROM sms_messages m WHERE due_at IS NOT NULL AND claim_id IS NULL
        AND m.carrier > f.carrier ORDER BY carrier LIMIT 1
    ) AS next
)
SELECT EXISTS (SELECT FROM found WHERE carrier <> ALL($1))
"""
# Every sender with timers at some carriers, each found by its key after the one before. For a stretch of the index of
# senders, in that index's order, PostgreSQL reads no other, however empty it believes the table to be. It is given no
# end, for a row to compare with ends no search: the index is read on to its last entry. What is found is looked at.
_WAITING = f"""
WITH RECURSIVE soonest AS MATERIALIZED (
    SELECT due_at AS at FROM sms_messages WHERE due_at > '-infinity' AND claim_id IS NULL ORDER BY due_at LIMIT 1
),
sender AS (
    SELECT first.* FROM unnest($2::text[]) AS c (carrier) CROSS JOIN LATERAL (
        SELECT carrier, resource_id, sender, due_at FROM sms_messages m WHERE due_at IS NOT NULL AND claim_id IS NULL
        AND (m.carrier, m.resource_id, m.sender, m.due_at) > (c.carrier, '{UUID(int=0)}', '', '-infinity')
        ORDER BY carrier, resource_id, sender, due_at LIMIT 1
    ) AS first
    WHERE (SELECT at FROM soonest) <= $1 AND first.carrier = c.carrier
    UNION ALL
    SELECT next.* FROM sender AS s CROSS JOIN LATERAL (
        SELECT carrier, resource_id, sender, due_at FROM sms_messages m WHERE due_at IS NOT NULL AND claim_id IS NULL
        AND (m.carrier, m.resource_id, m.sender, m.due_at) > (s.carrier, s.resource_id, s.sender, 'infinity')
        ORDER BY carrier, resource_id, sender, due_at LIMIT 1
    ) AS next
    WHERE next.carrier = s.carrier
),
wanted AS (
    SELECT * FROM sender WHERE (carrier, resource_id, sender) NOT IN
        (SELECT * FROM unnest($3::text[], $4::uuid[], $5::text[]))
)
SELECT * FROM wanted WHERE due_at <= $1 OR due_at = (SELECT min(due_at) FROM wanted)
UNION ALL
SELECT NULL, NULL, NULL, at FROM soonest WHERE at > $1
ORDER BY due_at
"""
# Likewise; were a sender named by =, PostgreSQL might look through all that is due instead, as it believes much of that
# to be his. What was found is locked by its key: the CASE keeps it from reading the index of all that is due beside it.
_CLAIM_OF_EACH = f"""
WITH found AS (
    SELECT first.resource_id, first.message_id
    FROM unnest($6::text[], $7::uuid[], $8::text[]) AS w (carrier, resource_id, sender) CROSS JOIN LATERAL (
        SELECT m.carrier, m.resource_id, m.sender, m.message_id, m.due_at FROM sms_messages m
        WHERE m.due_at IS NOT NULL AND m.claim_id IS NULL
        AND (m.carrier, m.resource_id, m.sender, m.due_at) > (w.carrier, w.resource_id, w.sender, '-infinity')
        ORDER BY m.carrier, m.resource_id, m.sender, m.due_at LIMIT $5
    ) AS first
    WHERE (first.carrier, first.resource_id, first.sender) = (w.carrier, w.resource_id, w.sender)
    AND first.due_at <= $1
),
due AS (
    SELECT m.resource_id, m.message_id FROM found f JOIN sms_messages m USING (resource_id, message_id)
    WHERE CASE WHEN m.claim_id IS NULL THEN m.due_at <= $1 END FOR UPDATE OF m SKIP LOCKED
),
{_CLAIMED}
"""


def _columns(senders: Sequence[Crowd]) -> list[list[Any]]:
    rows = [(crowd.carrier, *crowd.sender) for crowd in senders if crowd.sender is not None]
    return [[row[column] for row in rows] for column in range(3)]


async def give_back(connection: Connection, claims: Sequence[UUID], owner: UUID, now: datetime) -> None:
    """Whatever is in somebody's hands under `claims`, which `owner` holds now, is in nobody's any more, and due."""
    await connection.execute(
        # IS TRUE keeps PostgreSQL from reading all blocks of `owner`, for which there is an index, too.
        "UPDATE sms_messages SET claim_id = NULL, due_at = $3 FROM sms_blocks b"
        " WHERE b.block_id = ANY($1) AND (b.owner = $2) IS TRUE AND claim_id = b.block_id",
        claims,
        owner,
        now,
    )


async def next_deferred(connection: Connection) -> datetime | None:
    """When there is something to claim, at whatever carrier."""
    return await connection.fetchval(_NEXT)


_NEXT = "SELECT min(due_at) FROM sms_messages WHERE claim_id IS NULL"
