"""A carrier that stays away: all that waits for it goes by others, also what stands behind messages that may not."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta

import pytest
from tests.support.gateway import Gateway
from tests.support.scripted import ScriptedCarrier
from tests.support.still import StillClock

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.services.sms.handover import Pending
from landline.services.sms.model.routing import Choice, Rule
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER = "+18005550100"


class World:
    def __init__(
        self, dsn: str, database: Database, clock: DrivenClock | None = None, line: DrivenClock | None = None
    ) -> None:
        self.clock = clock or StillClock()
        self.first = ScriptedCarrier(self.clock, name="first")
        self.second = ScriptedCarrier(self.clock, name="second")
        self.first.up, self.first.at_once = False, 2
        self.gateway = Gateway(dsn, database, self.clock, self.first, self.second, line=line)
        self.resource: ResourceId

    async def send(self, count: int, tag: str) -> None:
        to = [To(f"+1425555{number:04}") for number in range(count)]
        await self.gateway.sms.send(self.resource, SENDER, to, "hello", Options(tag=tag))


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    await world.gateway.start()
    world.resource = await world.gateway.own()
    yield world
    await world.gateway.crash()


async def test_all_that_waits_for_a_carrier_that_stays_away_goes_by_another(world: World) -> None:
    await world.send(90, "campaign")
    await world.clock.advance(timedelta(seconds=3))
    assert 0 < len(world.second.submissions) < 20
    await world.clock.advance(timedelta(seconds=5))
    assert len({each.recipient for each in world.second.submissions}) == len(world.second.submissions) == 90
    await world.send(50, "more")
    await world.clock.advance(timedelta(seconds=2))
    assert len(world.second.submissions) == 140


async def test_a_carrier_that_is_back_in_a_moment_finds_what_waits_for_it(world: World) -> None:
    await world.send(90, "campaign")
    await world.clock.advance(timedelta(seconds=3))
    world.first.up, world.first.at_once = True, 100
    await world.clock.advance(timedelta(seconds=2))
    assert len(world.first.submissions) > 70
    assert len(world.first.submissions) + len(world.second.submissions) == 90


async def test_a_carrier_that_takes_messages_again_has_not_been_away_since_before_that(world: World) -> None:
    await world.send(1, "first")
    await world.clock.advance(timedelta(seconds=1))
    for _ in range(3):
        world.first.up = False
        await world.send(30, "campaign")
        await world.clock.advance(timedelta(seconds=3))
        world.first.up, world.first.at_once = True, 100
        await world.clock.advance(timedelta(seconds=2))
        world.first.at_once = 2
    assert len(world.first.submissions) > 60


async def test_a_message_goes_elsewhere_though_it_stands_behind_others_that_may_not(world: World) -> None:
    only_first = (Choice("first"), Choice("second", 0))
    world.gateway.rules = [Rule(name="ads", tags=("ads",), carriers=only_first, failover=False)]
    await world.send(30, "ads")
    await world.send(1, "code")
    await world.clock.advance(timedelta(seconds=8))
    assert len(world.second.submissions) == 1
    world.first.up, world.first.at_once = True, 100
    await world.clock.advance(timedelta(seconds=2))
    assert [each.recipient for each in world.first.submissions] == [f"+1425555{number:04}" for number in range(30)]


async def test_what_nobody_else_may_have_is_looked_at_again_when_a_carrier_comes_back(world: World) -> None:
    world.second.up = False
    await world.send(30, "campaign")
    await world.clock.advance(timedelta(minutes=1))
    assert world.second.submissions == []
    world.second.up = True
    await world.clock.advance(timedelta(seconds=2))
    assert len(world.second.submissions) == 30


async def test_what_nobody_else_might_have_is_looked_at_again_no_later_for_a_clock_that_was_set_back(
    dsn: str, database: Database
) -> None:
    clock, line = StillClock(), StillClock()
    world = World(dsn, database, clock, line)
    world.gateway.rules = [Rule(name="ads", tags=("ads",), carriers=(Choice("first"),), failover=False)]
    await world.gateway.start()
    world.resource = await world.gateway.own()
    await world.send(30, "ads")
    await clock.advance(timedelta(0))
    refused = world.gateway.detours.refused
    await line.advance(timedelta(seconds=6))
    await refused(world.first, [], "it is down")
    clock.set_back(timedelta(hours=1))
    await line.advance(timedelta(0))  # what is being looked at is looked at by the rules there were
    await clock.advance(timedelta(0))
    world.gateway.rules = []
    await line.advance(timedelta(seconds=31))
    await refused(world.first, [], "it is down")
    await clock.advance(timedelta(0))
    assert len(world.second.submissions) == 30
    await world.gateway.crash()


@pytest.mark.parametrize("behind", [0, 28], ids=["what is next", "what waits behind it"])
async def test_what_could_not_be_given_to_others_because_the_database_was_away_is_sent_once(
    world: World, monkeypatch: pytest.MonkeyPatch, behind: int
) -> None:
    reroute, away = world.gateway.rerouting.reroute, 0

    async def away_once(messages: Sequence[Pending], reason: str) -> list[Pending]:
        nonlocal away
        if not away and len(messages) > behind // 2:
            away += 1
            raise Unavailable("the connection was lost")
        return await reroute(messages, reason)

    monkeypatch.setattr(world.gateway.rerouting, "reroute", away_once)
    await world.send(2 + behind, "campaign")
    await world.clock.advance(timedelta(seconds=20))
    assert away == 1
    assert len({each.recipient for each in world.second.submissions}) == len(world.second.submissions) == 2 + behind
