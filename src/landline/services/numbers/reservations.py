"""Reservations: a caller picks numbers one by one, holds them together, and buys them together."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from landline.core.errors import Conflict, NotFound
from landline.core.ids import ResourceId
from landline.ports.clock import Clock
from landline.services.numbers import records_holds, records_operations, records_reservations
from landline.services.numbers.inventory import Inventory
from landline.services.numbers.offers import InvalidInput, Offer, Want
from landline.services.numbers.purchases import NotAgreed, Purchases, acquired
from landline.services.numbers.records_operations import Failure, Operation, OperationType
from landline.services.numbers.records_reservations import Reservation, ReservationState, Reserved
from landline.store.database import Connection, Database

# ACS, create or update reservation: 15 minutes after the last change, at most 2 hours after creation.
LIFE = timedelta(minutes=15)
LIFE_AT_MOST = timedelta(hours=2)
KEPT = timedelta(days=31)
"""ACS deletes reservations that are older than a month."""
NUMBERS_AT_MOST = 100
NOT_RESERVED = Failure("FailedToReserveNumber", "Failed to add the number to the reservation.")
NOT_BOUGHT = Failure("PurchaseFailed", "The number could not be bought.")


@dataclass(frozen=True, slots=True)
class Shown:
    """A reservation with its numbers as they are at this instant."""

    reservation: Reservation
    state: ReservationState
    numbers: tuple[Reserved, ...] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change came to: `refused` are the numbers that could not be added."""

    shown: Shown
    created: bool
    refused: tuple[str, ...]


