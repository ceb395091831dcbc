"""The SQL of customers who speak SMPP: which messages are theirs, and what is written for them. How that is taken:
`records_esme_out`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from landline.core.ids import ResourceId
from landline.ports.esme_gateway import Account, Cancellation, CustomerSubmission, ReportOut
from landline.services.sms.model import details
from landline.services.sms.model.messages import State
from landline.store.database import Connection, Record

_OWN = "coalesce({message}.account, {account}) = {account}"
"""Whether a message of a system id is of the account that has it now, not of one before; of old ones nobody knows."""
_THERE = "FOR KEY SHARE OF a"  # one that is being deleted is none: its foreign key would refuse all rows
_CANCELED = (
    f"{{message}}.code = {details.CANCELED} AND EXISTS (SELECT FROM sms_attempts t"
    " WHERE t.resource_id = {message}.resource_id AND t.message_id = {message}.message_id AND t.carrier = ''"
    f" AND t.code = {details.CANCELED})"
)
"""Whether a message that failed was taken back: carriers' failures have the same code."""
_LOOKED_THROUGH = 100_000
# No index leads from addresses to what waits in queues: it would cost every message something. But it is in blocks that
# are held, or due for whoever has room, which are few beside all there are. Those of a long backlog are gone through
# only so far.
_QUEUED = f"""
WITH through AS MATERIALIZED (
    SELECT m.resource_id, m.message_id, m.block_id, m.sender, m.recipient, m.due_at, m.state FROM (
        SELECT block_id FROM sms_blocks WHERE owner IS NOT NULL
        UNION ALL
        SELECT block_id FROM sms_blocks WHERE owner IS NULL AND due_at <= $7
    ) b JOIN sms_messages m USING (block_id) LIMIT {_LOOKED_THROUGH}
)
SELECT m.message_id FROM through m CROSS JOIN LATERAL (
    SELECT FROM sms_esme_messages e
    WHERE e.resource_id = m.resource_id AND e.message_id = m.message_id AND e.system_id = $2
        AND {_OWN.format(message="e", account="$6")} LIMIT 1
) own
WHERE m.resource_id = $1 AND m.sender = $3 AND m.recipient = $4 AND m.due_at IS NULL
    AND m.state < {int(State.DELIVERED)}
    AND NOT EXISTS (SELECT FROM sms_submissions s WHERE s.block_id = m.block_id AND s.message_id = m.message_id)
ORDER BY m.message_id LIMIT $5
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A customer's message that has just ended. `out_id` is that of its receipt."""

    resource: ResourceId
    message_id: UUID
    out_id: UUID
    submitted_at: datetime
    done_at: datetime
    delivered: bool
    code: int
    sender: str
    recipient: str


@dataclass(slots=True)
class Origin:
    """A submission and the account it came from."""

    account: Account
    submission: CustomerSubmission


async def remember(connection: Connection, origins: Sequence[Origin]) -> None:
    """These messages, which are about to be accepted, come from those accounts.

    Not waited for until it is on disk: the commit of the messages themselves comes after it in the same log (PostgreSQL
    §30.4), so that no message is durable without this.
    """
    # Of a long text whose last parts came over two binds at once there are two.
    each = list({(origin.account.resource, origin.submission.message_id): origin for origin in origins}.values())
    await connection.execute(
        "INSERT INTO sms_esme_messages (resource_id, message_id, system_id, wish, parts, account)"
        " SELECT m.resource_id, m.message_id, m.system_id, m.wish, string_to_array(m.parts, ',')::smallint[], m.account"
        " FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::smallint[], $5::text[], $6::integer[])"
        "  AS m (resource_id, message_id, system_id, wish, parts, account),"
        " (SELECT set_config('synchronous_commit', 'off', true)) AS this_transaction"
        " ON CONFLICT (resource_id, message_id) DO UPDATE SET wish = excluded.wish, parts = excluded.parts",
        [origin.account.resource for origin in each],
        [origin.submission.message_id for origin in each],
        [origin.account.system_id for origin in each],
        [origin.submission.wish for origin in each],
        [",".join(map(str, origin.submission.parts)) or None for origin in each],
        [origin.account.number for origin in each],
    )


