"""What is for sale: an operator's real numbers first and, in dev, the virtual stock behind them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from random import Random
from typing import TypeVar
from uuid import UUID

from landline.core.errors import Forbidden
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.ports.clock import Clock
from landline.services.numbers import records_holds, records_stock, virtual
from landline.services.numbers.offers import Offer, Place, Terms, Want
from landline.services.numbers.records_stock import StockNumber
from landline.services.numbers.virtual import VirtualStock
from landline.store.database import Connection, Database, Record

BROWSED = 50
"""How many numbers one browse shows."""
HELD_AT_MOST = 500
"""How many numbers one resource may hold without buying them, so that nobody empties the shelf for nothing."""
_SPARE = 100
T = TypeVar("T")


class TooManyHeld(Forbidden):
    """The resource holds as many numbers as it may without buying any."""

    code = "LimitExceeded"


class Inventory:
    """Finds numbers for sale and holds them. `random` decides which are shown first."""

    def __init__(self, database: Database, clock: Clock, *, virtual_stock: bool, random: Random) -> None:
        self._database = database
        self._clock = clock
        self._random = random
        self._virtual = VirtualStock(random) if virtual_stock else None

    async def candidates(self, want: Want, count: int) -> list[Offer]:
        """At least `count` numbers that are wanted and were free a moment ago, in no order; fewer when there are no
        more. Real numbers come before virtual ones."""
        now = self._clock.now()
        async with self._database.connection() as connection:
            offers = await records_stock.free(connection, want, now, 2 * count + _SPARE)
            self._random.shuffle(offers)
            if self._virtual is not None and len(offers) < count:
                more = self._virtual.offers(want, 2 * count)
                free = await records_holds.free_of(connection, [offer.number for offer in more], now)
                offers += [offer for offer in more if offer.number in free]
        return offers

    async def browse(self, want: Want) -> list[Offer]:
        """Some numbers that are wanted and free; holds none of them."""
        return (await self.candidates(want, BROWSED))[:BROWSED]

    async def find(self, connection: Connection, number: str, want: Want) -> Offer | None:
        """`number`, when it is for sale at all (whoever holds it) and is what is wanted."""
        offer = await records_stock.find(connection, number, want)
        if offer is None and self._virtual is not None and not await records_stock.exists(connection, number):
            offer = self._virtual.find(number, want)
        return offer

    async def hold(
        self,
        connection: Connection,
        resource: ResourceId,
        holder: UUID,
        expires_at: datetime,
        offers: Sequence[Offer],
    ) -> set[str]:
        """Hold those of `offers` that are free, for `holder`; the numbers held. Raises `TooManyHeld`."""
        now = self._clock.now()
        if await records_holds.held(connection, resource, now) + len(offers) > HELD_AT_MOST:
            raise TooManyHeld(
                f"A resource may hold {HELD_AT_MOST} numbers at once: buy some, or wait for holds to end."
            )
        return await records_holds.hold(connection, resource, holder, expires_at, now, list(offers))

    async def countries(self) -> list[str]:
        """ISO codes of countries with numbers, sorted."""
        async with self._database.connection() as connection:
            found = await records_stock.countries(connection)
        return sorted({*found, *(area.country for area in self._areas())})

    async def areas(self, country: str, kind: SenderKind | None) -> list[tuple[str, Place | None]]:
        """(area code, place) of the country's numbers of `kind` (None: of any), each once, sorted."""
        async with self._database.connection() as connection:
            found = await records_stock.areas(connection, country)
        found += [(area.kind, area.code, area.place) for area in self._areas() if area.country == country and area.code]
        wanted = _once((code, place) for each, code, place in found if kind in (None, each))
        return sorted(wanted, key=lambda area: (area[1].locality if area[1] else "", area[0]))

    async def terms(self, country: str) -> list[Terms]:
        """What the country's numbers can do and cost, by kind and use."""
        async with self._database.connection() as connection:
            found = await records_stock.terms(connection, country)
        if self._virtual is not None:
            found += [terms for terms in virtual.TERMS if terms.country == country]
        return _once(found)

    async def add(self, numbers: Sequence[StockNumber]) -> int:
        """Put real numbers up for sale; how many were not yet."""
        async with self._database.transaction() as connection:
            return await records_stock.insert(connection, numbers, self._clock.now())

    async def remove(self, number: str) -> bool | None:
        """Take a real number off sale: True; False when someone has or holds it; None when it is not there."""
        async with self._database.transaction() as connection:
            if await records_stock.delete(connection, number, self._clock.now()):
                return True
            return False if await records_stock.exists(connection, number) else None

    async def listed(self, after: str, limit: int) -> list[Record]:
        """The real numbers after `after`, at most `limit`, with their owners."""
        async with self._database.connection() as connection:
            return await records_stock.listed(connection, after, limit, self._clock.now())

    def _areas(self) -> Sequence[virtual.Area]:
        return virtual.AREAS if self._virtual is not None else ()


def _once(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
