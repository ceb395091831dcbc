"""The next carrier of a route takes over: when the first is down, refuses, or, where that is wanted, fails."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Receipt, Submission, Submitted
from landline.services.insights.model import Figures
from landline.services.insights.questions import Dimension, Question
from landline.services.sms.model.routing import Choice, Rule
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, PHONE = "+18005550100", "+14255550142"


class World:
    """A first and a second carrier, and one resource."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.database = database
        self.clock = DrivenClock()
        self.first = ScriptedCarrier(self.clock, name="first")
        self.second = ScriptedCarrier(self.clock, name="second")
        self.gateway = Gateway(dsn, database, self.clock, self.first, self.second)
        self.resource: ResourceId

    async def send(self, to: str = PHONE, tag: str | None = None, valid_for_s: int | None = None) -> str:
        options = Options(report_wanted=True, tag=tag, valid_for_s=valid_for_s)
        (outcome,) = await self.gateway.sms.send(self.resource, SENDER, [To(to)], "hello", options)
        await self.clock.advance(timedelta(milliseconds=1))
        assert outcome.message_id is not None
        return outcome.message_id

    async def timeline(self, message_id: str) -> dict[str, Any]:
        return await self.gateway.timelines.timeline([self.resource], message_id)

    async def counted(self) -> tuple[int, int]:
        """How many messages are counted as delivered, and as failed."""
        figures = (await self.by_carrier()).values()
        return sum(each.delivered for each in figures), sum(each.failed for each in figures)

    async def by_carrier(self) -> dict[str, Figures]:
        hour = int(self.clock.now().timestamp()) // 3600
        question = Question(hour - 24, hour + 1, by=(Dimension.CARRIER,))
        page = await self.gateway.insights.page(self.resource, question, limit=10)
        return {str(group.place[0]): group.figures for group in page.groups}


@pytest.fixture
async def world(dsn: str, database: Database):
    world = World(dsn, database)
    await world.gateway.start()
    world.resource = await world.gateway.own()
    yield world
    await world.gateway.crash()


def told(timeline: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(step["what"], step.get("carrier")) for step in timeline["steps"]]


async def test_a_refusal_sends_it_to_the_next_carrier_at_once(world: World):
    world.first.fate = Fate.REFUSED
    timeline = await world.timeline(await world.send())
    assert told(timeline) == [
        ("accepted", None),
        ("queued", "first"),
        ("refused", "first"),
        ("submitted", "second"),
        ("reported", None),
    ]
    assert (timeline["state"], timeline["carrier"]) == ("delivered", "second")


async def test_what_is_wrong_with_the_message_is_not_tried_elsewhere(world: World):
    world.first.fate, world.first.code = Fate.REFUSED, 4004
    timeline = await world.timeline(await world.send())
    assert (timeline["state"], timeline["code"]) == ("failed", 4004)
    assert world.second.submissions == []


async def test_a_carrier_that_is_down_is_gone_round(world: World):
    world.first.up = False
    message = await world.send()
    await world.clock.advance(timedelta(seconds=1))
    timeline = await world.timeline(message)
    assert (timeline["state"], timeline["carrier"]) == ("delivered", "second")
    assert world.first.submissions == []


async def test_when_all_are_down_it_waits_for_the_first_that_comes_back(world: World):
    world.first.up = world.second.up = False
    message = await world.send()
    await world.clock.advance(timedelta(minutes=5))
    assert (await world.timeline(message))["state"] == "queued"
    world.second.up = True
    await world.clock.advance(timedelta(minutes=1))
    assert (await world.timeline(message))["state"] == "delivered"
    assert len(world.first.submissions + world.second.submissions) == 1


async def test_when_both_are_busy_they_are_tried_in_turn_with_growing_pauses(world: World):
    world.first.fate = world.second.fate = Fate.BUSY
    message = await world.send()
    await world.clock.advance(timedelta(minutes=10))
    tries = len(world.first.submissions), len(world.second.submissions)
    assert min(tries) >= 2
    assert sum(tries) <= 12
    world.first.fate = world.second.fate = Fate.DELIVERED
    await world.clock.advance(timedelta(minutes=20))
    assert (await world.timeline(message))["state"] == "delivered"


async def test_when_all_refuse_it_ends_with_the_last_refusal(world: World):
    world.first.fate = world.second.fate = Fate.REFUSED
    world.second.code = 4005
    timeline = await world.timeline(await world.send())
    assert (timeline["state"], timeline["code"]) == ("failed", 4005)
    assert len(world.first.submissions) == len(world.second.submissions) == 1


async def test_a_negative_receipt_ends_it_unless_asked_otherwise(world: World):
    world.first.fate = Fate.FAILED
    timeline = await world.timeline(await world.send())
    assert (timeline["state"], timeline["code"]) == ("failed", 5000)
    assert world.second.submissions == []


async def test_a_negative_receipt_sends_it_to_the_next_carrier_where_wanted(world: World):
    world.gateway.fails_over_on_receipts = True
    world.first.fate = Fate.FAILED
    message = await world.send()
    timeline = await world.timeline(message)
    assert (timeline["state"], timeline["carrier"]) == ("delivered", "second")
    assert ("refused", "first") in told(timeline)
    assert await world.counted() == (1, 0), "that the first failed it was not its end"


