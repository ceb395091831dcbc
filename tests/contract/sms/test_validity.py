"""What is valid for a time is handed over within it or not at all, whatever it waits for, and ends when it is over."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.support.cluster import eventually
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier
from tests.support.still import StillClock

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import CrashPolicy, Submission
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER = "+18005550100"


class Watched(ScriptedCarrier):
    """Keeps when it was handed what."""

    def __init__(self, clock: DrivenClock) -> None:
        super().__init__(clock)
        self.handed: dict[UUID, datetime] = {}
        self._time = clock

    async def submit(self, submissions: Sequence[Submission]) -> None:
        await super().submit(submissions)
        self.handed |= {submission.key: self._time.now() for submission in submissions}


class World:
    def __init__(self, dsn: str, database: Database) -> None:
        self.database = database
        self.clock = StillClock()
        self.carrier = Watched(self.clock)
        self.gateway = Gateway(dsn, database, self.clock, self.carrier)
        self.resource: ResourceId

    async def send(self, count: int, options: Options) -> list[str]:
        recipients = [To(f"+1425555{number:04}") for number in range(count)]
        outcomes = await self.gateway.sms.send(self.resource, SENDER, recipients, "hello", options)
        await self.clock.advance(timedelta(milliseconds=1))
        return [outcome.message_id or "" for outcome in outcomes]

    async def timeline(self, message: str) -> dict[str, Any]:
        return await self.gateway.timelines.timeline([self.resource], message)


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    await world.gateway.start()
    world.resource = await world.gateway.own()
    yield world
    await world.gateway.crash()


async def test_what_waits_for_its_senders_pace_is_not_sent_after_its_validity(world: World) -> None:
    await world.gateway.rates.set(world.resource, SENDER, 0.1)
    accepted_at = world.clock.now()
    messages = await world.send(10, Options(valid_for_s=60, report_wanted=True))
    await world.clock.advance(timedelta(seconds=61))
    timelines = [await world.timeline(message) for message in messages]
    sent = [timeline for timeline in timelines if timeline["state"] == "delivered"]
    late = [timeline for timeline in timelines if timeline["state"] == "failed"]
    assert (len(sent), len(late)) == (6, 4)
    assert all(timeline["code"] == 5001 and timeline["steps"][-1]["what"] == "reported" for timeline in late)
    await world.clock.advance(timedelta(minutes=3))
    assert len(world.carrier.handed) == 6
    assert max(world.carrier.handed.values()) < accepted_at + timedelta(seconds=60)

    async def nothing_is_left() -> bool:  # the process's own lease goes when it is to be renewed and nothing is held
        return not await world.database.fetchval("SELECT count(*) FROM sms_blocks")

    await eventually(nothing_is_left)


@pytest.mark.parametrize("policy", [CrashPolicy.RESEND, CrashPolicy.UNKNOWN])
async def test_what_ends_while_it_is_looked_at_before_its_hand_over_is_not_handed_over(
    policy: CrashPolicy, world: World
) -> None:
    async def may_send(_resource: ResourceId, _sender: str) -> bool:
        world.clock._offset += timedelta(seconds=1.5)  # so long the database takes
        return True

    world.carrier.crash_policy = policy
    await world.gateway.rates.set(world.resource, SENDER, 1 / 59)
    accepted_at = world.clock.now()
    messages = await world.send(2, Options(valid_for_s=60, report_wanted=True))
    world.gateway.wanted._may_send = may_send
    await world.clock.advance(timedelta(seconds=59.5))
    assert len(world.carrier.handed) == 1
    assert max(world.carrier.handed.values()) < accepted_at + timedelta(seconds=60)
    ended = await world.timeline(messages[1])
    assert (ended["state"], ended["code"]) == ("failed", 5001)
    assert world.gateway.handover.count == 0


async def test_a_busy_carrier_is_asked_until_the_end_of_the_validity(world: World) -> None:
    asked: list[float] = []
    world.carrier.fate = lambda _: asked.append(world.clock.now().timestamp()) or Fate.BUSY
    [code] = await world.send(1, Options(valid_for_s=60, report_wanted=True))
    await world.clock.advance(timedelta(seconds=65))
    assert [round(at - asked[0]) for at in asked] == [0, 5, 15, 35, 55]
    timeline = await world.timeline(code)
    assert (timeline["state"], timeline["steps"][-1]["what"]) == ("failed", "reported")


async def test_what_waits_far_behind_others_for_a_carrier_that_is_down_ends_in_time(world: World) -> None:
    world.carrier.up, world.carrier.at_once = False, 5
    campaign = await world.send(50, Options())
    [code] = await world.send(1, Options(valid_for_s=60, report_wanted=True))
    await world.clock.advance(timedelta(seconds=61))
    timeline = await world.timeline(code)
    assert (timeline["state"], timeline["code"]) == ("failed", 5001)
    world.carrier.up = True
    await world.clock.advance(timedelta(seconds=5))
    assert len(world.carrier.handed) == len(campaign)
    assert [(await world.timeline(message))["state"] for message in campaign] == ["delivered"] * len(campaign)


async def test_what_became_late_since_the_queues_were_looked_through_is_left_out_of_what_is_handed_over(
    world: World,
) -> None:
    """They are looked through once a second at most, and the carrier is asked in between."""
    world.carrier.up = False
    lasting = await world.send(1, Options())
    late: list[str] = []
    for _ in range(2):
        await world.clock.advance(timedelta(milliseconds=300))
        late += await world.send(1, Options(valid_for_s=60, report_wanted=True))
    lasting += await world.send(1, Options())
    await world.clock.advance(timedelta(seconds=60, milliseconds=300))
    states = [(await world.timeline(message))["state"] for message in late]
    assert states.count("failed") == 1
    world.carrier.up = True
    await world.clock.advance(timedelta(seconds=1, milliseconds=200))
    assert [(await world.timeline(message))["code"] for message in late] == [5001, 5001]
    assert [(await world.timeline(message))["state"] for message in lasting] == ["delivered", "delivered"]
    assert len(world.carrier.handed) == 2


async def test_what_becomes_late_while_a_carrier_refuses_it_ends_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(_submissions: Sequence[Submission]) -> None:
        monkeypatch.undo()
        world.clock._offset += timedelta(seconds=61)
        raise Unavailable("its connections are gone")

    monkeypatch.setattr(world.carrier, "submit", slow)
    [late] = await world.send(1, Options(valid_for_s=60, report_wanted=True))
    await world.clock.advance(timedelta(seconds=2))
    timeline = await world.timeline(late)
    assert (timeline["state"], timeline["code"]) == ("failed", 5001)
    assert world.carrier.handed == {}


async def test_what_cannot_be_ended_in_time_because_the_database_is_away_does_not_keep_the_process_busy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.carrier.up = False
    await world.send(1, Options(valid_for_s=60))
    tries: list[int] = []

    async def away(late: Sequence[Any]) -> None:
        tries.append(len(late))
        raise Unavailable("the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(world.gateway.news, "expire", away)
        await world.clock.advance(timedelta(seconds=61))
        for _ in range(1000):
            await asyncio.sleep(0)
    assert len(tries) < 20

    async def ended() -> bool:
        await world.clock.advance(timedelta(seconds=1))
        return await world.database.fetchval("SELECT code FROM sms_messages") == 5001

    await eventually(ended)


async def test_each_text_ends_when_its_own_report_is_overdue_whatever_was_accepted_with_it(world: World) -> None:
    world.carrier.fate = Fate.TAKEN
    options = (Options(report_timeout_s=60), Options())
    sends = [
        world.gateway.sms.send(world.resource, SENDER, [To(f"+1425555{number:04}")], "hello", options[number % 2])
        for number in range(20)
    ]
    await asyncio.gather(*sends)
    await world.clock.advance(timedelta(milliseconds=1))
    assert len(world.carrier.submissions) == len(sends)
    await world.clock.advance(timedelta(seconds=62))
    assert await world.database.fetchval("SELECT count(*) FROM sms_messages WHERE code = 5002") == 10
