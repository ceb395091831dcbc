"""The SQL of outgoing messages being accepted and looked up. What becomes of them: `records_progress`; opt-outs and
received texts: `records_inbound`.

Instants come in as parameters. Bulk statements take arrays, one element a row, so that a batch is one round trip.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from landline.services.insights.model import Tally
from landline.services.insights.service import Insights
from landline.services.sms.model.crowds import Crowd
from landline.services.sms.model.messages import Blocked, Plan, Recipient, State
from landline.store.blocks import LEASE
from landline.store.database import Connection, Record
from landline.store.sharing import shared


class Row(Struct):
    """One message about to be written; `blocked` when it ends at once."""

    plan: Plan
    recipient: Recipient
    blocked: Blocked | None = None


class Opening(Struct):
    """A block about to be opened: held by `owner`, or due at once for any process; of a `crowd`, with when the first of
    it ends."""

    block: UUID
    owner: UUID | None = None
    crowd: Crowd | None = None
    ends_at: datetime | None = None


class Openings(Struct):
    """The blocks of messages that are written together; `of` tells that of a plan's messages for a carrier."""

    opened: Sequence[Opening]
    of: Callable[[Plan, str], Opening]

    @classmethod
    def one(cls, opening: Opening) -> "Openings":
        """All of them share a block."""
        return cls([opening], lambda _plan, _carrier: opening)


_ROWS = """
request AS (
    SELECT * FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::smallint[], $9::boolean[],
        $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[], $14::timestamptz[], $15::timestamptz[],
        $16::boolean[], $17::bigint[], $18::integer[], $19::integer[])
    AS q (block_id, resource_id, sender, body, tag, segments, report_wanted, accepted_at, report_by, carrier, route,
        valid_until, send_at, heeds_opt_outs, cost, first, last)
),
message AS MATERIALIZED (
    SELECT * FROM request q CROSS JOIN LATERAL unnest(($20::uuid[])[first:last],
        ((SELECT string_to_array($21::text, ',')))[first:last], ($22::uuid[])[first:last]{codes})
    AS r (message_id, recipient, repeatability_id{code})
),
"""
_SOME_BLOCKED = _ROWS.format(codes=", ($23::integer[])[first:last]", code=", code")
_NONE_BLOCKED = _ROWS.format(codes=", NULL::integer[]", code=", code")
_MESSAGES = f"""
    INSERT INTO sms_messages (resource_id, message_id, block_id, accepted_at, report_by, ended_at, due_at,
        repeatability_id, code, segments, segments_delivered, state, report_wanted, sender, recipient, carrier, tag,
        body, route, valid_until, attempts, cost)
    SELECT resource_id, message_id, block_id, accepted_at, report_by,
        CASE WHEN code IS NOT NULL THEN accepted_at END, CASE WHEN code IS NULL THEN send_at END,
        repeatability_id, code, segments, CASE WHEN code IS NOT NULL THEN 0 END,
        CASE WHEN code IS NULL THEN {int(State.QUEUED)} ELSE {int(State.FAILED)} END, report_wanted, sender,
        recipient, carrier, tag, body, route, valid_until,
        CASE WHEN send_at IS NULL THEN 0 ELSE 1 END, -- it has a timer of its own, and no part in its block
        CASE WHEN code IS NULL THEN cost END
    FROM message
"""
_BLOCKS = """
    INSERT INTO sms_blocks (block_id, owner, due_at, crowd, ends_at)
    SELECT block_id, owner, CASE WHEN owner IS NULL THEN $1::timestamptz ELSE $2::timestamptz END, crowd, ends_at
    FROM unnest(${}::uuid[], ${}::uuid[], ${}::text[], ${}::timestamptz[]) AS b (block_id, owner, crowd, ends_at)
"""
_INSERT = f"""
WITH {_SOME_BLOCKED} opened AS ({_BLOCKS.format(*range(24, 28))}),
inserted AS (
    {_MESSAGES}
    ON CONFLICT (resource_id, repeatability_id) WHERE repeatability_id IS NOT NULL DO NOTHING
    RETURNING message_id
)
SELECT count(*) FROM inserted
"""
_UNLESS = "WHERE NOT EXISTS (SELECT FROM opted_out)"
_INSERT_AND_COUNT = f"""
WITH {_NONE_BLOCKED} opted_out AS MATERIALIZED (
    SELECT FROM message m JOIN sms_optouts o USING (resource_id, sender, recipient) WHERE m.heeds_opt_outs LIMIT 1
),
opened AS ({_BLOCKS.format(*range(31, 35))} {_UNLESS}),
counted AS ({Insights.COUNT.format(*range(23, 31))} {_UNLESS}),
inserted AS ({_MESSAGES} {_UNLESS} RETURNING message_id)
SELECT count(*) FROM inserted
"""


async def insert(connection: Connection, openings: Openings, now: datetime, rows: Sequence[Row]) -> int:
    """Write `rows` in their blocks, opened in the same statement; how many were new. A repeatability id that the
    resource used before leaves its row out."""
    arguments, rows = _arrays(rows, openings)
    codes = [None if row.blocked is None else row.blocked.code for row in rows]
    return await connection.fetchval(_INSERT, now, now + LEASE, *arguments, codes, *_columns(openings))


async def insert_and_count(
    connection: Connection, openings: Openings, now: datetime, rows: Sequence[Row], tally: Tally
) -> bool:
    """Write `rows`, none of them blocked, in their blocks, and what they count, in a transaction of one statement, if
    nobody among them opted out; whether it did. Raises `Duplicate`, and has written nothing, when a repeatability id
    was used before."""
    arguments, _ = _arrays(rows, openings)
    (counting,) = Insights.counting(tally)
    columns = _columns(openings)
    return bool(
        await connection.fetchval(_INSERT_AND_COUNT, now, now + LEASE, *arguments, *counting.arguments, *columns)
    )


