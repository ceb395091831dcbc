"""Texts from phones: which are taken, what their keywords do, who is answered, by which carrier and for how long."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from structlog.testing import capture_logs
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Arrival
from landline.services.insights.model import Figures
from landline.services.insights.questions import Dimension, Question
from landline.services.numbers.model import Directions
from landline.services.sms.keywords import preset
from landline.services.sms.model.routing import Choice, Rule
from landline.services.sms.service import Options, To
from landline.store.database import Database

NUMBER, PHONE = "+18005550100", "+14255550142"


class World:
    """One process over two carriers. Texts come over the first."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.database = database
        self.clock = DrivenClock()
        self.first = ScriptedCarrier(self.clock, name="first")
        self.second = ScriptedCarrier(self.clock, name="second")
        self.gateway = Gateway(dsn, database, self.clock, self.first, self.second)
        self.resource: ResourceId
        self._keys = count()

    async def receive(self, *texts: str, sender: str = PHONE, to: str = NUMBER) -> None:
        """They come; what they are answered with is on its way."""
        keys = [f"text{next(self._keys)}" for _ in texts]
        arrivals = [Arrival(key, sender, to, text, 1, self.clock.now()) for key, text in zip(keys, texts, strict=True)]
        await self.gateway.news.arrived("first", arrivals)
        await self.clock.advance(timedelta(milliseconds=1))

    async def opted_out(self, phone: str = PHONE) -> bool:
        return bool(await self.gateway.opt_outs.opted_out(self.resource, NUMBER, [phone]))

    async def figures(self, carrier: str | None = None) -> Figures:
        """Of all carriers, or of one."""
        hour = int(self.clock.now().timestamp()) // 3600
        where = () if carrier is None else ((Dimension.CARRIER, carrier),)
        question = Question(hour - 1, hour + 1, where=where)
        return (await self.gateway.insights.page(self.resource, question, limit=1)).totals


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    await world.gateway.start()
    world.resource = await world.gateway.own()
    yield world
    await world.gateway.crash()


async def test_texts_to_numbers_that_nobody_has_are_told_once_a_minute(world: World) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            await world.receive("hello", "hello", to="+18005550177")
        await world.receive("hello", to="+18005550188")
        await world.clock.advance(timedelta(minutes=1))
        await world.receive("hello", to="+18005550177")
    lines = [line for line in logs if line["event"] == "sms.arrived_for_nobody"]
    assert [(line["number"], line["count"]) for line in lines] == [
        ("**********77", 1),
        ("**********88", 1),
        ("**********77", 6),
    ]


async def test_a_number_that_is_none_is_told_in_few_characters(world: World) -> None:
    with capture_logs() as logs:
        for length in (60_000, 60_001, 60_002):
            await world.receive("hello", to="1" * length)
    lines = [line for line in logs if line["event"] == "sms.arrived_for_nobody"]
    assert [(line["number"], line["count"]) for line in lines] == [("*" * 20 + "11", 1)]


async def test_keywords_are_obeyed_answered_and_counted_once(world: World) -> None:
    await world.receive("STOP")
    assert await world.opted_out()
    await world.receive("stop", "I said stop!")
    await world.receive("START")
    assert not await world.opted_out()
    await world.receive("STOP", "START")  # in one go, in their order
    assert not await world.opted_out()
    assert len(world.first.submissions) == 5
    figures = await world.figures()
    assert (figures.replies, figures.opt_outs, figures.accepted) == (6, 2, 0)


async def test_a_reply_counts_with_the_carrier_that_the_text_it_answers_went_by(world: World) -> None:
    world.gateway.rules = [Rule(name="spring", tags=("spring",), carriers=(Choice("second"),))]
    await world.gateway.sms.send(world.resource, NUMBER, [To(PHONE)], "Yes or no?", Options(tag="spring"))
    await world.clock.advance(timedelta(seconds=1))
    await world.receive("Yes", "STOP")  # over the first carrier
    await world.receive("hello", sender="+14255550143")  # which nobody asked
    replies = {name: await world.figures(name) for name in ("first", "second")}
    assert {name: (found.replies, found.opt_outs) for name, found in replies.items()} == {
        "first": (1, 0),
        "second": (2, 1),
    }


