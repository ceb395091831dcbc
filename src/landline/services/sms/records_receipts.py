"""The SQL of delivery receipts: what they end, and those that wait because nobody knows their message yet."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from landline.ports.sms_carrier import Receipt
from landline.services.sms.model import details
from landline.services.sms.model.messages import State
from landline.services.sms.records_progress import CHANGED, PARKED_FOR, attempt_at
from landline.store.database import Connection, Record, settle
from landline.store.parts import Part
from landline.store.sharing import shared


class Ending(Struct, frozen=True):
    """A message's end, to be written unless it has ended already."""

    state: State
    code: int
    at: datetime
    segments_delivered: int | None


def ending(receipt: Receipt) -> Ending:
    """The end that `receipt` tells of."""
    state = State.DELIVERED if receipt.delivered else State.FAILED
    return Ending(state, details.known(receipt.code), receipt.at, receipt.segments_delivered)


def parked(row: Record) -> tuple[str, Ending]:
    """The carrier's id and the end in a receipt that was parked."""
    return row["carrier_message_id"], Ending(State(row["state"]), row["code"], row["at"], row["segments_delivered"])


_SKEW = timedelta(seconds=5)
"""Between a receipt and the answer to its message, by the clocks of two machines; and between repeated receipts."""
_NEWEST = (
    "ON CONFLICT (carrier, carrier_message_id) DO UPDATE SET parked_at = excluded.parked_at, at = excluded.at,"
    " state = excluded.state, code = excluded.code, segments_delivered = excluded.segments_delivered"
)
_FAILED = (
    "EXISTS (SELECT FROM sms_attempts a WHERE a.resource_id = m.resource_id AND a.message_id = m.message_id"
    " AND a.carrier = {}.carrier AND NOT a.temporary)"
)
"""A carrier that took message m has failed it for good."""
_FAILS_WITH = f"(m.carrier = $1 OR {_FAILED.format('m')})"
"""Message m is this carrier's, or that of one which has failed it while this one's copy was waited for."""
_IN_HAND = """(m.claim_id IS NOT NULL AND m.carrier = $1 AND m.doubt > (SELECT count(*) FROM sms_submissions s
    WHERE s.block_id = m.block_id AND s.message_id = m.message_id))"""
"""Another copy of message m is handed over to this carrier, which has not answered that yet."""

_REPORT = f"""
WITH receipt AS MATERIALIZED (
    SELECT *
    FROM unnest($3::smallint[], $4::integer[], $5::timestamptz[], $6::smallint[], $7::integer[], $8::integer[])
        AS s (state, code, at, segments_delivered, first, last)
    CROSS JOIN LATERAL unnest(($9::text[])[first:last]) AS r (carrier_message_id)
),
known AS MATERIALIZED (
    SELECT r.*, s.resource_id, s.message_id FROM receipt r LEFT JOIN LATERAL (
        SELECT resource_id, message_id FROM sms_submissions
        WHERE carrier = $1 AND carrier_message_id = r.carrier_message_id
        LIMIT 1 -- never all of the carrier's at once
    ) s ON true
),
parked AS (
    INSERT INTO sms_parked_receipts (carrier, carrier_message_id, parked_at, at, state, code, segments_delivered)
    SELECT $1, carrier_message_id, $2, at, state, code, segments_delivered FROM known WHERE message_id IS NULL
    ORDER BY carrier_message_id {_NEWEST}
)
UPDATE sms_messages m SET state = k.state, code = k.code, ended_at = k.at, due_at = NULL, claim_id = NULL,
    -- Of its own segments: its carrier may have sent it in more parts, or in fewer.
    segments_delivered = CASE WHEN k.state = {int(State.DELIVERED)} THEN m.segments
    ELSE least(coalesce(k.segments_delivered, 0), m.segments - 1) END
FROM known k WHERE m.resource_id = k.resource_id AND m.message_id = k.message_id AND m.state < {int(State.DELIVERED)}
    AND (k.state = {int(State.DELIVERED)} OR {_FAILS_WITH}
        -- Of a message that was handed over twice one copy may fail, as a duplicate, in the moment the other arrives.
        AND k.message_id <> ALL(ARRAY(SELECT message_id FROM known
            WHERE state = {int(State.DELIVERED)} AND message_id IS NOT NULL))
        AND NOT EXISTS (SELECT FROM sms_submissions s WHERE s.block_id = m.block_id AND s.message_id = m.message_id
            AND (s.carrier, s.carrier_message_id) <> ($1, k.carrier_message_id)
            AND m.report_by > $2 AND NOT {_FAILED.format("s")})
        AND NOT (m.report_by > $2 AND {_IN_HAND}))
{CHANGED}, m.cost, m.carrier AS was
"""
_DELIVERED_BY = f"""
UPDATE sms_messages m SET carrier = $1
FROM unnest($2::uuid[], $3::uuid[], $4::text[]) AS k (resource_id, message_id, was)
WHERE m.resource_id = k.resource_id AND m.message_id = k.message_id
{CHANGED}, m.cost, k.was
"""