def _columns(openings: Openings) -> tuple[list[object], ...]:
    opened = openings.opened
    return (
        [each.block for each in opened],
        [each.owner for each in opened],
        [None if each.crowd is None else each.crowd.key for each in opened],
        [each.ends_at for each in opened],
    )


def _arrays(rows: Sequence[Row], openings: Openings) -> tuple[tuple[object, ...], Sequence[Row]]:
    """The arguments of `_ROWS`, what messages share once for all of them; and the rows, those that share it beside each
    other. Recipients, which are digits and a plus, come as one text: that is encoded far faster than an array."""
    by_request = shared(
        rows, lambda row: (id(row.plan), row.recipient.carrier, row.recipient.route, row.recipient.cost)
    )
    rows = by_request.rows
    plans, costs = [rows[first - 1].plan for first in by_request.first], [key[3] for key in by_request.keys]
    arguments = (
        [openings.of(plan, key[1]).block for plan, key in zip(plans, by_request.keys, strict=True)],
        [plan.resource for plan in plans],
        [plan.sender for plan in plans],
        [plan.body for plan in plans],
        [plan.tag for plan in plans],
        [plan.segments for plan in plans],
        [plan.report_wanted for plan in plans],
        [plan.accepted_at for plan in plans],
        [plan.report_by for plan in plans],
        [key[1] for key in by_request.keys],
        [key[2] for key in by_request.keys],
        [plan.valid_until for plan in plans],
        [plan.send_at for plan in plans],
        [plan.heeds_opt_outs for plan in plans],
        costs,
        by_request.first,
        by_request.last,
        [row.recipient.message_id for row in rows],
        ",".join([row.recipient.to for row in rows]),
        [row.recipient.repeatability_id for row in rows],
    )
    return arguments, rows


async def by_repeatability(connection: Connection, rows: Sequence[Row]) -> list[Record]:
    """The messages that hold the repeatability ids of `rows`, and the blocks they were written in."""
    return await connection.fetch(
        "SELECT m.resource_id, m.repeatability_id, m.message_id, m.block_id, m.accepted_at, m.sender, m.recipient,"
        " m.body"
        " FROM unnest($1::uuid[], $2::uuid[]) AS r (resource_id, repeatability_id)"
        " JOIN sms_messages m USING (resource_id, repeatability_id)",
        [row.plan.resource for row in rows if row.recipient.repeatability_id],
        [row.recipient.repeatability_id for row in rows if row.recipient.repeatability_id],
    )


async def blocked(connection: Connection, rows: Sequence[Row]) -> None:
    """Keep why each of `rows` was blocked, for the timeline."""
    reasons = [(row.plan, row.recipient, row.blocked) for row in rows if row.blocked is not None]
    await connection.execute(
        "INSERT INTO sms_attempts (resource_id, message_id, at, carrier, code, temporary, reason)"
        " SELECT b.resource_id, b.message_id, b.at, '', b.code, false, b.reason"
        " FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::integer[], $5::text[])"
        "  AS b (resource_id, message_id, at, code, reason)",
        [plan.resource for plan, _, _ in reasons],
        [recipient.message_id for _, recipient, _ in reasons],
        [plan.accepted_at for plan, _, _ in reasons],
        [reason.code for _, _, reason in reasons],
        [reason.reason for _, _, reason in reasons],
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


async def find(connection: Connection, resources: Sequence[UUID], message_id: UUID) -> Record | None:
    """The outgoing message, if it belongs to one of `resources`."""
    return await connection.fetchrow(
        "SELECT * FROM sms_messages WHERE resource_id = ANY($1) AND message_id = $2", resources, message_id
    )


async def ended_between(
    connection: Connection, resource: UUID, first: UUID, end: UUID, limit: int, *, rows_read: int
) -> tuple[list[Record], UUID | None]:
    """Up to `limit` ended messages that wanted reports, of the first `rows_read` from the id `first` on and before
    `end`, in the order they were accepted; and where to go on, None at the end."""
    found = await connection.fetch(
        "SELECT * FROM (SELECT * FROM sms_messages WHERE resource_id = $1 AND message_id >= $2 AND message_id < $3"
        "  ORDER BY message_id LIMIT $5) AS piece"
        f" WHERE state >= {int(State.DELIVERED)} AND report_wanted ORDER BY message_id LIMIT $4",
        resource,
        first,
        end,
        limit + 1,
        rows_read,
    )
    if len(found) > limit:
        return found[:limit], found[limit]["message_id"]
    following = await connection.fetchval(
        "SELECT message_id FROM sms_messages WHERE resource_id = $1 AND message_id >= $2 AND message_id < $3"
        " ORDER BY message_id OFFSET $4 LIMIT 1",
        resource,
        first,
        end,
        rows_read,
    )
    return found, following


async def submissions_of(connection: Connection, block: UUID, message_id: UUID) -> list[Record]:
    """When and by whom the message was taken."""
    return await connection.fetch(
        "SELECT submitted_at, carrier, carrier_message_id FROM sms_submissions WHERE block_id = $1 AND message_id = $2"
        " ORDER BY submitted_at",
        block,
        message_id,
    )


ANSWERED_LATE = 0
"""The code of what is no try but a note in their order: that the carrier answered one after all."""


async def attempts_of(connection: Connection, resource: UUID, message_id: UUID) -> list[Record]:
    """The tries of the message that came to nothing; one without a carrier was blocked before it came to any."""
    return await connection.fetch(
        "SELECT at, carrier, code, temporary, reason, unknown FROM sms_attempts"
        " WHERE resource_id = $1 AND message_id = $2 ORDER BY at",
        resource,
        message_id,
    )
