"""Searching, buying, changing and releasing numbers. Each long-running operation is done in the transaction that writes
it down: a client that polls, also after a restart, finds it ended."""

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from landline.core.errors import Conflict, NotFound, Refusal
from landline.core.ids import ResourceId, time_ordered
from landline.core.phone import SenderKind
from landline.ports.clock import Clock
from landline.services.numbers import records, records_holds, records_operations, records_purchases
from landline.services.numbers.inventory import Inventory
from landline.services.numbers.model import Directions
from landline.services.numbers.offers import InvalidInput, Offer, Want, highest
from landline.services.numbers.records_operations import Failure, Operation, OperationType
from landline.services.numbers.records_purchases import Purchased, Search, SearchState
from landline.services.numbers.service import Numbers
from landline.store.database import Connection, Database

log = structlog.get_logger()

SEARCH_LIFE = timedelta(minutes=16)
"""For how long found numbers are held: Azure's recorded searches expire 16 minutes after they were made."""
FOUND_AT_MOST = 100
"""A search that wants more numbers gets this many: `Can be fewer than the desired search quantity` (ACS)."""
_ROUNDS = 10
OUT_OF_STOCK = Failure("OutOfStock", "No number that fits the search is available.")


class Expired(Refusal):
    """The search or reservation is over and its numbers are no longer held."""

    code = "ReservationExpired"


class NotAgreed(InvalidInput):
    """Some of the numbers are only sold to who agrees not to resell them."""

    def __init__(self) -> None:
        super().__init__("These numbers need the agreement not to resell them.", target="agreeToNotResell")