async def test_a_text_that_is_brought_again_is_answered_and_counted_once(world: World) -> None:
    text = Arrival("text", PHONE, NUMBER, "STOP", 1, world.clock.now())
    for arrivals in ([text, text], [text]):
        await world.gateway.news.arrived("first", arrivals)
    await world.clock.advance(timedelta(milliseconds=1))
    figures = await world.figures()
    assert (len(world.first.submissions), figures.replies, figures.opt_outs) == (1, 1, 1)
    assert await world.database.fetchval("SELECT count(*) FROM sms_inbound") == 1


async def test_a_text_to_a_number_that_takes_none_does_not_keep_others_from_being_taken(world: World) -> None:
    sends_only = "+18005550177"
    await world.gateway.numbers.add(world.resource, sends_only, sms=Directions.OUTBOUND)
    for number in (sends_only, "+18005550188"):
        await world.receive("STOP", to=number)
    now = world.clock.now()
    arrivals = [Arrival(f"mixed{to}", PHONE, to, "hello", 1, now) for to in (sends_only, "+18005550188", NUMBER)]
    await world.gateway.news.arrived("first", arrivals)
    assert [row["recipient"] for row in await world.database.fetch("SELECT recipient FROM sms_inbound")] == [NUMBER]


async def test_a_keyword_is_obeyed_though_nobody_can_be_answered(world: World) -> None:
    await world.receive("STOP", sender="CONTOSO")
    assert await world.opted_out("CONTOSO")
    quiet = replace(preset("en"), stop_reply="")
    hears_only = "+18005550177"
    await world.gateway.numbers.add(world.resource, hears_only, sms=Directions.INBOUND)
    await world.receive("STOP", to=hears_only)
    await world.gateway.keywords.set(world.resource, NUMBER, [quiet])
    await world.receive("STOP")
    assert await world.opted_out()
    assert world.first.submissions == []
    assert await world.database.fetchval("SELECT count(*) FROM sms_messages") == 0


async def test_the_answer_goes_by_the_numbers_own_carrier_else_by_that_which_brought_the_text(world: World) -> None:
    bound = "+18005550177"
    await world.gateway.numbers.add(world.resource, bound, carrier="second")
    await world.receive("HELP", to=bound)
    assert (len(world.first.submissions), len(world.second.submissions)) == (0, 1)
    await world.receive("HELP")
    assert (len(world.first.submissions), len(world.second.submissions)) == (1, 1)


async def test_an_answer_by_a_carrier_that_others_reach_is_left_to_them(world: World) -> None:
    bound = "+18005550177"
    await world.gateway.numbers.add(world.resource, bound, carrier="second")
    world.second.reachable = world.second.up = False
    await world.receive("HELP", to=bound)
    assert await world.database.fetchval("SELECT count(*) FROM sms_blocks WHERE owner <> block_id") == 0
    assert list(world.gateway.handover.waiting("second")) == []
    world.second.reachable = world.second.up = True
    world.gateway.worker.reached()
    await world.clock.advance(timedelta(seconds=5))
    assert len(world.second.submissions) == 1


async def test_the_confirmation_of_a_stop_waits_for_its_carrier_and_is_sent_all_the_same(world: World) -> None:
    world.first.up = world.second.up = False
    await world.receive("STOP")
    await world.clock.advance(timedelta(minutes=1))
    assert await world.opted_out()
    world.first.up = True
    await world.clock.advance(timedelta(seconds=5))
    assert len(world.first.submissions) == 1


async def test_an_answer_that_came_too_late_would_confuse_and_is_not_sent(world: World) -> None:
    for carrier in (world.first, world.second):
        carrier.fate, carrier.code = Fate.BUSY, 5001
    await world.receive("HELP")
    await world.clock.advance(timedelta(hours=12) - timedelta(minutes=1))
    assert await world.database.fetchval("SELECT code FROM sms_messages") is None
    await world.clock.advance(timedelta(minutes=2))
    assert await world.database.fetchval("SELECT code FROM sms_messages") is not None
    world.first.fate = world.second.fate = Fate.DELIVERED
    tries = len(world.first.submissions), len(world.second.submissions)
    await world.clock.advance(timedelta(hours=1))
    assert (len(world.first.submissions), len(world.second.submissions)) == tries


async def test_texts_that_come_at_the_same_time_are_all_counted(world: World) -> None:
    await asyncio.gather(*(world.receive("hello", sender=f"+1425555{number:04}") for number in range(5)))
    assert (world.gateway.counts.received, (await world.figures()).replies) == (5, 5)
