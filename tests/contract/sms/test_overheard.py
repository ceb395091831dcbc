"""A block is closed soon after its last report, whichever processes its reports come to (docs/design/blocks.md)."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest
from tests.support.cluster import eventually
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Receipt
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER = "+18005550100"


class World:
    """Two processes, of which the first sends four messages."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.processes = 2
        self.clock = DrivenClock()
        self.database = database
        self.here, self.there = (
            Gateway(dsn, database, self.clock, ScriptedCarrier(self.clock, Fate.TAKEN), share=lambda: self.processes)
            for _ in range(2)
        )
        self.began = self.clock.now()

    async def start(self) -> None:
        for gateway in (self.here, self.there):
            gateway.worker.beat_s = 0.02
            await gateway.start()
        resource = await self.here.own()
        recipients = [To(f"+1425555{number:04}") for number in range(4)]
        await self.here.sms.send(resource, SENDER, recipients, "hello", Options())
        await self.clock.advance(timedelta(seconds=1))
        assert await self.waiting() == 1

    async def report(self, gateway: Gateway, *numbers: int) -> None:
        receipts = [Receipt(f"carrier{number}", True, 2000, self.clock.now()) for number in numbers]
        await gateway.news.reported("carrier", receipts)

    async def waiting(self) -> int:
        """Blocks that nobody holds, as all are."""
        blocks = await self.database.fetch("SELECT owner FROM sms_blocks WHERE owner IS DISTINCT FROM block_id")
        assert not any(row["owner"] for row in blocks)
        return len(blocks)

    async def closed(self) -> None:
        """Within minutes."""

        async def none_waits() -> bool:
            await self.clock.advance(timedelta(seconds=10))
            return not await self.waiting()

        await eventually(none_waits)
        assert self.clock.now() < self.began + timedelta(hours=3)

    async def rested(self, gateway: Gateway) -> None:
        """Whatever `gateway` heard of was looked at."""

        async def looked_at() -> bool:
            await self.clock.advance(timedelta(seconds=31))
            heard = gateway.handover.overheard
            return not (heard._now or heard._before or heard._quiet)

        await eventually(looked_at)


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    await world.start()
    yield world
    await world.here.crash()
    await world.there.crash()


@pytest.mark.parametrize("here", [(), (1,), (2, 4), (1, 2, 3)])
@pytest.mark.parametrize("last", ["here", "there"])
async def test_a_block_is_closed_soon_after_its_last_report(world: World, here: tuple[int, ...], last: str) -> None:
    there = tuple({1, 2, 3, 4} - {*here})
    order = [(world.here, here), (world.there, there)]
    for gateway, numbers in order if last == "there" else reversed(order):
        await world.report(gateway, *numbers)
    await world.closed()


async def test_a_block_stays_as_long_as_a_report_is_to_come(world: World) -> None:
    await world.report(world.there, 1, 2)
    await world.report(world.here, 3)
    await world.rested(world.there)
    await world.rested(world.here)
    assert await world.waiting() == 1
    await world.report(world.there, 4)
    await world.closed()


async def test_a_block_of_a_process_that_crashed_is_closed_by_who_hears_of_it(world: World) -> None:
    await world.here.crash()
    world.processes = 1
    await world.report(world.there, 1, 2, 3, 4)
    await world.closed()
