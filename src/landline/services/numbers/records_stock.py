"""The rows of `numbers_stock`: the real numbers an operator has for sale."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from landline.core.phone import SenderKind
from landline.services.numbers.model import Directions
from landline.services.numbers.offers import Assignment, Cost, Offer, Place, Terms, Want
from landline.store.database import Connection, Record

_COLUMNS = (
    "number, country, kind, assignments, sms_inbound, sms_outbound, calling_inbound, calling_outbound, area_code,"
    " locality, division, cost, currency, not_resell, carrier"
)
_FREE = """NOT s.sold
    AND NOT EXISTS (SELECT FROM numbers_owned o WHERE o.number = s.number AND o.kind <> 'alphanumeric')
    AND NOT EXISTS (SELECT FROM numbers_holds h WHERE h.number = s.number AND (h.sold OR h.expires_at > $1))"""
_WANTED = """s.country = $2 AND s.kind = $3 AND ($4::text IS NULL OR $4 = ANY (s.assignments))
    AND (s.sms_inbound OR NOT $5) AND (s.sms_outbound OR NOT $6)
    AND (s.calling_inbound OR NOT $7) AND (s.calling_outbound OR NOT $8)"""
_AREA = """($9::text IS NULL OR s.area_code = $9) AND (cardinality($10::text[]) = 0 OR s.number LIKE ANY ($10))"""


@dataclass(frozen=True, slots=True)
class StockNumber:
    """One real number for sale."""

    number: str
    country: str
    kind: SenderKind
    assignments: tuple[Assignment, ...]
    sms: Directions
    calling: Directions
    area_code: str | None
    place: Place | None
    cost: Cost
    not_resell: bool
    carrier: str | None


async def insert(connection: Connection, numbers: Sequence[StockNumber], now: datetime) -> int:
    """Add those that are not there yet; how many were new. A number that a resource owns already is added as sold."""
    rows: list[tuple[object, ...]] = [_row(number) for number in numbers]
    added = await connection.fetch(
        f"INSERT INTO numbers_stock ({_COLUMNS}, added_at, sold) SELECT c.number, c.country, c.kind,"
        " string_to_array(c.assignments, ','), c.sms_inbound, c.sms_outbound, c.calling_inbound, c.calling_outbound,"
        " c.area_code, c.locality, c.division, c.cost, c.currency, c.not_resell, c.carrier, $1,"
        " EXISTS (SELECT FROM numbers_owned o WHERE o.number = c.number AND o.kind <> 'alphanumeric')"
        " FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::boolean[], $8::boolean[],"
        " $9::boolean[], $10::text[], $11::text[], $12::text[], $13::numeric[], $14::text[], $15::boolean[],"
        f" $16::text[]) AS c ({_COLUMNS}) ORDER BY c.number ON CONFLICT DO NOTHING RETURNING number",
        now,
        *([list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(15)]),
    )
    return len(added)


def _row(number: StockNumber) -> tuple[object, ...]:
    place = number.place
    return (
        number.number,
        number.country,
        number.kind.value,
        ",".join(each.value for each in number.assignments),
        number.sms.inbound,
        number.sms.outbound,
        number.calling.inbound,
        number.calling.outbound,
        number.area_code,
        place.locality if place else None,
        place.division if place else None,
        number.cost.amount,
        number.cost.currency,
        number.not_resell,
        number.carrier,
    )


async def delete(connection: Connection, number: str, now: datetime) -> bool:
    """Whether there was such a number and nobody had or held it."""
    row = await connection.fetchrow(
        f"DELETE FROM numbers_stock s WHERE s.number = $2 AND {_FREE} RETURNING number", now, number
    )
    return row is not None


async def exists(connection: Connection, number: str) -> bool:
    return bool(await connection.fetchval("SELECT true FROM numbers_stock WHERE number = $1", number))


async def listed(connection: Connection, after: str, limit: int, now: datetime) -> list[Record]:
    """Rows after number `after`, in the order of numbers, each with its `owner` (a resource) and whether it is held."""
    return await connection.fetch(
        f"SELECT {_COLUMNS}, (SELECT resource_id FROM numbers_owned o WHERE o.number = s.number"
        " AND o.kind <> 'alphanumeric') AS owner,"
        " EXISTS (SELECT FROM numbers_holds h WHERE h.number = s.number AND NOT h.sold AND h.expires_at > $1) AS held"
        " FROM numbers_stock s WHERE s.number > $2 ORDER BY s.number LIMIT $3",
        now,
        after,
        limit,
    )


async def free(connection: Connection, want: Want, now: datetime, limit: int) -> list[Offer]:
    """Up to `limit` numbers that are wanted and that nobody has or holds, the lowest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM numbers_stock s WHERE {_FREE} AND {_WANTED} AND {_AREA} ORDER BY s.number LIMIT $11",
        now,
        *_wanted(want),
        want.area_code,
        [f"+{prefix}%" for prefix in want.prefixes] + [f"{prefix}%" for prefix in want.prefixes],
        limit,
    )
    return [_offer(row, want) for row in rows]


async def find(connection: Connection, number: str, want: Want) -> Offer | None:
    """`number`, when it is for sale at all and is what is wanted."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM numbers_stock s WHERE number = $1 AND {_WANTED}", number, *_wanted(want)
    )
    return _offer(row, want) if row else None


async def countries(connection: Connection) -> list[str]:
    rows = await connection.fetch("SELECT DISTINCT country FROM numbers_stock WHERE NOT sold")
    return [row["country"] for row in rows]


async def areas(connection: Connection, country: str) -> list[tuple[SenderKind, str, Place | None]]:
    """(kind, area code, place) of what the country has, each once."""
    rows = await connection.fetch(
        "SELECT DISTINCT kind, area_code, locality, division FROM numbers_stock"
        " WHERE country = $1 AND NOT sold AND area_code IS NOT NULL",
        country,
    )
    return [
        (
            SenderKind(row["kind"]),
            row["area_code"],
            Place(row["locality"], row["division"], row["division"]) if row["locality"] else None,
        )
        for row in rows
    ]


async def terms(connection: Connection, country: str) -> list[Terms]:
    """The offerings of a country, each once."""
    rows = await connection.fetch(
        "SELECT DISTINCT kind, unnest(assignments) AS assignment, sms_inbound, sms_outbound, calling_inbound,"
        " calling_outbound, cost, currency FROM numbers_stock WHERE country = $1 AND NOT sold"
        " ORDER BY kind, assignment",
        country,
    )
    return [_terms(row, country, Assignment(row["assignment"])) for row in rows]


def _wanted(want: Want) -> tuple[object, ...]:
    return (
        want.country,
        want.kind.value,
        want.assignment.value if want.assignment else None,
        want.sms.inbound,
        want.sms.outbound,
        want.calling.inbound,
        want.calling.outbound,
    )


def _terms(row: Record, country: str, assignment: Assignment) -> Terms:
    return Terms(
        country,
        SenderKind(row["kind"]),
        assignment,
        Directions.of(inbound=row["sms_inbound"], outbound=row["sms_outbound"]),
        Directions.of(inbound=row["calling_inbound"], outbound=row["calling_outbound"]),
        Cost(row["cost"], row["currency"]),
    )


def _offer(row: Record, want: Want) -> Offer:
    terms = _terms(row, row["country"], want.assignment or Assignment(row["assignments"][0]))
    return Offer(row["number"], terms, terms.sms, terms.calling, row["not_resell"], row["carrier"])
