"""The rows of the simulated carrier (`handset_*`). One process writes them: its `Desk` has the lock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from landline.engines.simulated.model import Behaviour, Conduct, Handset, Point, Rule
from landline.engines.simulated.plan import MessageRow, Receipts, Reply, Taken
from landline.store.database import Connection, Record

MESSAGE_COLUMNS = (
    *("message_key", "handset", "sender", "text", "segments"),
    *("position", "received_at", "expires_at", "code", "report_at"),
)


@dataclass(frozen=True, slots=True)
class InboxItem:
    """A text on a handset. `position` grows with time and never comes again."""

    position: int
    key: UUID
    sender: str
    handset: str
    text: str
    segments: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class DueReceipts:
    """A row of receipts to report."""

    receipt_id: int
    due_at: datetime
    receipts: Receipts


# Messages


async def begin(connection: Connection, keys: list[UUID]) -> tuple[int, dict[UUID, Taken]]:
    """The first of as many fresh places as there are keys, and those of them that were taken before."""
    last = await connection.fetchval(
        "SELECT setval('handset_positions', nextval('handset_positions') + $1 - 1)", len(keys)
    )
    rows = await connection.fetch(
        "SELECT message_key, code, report_at, expires_at FROM handset_messages WHERE message_key = ANY($1)", keys
    )
    taken = {row["message_key"]: Taken(row["code"], row["report_at"], row["expires_at"]) for row in rows}
    return last - len(keys) + 1, taken


async def last_position(connection: Connection) -> int:
    return await connection.fetchval("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM handset_positions")


async def insert_messages(connection: Connection, rows: list[MessageRow]) -> None:
    if rows:
        await connection.copy_records_to_table("handset_messages", records=rows, columns=MESSAGE_COLUMNS)


async def inbox(connection: Connection, handset: str, after: int, limit: int) -> list[InboxItem]:
    """The texts on a handset after place `after`, the first come first."""
    rows = await connection.fetch(
        "SELECT position, message_key, sender, handset, text, segments, received_at FROM handset_messages"
        " WHERE handset = $1 AND position > $2 AND received_at IS NOT NULL ORDER BY position LIMIT $3",
        *(handset, after, limit),
    )
    return [InboxItem(*row.values()) for row in rows]


async def clear_inbox(connection: Connection, handset: str) -> None:
    await connection.execute("DELETE FROM handset_messages WHERE handset = $1 AND received_at IS NOT NULL", handset)


async def inbox_sizes(connection: Connection, limit: int) -> list[tuple[str, int]]:
    """(handset, texts on it), those that got one last first."""
    rows = await connection.fetch(
        "SELECT handset, count(*) AS texts FROM handset_messages WHERE received_at IS NOT NULL"
        " GROUP BY handset ORDER BY max(position) DESC LIMIT $1",
        limit,
    )
    return [(row["handset"], row["texts"]) for row in rows]


async def trim_inbox(connection: Connection, handset: str, keep: int) -> None:
    """Forget all but the last `keep` texts on a handset."""
    await connection.execute(
        "DELETE FROM handset_messages WHERE handset = $1 AND received_at IS NOT NULL AND position <= ("
        " SELECT position FROM handset_messages WHERE handset = $1 AND received_at IS NOT NULL"
        " ORDER BY position DESC OFFSET $2 LIMIT 1)",
        *(handset, keep),
    )


async def trim_all(connection: Connection, up_to: int, now: datetime) -> None:
    """Forget every message up to place `up_to` but those still waiting for their handset."""
    await connection.execute(
        "DELETE FROM handset_messages WHERE position <= $1 AND (expires_at IS NULL OR expires_at <= $2)", up_to, now
    )


async def bring_back(
    connection: Connection, handset: str, now: datetime, report_at: datetime, delivered: int
) -> list[tuple[UUID, str]]:
    """The handset is in reach again: what waited for it is shown now and reported `report_at`; (key, sender) each."""
    await connection.execute(
        "UPDATE handset_receipts SET handset = NULL, due_at = $3,"
        " codes = array_fill($4::integer, ARRAY[cardinality(keys)]) WHERE handset = $1 AND due_at > $2",
        *(handset, now, report_at, delivered),
    )
    rows = await connection.fetch(
        "UPDATE handset_messages AS message SET position = held.place, received_at = $2, expires_at = NULL,"
        " report_at = $3, code = CASE WHEN code IS NULL THEN NULL ELSE $4::integer END"
        " FROM (SELECT message_key, nextval('handset_positions') AS place FROM (SELECT message_key"
        "  FROM handset_messages WHERE handset = $1 AND expires_at > $2 ORDER BY position) AS ordered) AS held"
        " WHERE message.message_key = held.message_key RETURNING message.message_key, sender, message.position",
        *(handset, now, report_at, delivered),
    )
    return [(row["message_key"], row["sender"]) for row in sorted(rows, key=lambda row: row["position"])]


# Receipts and replies


async def insert_receipts(
    connection: Connection, first: int, receipts: dict[tuple[datetime, str | None], Receipts]
) -> None:
    """`first` is the first place of their batch, which has at least as many places as there are rows."""
    rows = [
        (receipt_id, due_at, handset, due.keys, due.codes, due.segments)
        for receipt_id, ((due_at, handset), due) in enumerate(receipts.items(), first)
    ]
    await connection.executemany(
        "INSERT INTO handset_receipts (receipt_id, due_at, handset, keys, codes, segments)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        rows,
    )


async def due_receipts(connection: Connection, now: datetime, up_to: int, limit: int) -> list[DueReceipts]:
    """Up to `limit` rows that are due, of batches whose last place is at most `up_to`."""
    rows = await connection.fetch(
        "SELECT receipt_id, due_at, keys, codes, segments FROM handset_receipts"
        " WHERE due_at <= $1 AND receipt_id <= $2 ORDER BY due_at, receipt_id LIMIT $3",
        *(now, up_to, limit),
    )
    return [
        DueReceipts(row["receipt_id"], row["due_at"], Receipts(row["keys"], row["codes"], row["segments"]))
        for row in rows
    ]


async def delete_receipts(connection: Connection, receipt_ids: list[int]) -> None:
    await connection.execute("DELETE FROM handset_receipts WHERE receipt_id = ANY($1)", receipt_ids)


async def insert_replies(connection: Connection, replies: Sequence[Reply]) -> None:
    if replies:
        await connection.executemany(
            "INSERT INTO handset_replies (reply_key, due_at, handset, recipient, text) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (reply_key) DO NOTHING",
            [(reply.key, reply.due_at, reply.handset, reply.recipient, reply.text) for reply in replies],
        )


async def due_replies(connection: Connection, now: datetime, limit: int) -> list[Reply]:
    rows = await connection.fetch(
        "SELECT reply_key, due_at, handset, recipient, text FROM handset_replies"
        " WHERE due_at <= $1 ORDER BY due_at, reply_key LIMIT $2",
        *(now, limit),
    )
    return [Reply(*row.values()) for row in rows]


async def delete_replies(connection: Connection, keys: list[str]) -> None:
    await connection.execute("DELETE FROM handset_replies WHERE reply_key = ANY($1)", keys)


async def next_due(connection: Connection, up_to: int) -> datetime | None:
    """When the next receipt or reply is due, of batches whose last place is at most `up_to`."""
    return await connection.fetchval(
        "SELECT least((SELECT min(due_at) FROM handset_receipts WHERE receipt_id <= $1),"
        " (SELECT min(due_at) FROM handset_replies))",
        up_to,
    )


# Behaviours, rules, seed


async def handsets(connection: Connection) -> list[Handset]:
    rows = await connection.fetch(
        "SELECT handset, conduct, after_s, jitter_s, code, point, replies, reply_after_s, replied FROM handset_states"
        " ORDER BY handset"
    )
    return [_handset(row) for row in rows]


async def put_handset(connection: Connection, handset: Handset) -> None:
    behaviour = handset.behaviour
    await connection.execute(
        "INSERT INTO handset_states (handset, conduct, after_s, jitter_s, code, point, replies, reply_after_s, replied)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (handset) DO UPDATE SET conduct = $2, after_s = $3,"
        " jitter_s = $4, code = $5, point = $6, replies = $7, reply_after_s = $8, replied = $9",
        *(handset.number, behaviour.conduct.value, behaviour.after_s, behaviour.jitter_s, behaviour.code),
        *(behaviour.point.value, list(behaviour.replies), behaviour.reply_after_s, handset.replied),
    )


async def delete_handset(connection: Connection, number: str) -> None:
    await connection.execute("DELETE FROM handset_states WHERE handset = $1", number)


async def rules(connection: Connection) -> list[Rule]:
    rows = await connection.fetch(
        "SELECT rule_id, number, nth, every, fires_limit, rate, code, temporary, point, after_s, jitter_s, seen, fired"
        " FROM handset_rules ORDER BY rule_id"
    )
    return [_rule(row) for row in rows]


async def insert_rule(connection: Connection, rule: Rule) -> int:
    """The new rule's id."""
    return await connection.fetchval(
        "INSERT INTO handset_rules (number, nth, every, fires_limit, rate, code, temporary, point, after_s, jitter_s,"
        " seen, fired) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0) RETURNING rule_id",
        *(rule.number, rule.nth, rule.every, rule.fires_limit, rule.rate, rule.code, rule.temporary),
        *(rule.point.value, rule.after_s, rule.jitter_s),
    )


