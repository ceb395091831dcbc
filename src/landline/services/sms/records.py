"""The SQL of outgoing messages: accepting, handing over, ending. Opt-outs and received texts: `records_inbound`.

Instants come in as parameters. Bulk statements take arrays, one element a row, so that a batch is one round trip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from landline.ports.sms_carrier import Submitted
from landline.services.sms.model.messages import Plan, Recipient, State
from landline.store.blocks import LEASE
from landline.store.database import Connection, Record


@dataclass(slots=True)
class Row:
    """One message about to be written."""

    plan: Plan
    recipient: Recipient
    blocked: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """A message's end, to be written unless it has ended already."""

    state: State
    code: int
    at: datetime
    segments_delivered: int | None


_ENDED = (
    "RETURNING m.resource_id, m.message_id, m.block_id, m.accepted_at, m.sender, m.recipient, m.tag, m.segments,"
    " m.segments_delivered, m.report_wanted, m.state, m.code, m.ended_at, m.attempts"
)

_INSERT = """
WITH block AS (INSERT INTO sms_blocks (block_id, owner, due_at) VALUES ($1, $2, $3)),
request AS (
    SELECT * FROM unnest($4::uuid[], $5::text[], $6::text[], $7::text[], $8::smallint[], $9::boolean[],
        $10::timestamptz[], $11::timestamptz[], $12::text[])
    WITH ORDINALITY AS q (resource_id, sender, body, tag, segments, report_wanted, accepted_at, report_by, carrier, n)
),
inserted AS (
    INSERT INTO sms_messages (resource_id, message_id, block_id, accepted_at, report_by, ended_at, repeatability_id,
        code, segments, segments_delivered, state, report_wanted, sender, recipient, carrier, tag, body)
    SELECT q.resource_id, r.message_id, $1, q.accepted_at, q.report_by,
        CASE WHEN r.code IS NOT NULL THEN q.accepted_at END, r.repeatability_id, r.code, q.segments,
        CASE WHEN r.code IS NOT NULL THEN 0 END, r.state, q.report_wanted, q.sender, r.recipient, q.carrier, q.tag,
        q.body
    FROM unnest($13::bigint[], $14::uuid[], $15::text[], $16::uuid[], $17::smallint[], $18::integer[])
        AS r (n, message_id, recipient, repeatability_id, state, code)
    JOIN request q USING (n)
    ON CONFLICT (resource_id, repeatability_id) WHERE repeatability_id IS NOT NULL DO NOTHING
    RETURNING message_id
)
SELECT count(*) FROM inserted
"""


async def insert(
    connection: Connection, block: UUID, owner: UUID | None, now: datetime, rows: Sequence[Row], blocked_code: int
) -> int:
    """Write `rows` in `block`, opened in the same statement; how many were new. A repeatability id that the resource
    used before leaves its row out."""
    plans: dict[int, int] = {}
    requests: list[Plan] = []
    numbers: list[int] = []
    for row in rows:
        number = plans.get(id(row.plan))
        if number is None:
            requests.append(row.plan)
            number = plans[id(row.plan)] = len(requests)
        numbers.append(number)
    return await connection.fetchval(
        _INSERT,
        block,
        owner,
        now + LEASE if owner else now,
        [plan.resource for plan in requests],
        [plan.sender for plan in requests],
        [plan.body for plan in requests],
        [plan.tag for plan in requests],
        [plan.segments for plan in requests],
        [plan.report_wanted for plan in requests],
        [plan.accepted_at for plan in requests],
        [plan.report_by for plan in requests],
        [plan.carrier for plan in requests],
        numbers,
        [row.recipient.message_id for row in rows],
        [row.recipient.to for row in rows],
        [row.recipient.repeatability_id for row in rows],
        [State.FAILED if row.blocked else State.QUEUED for row in rows],
        [blocked_code if row.blocked else None for row in rows],
    )


async def by_repeatability(connection: Connection, rows: Sequence[Row]) -> list[Record]:
    """The messages that hold the repeatability ids of `rows`."""
    return await connection.fetch(
        "SELECT m.resource_id, m.repeatability_id, m.message_id, m.accepted_at, m.sender, m.recipient, m.body"
        " FROM unnest($1::uuid[], $2::uuid[]) AS r (resource_id, repeatability_id)"
        " JOIN sms_messages m USING (resource_id, repeatability_id)",
        [row.plan.resource for row in rows if row.recipient.repeatability_id],
        [row.recipient.repeatability_id for row in rows if row.recipient.repeatability_id],
    )


