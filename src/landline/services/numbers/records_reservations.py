"""Reservations and their numbers: rows of `numbers_reservations` and `numbers_reserved`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.services.numbers.model import Directions
from landline.services.numbers.offers import Assignment, Cost, Offer
from landline.services.numbers.records_operations import Failure
from landline.store.database import Connection, Record


class ReservationState(Enum):
    """ACS's ReservationStatus. `submitted` is not among ours: buying is done when it is answered."""

    ACTIVE = "active"
    COMPLETED = "completed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Reserved:
    """One number of a reservation, as the buyer wants it."""

    number: str
    country: str
    kind: SenderKind
    assignment: Assignment
    sms: Directions
    calling: Directions
    cost: Cost
    not_resell: bool
    failure: Failure | None = None
    """Why it could not be bought."""

    @classmethod
    def of(cls, offer: Offer) -> "Reserved":
        terms = offer.terms
        what = (terms.country, terms.kind, terms.assignment, offer.sms, offer.calling, terms.cost, offer.not_resell)
        return cls(offer.number, *what)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation as it is kept: active until it is bought, also when its time is over."""

    reservation_id: UUID
    state: ReservationState
    created_at: datetime
    expires_at: datetime

    def state_at(self, now: datetime) -> ReservationState:
        """What it is at `now`."""
        if self.state is ReservationState.ACTIVE and now >= self.expires_at:
            return ReservationState.EXPIRED
        return self.state


_COLUMNS = "reservation_id, state, created_at, expires_at"


async def create(connection: Connection, resource: ResourceId, reservation: Reservation) -> bool:
    """Whether it is new; it is locked from then on."""
    row = await connection.fetchrow(
        f"INSERT INTO numbers_reservations (resource_id, {_COLUMNS}) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT DO NOTHING RETURNING state",
        resource,
        reservation.reservation_id,
        reservation.state.value,
        reservation.created_at,
        reservation.expires_at,
    )
    return row is not None


async def find(
    connection: Connection, resource: ResourceId, reservation_id: UUID, *, lock: bool = False
) -> Reservation | None:
    """The reservation; with `lock` nobody else changes it until this transaction ends."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM numbers_reservations WHERE resource_id = $1 AND reservation_id = $2"
        f" {'FOR UPDATE' if lock else ''}",
        resource,
        reservation_id,
    )
    return _reservation(row) if row else None


async def listed(connection: Connection, resource: ResourceId, after: UUID, limit: int) -> list[Reservation]:
    """A page of the resource's reservations, in the order of their ids."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM numbers_reservations WHERE resource_id = $1 AND reservation_id > $2"
        " ORDER BY reservation_id LIMIT $3",
        resource,
        after,
        limit,
    )
    return [_reservation(row) for row in rows]


async def change(
    connection: Connection, resource: ResourceId, reservation_id: UUID, state: ReservationState, expires_at: datetime
) -> None:
    await connection.execute(
        "UPDATE numbers_reservations SET state = $3, expires_at = $4 WHERE resource_id = $1 AND reservation_id = $2",
        resource,
        reservation_id,
        state.value,
        expires_at,
    )


async def delete(connection: Connection, resource: ResourceId, reservation_id: UUID) -> None:
    await connection.execute(
        "DELETE FROM numbers_reservations WHERE resource_id = $1 AND reservation_id = $2", resource, reservation_id
    )


async def numbers(connection: Connection, resource: ResourceId, reservation_id: UUID) -> list[Reserved]:
    """The reservation's numbers, in their own order."""
    rows = await connection.fetch(
        "SELECT number, country, kind, assignment, sms, calling, cost, currency, not_resell, error"
        " FROM numbers_reserved WHERE resource_id = $1 AND reservation_id = $2 ORDER BY number",
        resource,
        reservation_id,
    )
    return [_reserved(row) for row in rows]


async def put(connection: Connection, resource: ResourceId, reservation_id: UUID, reserved: Sequence[Reserved]) -> None:
    await connection.executemany(
        "INSERT INTO numbers_reserved (resource_id, reservation_id, number, country, kind, assignment, sms, calling,"
        " cost, currency, not_resell) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        [
            (
                resource,
                reservation_id,
                each.number,
                each.country,
                each.kind.value,
                each.assignment.value,
                each.sms.value,
                each.calling.value,
                each.cost.amount,
                each.cost.currency,
                each.not_resell,
            )
            for each in reserved
        ],
    )


async def take_out(connection: Connection, resource: ResourceId, reservation_id: UUID, removed: Sequence[str]) -> None:
    await connection.execute(
        "DELETE FROM numbers_reserved WHERE resource_id = $1 AND reservation_id = $2 AND number = ANY ($3)",
        resource,
        reservation_id,
        list(removed),
    )


async def fail(
    connection: Connection, resource: ResourceId, reservation_id: UUID, failures: Mapping[str, Failure]
) -> None:
    """Note by number why it could not be bought."""
    await connection.executemany(
        "UPDATE numbers_reserved SET error = $4 WHERE resource_id = $1 AND reservation_id = $2 AND number = $3",
        [(resource, reservation_id, number, failure.code) for number, failure in failures.items()],
    )


def _reservation(row: Record) -> Reservation:
    return Reservation(row["reservation_id"], ReservationState(row["state"]), row["created_at"], row["expires_at"])


def _reserved(row: Record) -> Reserved:
    return Reserved(
        row["number"],
        row["country"],
        SenderKind(row["kind"]),
        Assignment(row["assignment"]),
        Directions(row["sms"]),
        Directions(row["calling"]),
        Cost(row["cost"], row["currency"]),
        row["not_resell"],
        Failure(row["error"], "The number could not be bought.") if row["error"] else None,
    )
