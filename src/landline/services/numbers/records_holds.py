"""The rows of `numbers_holds`: who has a number to himself until he buys it or time runs out, and the sale itself."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from landline.core.ids import ResourceId
from landline.services.numbers.offers import Offer
from landline.store.database import Connection

_TAKEN = """
    EXISTS (SELECT FROM numbers_owned o WHERE o.number = c.number AND o.kind <> 'alphanumeric')
    OR EXISTS (SELECT FROM numbers_holds h WHERE h.number = c.number AND (h.sold OR h.expires_at > $2))
"""
_COLUMNS = (
    "resource_id, holder, expires_at, country, kind, assignment, sms, calling, offered_sms, offered_calling,"
    " cost, currency, not_resell, carrier"
)


async def free_of(connection: Connection, numbers: Sequence[str], now: datetime) -> set[str]:
    """Those of `numbers` that nobody has or holds."""
    rows = await connection.fetch(
        f"SELECT c.number FROM unnest($1::text[]) AS c (number) WHERE NOT ({_TAKEN})", list(numbers), now
    )
    return {row["number"] for row in rows}


async def hold(
    connection: Connection, resource: ResourceId, holder: UUID, expires_at: datetime, now: datetime, offers: list[Offer]
) -> set[str]:
    """Take those of `offers` that nobody has or holds; the numbers taken. Waits for others who take the same ones at
    this moment; taken in one order by all, so that nobody waits in a circle."""
    rows = await connection.fetch(
        f"INSERT INTO numbers_holds (number, {_COLUMNS})"
        " SELECT c.number, $1, $3, $4, c.country, c.kind, c.assignment, c.sms, c.calling, c.offered_sms,"
        " c.offered_calling, c.cost, c.currency, c.not_resell, c.carrier"
        " FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],"
        " $12::text[], $13::numeric[], $14::text[], $15::boolean[], $16::text[]) AS c (number, country, kind,"
        " assignment, sms, calling, offered_sms, offered_calling, cost, currency, not_resell, carrier)"
        f" WHERE NOT ({_TAKEN}) ORDER BY c.number"
        f" ON CONFLICT (number) DO UPDATE SET ({_COLUMNS}) = ROW (excluded.resource_id, excluded.holder,"
        " excluded.expires_at, excluded.country, excluded.kind, excluded.assignment, excluded.sms, excluded.calling,"
        " excluded.offered_sms, excluded.offered_calling, excluded.cost, excluded.currency, excluded.not_resell,"
        " excluded.carrier) WHERE NOT numbers_holds.sold AND numbers_holds.expires_at <= $2 RETURNING number",
        resource,
        now,
        holder,
        expires_at,
        *_columns(offers),
    )
    return {row["number"] for row in rows}


def _columns(offers: Iterable[Offer]) -> list[list[object]]:
    rows: list[tuple[object, ...]] = [
        (
            offer.number,
            offer.terms.country,
            offer.terms.kind.value,
            offer.terms.assignment.value,
            offer.sms.value,
            offer.calling.value,
            offer.terms.sms.value,
            offer.terms.calling.value,
            offer.terms.cost.amount,
            offer.terms.cost.currency,
            offer.not_resell,
            offer.carrier,
        )
        for offer in offers
    ]
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(12)]


async def held(connection: Connection, resource: ResourceId, now: datetime) -> int:
    """How many numbers the resource holds without having bought them."""
    found: int = await connection.fetchval(
        "SELECT count(*) FROM numbers_holds WHERE resource_id = $1 AND NOT sold AND expires_at > $2", resource, now
    )
    return found


async def extend(connection: Connection, resource: ResourceId, holder: UUID, expires_at: datetime) -> None:
    await connection.execute(
        "UPDATE numbers_holds SET expires_at = $3 WHERE resource_id = $1 AND holder = $2 AND NOT sold",
        resource,
        holder,
        expires_at,
    )


async def drop(
    connection: Connection, resource: ResourceId, holder: UUID, numbers: Sequence[str] | None = None
) -> None:
    """End the holder's holds: on `numbers`, or all. What is sold stays so."""
    await connection.execute(
        "DELETE FROM numbers_holds WHERE resource_id = $1 AND holder = $2 AND NOT sold"
        " AND ($3::text[] IS NULL OR number = ANY ($3))",
        resource,
        holder,
        None if numbers is None else list(numbers),
    )


async def sell(connection: Connection, resource: ResourceId, holder: UUID, now: datetime) -> list[str]:
    """Make what `holder` holds the resource's own; the numbers sold. The holds on the others, which an operator gave
    away in the meantime, end."""
    rows = await connection.fetch(
        "SELECT number FROM numbers_holds WHERE resource_id = $1 AND holder = $2 AND NOT sold AND expires_at > $3"
        " ORDER BY number FOR UPDATE",
        resource,
        holder,
        now,
    )
    rows = await connection.fetch(
        "INSERT INTO numbers_owned (resource_id, number, kind, sms_inbound, sms_outbound, calling_inbound,"
        " calling_outbound, carrier, added_at, country, assignment, cost, currency, offered_sms, offered_calling)"
        " SELECT resource_id, number, kind, sms LIKE 'inbound%', sms LIKE '%outbound', calling LIKE 'inbound%',"
        " calling LIKE '%outbound', carrier, $2, country, assignment, cost, currency, offered_sms, offered_calling"
        " FROM numbers_holds WHERE number = ANY ($1) ORDER BY number ON CONFLICT DO NOTHING RETURNING number",
        [row["number"] for row in rows],
        now,
    )
    sold = [row["number"] for row in rows]
    await connection.execute("UPDATE numbers_holds SET sold = true WHERE number = ANY ($1)", sold)
    await connection.execute("UPDATE numbers_stock SET sold = true WHERE number = ANY ($1)", sold)
    await drop(connection, resource, holder)
    return sold


async def let_go(connection: Connection, number: str) -> None:
    """`number` is nobody's: it may be sold again."""
    await connection.execute("DELETE FROM numbers_holds WHERE number = $1 AND sold", number)
    await connection.execute("UPDATE numbers_stock SET sold = false WHERE number = $1", number)
