"""Searches, and owned numbers with what was bought with them: rows of `numbers_searches` and `numbers_owned`."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.services.numbers.model import Directions
from landline.services.numbers.offers import FREE, Assignment, Cost
from landline.store.database import Connection, Record


class SearchState(Enum):
    """What became of a search; one that is held ends by itself when its time is over."""

    HELD = "held"
    PURCHASED = "purchased"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Search:
    """A search and the numbers it found. `error` is one of ACS's PhoneNumberSearchResultError."""

    search_id: UUID
    state: SearchState
    kind: SenderKind
    assignment: Assignment
    sms: Directions
    calling: Directions
    numbers: tuple[str, ...]
    cost: Cost
    not_resell: bool
    expires_at: datetime
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Purchased:
    """An owned number as the phone numbers API shows it. What it can be changed to is `offered`; None is what its
    kind allows."""

    number: str
    kind: SenderKind
    country: str | None
    assignment: Assignment
    sms: Directions
    calling: Directions
    cost: Cost
    at: datetime
    offered_sms: Directions | None
    offered_calling: Directions | None


async def insert_search(connection: Connection, resource: ResourceId, search: Search) -> None:
    await connection.execute(
        "INSERT INTO numbers_searches (resource_id, search_id, state, kind, assignment, sms, calling, numbers, cost,"
        " currency, not_resell, expires_at, error) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        resource,
        search.search_id,
        search.state.value,
        search.kind.value,
        search.assignment.value,
        search.sms.value,
        search.calling.value,
        list(search.numbers),
        search.cost.amount,
        search.cost.currency,
        search.not_resell,
        search.expires_at,
        search.error,
    )


async def find_search(
    connection: Connection, resource: ResourceId, search_id: UUID, *, lock: bool = False
) -> Search | None:
    """The search; with `lock` nobody else changes it until this transaction ends."""
    row = await connection.fetchrow(
        "SELECT state, kind, assignment, sms, calling, numbers, cost, currency, not_resell, expires_at, error"
        f" FROM numbers_searches WHERE resource_id = $1 AND search_id = $2 {'FOR UPDATE' if lock else ''}",
        resource,
        search_id,
    )
    if row is None:
        return None
    return Search(
        search_id,
        SearchState(row["state"]),
        SenderKind(row["kind"]),
        Assignment(row["assignment"]),
        Directions(row["sms"]),
        Directions(row["calling"]),
        tuple(row["numbers"]),
        Cost(row["cost"], row["currency"]),
        row["not_resell"],
        row["expires_at"],
        row["error"],
    )


async def end_search(
    connection: Connection, resource: ResourceId, search_id: UUID, state: SearchState, error: str | None
) -> None:
    await connection.execute(
        "UPDATE numbers_searches SET state = $3, error = $4 WHERE resource_id = $1 AND search_id = $2",
        resource,
        search_id,
        state.value,
        error,
    )


_OWNED = (
    "number, kind, country, assignment, sms_inbound, sms_outbound, calling_inbound, calling_outbound, cost, currency,"
    " added_at, offered_sms, offered_calling"
)


async def owned(connection: Connection, resource: ResourceId, after: str, skip: int, limit: int) -> list[Purchased]:
    """A page of the resource's phone numbers and short codes, in their own order; those after one, whether it is still
    there or not."""
    rows = await connection.fetch(
        f"SELECT {_OWNED} FROM numbers_owned WHERE resource_id = $1 AND number > $2 AND kind <> 'alphanumeric'"
        " ORDER BY number OFFSET $3 LIMIT $4",
        resource,
        after,
        skip,
        limit,
    )
    return [_purchased(row) for row in rows]


async def find_owned(
    connection: Connection, resource: ResourceId, number: str, *, lock: bool = False
) -> Purchased | None:
    row = await connection.fetchrow(
        f"SELECT {_OWNED} FROM numbers_owned WHERE resource_id = $1 AND number = $2 AND kind <> 'alphanumeric'"
        f" {'FOR UPDATE' if lock else ''}",
        resource,
        number,
    )
    return _purchased(row) if row else None


async def set_capabilities(
    connection: Connection, resource: ResourceId, number: str, sms: Directions, calling: Directions
) -> None:
    await connection.execute(
        "UPDATE numbers_owned SET sms_inbound = $3, sms_outbound = $4, calling_inbound = $5, calling_outbound = $6"
        " WHERE resource_id = $1 AND number = $2",
        resource,
        number,
        sms.inbound,
        sms.outbound,
        calling.inbound,
        calling.outbound,
    )


def _purchased(row: Record) -> Purchased:
    return Purchased(
        number=row["number"],
        kind=SenderKind(row["kind"]),
        country=row["country"],
        assignment=Assignment(row["assignment"]) if row["assignment"] else Assignment.APPLICATION,
        sms=Directions.of(inbound=row["sms_inbound"], outbound=row["sms_outbound"]),
        calling=Directions.of(inbound=row["calling_inbound"], outbound=row["calling_outbound"]),
        cost=Cost(row["cost"], row["currency"]) if row["currency"] else FREE,
        at=row["added_at"],
        offered_sms=Directions(row["offered_sms"]) if row["offered_sms"] else None,
        offered_calling=Directions(row["offered_calling"]) if row["offered_calling"] else None,
    )
