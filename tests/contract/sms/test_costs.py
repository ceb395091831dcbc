"""What messages cost: kept as they were accepted, shown in timelines, counted once, whatever becomes of the message."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier
from tests.support.signed import http_date
from tests.support.still import StillClock

from landline.core.errors import TooMany
from landline.core.ids import ResourceId
from landline.ports.sms_carrier import Arrival
from landline.services.insights.questions import Dimension, Question
from landline.services.sms.model.messages import Outcome
from landline.services.sms.model.prices import Price, PriceList
from landline.services.sms.model.routing import Choice, Rule
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, US, BAHAMAS, GERMANY = "+18005550100", "+14255550142", "+12425550142", "+4915112345678"
PRICES = PriceList([Price("first", "+1", 7_500), Price("first", "+1242", 61_000), Price("second", "+", 20_000)])


class World:
    """Two carriers with prices, and one resource."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.database = database
        self.clock = StillClock()  # no day ends in the middle of a limit
        self.first = ScriptedCarrier(self.clock, name="first")
        self.second = ScriptedCarrier(self.clock, name="second")
        self.gateway = Gateway(dsn, database, self.clock, self.first, self.second)
        self.gateway.prices = PRICES
        self.resource: ResourceId

    async def send(self, *to: To | str, text: str = "hello", options: Options | None = None) -> list[Outcome]:
        recipients = [To(each) if isinstance(each, str) else each for each in to]
        sent = await self.gateway.sms.send(self.resource, SENDER, recipients, text, options or Options())
        await self.clock.advance(timedelta(milliseconds=1))
        return sent

    async def costs(self, *outcomes: Outcome) -> list[str | None]:
        timelines = [await self.timeline(outcome) for outcome in outcomes]
        return [timeline["cost"] for timeline in timelines]

    async def timeline(self, outcome: Outcome) -> dict[str, Any]:
        assert outcome.message_id is not None
        return await self.gateway.timelines.timeline([self.resource], outcome.message_id)

    async def counted(self) -> dict[str, tuple[int, int, int]]:
        """By carrier: accepted, priced, cost."""
        hour = int(self.clock.now().timestamp()) // 3600
        found: dict[str, tuple[int, int, int]] = {}
        for _ in range(2):
            question = Question(hour - 72, hour + 1, by=(Dimension.CARRIER,))
            page = await self.gateway.insights.page(self.resource, question, limit=10)
            figures = {str(group.place[0]): group.figures for group in page.groups}
            seen = {name: (each.accepted, each.priced, each.cost) for name, each in figures.items()}
            assert found in ({}, seen)  # the same when it is folded
            found = seen
            await self.gateway.insights.fold()
        return found


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    await world.gateway.start()
    world.resource = await world.gateway.own()
    yield world
    await world.gateway.crash()


async def test_a_message_costs_its_segments_at_the_price_of_its_number(world: World) -> None:
    sent = await world.send(US, BAHAMAS, GERMANY, US.replace("42", "43"), text="x" * 161)
    assert await world.costs(*sent) == ["0.015", "0.122", None, "0.015"]
    assert (await world.timeline(sent[0]))["currency"] == "USD"
    assert "currency" not in await world.timeline(sent[2])
    assert await world.counted() == {"first": (4, 3, 152_000)}


async def test_without_prices_nothing_is_kept_or_counted(world: World) -> None:
    world.gateway.prices = PriceList()
    assert await world.costs(*await world.send(US, BAHAMAS)) == [None, None]
    assert await world.counted() == {"first": (2, 0, 0)}


async def test_who_opted_out_or_is_over_a_cap_costs_nothing(world: World) -> None:
    await world.gateway.opt_outs.opt_out(world.resource, SENDER, [BAHAMAS])
    await world.gateway.settings.patch(world.resource, {"caps": {"perDay": 2}})
    sent = await world.send(BAHAMAS, US, BAHAMAS.replace("42", "43"))
    assert await world.costs(*sent) == [None, "0.0075", None]
    assert (await world.counted())["first"] == (3, 1, 7_500)


