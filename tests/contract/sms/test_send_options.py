"""What the admin API adds to sending: pools with sticky senders, a time, validity, taking back, telling again."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.errors import Conflict, Invalid, NotFound
from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.bus import Bus
from landline.ports.sms_carrier import Arrival
from landline.services.sms.model.pools import Pool
from landline.services.sms.outgoing import Outgoing
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, OTHER, PHONE = "+18005550100", "+14255550100", "+14255550142"
PHONES = [f"+1425555{number:04}" for number in range(200, 240)]


class World:
    def __init__(self, dsn: str, database: Database, bus: Bus | None = None) -> None:
        self.database = database
        self.clock = DrivenClock()
        self.carrier = ScriptedCarrier(self.clock)
        self.gateway = Gateway(dsn, database, self.clock, self.carrier, bus=bus)
        self.resource: ResourceId

    async def send(self, options: Options, sender: str = SENDER, phones: list[str] | None = None) -> list[str]:
        recipients = [To(phone) for phone in phones or [PHONE]]
        outcomes = await self.gateway.sms.send(self.resource, sender, recipients, "hello", options)
        await self.clock.advance(timedelta(milliseconds=1))
        return [outcome.message_id or "" for outcome in outcomes]

    async def timeline(self, message: str) -> dict[str, Any]:
        return await self.gateway.timelines.timeline([self.resource], message)

    def senders(self) -> dict[str, str]:
        return {submission.recipient: submission.sender for submission in self.carrier.submissions}


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    await world.gateway.start()
    world.resource = await world.gateway.own()
    yield world
    await world.gateway.crash()


async def test_a_scheduled_message_is_sent_at_its_time(world: World) -> None:
    [message] = await world.send(Options(send_at=world.clock.now() + timedelta(hours=5), report_wanted=True))
    await world.clock.advance(timedelta(hours=4, minutes=59))
    assert world.carrier.submissions == []
    assert (await world.timeline(message))["steps"][-1]["what"] == "to be sent"
    await world.clock.advance(timedelta(minutes=2))
    assert len(world.carrier.submissions) == 1
    assert (await world.timeline(message))["state"] == "delivered"


async def test_a_scheduled_message_of_a_number_given_up_meanwhile_is_not_sent(world: World) -> None:
    """It may be another's by then."""
    at = world.clock.now() + timedelta(hours=5)
    [message] = await world.send(Options(send_at=at, report_wanted=True))
    await world.gateway.numbers.remove(world.resource, SENDER)
    await world.gateway.numbers.add(ResourceId(uuid4()), SENDER)
    await world.clock.advance(timedelta(hours=6))
    assert world.carrier.submissions == []
    told = await world.timeline(message)
    assert (told["state"], told["code"]) == ("failed", 4009)
    assert [step["reason"] for step in told["steps"] if step["what"] == "blocked"] == [
        "the sender is not the resource's any more"
    ]


async def test_a_scheduled_message_survives_a_crash(world: World) -> None:
    await world.send(Options(send_at=world.clock.now() + timedelta(hours=5)))
    await world.gateway.crash()
    world.gateway = await Gateway(world.gateway.dsn, world.database, world.clock, world.carrier).start()
    await world.clock.advance(timedelta(hours=6))
    assert len(world.carrier.submissions) == 1


async def test_times_that_will_not_do_are_refused(world: World) -> None:
    for options in (
        Options(send_at=world.clock.now() - timedelta(seconds=1)),
        Options(send_at=world.clock.now() + timedelta(days=36)),
        Options(valid_for_s=59),
        Options(valid_for_s=259_201),
    ):
        with pytest.raises(Invalid):
            await world.send(options)


async def test_a_scheduled_message_can_be_taken_back_once(world: World) -> None:
    [message] = await world.send(Options(send_at=world.clock.now() + timedelta(minutes=5), report_wanted=True))
    await world.gateway.outgoing.cancel([world.resource], message)
    timeline = await world.timeline(message)
    assert (timeline["state"], timeline["code"]) == ("failed", 5000)
    assert [step["what"] for step in timeline["steps"]] == ["accepted", "queued", "canceled", "reported"]
    with pytest.raises(Conflict):
        await world.gateway.outgoing.cancel([world.resource], message)
    await world.clock.advance(timedelta(hours=1))
    assert world.carrier.submissions == []


async def test_a_scheduled_message_to_who_opted_out_meanwhile_says_so(world: World) -> None:
    [message] = await world.send(Options(send_at=world.clock.now() + timedelta(minutes=5)))
    await world.gateway.news.arrived(
        "carrier", [Arrival("stop", PHONE, SENDER, "STOP", 1, world.clock.now() + timedelta(minutes=1))]
    )
    await world.clock.advance(timedelta(minutes=6))
    timeline = await world.timeline(message)
    assert (timeline["state"], timeline["code"]) == ("failed", 4007)
    [blocked] = [step for step in timeline["steps"] if step["what"] == "blocked"]
    assert (blocked["code"], blocked["reason"]) == (4007, "the recipient opted out")
    assert "canceled" not in {step["what"] for step in timeline["steps"]}


