"""Which campaign a reply answers: the last one whose message its phone can have got."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Arrival
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, PHONE = "+18005550100", "+14255550142"


class World:
    def __init__(self, dsn: str, database: Database) -> None:
        self.database = database
        self.clock = DrivenClock()
        self.carrier = ScriptedCarrier(self.clock)
        self.gateway = Gateway(dsn, database, self.clock, self.carrier)
        self.resource: ResourceId

    async def send(self, tag: str, *, after: timedelta | None = None) -> None:
        """Send now or `after` a time; then ten seconds pass."""
        options = Options(tag=tag, send_at=None if after is None else self.clock.now() + after)
        await self.gateway.sms.send(self.resource, SENDER, [To(PHONE)], "hello", options)
        await self.clock.advance(timedelta(seconds=10))

    async def answered(self) -> str | None:
        """The tag that a text from the phone answers now."""
        key = f"text{self.clock.now()}"
        await self.gateway.news.arrived(
            "carrier", [Arrival(key, PHONE, SENDER, "fine, thank you", 1, self.clock.now())]
        )
        return await self.database.fetchval("SELECT tag FROM sms_inbound WHERE carrier_key = $1", key)


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    await world.gateway.start()
    world.resource = await world.gateway.own()
    yield world
    await world.gateway.crash()


async def test_a_reply_answers_the_campaign_that_came_last_and_not_one_to_be_sent_later(world: World) -> None:
    assert await world.answered() is None
    await world.send("today")
    await world.send("tomorrow", after=timedelta(days=1))
    assert await world.answered() == "today"
    await world.send("tonight")
    await world.clock.advance(timedelta(days=1))
    assert await world.answered() == "tomorrow"


async def test_a_reply_answers_what_was_scheduled_long_before(world: World) -> None:
    await world.send("later", after=timedelta(days=30))
    await world.clock.advance(timedelta(days=30))
    assert await world.answered() == "later"
    await world.clock.advance(timedelta(days=7, seconds=1))
    assert await world.answered() is None


async def test_a_reply_does_not_answer_what_its_phone_never_got(world: World) -> None:
    await world.send("got")
    world.carrier.fate = Fate.REFUSED
    await world.send("refused")
    world.carrier.fate = Fate.FAILED
    await world.send("failed")
    world.carrier.fate, world.carrier.code = Fate.BUSY, 5001
    await world.send("waiting")
    await world.gateway.opt_outs.opt_out(world.resource, SENDER, [PHONE])
    await world.send("blocked")
    assert await world.answered() == "got"


async def test_a_reply_answers_what_no_receipt_came_for(world: World) -> None:
    world.carrier.fate = Fate.TAKEN
    await world.send("silent")
    assert await world.answered() == "silent"
    await world.clock.advance(timedelta(days=1))
    assert await world.database.fetchval("SELECT code FROM sms_messages") == 5002
    assert await world.answered() == "silent"


async def test_a_reply_does_not_answer_what_waits_for_a_carrier(world: World) -> None:
    """Behind its sender's pace, say: of a campaign that takes hours the phone answers the one before, or leaves it."""
    await world.send("got")
    world.carrier.up = False
    await world.send("waiting")
    assert await world.database.fetchval("SELECT attempts FROM sms_messages WHERE tag = 'waiting'") == 0
    assert await world.answered() == "got"
    world.carrier.up = True
    await world.clock.advance(timedelta(minutes=1))
    assert await world.answered() == "waiting"