async def report(
    connection: Connection, carrier: str, endings: Sequence[tuple[str, Ending]], now: datetime
) -> list[Record]:
    """End the messages that `endings` name by the carrier's ids; those ended now. Unknown ids are parked. A failure
    counts from the carrier that has the message now: that of one which was given up before does not end it. Nor does
    that of one copy while another is on its way, of a message that was handed over twice: the last one's does. What it
    delivered is the carrier's from now on, also where it `was` given to another one meanwhile."""
    by_id: dict[str, Ending] = {}
    for carrier_message_id, ending in endings:
        before = by_id.setdefault(carrier_message_id, ending)  # repeated, the first counts; a failure may be taken back
        if ending.state is State.DELIVERED and before.state is not State.DELIVERED:
            by_id[carrier_message_id] = ending
    ended = await _report(connection, carrier, by_id, now)
    failed = {carrier_id: ending for carrier_id, ending in by_id.items() if ending.state is State.FAILED}
    if failed and len(ended) < len(by_id):
        last = await _forget_failed_copies(connection, carrier, failed, now)
        if last:
            ended += await _report(connection, carrier, {carrier_id: failed[carrier_id] for carrier_id in last}, now)
    others = [each for each in ended if each["state"] == State.DELIVERED and each["was"] != carrier]
    return ended if not others else await _delivered_by(connection, carrier, others, ended)


async def _delivered_by(
    connection: Connection, carrier: str, others: Sequence[Record], ended: Sequence[Record]
) -> list[Record]:
    """Have the messages of `others` be the carrier's that delivered them: all that `ended`, as they are then."""
    found = await connection.fetch(
        _DELIVERED_BY,
        carrier,
        [each["resource_id"] for each in others],
        [each["message_id"] for each in others],
        [each["was"] for each in others],
    )
    again = {each["message_id"]: each for each in found}
    return [again.get(each["message_id"], each) for each in ended]


async def _report(connection: Connection, carrier: str, endings: Mapping[str, Ending], now: datetime) -> list[Record]:
    alike = shared(endings.items(), lambda item: item[1])
    return await connection.fetch(
        _REPORT,
        carrier,
        now,
        [ending.state for ending in alike.keys],
        [ending.code for ending in alike.keys],
        [ending.at for ending in alike.keys],
        [ending.segments_delivered for ending in alike.keys],
        alike.first,
        alike.last,
        [carrier_message_id for carrier_message_id, _ in alike.rows],
    )