async def forget(connection: Connection, resource: ResourceId, messages: Sequence[UUID]) -> frozenset[UUID]:
    """Forget whose `messages` are, but for those that there are, which are returned. What came in parts is left to
    `forget_messages`, for another bind may be about to accept the same."""
    rows = await connection.fetch(
        "WITH there AS MATERIALIZED (SELECT message_id FROM sms_messages"
        "  WHERE resource_id = $1 AND message_id = ANY($2)),"
        " forgotten AS (DELETE FROM sms_esme_messages e WHERE e.resource_id = $1 AND e.message_id = ANY($2)"
        "  AND e.parts IS NULL AND NOT EXISTS (SELECT FROM there t WHERE t.message_id = e.message_id))"
        " SELECT message_id FROM there",
        resource,
        messages,
    )
    return frozenset(row["message_id"] for row in rows)


async def accepted(connection: Connection, resource: ResourceId, messages: Sequence[UUID]) -> frozenset[UUID]:
    """Those of `messages` that there are."""
    rows = await connection.fetch(
        "SELECT message_id FROM sms_messages WHERE resource_id = $1 AND message_id = ANY($2)", resource, messages
    )
    return frozenset(row["message_id"] for row in rows)


async def status(connection: Connection, account: Account, message_id: UUID) -> Record | None:
    """State, code and end of the account's message, and whether it was `canceled`; None when it has none such."""
    return await connection.fetchrow(
        f"SELECT m.state, m.code, m.ended_at, {_CANCELED.format(message='m')} AS canceled FROM sms_esme_messages e"
        " JOIN sms_messages m USING (resource_id, message_id)"
        " WHERE e.resource_id = $1 AND e.message_id = $2 AND e.system_id = $3"
        f" AND {_OWN.format(message='e', account='$4')}",
        account.resource,
        message_id,
        account.system_id,
        account.number,
    )


async def waiting(
    connection: Connection, account: Account, named: Cancellation, now: datetime, *, limit: int
) -> list[UUID]:
    """The account's messages that `named` names and that may be taken back, the oldest first."""
    place = (account.resource, account.system_id, named.sender, named.recipient, limit, account.number)
    rows = await connection.fetch(
        "SELECT m.message_id FROM sms_messages m JOIN sms_esme_messages e USING (resource_id, message_id)"
        f" WHERE m.resource_id = $1 AND e.system_id = $2 AND {_OWN.format(message='e', account='$6')}"
        + (" AND m.message_id = $7" if named.message_id else " AND $7::uuid IS NULL AND m.due_at IS NOT NULL")
        + (" AND m.sender = $3" if named.sender or not named.message_id else " AND $3 = ''")
        + (" AND m.recipient = $4" if named.recipient or not named.message_id else " AND $4 = ''")
        + " ORDER BY m.message_id LIMIT $5",
        *place,
        named.message_id,
    )
    found = [row["message_id"] for row in rows]
    if named.message_id is None:
        queued = await connection.fetch(_QUEUED, *place, now)
        found = sorted([*found, *(row["message_id"] for row in queued)])[:limit]
    return found


async def report(connection: Connection, ended: Sequence[Ended], now: datetime) -> set[str]:
    """Write the receipts that are wanted of `ended`; the system ids they are for."""
    rows = await connection.fetch(
        "INSERT INTO sms_esme_out (resource_id, system_id, out_id, due_at, submitted_at, done_at, message_id, code,"
        "  delivered, sender, recipient, parts, canceled)"
        " SELECT m.resource_id, m.system_id, e.out_id, $1, e.submitted_at, e.done_at, m.message_id, e.code,"
        f"  e.delivered, e.sender, e.recipient, m.parts, {_CANCELED.format(message='e')}"
        " FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::timestamptz[], $7::boolean[],"
        "  $8::integer[], $9::text[], $10::text[]) AS e"
        "  (resource_id, message_id, out_id, submitted_at, done_at, delivered, code, sender, recipient)"
        " JOIN sms_esme_messages m USING (resource_id, message_id)"
        " JOIN sms_esme_accounts a ON a.resource_id = m.resource_id AND a.system_id = m.system_id AND a.receipts"
        f"  AND {_OWN.format(message='m', account='a.number')}"
        # ReportWish: always, on failure, on success
        f" WHERE m.wish = 1 OR m.wish = CASE WHEN e.delivered THEN 3 ELSE 2 END {_THERE} RETURNING system_id",
        now,
        [each.resource for each in ended],
        [each.message_id for each in ended],
        [each.out_id for each in ended],
        [each.submitted_at for each in ended],
        [each.done_at for each in ended],
        [each.delivered for each in ended],
        [each.code for each in ended],
        [each.sender for each in ended],
        [each.recipient for each in ended],
    )
    return {row["system_id"] for row in rows}