class Purchases:
    """Sells the numbers of `inventory` to resources."""

    def __init__(self, database: Database, clock: Clock, numbers: Numbers, inventory: Inventory) -> None:
        self._database = database
        self._clock = clock
        self._numbers = numbers
        self._inventory = inventory

    async def search(self, resource: ResourceId, want: Want, quantity: int) -> tuple[UUID, Operation]:
        """Hold up to `quantity` numbers that are wanted; the search's id, and its operation, which failed with
        OutOfStock when there was none. Raises `TooManyHeld`."""
        search_id = time_ordered(self._clock.now(), os.urandom(10))
        missing = min(quantity, FOUND_AT_MOST)
        held: list[Offer] = []
        for attempt in range(_ROUNDS):
            candidates = await self._inventory.candidates(want, missing) if attempt < _ROUNDS - 1 else []
            wanted = [offer.asking(want.sms, want.calling) for offer in candidates[:missing]]
            expires_at = self._clock.now() + SEARCH_LIFE
            async with self._database.transaction() as connection:
                if wanted:
                    # Someone else may take them at this very moment: what is not got is looked for again.
                    got = await self._inventory.hold(connection, resource, search_id, expires_at, wanted)
                    held += [offer for offer in wanted if offer.number in got]
                    missing -= len(got)
                if not missing or not wanted:
                    await records_holds.extend(connection, resource, search_id, expires_at)
                    return search_id, await self._found(connection, resource, search_id, want, held, expires_at)
        raise AssertionError("the last round has no candidates and ends the search")

    async def _found(
        self,
        connection: Connection,
        resource: ResourceId,
        search_id: UUID,
        want: Want,
        held: Sequence[Offer],
        expires_at: datetime,
    ) -> Operation:
        assert want.assignment is not None, "a search says who the numbers are for"
        now = self._clock.now()
        search = Search(
            search_id,
            SearchState.HELD if held else SearchState.FAILED,
            want.kind,
            want.assignment,
            want.sms,
            want.calling,
            tuple(sorted(offer.number for offer in held)),
            highest(held),
            any(offer.not_resell for offer in held),
            expires_at,
            None if held else OUT_OF_STOCK.code,
        )
        await records_purchases.insert_search(connection, resource, search)
        location = f"/availablePhoneNumbers/searchResults/{search_id}"
        failure = None if held else OUT_OF_STOCK
        operation = Operation(f"search_{search_id}", OperationType.SEARCH, now, location, failure)
        await records_operations.insert(connection, resource, operation)
        return operation

    async def found(self, resource: ResourceId, search_id: UUID) -> Search:
        """A search by its id, of this resource. Raises `NotFound`."""
        async with self._database.connection() as connection:
            search = await records_purchases.find_search(connection, resource, search_id)
        if search is None:
            raise NotFound("There is no such search.", target="searchId")
        return search

    def expired(self, search: Search) -> bool:
        """Whether the numbers of `search` are no longer held although nobody bought them."""
        over = search.state is SearchState.HELD and self._clock.now() >= search.expires_at
        return over or search.state is SearchState.CANCELLED

    async def purchase(self, resource: ResourceId, search_id: UUID, *, agreed: bool) -> Operation:
        """Buy all that a search found; the operation, the same one when it was bought already.

        What an operator has given away in the meantime is not bought: then the operation failed with
        NumbersPartiallyAcquired or AllNumbersNotAcquired. Raises `NotFound`, `Expired`, `NotAgreed`, `Conflict`.
        """
        operation_id = f"purchase_{search_id}"
        async with self._database.transaction() as connection:
            search = await records_purchases.find_search(connection, resource, search_id, lock=True)
            if search is None or search.state is SearchState.FAILED:
                raise NotFound("There is no such search, or it found nothing.", target="searchId")
            if search.state is SearchState.PURCHASED:
                before = await records_operations.find(connection, resource, operation_id)
                if before is not None:
                    return before
            if search.state is not SearchState.HELD:
                raise Conflict("The search was cancelled, or bought long ago.", target="searchId")
            if self.expired(search):
                raise Expired("The search has expired: search again.", target="searchId")
            if search.not_resell and not agreed:
                raise NotAgreed
            sold = await self.sell(connection, resource, search_id)
            failure = acquired(len(sold), len(search.numbers))
            await records_purchases.end_search(
                connection, resource, search_id, SearchState.PURCHASED, failure.code if failure else None
            )
            operation = Operation(operation_id, OperationType.PURCHASE, self._clock.now(), failure=failure)
            await records_operations.insert(connection, resource, operation)
        self.sold(resource, sold)
        return operation

    async def sell(self, connection: Connection, resource: ResourceId, holder: UUID) -> list[str]:
        """Make what `holder` holds the resource's own; the numbers sold. Call `sold` after the commit."""
        sold = await records_holds.sell(connection, resource, holder, self._clock.now())
        await self._numbers.publish(connection, resource, sold)
        return sold

    def sold(self, resource: ResourceId, numbers: Sequence[str]) -> None:
        """After the commit of a sale."""
        self._numbers.forget(resource, numbers)
        log.info("numbers.sold", resource=str(resource), count=len(numbers))

    async def operation(self, resource: ResourceId, operation_id: str) -> Operation:
        """An operation of this resource. Raises `NotFound`."""
        async with self._database.connection() as connection:
            operation = await records_operations.find(connection, resource, operation_id)
        if operation is None:
            raise NotFound("There is no such operation.", target="operationId")
        return operation

    async def cancel(self, resource: ResourceId, operation_id: str) -> None:
        """Give the numbers of a search back. Everything else has ended when it is answered, so that nothing else can
        be cancelled. Raises `NotFound`, `Conflict`."""
        operation = await self.operation(resource, operation_id)
        if operation.type is not OperationType.SEARCH:
            raise Conflict("The operation has ended and cannot be cancelled.", target="operationId")
        search_id = UUID(operation_id.removeprefix("search_"))
        async with self._database.transaction() as connection:
            search = await records_purchases.find_search(connection, resource, search_id, lock=True)
            if search is None or search.state is SearchState.PURCHASED:
                raise Conflict("The numbers of this search were bought.", target="operationId")
            await records_holds.drop(connection, resource, search_id)
            if search.state is SearchState.HELD:
                await records_purchases.end_search(connection, resource, search_id, SearchState.CANCELLED, None)

    async def list(self, resource: ResourceId, after: str, skip: int, limit: int) -> list[Purchased]:
        """A page of the resource's phone numbers and short codes, of those after one."""
        async with self._database.connection() as connection:
            return await records_purchases.owned(connection, resource, after, skip, limit)

    async def get(self, resource: ResourceId, number: str) -> Purchased:
        """A number the resource owns. Raises `NotFound`."""
        async with self._database.connection() as connection:
            found = await records_purchases.find_owned(connection, resource, number)
        if found is None:
            raise _not_owned(number)
        return found

    async def update(
        self, resource: ResourceId, number: str, sms: Directions | None, calling: Directions | None
    ) -> tuple[UUID, Operation]:
        """Change what an owned number is used for, within what it can do; None leaves it as it is. Whoever asks for
        the number's capabilities after this sees the new ones. Raises `NotFound`, `InvalidInput`."""
        async with self._database.transaction() as connection:
            found = await records_purchases.find_owned(connection, resource, number, lock=True)
            if found is None:
                raise _not_owned(number)
            sms, calling = sms or found.sms, calling or found.calling
            _check_capabilities(found, sms, calling)
            await records_purchases.set_capabilities(connection, resource, number, sms, calling)
            location = f"/phoneNumbers/{number.replace('+', '%2B')}"
            change_id, operation = self._operation(OperationType.CAPABILITIES, "capabilities", location)
            await records_operations.insert(connection, resource, operation)
            await self._numbers.publish(connection, resource, [number])
        self._numbers.forget(resource, [number])
        return change_id, operation

    async def release(self, resource: ResourceId, number: str) -> tuple[UUID, Operation]:
        """Give an owned number back: it is for sale again if it was before. Raises `NotFound`."""
        async with self._database.transaction() as connection:
            if await records_purchases.find_owned(connection, resource, number, lock=True) is None:
                raise _not_owned(number)
            await records.delete(connection, resource, number)
            await records_holds.let_go(connection, number)
            release_id, operation = self._operation(OperationType.RELEASE, "release")
            await records_operations.insert(connection, resource, operation)
            await self._numbers.publish(connection, resource, [number])
        self._numbers.forget(resource, [number])
        return release_id, operation

    def _operation(self, kind: OperationType, prefix: str, location: str | None = None) -> tuple[UUID, Operation]:
        now = self._clock.now()
        identifier = time_ordered(now, os.urandom(10))
        return identifier, Operation(f"{prefix}_{identifier}", kind, now, location)


def acquired(sold: int, wanted: int) -> Failure | None:
    """How buying `wanted` numbers ended when `sold` of them were sold; None when all were."""
    if sold == wanted:
        return None
    if not sold:
        return Failure("AllNumbersNotAcquired", "None of the numbers could be bought: others have them now.")
    return Failure("NumbersPartiallyAcquired", f"{sold} of {wanted} numbers were bought: others have the rest now.")


def _check_capabilities(found: Purchased, sms: Directions, calling: Directions) -> None:
    callable_kind = found.kind is not SenderKind.SHORT_CODE
    most_sms = found.offered_sms or Directions.BOTH
    most_calling = found.offered_calling or (Directions.BOTH if callable_kind else Directions.NONE)
    if not most_sms.covers(sms):
        raise InvalidInput(f"The number's SMS can be {most_sms.value} at most.", target="sms")
    if not most_calling.covers(calling):
        raise InvalidInput(f"The number's calling can be {most_calling.value} at most.", target="calling")


def _not_owned(number: str) -> NotFound:
    return NotFound(f"Input phoneNumber {number} cannot be found.", target="phonenumber")