async def test_a_repeated_request_costs_once(world: World) -> None:
    again = To(US, str(uuid4()), http_date())
    first = await world.send(again)
    world.gateway.prices = PriceList([Price("first", "+", 1)])
    assert [outcome.message_id for outcome in await world.send(again)] == [first[0].message_id]
    assert await world.costs(*first) == ["0.0075"]
    assert await world.counted() == {"first": (1, 1, 7_500)}


VELOCITY = {"enabled": True, "perRecipient": {"minute": 2}, "perPrefix": {"minute": 900}}


@pytest.mark.parametrize(
    "settings",
    [
        {"caps": {"perDay": 2}},
        {"caps": {"perMonth": 2, "unit": "segments"}},
        {"caps": {"spendPerDay": "0.015"}},
        {"velocity": VELOCITY},
        {"velocity": {**VELOCITY, "perRecipient": {"minute": 900}, "perPrefix": {"minute": 2}}},
    ],
)
async def test_a_repeated_request_takes_nothing_of_a_limit(world: World, settings: dict[str, Any]) -> None:
    await world.gateway.settings.patch(world.resource, settings)
    again = To(US, str(uuid4()), http_date())
    sent = [(await world.send(again))[0] for _ in range(5)]
    assert len({outcome.message_id for outcome in sent}) == 1
    assert await world.costs(*await world.send(US), *await world.send(US)) == ["0.0075", None]
    assert {outcome.status for outcome in await world.send(again, again)} == {202}


async def test_a_repeated_request_takes_nothing_of_acs_limits(world: World) -> None:
    await world.gateway.settings.patch(world.resource, {"acsLimits": True})
    again = [To(f"+142555501{at:02}", str(uuid4()), http_date()) for at in range(100)]
    for _ in range(5):
        await world.send(*again)
    await world.send(*(f"+142555502{at:02}" for at in range(99)))
    await world.send(again[0])
    await world.send(US)
    with pytest.raises(TooMany):
        await world.send(US)


@pytest.mark.parametrize("fate", [Fate.REFUSED, Fate.FAILED])
async def test_a_message_that_goes_elsewhere_takes_its_cost_as_accepted_along(world: World, fate: Fate) -> None:
    world.first.fate = fate
    world.gateway.fails_over_on_receipts = True
    [sent] = await world.send(US)
    await world.send(GERMANY)
    timeline = await world.timeline(sent)
    assert (timeline["carrier"], timeline["state"], timeline["cost"]) == ("second", "delivered", "0.0075")
    assert await world.counted() == {"second": (2, 1, 7_500)}


async def test_a_text_for_later_and_one_taken_back_cost_what_they_were_accepted_at(world: World) -> None:
    options = Options(send_at=world.clock.now() + timedelta(hours=2))
    first, second = await world.send(US, BAHAMAS, options=options)
    world.gateway.prices = PriceList()
    await world.gateway.outgoing.cancel([world.resource], second.message_id or "")
    await world.clock.advance(timedelta(hours=3))
    assert await world.costs(first, second) == ["0.0075", "0.061"]
    assert await world.counted() == {"first": (2, 2, 68_500)}


async def test_the_price_is_of_the_carrier_that_a_rule_puts_first(world: World) -> None:
    world.gateway.rules = [Rule(name="all", carriers=(Choice("second"), Choice("first", 0)))]
    assert await world.costs(*await world.send(US, GERMANY)) == ["0.02", "0.02"]
    assert await world.counted() == {"second": (2, 2, 40_000)}


async def test_answers_to_keywords_are_counted_with_nobody(world: World) -> None:
    arrival = Arrival("1", US, SENDER, "HELP", 1, world.clock.now())
    await world.gateway.news.arrived("first", [arrival])
    assert {figures[1:] for figures in (await world.counted()).values()} == {(0, 0)}