class Reservations:
    """Makes, changes, shows and sells reservations; `purchases` does the selling."""

    def __init__(self, database: Database, clock: Clock, inventory: Inventory, purchases: Purchases) -> None:
        self._database = database
        self._clock = clock
        self._inventory = inventory
        self._purchases = purchases

    async def change(self, resource: ResourceId, reservation_id: UUID, wanted: Mapping[str, Want | None]) -> Changed:
        """Add the numbers of `wanted` that come with a `Want`, take the others out; make the reservation when there
        is none. A number that is in it already stays as it is; one that others have is refused alone.

        Raises `Conflict` when it is not active, `InvalidInput` when it would get too large, `TooManyHeld`.
        """
        now = self._clock.now()
        fresh = Reservation(reservation_id, ReservationState.ACTIVE, now, now + LIFE)
        async with self._database.transaction() as connection:
            created = await records_reservations.create(connection, resource, fresh)
            reservation = fresh if created else await self._active(connection, resource, reservation_id, "changed")
            expires_at = min(now + LIFE, reservation.created_at + LIFE_AT_MOST)
            removed = [number for number, want in wanted.items() if want is None]
            await records_reservations.take_out(connection, resource, reservation_id, removed)
            await records_holds.drop(connection, resource, reservation_id, removed)
            present = {each.number for each in await records_reservations.numbers(connection, resource, reservation_id)}
            added = {number: want for number, want in wanted.items() if want is not None and number not in present}
            if len(present) + len(added) > NUMBERS_AT_MOST:
                raise InvalidInput(f"A reservation holds {NUMBERS_AT_MOST} numbers at most.", target="phoneNumbers")
            got = await self._add(connection, resource, reservation_id, expires_at, added)
            await records_holds.extend(connection, resource, reservation_id, expires_at)
            await records_reservations.change(connection, resource, reservation_id, ReservationState.ACTIVE, expires_at)
            numbers = tuple(await records_reservations.numbers(connection, resource, reservation_id))
        changed = Reservation(reservation_id, ReservationState.ACTIVE, reservation.created_at, expires_at)
        refused = tuple(number for number in added if number not in got)
        return Changed(Shown(changed, ReservationState.ACTIVE, numbers), created, refused)

    async def _add(
        self,
        connection: Connection,
        resource: ResourceId,
        reservation_id: UUID,
        expires_at: datetime,
        added: Mapping[str, Want],
    ) -> set[str]:
        offers: list[Offer] = []
        for number, want in added.items():
            offer = await self._inventory.find(connection, number, want)
            if offer is not None:  # with the capabilities that are wanted, too
                offers.append(offer.asking(want.sms, want.calling))
        if not offers:
            return set()
        got = await self._inventory.hold(connection, resource, reservation_id, expires_at, offers)
        reserved = [Reserved.of(offer) for offer in offers if offer.number in got]
        await records_reservations.put(connection, resource, reservation_id, reserved)
        return got

    async def get(self, resource: ResourceId, reservation_id: UUID) -> Shown:
        """A reservation with its numbers. Raises `NotFound`."""
        async with self._database.connection() as connection:
            found = await records_reservations.find(connection, resource, reservation_id)
            if found is None:
                raise _unknown()
            numbers = await records_reservations.numbers(connection, resource, reservation_id)
        return Shown(found, found.state_at(self._clock.now()), tuple(numbers))

    async def list(self, resource: ResourceId, after: UUID, limit: int) -> list[Shown]:
        """A page of reservations without their numbers."""
        async with self._database.connection() as connection:
            found = await records_reservations.listed(connection, resource, after, limit)
        now = self._clock.now()
        return [Shown(each, each.state_at(now)) for each in found]

    async def delete(self, resource: ResourceId, reservation_id: UUID) -> None:
        """End an active reservation; its numbers are for sale again. Raises `NotFound`, `Conflict`."""
        async with self._database.transaction() as connection:
            await self._active(connection, resource, reservation_id, "deleted")
            await records_holds.drop(connection, resource, reservation_id)
            await records_reservations.delete(connection, resource, reservation_id)

    async def purchase(self, resource: ResourceId, reservation_id: UUID, *, agreed: bool) -> Operation:
        """Buy all numbers of an active reservation; the operation, the same one when it was bought already. Numbers
        that an operator has given away in the meantime fail alone, and the operation with them.

        Raises `NotFound`, `Conflict`, `NotAgreed`, `InvalidInput` when there is nothing to buy.
        """
        operation_id = f"reservationPurchase_{reservation_id}"
        async with self._database.transaction() as connection:
            before = await self._bought(connection, resource, reservation_id, operation_id)
            if before is not None:
                return before
            reservation = await self._active(connection, resource, reservation_id, "bought")
            numbers = await records_reservations.numbers(connection, resource, reservation_id)
            if not numbers:
                raise InvalidInput("The reservation has no numbers.", target="reservationId")
            if not agreed and any(each.not_resell for each in numbers):
                raise NotAgreed
            sold = await self._purchases.sell(connection, resource, reservation_id)
            failed = {each.number: NOT_BOUGHT for each in numbers if each.number not in sold}
            await records_reservations.fail(connection, resource, reservation_id, failed)
            await records_reservations.change(
                connection, resource, reservation_id, ReservationState.COMPLETED, reservation.expires_at
            )
            failure = acquired(len(sold), len(numbers))
            kind = OperationType.RESERVATION_PURCHASE
            operation = Operation(operation_id, kind, self._clock.now(), failure=failure)
            await records_operations.insert(connection, resource, operation)
        self._purchases.sold(resource, sold)
        return operation

    async def _bought(
        self, connection: Connection, resource: ResourceId, reservation_id: UUID, operation_id: str
    ) -> Operation | None:
        found = await records_reservations.find(connection, resource, reservation_id, lock=True)
        if found is None or found.state is not ReservationState.COMPLETED:
            return None
        return await records_operations.find(connection, resource, operation_id)

    async def _active(
        self, connection: Connection, resource: ResourceId, reservation_id: UUID, verb: str
    ) -> Reservation:
        found = await records_reservations.find(connection, resource, reservation_id, lock=True)
        if found is None:
            raise _unknown()
        state = found.state_at(self._clock.now())
        if state is not ReservationState.ACTIVE:
            raise Conflict(f"The reservation is {state.value} and cannot be {verb}.", target="reservationId")
        return found


def _unknown() -> NotFound:
    return NotFound("There is no such reservation.", target="reservationId")
