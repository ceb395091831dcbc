"""The prices that are set: kept, listed, changed. Each process has them in the `Router` of its `Routing`."""

from collections.abc import Callable, Sequence

import structlog

from landline.core.errors import Conflict, NotFound
from landline.services.sms import records_prices as records
from landline.services.sms.model.prices import Price, checked_prefix
from landline.store.changes import Changes
from landline.store.database import Connection, Database

log = structlog.get_logger()
SUBJECT = "sms.prices"
MOST_PRICES = 100_000
_ALL = "*"


class Prices:
    """Reads and sets them, in `currency`. `check_carrier` raises `Invalid` where there is no carrier of a name."""

    def __init__(
        self, database: Database, changes: Changes, *, currency: str, check_carrier: Callable[[str], None]
    ) -> None:
        self._database = database
        self._changes = changes
        self._check_carrier = check_carrier
        self.currency = currency

    async def page(self, of: str | None, after: tuple[str, str], limit: int) -> list[Price]:
        """Up to `limit` prices behind (carrier, prefix) `after`, in that order; only `of` one carrier, if given."""
        async with self._database.connection() as connection:
            return await records.page(connection, of, after, limit)

    async def get(self, carrier: str, prefix: str) -> Price:
        """The price of exactly that prefix. Raises `Invalid`, `NotFound`."""
        prefix = checked_prefix(prefix)
        async with self._database.connection() as connection:
            found = await records.find(connection, carrier, prefix)
        if found is None:
            raise NotFound(f"The carrier {carrier} has no price for {prefix}.", target="prefix")
        return found

    async def put(self, prices: Sequence[Price], *, replace: bool = False) -> int:
        """Set `prices`, all of them or none; with `replace` their carriers have no others then. How many were removed.
        Raises `Invalid`, `Conflict`."""
        carriers = {price.carrier for price in prices}
        for carrier in carriers:
            self._check_carrier(carrier)
        if not prices:
            return 0
        async with self._database.transaction() as connection:
            await records.alone(connection)
            gone = await records.delete_all(connection, sorted(carriers)) if replace else set[tuple[str, str]]()
            await records.put(connection, prices)
            if await records.count(connection) > MOST_PRICES:
                raise Conflict(f"There would be more than {MOST_PRICES} prices, which is the most there may be.")
            await self._publish(connection)
        self._changes.forget(SUBJECT, _ALL)
        removed = len(gone - {(price.carrier, price.prefix) for price in prices})
        log.info("sms.prices_set", prices=len(prices), removed=removed)
        return removed

    async def delete(self, carrier: str, prefix: str | None = None) -> int:
        """Remove a carrier's price, or without `prefix` all of its prices; how many they were. Raises `Invalid`, and
        `NotFound` when there is none."""
        wanted = None if prefix is None else checked_prefix(prefix)
        async with self._database.transaction() as connection:
            removed = await records.delete(connection, carrier, wanted)
            if not removed:
                which = "no prices" if wanted is None else f"no price for {wanted}"
                raise NotFound(f"The carrier {carrier} has {which}.", target="carrier" if wanted is None else "prefix")
            await self._publish(connection)
        self._changes.forget(SUBJECT, _ALL)
        log.info("sms.prices_removed", carrier=carrier, prices=removed)
        return removed

    async def _publish(self, connection: Connection) -> None:
        await self._changes.publish(connection, SUBJECT, _ALL)