async def delete_rules(connection: Connection, rule_id: int | None) -> bool:
    """Delete one rule, or all for None; whether there was one."""
    done = await connection.execute("DELETE FROM handset_rules WHERE rule_id = $1 OR $1::bigint IS NULL", rule_id)
    return done != "DELETE 0"


async def save_counts(connection: Connection, rules: Iterable[Rule], handsets: Iterable[Handset]) -> None:
    """Write the counts that have moved."""
    moved = [(rule.rule_id, rule.seen, rule.fired) for rule in rules]
    if moved:
        await connection.executemany("UPDATE handset_rules SET seen = $2, fired = $3 WHERE rule_id = $1", moved)
    answered = [(handset.number, handset.replied) for handset in handsets]
    if answered:
        await connection.executemany("UPDATE handset_states SET replied = $2 WHERE handset = $1", answered)


async def seed(connection: Connection) -> int | None:
    return await connection.fetchval("SELECT seed FROM handset_settings")


async def put_seed(connection: Connection, seed: int) -> None:
    await connection.execute(
        "INSERT INTO handset_settings (seed) VALUES ($1) ON CONFLICT (singleton) DO UPDATE SET seed = $1", seed
    )


async def reset(connection: Connection) -> None:
    """Forget everything but the places, which must not come again."""
    await connection.execute(
        "TRUNCATE handset_messages, handset_receipts, handset_replies, handset_states, handset_rules, handset_settings"
    )


def _handset(row: Record) -> Handset:
    behaviour = Behaviour(
        Conduct(row["conduct"]),
        row["after_s"],
        row["jitter_s"],
        row["code"],
        Point(row["point"]),
        tuple(row["replies"]),
        row["reply_after_s"],
    )
    return Handset(row["handset"], behaviour, row["replied"])


def _rule(row: Record) -> Rule:
    return Rule(
        number=row["number"],
        code=row["code"],
        nth=row["nth"],
        every=row["every"],
        fires_limit=row["fires_limit"],
        rate=row["rate"],
        temporary=row["temporary"],
        point=Point(row["point"]),
        after_s=row["after_s"],
        jitter_s=row["jitter_s"],
        rule_id=row["rule_id"],
        seen=row["seen"],
        fired=row["fired"],
    )
