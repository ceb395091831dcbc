"""The SQL of what becomes of accepted messages: handed over, refused, deferred, taken, ended. What is deferred:
`records_deferred`; receipts: `records_receipts`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from landline.ports.sms_carrier import Submitted
from landline.services.sms.model import details
from landline.services.sms.model.messages import State
from landline.store.database import Connection, Database, Record
from landline.store.sharing import shared

Key = tuple[UUID, UUID]
"""Resource and message."""


@dataclass(frozen=True, slots=True)
class Deferral:
    """A message to be tried again, alone, at `due`; by `carrier`. It is so only if it has come no further than `was`
    (its carrier) and `attempts` say: what was decided about it twice, or by two processes, counts once."""

    resource: UUID
    message: UUID
    due: datetime
    carrier: str
    doubt: int
    was: str
    attempts: int


class TakenAfterAll(Struct, frozen=True):
    """A message that `carrier` has, although it was put off. Where it is in a process's hands to be handed over again,
    its doubt is another than `doubt` once that was written down."""

    resource: UUID
    message: UUID
    carrier: str
    doubt: int
    settled: int | None = None
    """Its doubt from now on; None leaves that."""


_IN_HAND = (
    "EXISTS (SELECT FROM sms_blocks b WHERE (b.owner = {}) IS TRUE"
    " AND b.block_id = ANY(ARRAY[CASE WHEN m.due_at IS NULL THEN m.block_id ELSE m.claim_id END]))"
)
"""A message in a block of this process, or claimed under one. Another may have it when we could not renew the lease.
IS TRUE keeps PostgreSQL from reading all blocks that this process holds, for which there is an index, too, and ANY all
that there are, where it takes the table to be empty (docs/design/plans.md)."""

CHANGED = (
    "RETURNING m.resource_id, m.message_id, m.block_id, m.accepted_at, m.sender, m.recipient, m.tag, m.segments,"
    " m.segments_delivered, m.report_wanted, m.state, m.code, m.ended_at, m.attempts, m.carrier, m.report_by,"
    " m.valid_until, m.route, m.doubt"
)
"""What is told of a message that was changed."""


async def submitted(
    connection: Connection, carrier: str, taken: Sequence[tuple[Submitted, UUID, UUID]], at: datetime
) -> list[Record]:
    """Store the carrier's ids of the (answer, resource, block) `taken`; the receipts that were parked for them.

    A carrier that uses an id again means the newer message by it; that it has the older one, too, stays known. What was
    parked long before is another message's.
    """
    parked = await connection.fetch(_SUBMITTED, *_taken(carrier, taken, at))
    return [row for row in parked if row["parked_at"] > at - PARKED_FOR] if parked else parked


async def taken(
    database: Database, carrier: str, answers: Sequence[tuple[Submitted, UUID, UUID]], at: datetime
) -> bool:
    """Store the same in a transaction of its own; whether receipts are parked for them, for which `submitted` has to be
    called. Raises `Duplicate`, and has written nothing, when the carrier used one of the ids before."""
    return await database.fetchval(_TAKEN, *_taken(carrier, answers, at))


_INSERT_ANSWERS = """
    INSERT INTO sms_submissions (carrier, carrier_message_id, resource_id, message_id, block_id, submitted_at)
    SELECT $1, a.carrier_message_id, s.resource_id, a.message_id, s.block_id, $2
    FROM unnest($4::uuid[], $5::uuid[], $6::integer[], $7::integer[]) AS s (resource_id, block_id, first, last)
    CROSS JOIN LATERAL unnest(($3::text[])[first:last], ($8::uuid[])[first:last]) AS a (carrier_message_id, message_id)