@pytest.mark.parametrize("code", [4001, 4004])
async def test_what_is_wrong_with_the_message_sends_it_nowhere_after_a_negative_receipt(world: World, code: int):
    world.gateway.fails_over_on_receipts = True
    world.first.fate, world.first.code = Fate.FAILED, code
    timeline = await world.timeline(await world.send())
    assert (timeline["state"], timeline["code"]) == ("failed", code)
    assert world.second.submissions == []


async def test_a_negative_receipt_after_the_validity_ends_it(world: World):
    world.gateway.fails_over_on_receipts = True
    world.first.fate = Fate.TAKEN
    message = await world.send(valid_for_s=60)
    await world.clock.advance(timedelta(minutes=2))
    await world.gateway.news.reported("first", [Receipt("first1", delivered=False, code=5000, at=world.clock.now())])
    await world.clock.advance(timedelta(seconds=1))
    timeline = await world.timeline(message)
    assert (timeline["state"], timeline["code"]) == ("failed", 5000)
    assert world.second.submissions == []


async def test_what_was_delivered_goes_nowhere_though_another_failed_in_the_same_moment(world: World):
    world.gateway.fails_over_on_receipts = True
    world.first.fate = Fate.TAKEN
    delivered, failed = await world.send(), await world.send("+14255550143")
    at = world.clock.now()
    receipts = [
        Receipt("first1", delivered=True, code=2000, at=at),
        Receipt("first2", delivered=False, code=5000, at=at),
    ]
    await world.gateway.news.reported("first", receipts)
    await world.clock.advance(timedelta(seconds=1))
    assert [each.recipient for each in world.second.submissions] == ["+14255550143"]
    carriers = [(await world.timeline(each))["carrier"] for each in (delivered, failed)]
    assert carriers == ["first", "second"]
    assert await world.counted() == (2, 0)


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.TAKEN])
async def test_what_the_first_delivers_after_all_is_its_own_though_it_was_given_to_the_next(world: World, fate: Fate):
    world.gateway.fails_over_on_receipts = True
    world.first.fate, world.second.fate = Fate.TAKEN, fate
    message = await world.send()
    at = world.clock.now()
    await world.gateway.news.reported("first", [Receipt("first1", delivered=False, code=5000, at=at)])
    await world.clock.advance(timedelta(seconds=1))
    assert (await world.timeline(message))["carrier"] == "second"
    await world.gateway.news.reported("first", [Receipt("first1", delivered=True, code=2000, at=at)])
    timeline = await world.timeline(message)
    assert (timeline["state"], timeline["carrier"]) == ("delivered", "first")
    figures = await world.by_carrier()
    assert {name: (each.accepted, each.segments, each.delivered) for name, each in figures.items()} == {
        "first": (1, 1, 1)
    }


async def test_after_every_carrier_failed_it_it_has_failed(world: World):
    world.gateway.fails_over_on_receipts = True
    world.first.fate = world.second.fate = Fate.FAILED
    timeline = await world.timeline(await world.send())
    assert timeline["state"] == "failed"
    assert len(world.first.submissions) == len(world.second.submissions) == 1
    assert await world.counted() == (0, 1)
    await world.clock.advance(timedelta(seconds=1))
    assert await world.database.fetchval("SELECT count(*) FROM sms_blocks WHERE owner IS DISTINCT FROM block_id") == 0


async def test_the_rule_that_chose_is_in_the_timeline(world: World):
    world.gateway.rules = [Rule(name="codes", tags=("otp",), carriers=(Choice("second"),))]
    timeline = await world.timeline(await world.send(tag="otp"))
    assert timeline["steps"][1]["route"] == "codes"
    assert [len(world.first.submissions), len(world.second.submissions)] == [0, 1]


async def test_of_two_carriers_that_number_alike_each_tells_of_its_own_messages(world: World):
    """What both say in the same moment is stored in one commit."""
    world.gateway.rules = [Rule(name=each, tags=(each,), carriers=(Choice(each),)) for each in ("first", "second")]
    world.first.fate = world.second.fate = Fate.LOST
    messages = [await world.send(tag=carrier.name) for carrier in (world.first, world.second)]
    news, at = world.gateway.news, world.clock.now()
    await asyncio.gather(
        *(news.submitted(each.name, [Submitted(each.submissions[0].key, "17")]) for each in (world.first, world.second))
    )
    await asyncio.gather(
        news.reported("first", [Receipt("17", delivered=False, code=4006, at=at)]),
        news.reported("second", [Receipt("17", delivered=True, code=2000, at=at)]),
    )
    ended = [await world.timeline(message) for message in messages]
    assert [(each["state"], each["carrier"]) for each in ended] == [("failed", "first"), ("delivered", "second")]


async def test_what_went_round_a_carrier_that_was_down_may_come_back_to_it(world: World):
    def refuses(_submission: Submission) -> Fate:
        world.first.up = True
        return Fate.REFUSED

    world.first.up = False
    world.second.fate = refuses
    message = await world.send()
    await world.clock.advance(timedelta(seconds=10))
    timeline = await world.timeline(message)
    assert (timeline["state"], timeline["carrier"]) == ("delivered", "first")
    assert (len(world.first.submissions), len(world.second.submissions)) == (1, 1)
    assert told(timeline)[:4] == [("accepted", None), ("queued", "first"), ("refused", "first"), ("refused", "second")]
