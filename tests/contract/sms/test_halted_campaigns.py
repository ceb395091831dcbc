"""A campaign that was halted: its texts go to no carrier any more, until it goes on."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.errors import Invalid
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.engines.clock import DrivenClock
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, PHONE = "+18005550100", "+14255550142"
PHONES = [f"+1425555{number:04}" for number in range(200, 240)]


class World:
    def __init__(self, dsn: str, database: Database, *, per_second: float | None = None) -> None:
        """`per_second`: the pace of each number."""
        self.clock = DrivenClock()
        self.carrier = ScriptedCarrier(self.clock)
        rates = None if per_second is None else {SenderKind.TOLL_FREE: per_second}
        self.gateway = Gateway(dsn, database, self.clock, self.carrier, sender_rates=rates)
        self.resource: ResourceId

    async def send(self, tag: str | None, phones: list[str] | None = None, **options: Any) -> list[str]:
        recipients = [To(phone) for phone in phones or [PHONE]]
        told = Options(report_wanted=True, tag=tag, **options)
        outcomes = await self.gateway.sms.send(self.resource, SENDER, recipients, "hello", told)
        await self.clock.advance(timedelta(milliseconds=1))
        return [outcome.message_id or "" for outcome in outcomes]

    async def halt(self, tag: str, on: bool | None = True) -> None:
        await self.gateway.settings.patch(self.resource, {"haltedTags": {tag: on}})

    async def end(self, message: str) -> tuple[str, int | None, list[str]]:
        told = await self.gateway.timelines.timeline([self.resource], message)
        return told["state"], told["code"], [step["reason"] for step in told["steps"] if step["what"] == "canceled"]


HALTED = ("failed", 5000, ["its campaign is halted"])


@asynccontextmanager
async def running(world: World) -> AsyncGenerator[World]:
    await world.gateway.start()
    world.resource = await world.gateway.own()
    yield world
    await world.gateway.crash()


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    async with running(World(dsn, database)) as world:
        yield world


async def test_a_text_of_a_halted_campaign_is_not_sent_and_says_so(world: World) -> None:
    await world.halt("spring")
    [halted], [other], [untagged] = await world.send("spring"), await world.send("autumn"), await world.send(None)
    assert await world.end(halted) == HALTED
    assert len(world.carrier.submissions) == 2
    assert (await world.end(other))[0] == (await world.end(untagged))[0] == "delivered"


async def test_what_waits_for_a_slow_carrier_is_not_sent_once_its_campaign_is_halted(world: World) -> None:
    world.carrier.fate = Fate.BUSY
    messages = await world.send("spring", PHONES)
    assert len(world.carrier.submissions) == len(PHONES)
    await world.halt("spring")
    await world.clock.advance(timedelta(hours=1))  # each comes to its next try
    assert len(world.carrier.submissions) == len(PHONES)
    assert {(await world.end(message))[:2] for message in messages} == {HALTED[:2]}


async def test_a_halted_campaign_does_not_take_its_numbers_turns(dsn: str, database: Database) -> None:
    """The corrected one waited as long as if the halted one were sent first."""
    async with running(World(dsn, database, per_second=0.05)) as world:
        messages = await world.send("spring", PHONES)
        [other] = await world.send("autumn")
        assert len(world.carrier.submissions) == 1
        await world.halt("spring")
        await world.clock.advance(timedelta(seconds=21))
        assert (await world.end(other))[0] == "delivered"
        assert [await world.end(message) for message in messages[1:]] == [HALTED] * (len(messages) - 1)
        await world.send("autumn", PHONES)
        await world.clock.advance(timedelta(seconds=55))
        assert len(world.carrier.submissions) == 2 + 2, "what was not sent makes nothing faster afterwards"


async def test_a_scheduled_text_is_not_sent_while_its_campaign_is_halted(world: World) -> None:
    [during] = await world.send("spring", send_at=world.clock.now() + timedelta(hours=1))
    [after] = await world.send("spring", send_at=world.clock.now() + timedelta(hours=3))
    await world.halt("spring")
    await world.clock.advance(timedelta(hours=2))
    assert await world.end(during) == HALTED
    await world.halt("spring", None)
    await world.clock.advance(timedelta(hours=2))
    assert (await world.end(after))[0] == "delivered"
    assert len(world.carrier.submissions) == 1


async def test_a_halted_text_takes_nothing_of_the_caps(world: World) -> None:
    await world.gateway.settings.patch(world.resource, {"caps": {"perDay": 1}, "haltedTags": {"spring": True}})
    [halted], [other] = await world.send("spring"), await world.send("autumn")
    assert await world.end(halted) == HALTED
    assert (await world.end(other))[0] == "delivered"


async def test_only_so_many_campaigns_are_halted_at_once(world: World) -> None:
    with pytest.raises(Invalid):
        await world.gateway.settings.patch(world.resource, {"haltedTags": {f"tag {n}": True for n in range(1001)}})
    with pytest.raises(Invalid):
        await world.gateway.settings.patch(world.resource, {"haltedTags": {"spring": "yes"}})
    await world.halt("t" * 2048)
    with pytest.raises(Invalid):
        await world.halt("t" * 2049)