"""
# The older message by an id that is used again: its row is what keeps it from being handed over again after a crash.
_KEEP_OLDER = """
    INSERT INTO sms_submissions (carrier, carrier_message_id, resource_id, message_id, block_id, submitted_at)
    SELECT s.carrier, s.carrier_message_id || '?' || replace(s.message_id::text, '-', ''), s.resource_id, s.message_id,
        s.block_id, s.submitted_at
    FROM unnest($3::text[], $8::uuid[]) AS a (carrier_message_id, message_id)
    CROSS JOIN LATERAL (
        SELECT * FROM sms_submissions WHERE carrier = $1 AND carrier_message_id = a.carrier_message_id LIMIT 1
    ) s
    WHERE s.message_id <> a.message_id ON CONFLICT DO NOTHING
"""
_SUBMITTED = f"""
WITH older AS ({_KEEP_OLDER}),
answer AS ({_INSERT_ANSWERS}
    ON CONFLICT (carrier, carrier_message_id) DO UPDATE SET resource_id = excluded.resource_id,
        message_id = excluded.message_id, block_id = excluded.block_id, submitted_at = excluded.submitted_at
)
DELETE FROM sms_parked_receipts WHERE carrier = $1 AND carrier_message_id = ANY($3::text[])
RETURNING carrier_message_id, state, code, at, segments_delivered, parked_at
"""
_TAKEN = f"""
WITH answer AS ({_INSERT_ANSWERS})
SELECT EXISTS (SELECT FROM sms_parked_receipts WHERE carrier = $1 AND carrier_message_id = ANY($3::text[]))
"""


def _taken(carrier: str, taken: Sequence[tuple[Submitted, UUID, UUID]], at: datetime) -> tuple[object, ...]:
    alike = shared(taken, lambda answer: answer[1:])
    return (
        carrier,
        at,
        [answer.carrier_message_id for answer, _, _ in alike.rows],
        [resource for resource, _ in alike.keys],
        [block for _, block in alike.keys],
        alike.first,
        alike.last,
        [answer.key for answer, _, _ in alike.rows],
    )


PARKED_FOR = timedelta(minutes=10)
"""A receipt that was parked longer ago is of no message whose answer could still come."""


async def end(
    connection: Connection, keys: Sequence[Key], codes: Sequence[int], at: datetime, *, owner: UUID | None = None
) -> list[Record]:
    """Fail the (resource, message) `keys` with `codes`, those that have not ended; those ended now. With an `owner`
    only what is in its hands."""
    return await connection.fetch(
        f"UPDATE sms_messages m SET state = {int(State.FAILED)}, code = k.code, ended_at = $4, due_at = NULL,"
        " claim_id = NULL, segments_delivered = 0"
        " FROM unnest($1::uuid[], $2::uuid[], $3::integer[]) AS k (resource_id, message_id, code)"
        " WHERE m.resource_id = k.resource_id AND m.message_id = k.message_id"
        f" AND m.state < {int(State.DELIVERED)} AND ($5::uuid IS NULL OR {_IN_HAND.format('$5')}) {CHANGED}",
        [resource for resource, _ in keys],
        [message for _, message in keys],
        codes,
        at,
        owner,
    )


def attempt_at(now: str, of: str) -> str:
    """SQL: the instant of a new row of `sms_attempts` about the message of `of`: `now`, but after those there are. Two
    notes of one message in the same instant would have one key, and the second be lost."""
    return (
        f"greatest({now}, (SELECT max(before.at) + interval '1 microsecond' FROM sms_attempts before"
        f" WHERE before.resource_id = {of}.resource_id AND before.message_id = {of}.message_id))"
    )


async def attempted(
    connection: Connection, carrier: str, refused: Sequence[tuple[Submitted, UUID]], at: datetime
) -> None:
    """Keep a try of each (answer, resource) that came to nothing, for the timeline and for whoever picks the next
    carrier. What is told twice in one instant is kept once."""
    await connection.execute(
        "INSERT INTO sms_attempts (resource_id, message_id, at, carrier, code, temporary, reason, unknown)"
        f" SELECT a.resource_id, a.message_id, {attempt_at('$2::timestamptz', 'a')}, $1, a.code, a.temporary, a.reason,"
        "  a.unknown"
        " FROM unnest($3::uuid[], $4::uuid[], $5::integer[], $6::boolean[], $7::text[], $8::boolean[])"
        "  AS a (resource_id, message_id, code, temporary, reason, unknown)"
        " WHERE NOT EXISTS (SELECT FROM sms_attempts told WHERE told.resource_id = a.resource_id"
        "  AND told.message_id = a.message_id AND told.at = $2 AND told.carrier = $1 AND told.code = a.code"
        "  AND told.reason = a.reason) ON CONFLICT DO NOTHING",
        carrier,
        at,
        [resource for _, resource in refused],
        [answer.key for answer, _ in refused],
        [answer.code for answer, _ in refused],
        [answer.temporary for answer, _ in refused],
        [answer.reason for answer, _ in refused],
        [answer.unknown for answer, _ in refused],
    )


async def tried(connection: Connection, keys: Sequence[Key]) -> dict[UUID, dict[str, bool]]:
    """The carriers that each message was tried with in vain, and whether for good."""
    found = await connection.fetch(
        "SELECT a.message_id, a.carrier, bool_or(NOT a.temporary) AS for_good FROM sms_attempts a"
        " JOIN unnest($1::uuid[], $2::uuid[]) AS k (resource_id, message_id) USING (resource_id, message_id)"
        " GROUP BY a.message_id, a.carrier",
        [resource for resource, _ in keys],
        [message for _, message in keys],
    )
    tried: dict[UUID, dict[str, bool]] = {}
    for row in found:
        tried.setdefault(row["message_id"], {})[row["carrier"]] = row["for_good"]
    return tried


async def defer(
    connection: Connection, deferrals: Sequence[Deferral], owner: UUID, *, reopened: bool = False
) -> list[Record]:
    """Take messages out of the blocks of `owner`, to be tried again; those taken out now. Those that have ended stay
    so, unless this transaction itself ended them and they are `reopened`, whosever block they are in."""
    return await connection.fetch(
        f"UPDATE sms_messages m SET due_at = k.due_at, attempts = least(m.attempts + 1, 32767), carrier = k.carrier,"
        f" doubt = k.doubt, claim_id = NULL, state = {int(State.QUEUED)}, code = NULL, ended_at = NULL,"
        " segments_delivered = NULL"
        " FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::smallint[], $6::text[],"
        "  $7::smallint[])"
        "  AS k (resource_id, message_id, due_at, carrier, doubt, was, attempts)"
        f" WHERE m.resource_id = k.resource_id AND m.message_id = k.message_id AND m.carrier = k.was"
        f" AND m.attempts = k.attempts AND ($8 OR m.state < {int(State.DELIVERED)} AND {_IN_HAND.format('$9')})"
        f" {CHANGED}, m.cost, k.was",
        [deferral.resource for deferral in deferrals],
        [deferral.message for deferral in deferrals],
        [deferral.due for deferral in deferrals],
        [deferral.carrier for deferral in deferrals],
        [deferral.doubt for deferral in deferrals],
        [deferral.was for deferral in deferrals],
        [deferral.attempts for deferral in deferrals],
        reopened,
        owner,
    )


async def wait_alone(
    connection: Connection, keys: Sequence[Key], until: Sequence[datetime], *, claim: UUID | None = None
) -> None:
    """Set the timers of messages that have ones of their own; they are in nobody's hands then. With a `claim` only of
    those that are in hand under it: another process may have taken up the others since."""
    await connection.execute(
        "UPDATE sms_messages m SET due_at = k.due_at, claim_id = NULL"
        " FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS k (resource_id, message_id, due_at)"
        f" WHERE m.resource_id = k.resource_id AND m.message_id = k.message_id AND m.state < {int(State.DELIVERED)}"
        " AND ($4::uuid IS NULL OR m.claim_id = $4)",
        [resource for resource, _ in keys],
        [message for _, message in keys],
        until,
        claim,
    )


async def leave(connection: Connection, keys: Sequence[Key], now: datetime, owner: UUID) -> None:
    """Have messages leave their block, due at once for any process, in their order: each has a timer of its own from
    now on, and says by its `attempts` that it has no part in the block any more. Not where `owner` has lost the block
    meanwhile."""
    await connection.execute(
        "UPDATE sms_messages m SET attempts = m.attempts + 1,"
        "  due_at = $3::timestamptz - (cardinality($2::uuid[]) - k.place) * interval '1 microsecond'"
        " FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS k (resource_id, message_id, place)"
        " WHERE m.resource_id = k.resource_id AND m.message_id = k.message_id AND m.due_at IS NULL"
        f" AND m.state < {int(State.DELIVERED)} AND {_IN_HAND.format('$4')}",
        [resource for resource, _ in keys],
        [message for _, message in keys],
        now,
        owner,
    )


_TAKEN_AFTER_ALL = f"""
WITH found AS (
    SELECT m.resource_id, m.message_id, m.carrier AS was, k.carrier, k.settled
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::smallint[], $5::smallint[])
        AS k (resource_id, message_id, carrier, doubt, settled)
    JOIN sms_messages m ON m.resource_id = k.resource_id AND m.message_id = k.message_id
    WHERE m.state < {int(State.DELIVERED)} AND m.due_at IS NOT NULL AND (m.claim_id IS NULL OR m.doubt = k.doubt)
        AND (m.carrier = k.carrier OR NOT EXISTS (SELECT FROM sms_submissions s
            WHERE s.block_id = m.block_id AND s.message_id = m.message_id AND (s.carrier = m.carrier) IS TRUE))
    FOR UPDATE OF m
)
UPDATE sms_messages m SET due_at = m.report_by, claim_id = NULL, carrier = k.carrier,
    doubt = coalesce(k.settled, m.doubt)