async def test_what_a_carrier_has_cannot_be_taken_back(world: World) -> None:
    world.carrier.fate = Fate.TAKEN
    [message] = await world.send(Options())
    with pytest.raises(Conflict):
        await world.gateway.outgoing.cancel([world.resource], message)
    with pytest.raises(NotFound):
        await world.gateway.outgoing.cancel([], message)


async def test_after_its_validity_nobody_tries_any_more(world: World) -> None:
    world.carrier.fate = Fate.BUSY
    [message] = await world.send(Options(valid_for_s=120, report_wanted=True))
    await world.clock.advance(timedelta(minutes=3))
    tries = len(world.carrier.submissions)
    assert (await world.timeline(message))["state"] == "failed"
    await world.clock.advance(timedelta(hours=1))
    assert len(world.carrier.submissions) == tries
    assert all(submission.valid_until is not None for submission in world.carrier.submissions)


async def test_validity_counts_from_the_time_to_be_sent(world: World) -> None:
    begins = world.clock.now() + timedelta(hours=2)
    [message] = await world.send(Options(send_at=begins, valid_for_s=60, report_wanted=True))
    await world.clock.advance(timedelta(hours=3))
    assert (await world.timeline(message))["state"] == "delivered"


async def test_a_recipient_keeps_the_sender_of_a_sticky_pool(world: World) -> None:
    await world.gateway.pools.put(world.resource, Pool("news", (SENDER,)))
    await world.send(Options(), "pool:news", PHONES)
    assert set(world.senders().values()) == {SENDER}
    await world.gateway.pools.put(world.resource, Pool("news", (OTHER, SENDER)))
    await world.send(Options(), "pool:news", PHONES)
    assert set(world.senders().values()) == {SENDER}
    await world.gateway.pools.put(world.resource, Pool("news", (OTHER,)))
    await world.send(Options(), "pool:news", PHONES)
    assert set(world.senders().values()) == {OTHER}


async def test_a_pool_uses_all_its_senders(world: World) -> None:
    await world.gateway.pools.put(world.resource, Pool("news", (OTHER, SENDER), sticky=False))
    first = await world.send(Options(), "pool:news", PHONES)
    assert len(set(first)) == len(PHONES)
    assert set(world.senders().values()) == {OTHER, SENDER}


async def test_pools_and_their_senders_are_checked(world: World) -> None:
    with pytest.raises(Invalid) as none:
        await world.send(Options(), "pool:none")
    assert none.value.target == "from"
    for pool in (Pool("news", ()), Pool("News!", (SENDER,)), Pool("news", ("+14255559999",)), Pool("n", ("LANDLINE",))):
        with pytest.raises(Invalid):
            await world.gateway.pools.put(world.resource, pool)


async def test_a_report_is_told_again_as_an_event_of_its_own(world: World) -> None:
    [message] = await world.send(Options(report_wanted=True))
    before = await world.database.fetchval("SELECT count(*) FROM sms_messages WHERE state >= 8")
    await world.gateway.outgoing.push([world.resource], message)
    pushed, after = await world.gateway.outgoing.push_all(
        world.resource, world.clock.now() - timedelta(hours=1), world.clock.now() + timedelta(hours=1), None
    )
    assert (before, pushed, after) == (1, 1, None)
    ever = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert await world.gateway.outgoing.push_all(world.resource, *ever, None) == (1, None)
    world.carrier.fate = Fate.TAKEN
    [waiting] = await world.send(Options(report_wanted=True))
    with pytest.raises(Conflict):
        await world.gateway.outgoing.push([world.resource], waiting)


@pytest.mark.parametrize("rows_read", [1, 2, 3, 7, 8, 20])
async def test_reports_are_told_again_piece_by_piece_also_where_few_were_wanted(world: World, rows_read: int) -> None:
    for wanted in (False, False, True, False, False, False, True):
        await world.send(Options(report_wanted=wanted))
    gateway = world.gateway
    outgoing = Outgoing(world.database, world.clock, gateway.events, gateway.taking_back, rows_read=rows_read)
    span = world.clock.now() - timedelta(hours=1), world.clock.now() + timedelta(hours=1)
    pushed, after = await outgoing.push_all(world.resource, *span, None)
    calls = 1
    while after is not None:
        more, after = await outgoing.push_all(world.resource, *span, after)
        pushed += more
        calls += 1
    assert (pushed, calls) == (2, -(-7 // rows_read))
