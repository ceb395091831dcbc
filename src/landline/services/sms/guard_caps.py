"""The caps of resources: how much each may send and spend a day and a month, counted in the database in portions that
processes take ahead. So a cap holds over any number of processes and restarts, and costs no statement a message."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import structlog

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId
from landline.ports.clock import Alarm, Clock
from landline.services.sms import records_guard as records
from landline.services.sms.model import caps as model
from landline.services.sms.model.caps import Budget, Needs, Period, Purse
from landline.services.sms.model.settings import Caps
from landline.store.database import Connection, Database

log = structlog.get_logger()
IDLE = timedelta(seconds=60)
"""After how long without a message a process gives back what it took ahead."""
ASK_AGAIN = timedelta(seconds=5)
"""How long a cap that is reached is not asked for: another process may give back, an operator may raise it."""


@dataclass(slots=True)
class _Account:
    caps: Caps
    day: date
    purses: tuple[Purse, ...]
    touched: datetime
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Allowances:
    """What this process holds of the caps. Holds something only for resources that sent within the last minute.

    A process that is killed takes what it held with it: at most `MOST_AHEAD` of a cap, and an eighth of what remained.
    """

    def __init__(self, database: Database, clock: Clock, share: Callable[[], int], currency: str) -> None:
        self._database = database
        self._currency = currency
        self._clock = clock
        self._share = share
        self._accounts: dict[ResourceId, _Account] = {}
        self._alarm: Alarm | None = None
        self._closed = False

    async def prepare(self, resource: ResourceId, caps: Caps, needs: Needs, now: datetime) -> None:
        """See that what `needs` says may be spent, or as much as there is. `budget` stands until the next await.

        Raises `Unavailable` when the database has to be asked and is away, or after `close`.
        """
        self._still_open()
        account = self._accounts.get(resource)
        if account is None:
            purses = model.purses(caps, now, self._currency)
            account = self._accounts[resource] = _Account(caps, now.date(), purses, now)
            if self._alarm is not None:
                self._alarm.ring()
        account.touched = now
        if _fits(account, caps, now) and all(purse.left >= needs.of(purse) for purse in account.purses):
            return
        async with account.lock:
            self._still_open()
            if not _fits(account, caps, now):
                await self._replace(resource, account, caps, now)
            lacking = [purse for purse in account.purses if purse.left < needs.of(purse) and _askable(purse, now)]
            if lacking:
                await self._take(resource, lacking, needs, now)

    def budget(self, resource: ResourceId, needs: Needs) -> Budget:
        """What is left of all that `prepare` saw to, for what it was prepared for."""
        return Budget(self._accounts[resource].purses, needs)

    def put_back(self, resource: ResourceId, caps: Caps, needs: Needs, now: datetime) -> None:
        """What was prepared for at `now` was not spent. Where it was given back meanwhile, or the caps have changed, it
        counts as spent."""
        account = self._accounts.get(resource)
        if account is not None and _fits(account, caps, now):
            for purse in account.purses:
                purse.left += needs.of(purse)

    async def run(self) -> None:
        """Give back what is held for resources that send no more, for ever."""
        self._alarm = alarm = self._clock.alarm()
        try:
            while True:
                await alarm.wait(await self._give_back_idle())
        finally:
            self._alarm = None
            alarm.close()

    async def close(self) -> None:
        """Give back everything, once those who are preparing have spent; nothing may be prepared any more."""
        self._closed = True
        for resource, account in list(self._accounts.items()):
            async with account.lock:
                await self._give_back_if_there(resource, account.purses)
        self._accounts.clear()

    def _still_open(self) -> None:
        if self._closed:
            raise Unavailable("the server is stopping")

    async def _replace(self, resource: ResourceId, account: _Account, caps: Caps, now: datetime) -> None:
        """The caps have changed, or the day: hold nothing of what was before."""
        old, account.purses = account.purses, model.purses(caps, now, self._currency)
        account.caps, account.day = caps, now.date()
        await self._give_back(resource, old)

    async def _take(self, resource: ResourceId, lacking: Sequence[Purse], needs: Needs, now: datetime) -> None:
        taken: list[int] = []
        async with self._database.transaction() as connection:
            for purse in lacking:
                used = await records.locked_cap(connection, resource, purse.period.value, purse.unit, purse.begins_on)
                lacks = needs.of(purse) - purse.left
                part = model.portion(purse.limit, used, lacks, self._share(), needs.ahead(purse))
                await _use(connection, resource, purse, part)
                taken.append(part)
            await records.forget_caps(connection, resource, Period.MONTH.begins_on(now - timedelta(days=31)))
        for purse, part in zip(lacking, taken, strict=True):
            purse.left += part
            purse.dry_until = now + ASK_AGAIN if purse.left < needs.of(purse) else None

    async def _give_back_idle(self) -> datetime | None:
        """When to look again."""
        now = self._clock.now()
        for resource, account in list(self._accounts.items()):
            if account.lock.locked():
                account.touched = now
            elif not account.touched <= now < account.touched + IDLE:  # before it: the clock was set back
                del self._accounts[resource]
                await self._give_back_if_there(resource, account.purses)
        return min((account.touched + IDLE for account in self._accounts.values()), default=None)

    async def _give_back_if_there(self, resource: ResourceId, purses: Sequence[Purse]) -> None:
        try:
            await self._give_back(resource, purses)
        except Unavailable as error:
            log.warning("sms.cap_kept", resource=str(resource), error=error.message)

    async def _give_back(self, resource: ResourceId, purses: Sequence[Purse]) -> None:
        amounts = [(purse, purse.left) for purse in purses if purse.left]
        for purse, _ in amounts:
            purse.left = 0  # before it is given back: if the server is lost meanwhile, it may have been
        if amounts:
            async with self._database.transaction() as connection:
                for purse, amount in amounts:
                    await _use(connection, resource, purse, -amount)


async def _use(connection: Connection, resource: ResourceId, purse: Purse, amount: int) -> None:
    await records.use(connection, resource, purse.period.value, purse.unit, purse.begins_on, amount)


def _fits(account: _Account, caps: Caps, now: datetime) -> bool:
    return (account.caps is caps or account.caps == caps) and account.day == now.date()


def _askable(purse: Purse, now: datetime) -> bool:
    # Later than that: the clock was set back since.
    return purse.dry_until is None or not now < purse.dry_until <= now + ASK_AGAIN