FROM found k WHERE m.resource_id = k.resource_id AND m.message_id = k.message_id
{CHANGED}, m.cost, k.was
"""


async def taken_after_all(connection: Connection, messages: Sequence[TakenAfterAll]) -> list[Record]:
    """Have `messages` wait for their reports, in nobody's hands; those that do so now. What has ended, may be on its
    way to a carrier, or was taken by another one is left as it is. They are the carrier's that has them from now on;
    each `was` another's where it had been put off to that one."""
    return await connection.fetch(
        _TAKEN_AFTER_ALL,
        [message.resource for message in messages],
        [message.message for message in messages],
        [message.carrier for message in messages],
        [message.doubt for message in messages],
        [message.settled for message in messages],
    )


async def known_submissions(connection: Connection, carrier: str, ids: Sequence[str]) -> set[tuple[str, UUID]]:
    """Those of the carrier's `ids` that are stored, each with its message."""
    rows = await connection.fetch(
        "SELECT carrier_message_id, message_id FROM sms_submissions"
        " WHERE carrier = $1 AND carrier_message_id = ANY($2)",
        carrier,
        ids,
    )
    return {(row["carrier_message_id"], row["message_id"]) for row in rows}


async def taken_before(connection: Connection, keys: Sequence[tuple[UUID, UUID, UUID]]) -> dict[UUID, str]:
    """The carriers that have (resource, block, message) `keys` already, from an earlier hand-over, and have not failed
    them."""
    rows = await connection.fetch(
        "SELECT s.message_id, s.carrier FROM unnest($1::uuid[], $2::uuid[], $3::uuid[])"
        "  AS k (resource_id, block_id, message_id)"
        " JOIN sms_submissions s ON s.block_id = k.block_id AND s.message_id = k.message_id"
        " WHERE NOT EXISTS (SELECT FROM sms_attempts a WHERE a.resource_id = k.resource_id"
        "  AND a.message_id = k.message_id AND a.carrier = s.carrier AND NOT a.temporary) ORDER BY s.submitted_at",
        [resource for resource, _, _ in keys],
        [block for _, block, _ in keys],
        [message for _, _, message in keys],
    )
    return {row["message_id"]: row["carrier"] for row in rows}


