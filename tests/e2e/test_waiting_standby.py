"""A primary that waits for a standby which is away: what was given up waiting for is repeated, and waited for again."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.support import chat, numbers_world
from tests.support.gateway import Gateway
from tests.support.memory import in_memory
from tests.support.numbers_world import OURS
from tests.support.numbers_world import World as Market
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Arrival, Receipt, Submitted
from landline.services.chat.model.values import Properties
from landline.services.chat.service import Repeat
from landline.services.rooms.model import Repeatable
from landline.services.rooms.service import Rooms
from landline.services.sms.service import Options, To
from landline.store.database import Database
from landline.store.embedded import EmbeddedServer
from landline.store.migrations import migrate

NUMBER, PHONE, OTHER = "+18005550100", "+14255550142", "+14255550143"
FOR_SALE = ("18332345600", "18332345601", "18332345602")
Act = Callable[[], Awaitable[object]]
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


class World:
    """A process on a PostgreSQL of its own, whose operator may have it wait for a standby that is not there."""

    def __init__(self, dsn: str, database: Database, operator: Any, market: Market) -> None:
        self.database, self._operator = database, operator
        self.clock = DrivenClock()
        self.carrier = ScriptedCarrier(self.clock, Fate.LOST)
        self.gateway = Gateway(dsn, database, self.clock, self.carrier)
        self.rooms = Rooms(database, self.clock)
        self.chat = chat.process(database, dsn, clock=self.clock)
        self.opt_outs = self.gateway.opt_outs
        self.market = market
        self.resource: ResourceId

    async def receipt(self) -> Act:
        """Of a message that the carrier has. Nothing works by itself any more, which would wait, too."""
        await self.gateway.start()
        self.resource = await self.gateway.own()
        await self.gateway.sms.send(self.resource, NUMBER, [To(PHONE)], "hello", Options())
        await self.clock.advance(timedelta(milliseconds=1))
        (submission,) = self.carrier.submissions
        await self.gateway.news.submitted("carrier", [Submitted(submission.key, "id")])
        await self.gateway.crash()
        receipt = Receipt("id", True, 2000, self.clock.now(), 1)
        return lambda: self.gateway.news.reported("carrier", [receipt])

    async def wait_for_standby(self, away: str) -> None:
        await self._operator.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{away}'")
        await self._operator.execute("SELECT pg_reload_conf()")
        while await self._operator.fetchval("SHOW synchronous_standby_names") != away:
            pass

    async def waits(self, act: Act) -> bool:
        """Whether `act` comes to wait for the standby; it is given up then, as a statement that takes too long is."""
        doing = asyncio.ensure_future(act())
        while not doing.done() and not await self._operator.fetchval(_WAITING):
            pass
        waits = not doing.done()
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        while await self._operator.fetchval(_WAITING):
            await self._operator.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
        return waits

    def text(self) -> Act:
        arrival = Arrival("key", PHONE, NUMBER, "hello", 1, self.clock.now())
        return lambda: self.gateway.news.arrived("carrier", [arrival])

    def opting_out(self) -> Act:
        return lambda: self.gateway.opt_outs.opt_out(self.resource, NUMBER, [PHONE])

    def opting_in(self) -> Act:
        return lambda: self.gateway.opt_outs.opt_in(self.resource, NUMBER, [PHONE])

    def sending(self) -> Act:
        sent = f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} GMT"
        to = To(PHONE, repeatability_id=str(uuid4()), first_sent=sent)
        return lambda: self.gateway.sms.send(self.resource, NUMBER, [to], "hello", Options())

    def room(self) -> Act:
        repeatable = Repeatable(uuid4(), b"digest")
        return lambda: self.rooms.create(self.resource, repeatable=repeatable)

    def entering(self) -> Act:
        return lambda: self.opt_outs.enter(self.resource, [(NUMBER, OTHER, None)])

    def lifting(self) -> Act:
        return lambda: self.opt_outs.lift(self.resource, [(NUMBER, OTHER)])

    async def purchase(self) -> Act:
        search = UUID(await self.market.search())
        return lambda: self.market.purchases.purchase(OURS, search, agreed=True)

    async def cancelling(self) -> Act:
        search = await self.market.search()
        return lambda: self.market.purchases.cancel(OURS, f"search_{search}")

    async def reserved(self) -> Act:
        reservation, number = uuid4(), FOR_SALE[-1]
        asked = {"countryCode": "US", "phoneNumberType": "tollFree", "assignmentType": "application"}
        asked |= {"capabilities": {"calling": "outbound", "sms": "none"}}
        path = f"/availablePhoneNumbers/reservations/{reservation}"
        await self.market.call("PATCH", path, {"phoneNumbers": {number: asked}})
        return lambda: self.market.reservations.purchase(OURS, reservation, agreed=True)

    async def thread(self) -> Act:
        user, properties, repeat = await self.chat.user(), Properties("Lunch", {}, None), Repeat("id", b"body")
        return lambda: self.chat.chat.create(chat.RESOURCE, user, properties, [], repeat)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    with in_memory(otherwise=tmp_path) as directory:
        server = EmbeddedServer(directory)
        dsn = await server.start()
        database = await Database.connect(dsn, size=4)
        operator = await asyncpg.connect(dsn)
        try:
            await migrate(database)
            async with numbers_world.world(database, dsn) as market:
                await market.stock("number\n" + "".join(f"+{number}\n" for number in FOR_SALE))
                world = World(dsn, database, operator, market)
                yield world
                await world.wait_for_standby("")
        finally:
            await operator.close()
            await database.close()
            await server.close()


async def test_what_is_repeated_waits_for_the_standby_too(world: World) -> None:
    acts = {
        "a receipt": await world.receipt(),
        "a text": world.text(),
        "a message": world.sending(),
        "an opt-out": world.opting_out(),
        "an opt-in": world.opting_in(),
        "a room": world.room(),
        "a chat thread": await world.thread(),
        "an opt-out of the operator's": world.entering(),
        "an opt-in of the operator's": world.lifting(),
        "a purchase": await world.purchase(),
        "the end of a search": await world.cancelling(),
        "a purchase of what was reserved": await world.reserved(),
    }
    await world.wait_for_standby("away")
    waited = {name: [await world.waits(act), await world.waits(act)] for name, act in acts.items()}
    assert waited == {name: [True, True] for name in acts}