async def bring_reports(
    connection: Connection,
    resource: ResourceId,
    system_id: str,
    outs: Sequence[tuple[UUID, ReportOut, int]],
    now: datetime,
) -> None:
    """Write receipts (out id, report, detail code) of messages that came to nothing before they were accepted, if the
    account still is and wants any."""
    await connection.execute(
        "INSERT INTO sms_esme_out (resource_id, system_id, out_id, due_at, submitted_at, done_at, message_id, code,"
        "  delivered, sender, recipient, parts)"
        " SELECT a.resource_id, a.system_id, o.out_id, $3, o.submitted_at, o.done_at, o.message_id, o.code, false,"
        "  o.sender, o.recipient, string_to_array(o.parts, ',')::smallint[]"
        " FROM unnest($4::uuid[], $5::timestamptz[], $6::timestamptz[], $7::uuid[], $8::text[], $9::text[],"
        "  $10::text[], $11::integer[]) AS o"
        "  (out_id, submitted_at, done_at, message_id, sender, recipient, parts, code)"
        f" JOIN sms_esme_accounts a ON a.resource_id = $1 AND a.system_id = $2 AND a.receipts {_THERE}",
        resource,
        system_id,
        now,
        [out_id for out_id, _, _ in outs],
        [report.submitted_at for _, report, _ in outs],
        [report.done_at for _, report, _ in outs],
        [report.message_id for _, report, _ in outs],
        [report.sender for _, report, _ in outs],
        [report.recipient for _, report, _ in outs],
        [",".join(map(str, report.parts)) or None for _, report, _ in outs],
        [code for _, _, code in outs],
    )


async def bring_text(
    connection: Connection,
    resource: ResourceId,
    outs: Sequence[tuple[str, UUID]],
    message_id: UUID,
    sender: str,
    recipient: str,
    text: str,
    now: datetime,
) -> None:
    """Write a received text for each (system id, out id) of `outs` that still is an account."""
    await connection.execute(
        "INSERT INTO sms_esme_out (resource_id, system_id, out_id, due_at, message_id, sender, recipient, body)"
        " SELECT a.resource_id, a.system_id, o.out_id, $1, $2, $3, $4, $5"
        " FROM unnest($6::text[], $7::uuid[]) AS o (system_id, out_id)"
        f" JOIN sms_esme_accounts a ON a.resource_id = $8 AND a.system_id = o.system_id {_THERE}",
        now,
        message_id,
        sender,
        recipient,
        text,
        [system_id for system_id, _ in outs],
        [out_id for _, out_id in outs],
        resource,
    )


async def resources(connection: Connection) -> list[ResourceId]:
    """Those whose messages are remembered: from each to the next, as the key has it."""
    rows = await connection.fetch(
        "WITH RECURSIVE resource AS ("
        " (SELECT resource_id FROM sms_esme_messages ORDER BY resource_id LIMIT 1) UNION ALL"
        " SELECT (SELECT m.resource_id FROM sms_esme_messages m WHERE m.resource_id > r.resource_id"
        "  ORDER BY m.resource_id LIMIT 1) FROM resource r WHERE r.resource_id IS NOT NULL)"
        " SELECT resource_id FROM resource WHERE resource_id IS NOT NULL"
    )
    return [ResourceId(row["resource_id"]) for row in rows]


async def forget_messages(
    connection: Connection, resource: ResourceId, after: UUID, before: UUID, *, limit: int
) -> UUID | None:
    """Of the first `limit` messages behind the id `after` and older than `before`, forget whose they were, but for
    those that have not ended; the last of them, or None where there are no more."""
    row = await connection.fetchrow(
        "WITH seen AS MATERIALIZED (SELECT message_id FROM sms_esme_messages"
        "  WHERE resource_id = $1 AND message_id > $2 AND message_id < $3 ORDER BY message_id LIMIT $4),"
        " forgotten AS (DELETE FROM sms_esme_messages e USING seen s"
        "  WHERE e.resource_id = $1 AND e.message_id = s.message_id"
        "  AND NOT EXISTS (SELECT FROM sms_messages m WHERE m.resource_id = $1"
        f"   AND m.message_id = s.message_id AND m.state < {int(State.DELIVERED)}))"
        " SELECT (SELECT count(*) FROM seen) AS read,"
        "  (SELECT message_id FROM seen ORDER BY message_id DESC LIMIT 1) AS last",
        resource,
        after,
        before,
        limit,
    )
    return row["last"] if row is not None and row["read"] == limit else None