async def cancel(
    connection: Connection,
    resource: UUID,
    messages: Sequence[UUID],
    now: datetime,
    holder: UUID | None = None,
    kept: Sequence[UUID] = (),
) -> set[UUID]:
    """Those of `messages` that wait in nobody's hands, or are `kept` back by `holder`, who has them, and that no
    carrier has or may have; they are locked then, until the transaction ends."""
    # A block that nobody holds is locked first, so that nobody claims it and reads the message meanwhile. One that is
    # not due waits for receipts alone, also of a message whose id the carrier gave to another since.
    backlog = await connection.fetch(
        "WITH waits AS MATERIALIZED (SELECT m.message_id, m.block_id FROM unnest($2::uuid[]) AS k (message_id)"
        "  JOIN sms_messages m ON m.resource_id = $1 AND m.message_id = k.message_id"
        "  WHERE m.due_at IS NULL AND m.doubt = 0),"
        " backlog AS (SELECT b.block_id FROM sms_blocks b WHERE b.block_id = ANY(ARRAY(SELECT block_id FROM waits))"
        # The CASE keeps PostgreSQL from reading the index of all that is due.
        "  AND CASE WHEN b.owner IS NULL THEN b.due_at <= $3 END ORDER BY b.block_id FOR UPDATE)"
        " SELECT message_id FROM waits JOIN backlog USING (block_id)",
        resource,
        messages,
        now,
    )
    rows = await connection.fetch(
        "SELECT m.message_id FROM unnest($2::uuid[]) AS k (message_id) JOIN sms_messages m ON m.resource_id = $1"
        f" AND m.message_id = k.message_id WHERE m.state < {int(State.DELIVERED)}"
        "  AND NOT EXISTS (SELECT FROM sms_submissions s"
        "   WHERE s.block_id = m.block_id AND s.message_id = m.message_id)"
        "  AND (m.due_at IS NOT NULL AND m.claim_id IS NULL AND m.doubt = 0"
        "   OR m.due_at IS NULL AND m.message_id = ANY($3::uuid[])"
        f"   OR m.message_id = ANY($5::uuid[]) AND {_IN_HAND.format('$4')})"
        " ORDER BY m.message_id FOR UPDATE OF m",
        resource,
        messages,
        [row["message_id"] for row in backlog],
        holder,
        kept,
    )
    found = {row["message_id"] for row in rows}
    if found:
        await connection.execute(
            "INSERT INTO sms_attempts (resource_id, message_id, at, carrier, code, temporary, reason)"
            f" SELECT $1, m.message_id, {attempt_at('$3::timestamptz', 'm')}, '', $4::integer, false, 'canceled'"
            " FROM (SELECT $1::uuid AS resource_id, unnest($2::uuid[]) AS message_id) AS m",
            resource,
            list(found),
            now,
            details.CANCELED,
        )
    return found


