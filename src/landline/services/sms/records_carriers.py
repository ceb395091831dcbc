"""The SQL of the carriers that processes have or had, and of what waits for those that nobody has any more."""

from collections.abc import Collection, Mapping
from datetime import datetime

from landline.store.database import Connection, Database, Record


async def say(connection: Connection, policies: Mapping[str, str], now: datetime, unless_since: datetime) -> None:
    """Some process has carriers of these crash policies `now`; written unless one has said the same since then."""
    await connection.execute(
        "INSERT INTO sms_carriers AS c (carrier, crash_policy, seen_at)"
        " SELECT k.carrier, k.crash_policy, $3 FROM unnest($1::text[], $2::text[]) AS k (carrier, crash_policy)"
        " ORDER BY k.carrier"
        " ON CONFLICT (carrier) DO UPDATE SET crash_policy = excluded.crash_policy, seen_at = excluded.seen_at"
        " WHERE c.crash_policy <> excluded.crash_policy OR c.seen_at NOT BETWEEN $4 AND $3",
        list(policies),
        list(policies.values()),
        now,
        unless_since,
    )


async def known(connection: Connection) -> list[Record]:
    """All carriers that were ever said to be there."""
    return await connection.fetch("SELECT carrier, crash_policy, seen_at FROM sms_carriers ORDER BY carrier")


async def waiting(connection: Connection, carriers: Collection[str]) -> bool:
    """Whether anything has a timer at one of `carriers`."""
    return await connection.fetchval(
        "SELECT EXISTS (SELECT FROM unnest($1::text[]) AS k (carrier) WHERE EXISTS (SELECT FROM sms_messages m"
        " WHERE m.due_at IS NOT NULL AND m.claim_id IS NULL AND m.carrier = k.carrier))",
        list(carriers),
    )


async def waiting_for(database: Database, carriers: Collection[str]) -> dict[str, int]:
    """How many messages have timers at each of `carriers`, be it that they are to go to it, or that its receipts are
    awaited."""
    rows = await database.fetch(
        "SELECT carrier, count(*) AS count FROM sms_messages"
        " WHERE due_at IS NOT NULL AND claim_id IS NULL AND carrier = ANY($1) GROUP BY carrier ORDER BY carrier",
        list(carriers),
    )
    return {row["carrier"]: row["count"] for row in rows}