# A message is found by its key and changed by its place: joined by the key alone, all messages might be gone through
# (docs/design/plans.md). Its id of the carrier's, or that of another message since, is looked at as it is now.
_END_KNOWN = f"""
WITH known AS MATERIALIZED (
    SELECT s.state, s.code, s.at, r.carrier_message_id, found.place
    FROM unnest(${{}}::smallint[], ${{}}::integer[], ${{}}::timestamptz[], ${{}}::uuid[], ${{}}::integer[],
        ${{}}::integer[]) AS s (state, code, at, resource_id, first, last)
    CROSS JOIN LATERAL unnest((${{}}::uuid[])[first:last], (${{}}::text[])[first:last])
        AS r (message_id, carrier_message_id)
    CROSS JOIN LATERAL (SELECT ctid AS place FROM sms_messages
        WHERE resource_id = s.resource_id AND message_id = r.message_id LIMIT 1) found
)
UPDATE sms_messages m SET state = k.state, code = k.code, ended_at = k.at, due_at = NULL, claim_id = NULL,
    segments_delivered = m.segments
FROM known k WHERE m.ctid = k.place AND m.state < {int(State.DELIVERED)} AND m.carrier = ${{}} AND m.attempts = 0
    AND (SELECT s.carrier_message_id = k.carrier_message_id FROM sms_submissions s
        WHERE s.block_id = m.block_id AND s.message_id = m.message_id AND (s.carrier = m.carrier) IS TRUE LIMIT 1)
RETURNING 1
"""


def ending_known(carrier: str, delivered: Sequence[tuple[str, Ending, UUID, UUID]]) -> Part:
    """The statement that ends messages that were `delivered`, each with the carrier's id, its end, its resource and its
    key: those that are open, the carrier's by that id, and in the block that they were accepted in. To be the first
    part of one with `all_ended`."""
    alike = shared(delivered, lambda each: (each[1], each[2]))
    return Part(
        _END_KNOWN,
        (
            [ending.state for ending, _ in alike.keys],
            [ending.code for ending, _ in alike.keys],
            [ending.at for ending, _ in alike.keys],
            [resource for _, resource in alike.keys],
            alike.first,
            alike.last,
            [key for _, _, _, key in alike.rows],
            [carrier_message_id for carrier_message_id, _, _, _ in alike.rows],
            carrier,
        ),
    )


def all_ended(count: int) -> Part:
    """The outermost part of a statement that begins with `ending_known` of `count` messages: raises `NotAsSaid` unless
    it has ended them all."""
    return Part("SELECT 1 / ((SELECT count(*) FROM part_1) = ${})::integer", (count,))


# Locked one after another: who hears of another copy in this moment sees what was forgotten here.
_LOCK_OPEN = f"""
SELECT m.resource_id, m.message_id FROM (
    SELECT DISTINCT s.resource_id, s.message_id FROM unnest($2::text[]) AS r (id)
    CROSS JOIN LATERAL (SELECT resource_id, message_id FROM sms_submissions
        WHERE carrier = $1 AND carrier_message_id = r.id LIMIT 1) s
) AS k
JOIN sms_messages m ON m.resource_id = k.resource_id AND m.message_id = k.message_id
WHERE m.state < {int(State.DELIVERED)} AND {_FAILS_WITH}
ORDER BY m.message_id FOR UPDATE OF m
"""
_COPIES = f"""
SELECT m.resource_id, m.message_id, s.carrier, s.carrier_message_id, {_FAILED.format("s")} AS failed,
    {_IN_HAND} AS in_hand
FROM unnest($2::uuid[], $3::uuid[]) AS k (resource_id, message_id)
JOIN sms_messages m ON m.resource_id = k.resource_id AND m.message_id = k.message_id
JOIN sms_submissions s ON s.block_id = m.block_id AND s.message_id = m.message_id
ORDER BY s.submitted_at, s.carrier_message_id
"""
_FORGET_COPIES = f"""
WITH gone AS (
    SELECT * FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::integer[], $7::boolean[])
        AS g (resource_id, message_id, carrier_message_id, code, for_good)
),
forgotten AS (
    DELETE FROM sms_submissions s USING gone g
    WHERE s.carrier = $1 AND s.carrier_message_id = g.carrier_message_id AND NOT g.for_good
),
told AS (
    INSERT INTO sms_attempts (resource_id, message_id, at, carrier, code, temporary, reason)
    SELECT g.resource_id, g.message_id, {attempt_at("$2::timestamptz", "g")}, $1, g.code, NOT g.for_good,
        'negative receipt of one of its copies, ' || g.carrier_message_id
    FROM gone g ON CONFLICT DO NOTHING
)
UPDATE sms_messages m SET doubt = greatest(m.doubt - g.copies, 0)
FROM (SELECT resource_id, message_id, count(*) AS copies FROM gone GROUP BY resource_id, message_id) g
WHERE m.resource_id = g.resource_id AND m.message_id = g.message_id
"""