async def opted_out(connection: Connection, keys: Sequence[tuple[UUID, str, str]]) -> set[tuple[UUID, str, str]]:
    """Which of the (resource, sender, recipient) triples are opted out."""
    found = await connection.fetch(
        "SELECT o.resource_id, o.sender, o.recipient FROM sms_optouts o"
        " JOIN unnest($1::uuid[], $2::text[], $3::text[]) AS k (resource_id, sender, recipient)"
        " USING (resource_id, sender, recipient)",
        [key[0] for key in keys],
        [key[1] for key in keys],
        [key[2] for key in keys],
    )
    return {(row["resource_id"], row["sender"], row["recipient"]) for row in found}


async def submitted(
    connection: Connection, carrier: str, taken: Sequence[tuple[Submitted, UUID, UUID]], at: datetime
) -> list[Record]:
    """Store the carrier's ids of the (answer, resource, block) `taken`; the receipts that were parked for them.

    A carrier that uses an id again means the newer message by it.
    """
    return await connection.fetch(
        "WITH answer AS ("
        " INSERT INTO sms_submissions (carrier, carrier_message_id, resource_id, message_id, block_id, submitted_at)"
        " SELECT $1, a.carrier_message_id, a.resource_id, a.message_id, a.block_id, $2"
        " FROM unnest($3::text[], $4::uuid[], $5::uuid[], $6::uuid[])"
        "  AS a (carrier_message_id, resource_id, message_id, block_id)"
        " ON CONFLICT (carrier, carrier_message_id) DO UPDATE SET resource_id = excluded.resource_id,"
        "  message_id = excluded.message_id, block_id = excluded.block_id, submitted_at = excluded.submitted_at)"
        " DELETE FROM sms_parked_receipts WHERE carrier = $1 AND carrier_message_id = ANY($3::text[])"
        " RETURNING carrier_message_id, state, code, at, segments_delivered",
        carrier,
        at,
        [answer.carrier_message_id for answer, _, _ in taken],
        [resource for _, resource, _ in taken],
        [answer.key for answer, _, _ in taken],
        [block for _, _, block in taken],
    )


_REPORT = f"""
WITH receipt AS (
    SELECT DISTINCT ON (carrier_message_id) *
    FROM unnest($3::text[], $4::smallint[], $5::integer[], $6::timestamptz[], $7::smallint[])
        AS r (carrier_message_id, state, code, at, segments_delivered)
),
known AS (
    SELECT r.*, s.resource_id, s.message_id FROM receipt r
    JOIN sms_submissions s ON s.carrier = $1 AND s.carrier_message_id = r.carrier_message_id
),
parked AS (
    INSERT INTO sms_parked_receipts (carrier, carrier_message_id, parked_at, at, state, code, segments_delivered)
    SELECT $1, r.carrier_message_id, $2, r.at, r.state, r.code, r.segments_delivered FROM receipt r
    WHERE NOT EXISTS (SELECT FROM known k WHERE k.carrier_message_id = r.carrier_message_id)
    ON CONFLICT DO NOTHING
)
UPDATE sms_messages m SET state = k.state, code = k.code, ended_at = k.at, due_at = NULL,
    segments_delivered = coalesce(k.segments_delivered, CASE WHEN k.state = {int(State.DELIVERED)} THEN m.segments
    ELSE 0 END)
FROM known k WHERE m.resource_id = k.resource_id AND m.message_id = k.message_id AND m.state < {int(State.DELIVERED)}
{_ENDED}
"""


async def report(
    connection: Connection, carrier: str, endings: Sequence[tuple[str, Ending]], now: datetime
) -> list[Record]:
    """End the messages that `endings` name by the carrier's ids; those ended now. Unknown ids are parked."""
    return await connection.fetch(
        _REPORT,
        carrier,
        now,
        [carrier_message_id for carrier_message_id, _ in endings],
        [ending.state for _, ending in endings],
        [ending.code for _, ending in endings],
        [ending.at for _, ending in endings],
        [ending.segments_delivered for _, ending in endings],
    )


async def end(
    connection: Connection, keys: Sequence[tuple[UUID, UUID]], codes: Sequence[int], at: datetime
) -> list[Record]:
    """Fail the (resource, message) `keys` with `codes`, those that have not ended; those ended now."""
    return await connection.fetch(
        f"UPDATE sms_messages m SET state = {int(State.FAILED)}, code = k.code, ended_at = $4, due_at = NULL,"
        " segments_delivered = 0"
        " FROM unnest($1::uuid[], $2::uuid[], $3::integer[]) AS k (resource_id, message_id, code)"
        " WHERE m.resource_id = k.resource_id AND m.message_id = k.message_id"
        f" AND m.state < {int(State.DELIVERED)} {_ENDED}",
        [resource for resource, _ in keys],
        [message for _, message in keys],
        codes,
        at,
    )