async def holders(connection: Connection, resource: UUID, messages: Sequence[UUID]) -> dict[UUID, UUID]:
    """Which processes hold those of `messages` that have not ended and that no carrier has; owners by message."""
    rows = await connection.fetch(
        # Each block by its key: joined, all that anybody holds might be gone through, with the messages for each.
        "SELECT m.message_id, b.owner FROM sms_messages m CROSS JOIN LATERAL (SELECT owner FROM sms_blocks WHERE"
        "  block_id = ANY(ARRAY[CASE WHEN m.due_at IS NULL THEN m.block_id ELSE m.claim_id END]) LIMIT 1) AS b"
        f" WHERE m.resource_id = $1 AND m.message_id = ANY($2) AND m.state < {int(State.DELIVERED)}"
        " AND b.owner IS NOT NULL AND NOT EXISTS (SELECT FROM sms_submissions s"
        "  WHERE s.block_id = m.block_id AND s.message_id = m.message_id)",
        resource,
        messages,
    )
    return {row["message_id"]: row["owner"] for row in rows}


async def mark(
    connection: Connection,
    messages: Sequence[tuple[Key, str, int, int]],
    owner: UUID,
) -> set[UUID]:
    """Say, before a hand-over, how often a carrier may have got each message without an answer once it is made:
    ((resource, message), carrier, attempts, doubt). Those for which it is still to be made: which are in a block of
    `owner` or alone, have not ended, have not gone elsewhere, and were not answered for after all."""
    rows = await connection.fetch(
        "UPDATE sms_messages m SET doubt = k.doubt"
        " FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::smallint[], $5::smallint[])"
        "  AS k (resource_id, message_id, carrier, attempts, doubt)"
        " WHERE m.resource_id = k.resource_id AND m.message_id = k.message_id AND m.carrier = k.carrier"
        f" AND m.attempts = k.attempts AND m.state < {int(State.DELIVERED)} AND {_IN_HAND.format('$6')}"
        " AND (k.doubt <= 1 OR NOT EXISTS (SELECT FROM sms_submissions s WHERE s.block_id = m.block_id"
        "  AND s.message_id = m.message_id AND (s.carrier = m.carrier) IS TRUE)) RETURNING m.message_id",
        [resource for (resource, _), _, _, _ in messages],
        [message for (_, message), _, _, _ in messages],
        [carrier for _, carrier, _, _ in messages],
        [attempts for _, _, attempts, _ in messages],
        [doubt for _, _, _, doubt in messages],
        owner,
    )
    return {row["message_id"] for row in rows}