async def _forget_failed_copies(
    connection: Connection, carrier: str, failed: Mapping[str, Ending], now: datetime
) -> list[str]:
    """Forget those of the `failed` copies just reported beside which others of their messages are on their way; the ids
    of those beside which none is any more. Where all others are other carriers', this one has failed for good."""
    locked = await connection.fetch(_LOCK_OPEN, carrier, list(failed))
    if not locked:
        return []
    keys = ([row["resource_id"] for row in locked], [row["message_id"] for row in locked])
    copies: dict[UUID, list[Record]] = {}
    for row in await connection.fetch(_COPIES, carrier, *keys):
        copies.setdefault(row["message_id"], []).append(row)
    gone: list[tuple[Record, bool]] = []
    last: list[str] = []
    for each in copies.values():
        ours = [row for row in each if row["carrier"] == carrier]
        dead = [row for row in ours if row["carrier_message_id"] in failed]
        in_hand = each[0]["in_hand"]
        if dead and not in_hand and all(row in dead or row["failed"] for row in each):
            last.append(dead.pop()["carrier_message_id"])
        gone += [(row, len(dead) == len(ours) and not in_hand) for row in dead]
    if gone:
        await connection.execute(
            _FORGET_COPIES,
            carrier,
            now,
            [row["resource_id"] for row, _ in gone],
            [row["message_id"] for row, _ in gone],
            [row["carrier_message_id"] for row, _ in gone],
            [failed[row["carrier_message_id"]].code for row, _ in gone],
            [for_good for _, for_good in gone],
        )
    return last


async def park_repeated(
    connection: Connection, carrier: str, endings: Sequence[tuple[str, Ending]], ended: Sequence[Record], now: datetime
) -> None:
    """Park those of the `endings` just reported whose messages had ended before; `ended` are those that did now. The
    carrier may have used their ids again, for messages whose answers are not stored yet."""
    await connection.execute(
        "INSERT INTO sms_parked_receipts (carrier, carrier_message_id, parked_at, at, state, code, segments_delivered)"
        " SELECT DISTINCT ON (r.id) $1, r.id, $2::timestamptz, r.at, r.state, r.code, r.segments_delivered"
        " FROM unnest($3::text[], $4::smallint[], $5::integer[], $6::timestamptz[], $7::smallint[])"
        "  AS r (id, state, code, at, segments_delivered)"
        " JOIN LATERAL (SELECT resource_id, message_id FROM sms_submissions"
        "  WHERE carrier = $1 AND carrier_message_id = r.id LIMIT 1) s ON true"
        " JOIN LATERAL (SELECT 1 FROM sms_messages m WHERE m.resource_id = s.resource_id"
        f"  AND m.message_id = s.message_id AND m.state >= {int(State.DELIVERED)} AND m.ended_at < $9"
        "  AND m.message_id <> ALL($8::uuid[]) LIMIT 1) m ON true"
        f" {_NEWEST}",
        carrier,
        now,
        [carrier_message_id for carrier_message_id, _ in endings],
        [ending.state for _, ending in endings],
        [ending.code for _, ending in endings],
        [ending.at for _, ending in endings],
        [ending.segments_delivered for _, ending in endings],
        [record["message_id"] for record in ended],
        now - _SKEW,
    )
    await settle(connection)