async def attempted(
    connection: Connection, carrier: str, refused: Sequence[tuple[Submitted, UUID]], at: datetime
) -> None:
    """Keep a refused try of each (answer, resource) for the timeline."""
    await connection.execute(
        "INSERT INTO sms_attempts (resource_id, message_id, at, carrier, code, temporary, reason)"
        " SELECT a.resource_id, a.message_id, $2, $1, a.code, a.temporary, a.reason"
        " FROM unnest($3::uuid[], $4::uuid[], $5::integer[], $6::boolean[], $7::text[])"
        "  AS a (resource_id, message_id, code, temporary, reason) ON CONFLICT DO NOTHING",
        carrier,
        at,
        [resource for _, resource in refused],
        [answer.key for answer, _ in refused],
        [answer.code for answer, _ in refused],
        [answer.temporary for answer, _ in refused],
        [answer.reason for answer, _ in refused],
    )


async def defer(connection: Connection, keys: Sequence[tuple[UUID, UUID]], due: Sequence[datetime]) -> None:
    """Take the (resource, message) `keys` out of their blocks, to be tried again at `due`."""
    await connection.execute(
        "UPDATE sms_messages m SET due_at = k.due_at, attempts = m.attempts + 1"
        " FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS k (resource_id, message_id, due_at)"
        f" WHERE m.resource_id = k.resource_id AND m.message_id = k.message_id AND m.state < {int(State.DELIVERED)}",
        [resource for resource, _ in keys],
        [message for _, message in keys],
        due,
    )


_OPEN = (
    "SELECT m.resource_id, m.message_id, m.block_id, m.sender, m.recipient, m.body, m.segments, m.carrier, m.attempts,"
    " m.accepted_at, m.report_by, m.report_wanted, EXISTS (SELECT FROM sms_submissions s"
    "  WHERE s.block_id = m.block_id AND s.message_id = m.message_id) AS submitted FROM sms_messages m"
)


async def unfinished(connection: Connection, block: UUID) -> list[Record]:
    """The messages of `block` that have not ended and are not deferred, oldest first."""
    return await connection.fetch(
        f"{_OPEN} WHERE m.block_id = $1 AND m.state < {int(State.DELIVERED)} AND m.due_at IS NULL"
        " ORDER BY m.message_id",
        block,
    )


async def claim_deferred(connection: Connection, now: datetime, lease_until: datetime, limit: int) -> list[Record]:
    """Deferred messages that are due, no longer due for others until `lease_until`."""
    return await connection.fetch(
        "WITH due AS (SELECT resource_id, message_id FROM sms_messages WHERE due_at <= $1 ORDER BY due_at LIMIT $3"
        " FOR UPDATE SKIP LOCKED), claimed AS (UPDATE sms_messages m SET due_at = $2 FROM due"
        " WHERE m.resource_id = due.resource_id AND m.message_id = due.message_id RETURNING m.*)"
        f" {_OPEN.replace('FROM sms_messages m', 'FROM claimed m')}",
        now,
        lease_until,
        limit,
    )


async def next_deferred(connection: Connection) -> datetime | None:
    """When the next deferred message is due."""
    return await connection.fetchval("SELECT min(due_at) FROM sms_messages WHERE due_at IS NOT NULL")


async def unpark(connection: Connection, limit: int) -> list[Record]:
    """Parked receipts whose submission is stored by now (another process stored it), taken out."""
    return await connection.fetch(
        "DELETE FROM sms_parked_receipts p USING sms_submissions s WHERE s.carrier = p.carrier"
        " AND s.carrier_message_id = p.carrier_message_id AND p.ctid IN (SELECT ctid FROM sms_parked_receipts LIMIT $1)"
        " RETURNING p.carrier, p.carrier_message_id, p.state, p.code, p.at, p.segments_delivered",
        limit,
    )


async def find(connection: Connection, resources: Sequence[UUID], message_id: UUID) -> Record | None:
    """The outgoing message, if it belongs to one of `resources`."""
    return await connection.fetchrow(
        "SELECT * FROM sms_messages WHERE resource_id = ANY($1) AND message_id = $2", resources, message_id
    )


async def submissions_of(connection: Connection, block: UUID, message_id: UUID) -> list[Record]:
    """When and by whom the message was taken."""
    return await connection.fetch(
        "SELECT submitted_at, carrier, carrier_message_id FROM sms_submissions WHERE block_id = $1 AND message_id = $2"
        " ORDER BY submitted_at",
        block,
        message_id,
    )


async def attempts_of(connection: Connection, resource: UUID, message_id: UUID) -> list[Record]:
    """The refused tries of the message."""
    return await connection.fetch(
        "SELECT at, carrier, code, temporary, reason FROM sms_attempts WHERE resource_id = $1 AND message_id = $2"
        " ORDER BY at",
        resource,
        message_id,
    )