async def standing(connection: Connection, keys: Sequence[Key], owner: UUID) -> list[Record]:
    """What has become of (resource, message) `keys`: whether each has `ended`, and whether it is `ours`."""
    return await connection.fetch(
        f"SELECT m.message_id, m.carrier, m.attempts, m.state >= {int(State.DELIVERED)} AS ended,"
        f" {_IN_HAND.format('$3')} AS ours FROM sms_messages m"
        " JOIN unnest($1::uuid[], $2::uuid[]) AS k (resource_id, message_id) USING (resource_id, message_id)",
        [resource for resource, _ in keys],
        [message for _, message in keys],
        owner,
    )


# A message that its carrier took twice, after a silence, has two of its ids. IS TRUE and LIMIT keep PostgreSQL from
# looking through all that the carrier has, by the key that begins with it, or all that was ever taken, for each one.
OPEN = (
    "SELECT m.resource_id, m.message_id, m.block_id, m.sender, m.recipient, m.body, m.segments, m.carrier, m.attempts,"
    " m.accepted_at, m.report_by, m.report_wanted, m.tag, m.valid_until, m.doubt, m.route,"
    " s.carrier_message_id AS submitted FROM sms_messages m LEFT JOIN LATERAL (SELECT carrier_message_id"
    "  FROM sms_submissions s WHERE s.block_id = m.block_id AND s.message_id = m.message_id"
    "  AND (s.carrier = m.carrier) IS TRUE LIMIT 1) AS s ON true"
)


async def unfinished(connection: Connection, blocks: Sequence[UUID]) -> dict[UUID, list[Record]]:
    """The messages of each of `blocks` that have not ended and are not deferred, oldest first; `submitted` is the id
    that their present carrier gave them, if it did."""
    rows = await connection.fetch(
        f"{OPEN} WHERE m.block_id = ANY($1) AND m.state < {int(State.DELIVERED)} AND m.due_at IS NULL"
        " ORDER BY m.message_id",
        blocks,
    )
    found: dict[UUID, list[Record]] = {block: [] for block in blocks}
    for row in rows:
        found[row["block_id"]].append(row)
    return found


async def close_ended(connection: Connection, blocks: Sequence[UUID], now: datetime) -> None:
    """Close those of `blocks` that wait for reports in nobody's hands, and of which no message is open: none that has
    ended or left its block comes back into it."""
    await connection.execute(
        "DELETE FROM sms_blocks b WHERE b.block_id = ANY($1) AND b.owner IS NULL AND b.due_at > $2 AND NOT EXISTS ("
        f"SELECT FROM sms_messages m WHERE m.block_id = b.block_id AND m.state < {int(State.DELIVERED)}"
        " AND m.due_at IS NULL)",
        blocks,
        now,
    )
