"""The SQL of messages with a timer of their own: to be sent at a time, tried again, or ended when no report came."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from landline.services.sms.model.crowds import Crowd, Fairly
from landline.services.sms.records_progress import OPEN
from landline.store.database import Connection, Record


async def claim_deferred(
    connection: Connection,
    claim: UUID,
    owner: UUID,
    now: datetime,
    lease_until: datetime,
    limit: int,
    *,
    carriers: Sequence[str],
    fairly: Fairly | None = None,
) -> list[Record]:
    """Deferred messages that are due at one of `carriers`, from now on in the hands of `owner` under the block `claim`;
    it is not opened where there are none. Without `fairly` those that are due elsewhere are read, too."""
    arguments = (now, claim, owner, lease_until, limit)
    if fairly is None:
        return await connection.fetch(_CLAIM, *arguments, carriers)
    return await connection.fetch(_CLAIM_FAIRLY, *arguments, *_columns_of(carriers, fairly), fairly.of_each)


async def claim_ending(
    connection: Connection,
    claim: UUID,
    owner: UUID,
    now: datetime,
    lease_until: datetime,
    limit: int,
    *,
    carriers: Sequence[str],
    since: datetime,
) -> list[Record]:
    """Likewise those at other than `carriers` that have been due `since` then and are to be ended, or may be: they are
    late, or in doubt. All others that are due there are read for it."""
    return await connection.fetch(_CLAIM_ENDING, now, claim, owner, lease_until, limit, carriers, since)


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
_SENDERS = """
RECURSIVE sender AS (
    SELECT first.* FROM unnest(${}::text[]) AS c (carrier) CROSS JOIN LATERAL (
        SELECT carrier, resource_id, sender FROM sms_messages m WHERE due_at IS NOT NULL AND claim_id IS NULL
        AND m.carrier = c.carrier ORDER BY carrier, resource_id, sender LIMIT 1
    ) AS first
    UNION ALL
    SELECT next.* FROM sender AS s CROSS JOIN LATERAL (
        SELECT carrier, resource_id, sender FROM sms_messages m WHERE due_at IS NOT NULL AND claim_id IS NULL
        AND m.carrier = s.carrier AND (m.resource_id, m.sender) > (s.resource_id, s.sender)
        ORDER BY resource_id, sender LIMIT 1
    ) AS next
),
wanted AS (
    SELECT * FROM sender WHERE (carrier, resource_id, sender) NOT IN
        (SELECT * FROM unnest(${}::text[], ${}::uuid[], ${}::text[]))
)
"""
"""Every sender with timers at some carriers, each found by its key after the one before, but for some crowds."""
_OF_EACH = 2
"""Of so many of each sender is chosen at least: only some of the senders may have any that are due."""
# Of equal turns each claim ($2) has another order: by their age 500 campaigns would be taken from each time, and a text
# that was due after these would wait for the end of one.
# A sender's are found as a stretch of the index of senders: were he named by =, PostgreSQL might look through all that
# is due instead, as it believes much of that to be his. What was found is locked by its key: the CASE keeps PostgreSQL
# from reading the index of all that is due beside it.
_CLAIM_FAIRLY = f"""
WITH {_SENDERS.format(6, 7, 8, 9)},
found AS (
    SELECT first.* FROM wanted w CROSS JOIN LATERAL (
        SELECT each.*, row_number() OVER (ORDER BY each.due_at) AS turn FROM (
            SELECT m.resource_id, m.message_id, m.due_at FROM sms_messages m
            WHERE m.due_at IS NOT NULL AND m.claim_id IS NULL
            AND (m.carrier, m.resource_id, m.sender, m.due_at) > (w.carrier, w.resource_id, w.sender, '-infinity')
            AND (m.carrier, m.resource_id, m.sender, m.due_at) <= (w.carrier, w.resource_id, w.sender, $1)
            ORDER BY m.carrier, m.resource_id, m.sender, m.due_at
            LIMIT (SELECT least($10::bigint, greatest($5 / greatest(count(*), 1), {_OF_EACH})) FROM wanted)
        ) AS each
    ) AS first
    ORDER BY first.turn, md5(first.message_id::text || ($2::uuid)::text) LIMIT $5
),
due AS (
    SELECT m.resource_id, m.message_id FROM found f JOIN sms_messages m USING (resource_id, message_id)
    WHERE CASE WHEN m.claim_id IS NULL THEN m.due_at <= $1 END FOR UPDATE OF m SKIP LOCKED
),
{_CLAIMED}
"""


def _columns_of(carriers: Sequence[str], fairly: Fairly) -> list[list[Any]]:
    """The carriers at which something is wanted, and the crowds there of which nothing is."""
    senders = [(crowd.carrier, *crowd.sender) for crowd in fairly.without if crowd.sender is not None]
    wanted = [carrier for carrier in carriers if Crowd(carrier) not in fairly.without]
    return [wanted, *([each[column] for each in senders] for column in range(3))]


async def give_back(connection: Connection, claims: Sequence[UUID], owner: UUID, now: datetime) -> None:
    """Whatever is in somebody's hands under `claims`, which `owner` holds now, is in nobody's any more, and due."""
    await connection.execute(
        "UPDATE sms_messages SET claim_id = NULL, due_at = $3 FROM sms_blocks b"
        " WHERE b.block_id = ANY($1) AND b.owner = $2 AND claim_id = b.block_id",
        claims,
        owner,
        now,
    )


async def next_deferred(
    connection: Connection, carriers: Sequence[str], fairly: Fairly | None = None
) -> datetime | None:
    """When there is something to claim at one of `carriers`; without `fairly` at any."""
    if fairly is None:
        return await connection.fetchval(_NEXT)
    return await connection.fetchval(_NEXT_FAIRLY, *_columns_of(carriers, fairly))


_NEXT = "SELECT min(due_at) FROM sms_messages WHERE claim_id IS NULL"
_NEXT_FAIRLY = f"""
WITH {_SENDERS.format(1, 2, 3, 4)}
SELECT min(first.due_at) FROM wanted w CROSS JOIN LATERAL (
    SELECT m.due_at FROM sms_messages m WHERE m.due_at IS NOT NULL AND m.claim_id IS NULL
    AND (m.carrier, m.resource_id, m.sender, m.due_at) > (w.carrier, w.resource_id, w.sender, '-infinity')
    ORDER BY m.carrier, m.resource_id, m.sender, m.due_at LIMIT 1
) AS first
"""