async def failed_elsewhere(
    connection: Connection, carrier: str, endings: Sequence[tuple[str, Ending]], now: datetime
) -> None:
    """Keep for whoever picks the next carrier that this one failed messages which are another's by now: those of the
    `endings` just reported that did not end anything for that reason."""
    await connection.execute(
        "INSERT INTO sms_attempts (resource_id, message_id, at, carrier, code, temporary, reason)"
        f" SELECT DISTINCT ON (s.message_id) s.resource_id, s.message_id, {attempt_at('$2::timestamptz', 's')}, $1,"
        "  r.code, false, 'negative receipt'"
        " FROM unnest($3::text[], $4::integer[]) AS r (id, code)"
        " JOIN LATERAL (SELECT resource_id, message_id FROM sms_submissions"
        "  WHERE carrier = $1 AND carrier_message_id = r.id LIMIT 1) s ON true"
        " JOIN LATERAL (SELECT 1 FROM sms_messages m WHERE m.resource_id = s.resource_id"
        f"  AND m.message_id = s.message_id AND m.state < {int(State.DELIVERED)} AND m.carrier <> $1 LIMIT 1) m ON true"
        " WHERE NOT EXISTS (SELECT FROM sms_attempts a WHERE a.resource_id = s.resource_id"
        "  AND a.message_id = s.message_id AND a.carrier = $1 AND NOT a.temporary)"
        " ON CONFLICT DO NOTHING",
        carrier,
        now,
        [carrier_message_id for carrier_message_id, _ in endings],
        [ending.code for _, ending in endings],
    )


async def early(connection: Connection, carrier: str, ids: Sequence[str], now: datetime) -> list[Receipt]:
    """The parked receipts with these ids of the carrier's."""
    rows = await connection.fetch(
        "SELECT * FROM sms_parked_receipts WHERE carrier = $1 AND carrier_message_id = ANY($2) AND parked_at > $3"
        " ORDER BY parked_at, carrier_message_id",
        carrier,
        ids,
        now - PARKED_FOR,
    )
    return [
        Receipt(
            row["carrier_message_id"],
            row["state"] == State.DELIVERED,
            row["code"],
            row["at"],
            row["segments_delivered"],
        )
        for row in rows
    ]


async def forget_early(connection: Connection, carrier: str, ids: Sequence[str]) -> None:
    """Delete the parked receipts with these ids of the carrier's."""
    await connection.execute(
        "DELETE FROM sms_parked_receipts WHERE carrier = $1 AND carrier_message_id = ANY($2)", carrier, ids
    )


_OPEN = (
    "EXISTS (SELECT FROM sms_messages m WHERE m.resource_id = s.resource_id AND m.message_id = s.message_id"
    f" AND m.state < {int(State.DELIVERED)})"
)
"""Nobody knew it when its receipt was parked: the process that stored its answer stood still before the commit."""
_LATEST = f"""
SELECT p.ctid FROM (
    SELECT ctid, carrier, carrier_message_id, parked_at FROM sms_parked_receipts
    WHERE parked_at > $2 ORDER BY parked_at DESC LIMIT 5000
) p
JOIN LATERAL (
    SELECT submitted_at, resource_id, message_id FROM sms_submissions
    WHERE carrier = p.carrier AND carrier_message_id = p.carrier_message_id LIMIT 1
) s ON s.submitted_at > p.parked_at - $1::interval OR {_OPEN}
LIMIT 500
"""
_AWAITED = f"""
SELECT p.ctid FROM unnest($2::text[], $3::text[]) AS k (carrier, id)
JOIN LATERAL (
    SELECT ctid, parked_at FROM sms_parked_receipts WHERE carrier = k.carrier AND carrier_message_id = k.id LIMIT 1
) p ON true
JOIN LATERAL (
    SELECT submitted_at, resource_id, message_id FROM sms_submissions
    WHERE carrier = k.carrier AND carrier_message_id = k.id LIMIT 1
) s ON s.submitted_at > p.parked_at - $1::interval OR {_OPEN}
"""
_TAKE_OUT = (
    "DELETE FROM sms_parked_receipts WHERE ctid = ANY(ARRAY({}))"
    " RETURNING carrier, carrier_message_id, state, code, at, segments_delivered"
)


async def unpark(connection: Connection, now: datetime, awaited: Sequence[tuple[str, str]] = ()) -> list[Record]:
    """Parked receipts whose submission was stored since, or in the same moment, or whose message is open, taken out:
    those of `awaited` (carrier, its id) however long ago that was, or else some of the latest."""
    if not awaited:
        return await connection.fetch(_TAKE_OUT.format(_LATEST), _SKEW, now - PARKED_FOR)
    carriers, ids = zip(*awaited, strict=True)
    return await connection.fetch(_TAKE_OUT.format(_AWAITED), _SKEW, carriers, ids)
