"""Taking back messages that wait for a carrier that is down, or slow: no carrier has them, so none gets them."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta

import pytest
from tests.contract.sms.test_send_options import PHONES, SENDER, World
from tests.support.bus import nats_server, processes
from tests.support.cluster import eventually
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.errors import Conflict
from landline.ports.sms_carrier import CrashPolicy
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model.messages import parse_public_id
from landline.services.sms.service import Options, To
from landline.services.sms.taking_back import TakingBack
from landline.store.database import Database


@pytest.fixture(params=[CrashPolicy.RESEND, CrashPolicy.UNKNOWN])
async def world(dsn: str, database: Database, request: pytest.FixtureRequest) -> AsyncGenerator[World]:
    world = World(dsn, database)
    world.carrier.crash_policy = request.param
    await world.gateway.start()
    world.resource = await world.gateway.own()
    yield world
    await world.gateway.crash()


async def nothing_is_left(world: World) -> None:
    """No block stays open because of what was taken back, nor anything in memory."""

    async def closed() -> bool:
        return not await world.database.fetchval(
            "SELECT count(*) FROM sms_blocks WHERE owner IS DISTINCT FROM block_id"
        )

    await eventually(closed)
    assert world.gateway.handover.count == 0
    assert world.gateway.handover.held() == set()


async def test_what_waits_for_a_carrier_that_is_down_is_taken_back(world: World) -> None:
    world.carrier.up = False
    messages = await world.send(Options(report_wanted=True), phones=PHONES[:3])
    await world.clock.advance(timedelta(seconds=10))
    await world.gateway.outgoing.cancel([world.resource], messages[1])
    told = await world.timeline(messages[1])
    assert (told["state"], told["code"]) == ("failed", 5000)
    assert "canceled" in {step["what"] for step in told["steps"]}
    with pytest.raises(Conflict):
        await world.gateway.outgoing.cancel([world.resource], messages[1])
    world.carrier.up = True
    await world.clock.advance(timedelta(minutes=1))
    assert sorted(world.senders()) == sorted([PHONES[0], PHONES[2]])
    assert {(await world.timeline(messages[n]))["state"] for n in (0, 2)} == {"delivered"}
    await nothing_is_left(world)


async def test_all_that_waits_is_taken_back_and_later_messages_go(world: World) -> None:
    world.carrier.up = False
    messages = await world.send(Options(), phones=PHONES[:3])
    await world.clock.advance(timedelta(seconds=3))
    for message in messages:
        await world.gateway.outgoing.cancel([world.resource], message)
    world.carrier.up = True
    [later] = await world.send(Options(), phones=[PHONES[9]])
    await world.clock.advance(timedelta(minutes=1))
    assert list(world.senders()) == [PHONES[9]]
    assert (await world.timeline(later))["state"] == "delivered"
    await nothing_is_left(world)


async def test_very_many_are_taken_back_a_hundred_at_a_time(world: World) -> None:
    """Some wait in this process's queue, some for their time; one is with its carrier."""
    gone = await world.send(Options(), phones=PHONES[:1])
    await world.clock.advance(timedelta(seconds=1))
    world.carrier.up = False
    many = [f"+1206555{number:04}" for number in range(75)]
    waiting = [*await world.send(Options(), phones=many)]
    waiting += await world.send(Options(send_at=world.clock.now() + timedelta(hours=1)), phones=many)
    keys = [key for message in [*gone, *waiting] if (key := parse_public_id(message))]
    assert len(await world.gateway.taking_back.cancel(world.resource, keys)) == 150
    rows = await world.database.fetch("SELECT state, xmin::text AS committed FROM sms_messages WHERE code = 5000")
    assert len(rows) == 150
    assert len({row["committed"] for row in rows}) == 2
    world.carrier.up = True
    await world.clock.advance(timedelta(hours=2))
    assert list(world.senders()) == PHONES[:1]
    await nothing_is_left(world)


async def test_what_a_carrier_may_have_is_not_taken_back(world: World) -> None:
    """Silence: nobody knows whether it was got."""
    world.carrier.fate = Fate.LOST
    [message] = await world.send(Options())
    with pytest.raises(Conflict):
        await world.gateway.outgoing.cancel([world.resource], message)


async def test_what_is_in_doubt_and_waits_again_is_not_taken_back(dsn: str, database: Database) -> None:
    world = World(dsn, database)
    world.carrier.fate = Fate.SILENCE
    await world.gateway.start()
    world.resource = await world.gateway.own()
    [message] = await world.send(Options(valid_for_s=3600))
    world.carrier.up = False  # silent once; its next try finds the carrier down
    await world.clock.advance(timedelta(seconds=30))
    with pytest.raises(Conflict):
        await world.gateway.outgoing.cancel([world.resource], message)
    world.carrier.up, world.carrier.fate = True, Fate.DELIVERED
    await world.clock.advance(timedelta(minutes=2))
    assert (await world.timeline(message))["state"] == "delivered"
    await world.gateway.crash()


async def test_what_is_in_doubt_and_waits_for_its_next_try_is_not_taken_back(dsn: str, database: Database) -> None:
    """Its phone may have it, though its carrier said nothing: who is told that it was canceled sends another."""
    world = World(dsn, database)
    world.carrier.fate = Fate.SILENCE
    await world.gateway.start()
    world.resource = await world.gateway.own()
    messages = await world.send(Options(valid_for_s=3600), phones=PHONES[:2])
    waiting = "SELECT count(*) FROM sms_messages WHERE due_at IS NOT NULL AND claim_id IS NULL"
    while await database.fetchval(waiting) < 2:
        await world.clock.advance(timedelta(seconds=1))
    with pytest.raises(Conflict):
        await world.gateway.outgoing.cancel([world.resource], messages[0])
    keys = [key for message in messages if (key := parse_public_id(message))]
    assert await world.gateway.taking_back.cancel(world.resource, keys) == set()
    world.carrier.fate = Fate.DELIVERED
    await world.clock.advance(timedelta(minutes=2))
    assert {(await world.timeline(message))["state"] for message in messages} == {"delivered"}
    await world.gateway.crash()


async def test_backlog_that_nobody_holds_is_taken_back(dsn: str, database: Database) -> None:
    world = World(dsn, database)
    world.gateway.worker.close()
    world.gateway = Gateway(dsn, database, world.clock, world.carrier, in_hand=4)
    world.resource = await world.gateway.own()
    for phones in (PHONES[:4], PHONES[4:7]):  # no worker runs: what does not fit in memory is nobody's
        outcomes = await world.gateway.sms.send(
            world.resource, SENDER, [To(phone) for phone in phones], "hello", Options()
        )
    assert not world.gateway.handover.room.is_there()
    await world.gateway.outgoing.cancel([world.resource], outcomes[1].message_id or "")
    await world.gateway.start()
    await world.clock.advance(timedelta(minutes=1))
    assert sorted(world.senders()) == sorted([*PHONES[:5], PHONES[6]])
    await nothing_is_left(world)
    await world.gateway.crash()


async def test_what_another_process_has_in_its_queue_it_takes_back_when_asked(dsn: str, database: Database) -> None:
    async with nats_server() as server, processes(server.url) as buses:
        world = World(dsn, database, bus=buses[0])
        world.carrier.up = False
        await world.gateway.start()
        world.resource = await world.gateway.own()
        messages = await world.send(Options(report_wanted=True), phones=PHONES[:3])
        other = await Gateway(dsn, database, world.clock, ScriptedCarrier(world.clock), bus=buses[1]).start()
        await other.outgoing.cancel([world.resource], messages[1])
        told = await world.timeline(messages[1])
        assert (told["state"], told["code"]) == ("failed", 5000)
        assert world.gateway.handover.count == 2
        world.carrier.up = True
        await world.clock.advance(timedelta(minutes=1))
        assert sorted(world.senders()) == sorted([PHONES[0], PHONES[2]])
        with pytest.raises(Conflict):
            await other.outgoing.cancel([world.resource], messages[0])  # it is delivered
        await nothing_is_left(world)
        await other.crash()
        await world.gateway.crash()


async def test_all_is_told_that_another_process_takes_back_of_what_it_is_asked_at_once(
    dsn: str, database: Database
) -> None:
    async with nats_server() as server, processes(server.url) as buses:
        world = World(dsn, database, bus=buses[0])
        world.carrier.up = False
        await world.gateway.start()
        world.resource = await world.gateway.own()
        messages = [parse_public_id(each) for each in await world.send(Options(), phones=PHONES[:3])]
        ids = [message for message in messages if message is not None]
        other = await Gateway(dsn, database, world.clock, ScriptedCarrier(world.clock), bus=buses[1]).start()
        assert await other.taking_back.cancel(world.resource, ids) == set(ids)
        await nothing_is_left(world)
        await other.crash()
        await world.gateway.crash()


async def test_what_another_process_has_handed_over_it_does_not_take_back(dsn: str, database: Database) -> None:
    async with nats_server() as server, processes(server.url) as buses:
        world = World(dsn, database, bus=buses[0])
        world.carrier.fate = Fate.LOST
        await world.gateway.start()
        world.resource = await world.gateway.own()
        [message] = await world.send(Options())
        other = await Gateway(dsn, database, world.clock, ScriptedCarrier(world.clock), bus=buses[1]).start()
        with pytest.raises(Conflict):
            await other.outgoing.cancel([world.resource], message)
        assert (await world.timeline(message))["state"] == "queued"
        await other.crash()
        await world.gateway.crash()


async def test_what_is_held_by_a_process_that_does_not_answer_stays(dsn: str, database: Database) -> None:
    async with nats_server() as server, processes(server.url) as buses:
        world = World(dsn, database)  # it is on no bus
        world.carrier.up = False
        await world.gateway.start()
        world.resource = await world.gateway.own()
        [message] = await world.send(Options())
        other = Gateway(dsn, database, world.clock, ScriptedCarrier(world.clock))
        other.worker.close()
        key = await database.fetchval("SELECT message_id FROM sms_messages")
        taking_back = TakingBack(database, other.canceling, other.owner, buses[0], answer_s=0.0)
        assert await taking_back.cancel(world.resource, [key]) == set()
        world.carrier.up = True
        await world.clock.advance(timedelta(minutes=1))
        assert (await world.timeline(message))["state"] == "delivered"
        await world.gateway.crash()


async def test_what_a_process_that_nobody_reaches_has_in_hand_stays(dsn: str, database: Database) -> None:
    world = World(dsn, database)
    world.carrier.up = False
    await world.gateway.start()
    world.resource = await world.gateway.own()
    [message] = await world.send(Options())
    other = await Gateway(dsn, database, world.clock, ScriptedCarrier(world.clock)).start()
    with pytest.raises(Conflict):
        await other.outgoing.cancel([world.resource], message)
    await other.crash()
    await world.gateway.crash()


async def test_what_could_not_be_taken_back_goes_on(world: World) -> None:
    world.carrier.up = False
    [message] = await world.send(Options(), phones=PHONES[:1])
    await world.clock.advance(timedelta(seconds=3))
    await world.database.execute("ALTER TABLE sms_attempts RENAME COLUMN carrier TO away")
    with pytest.raises(Exception, match="sms_attempts"):
        await world.gateway.outgoing.cancel([world.resource], message)
    await world.database.execute("ALTER TABLE sms_attempts RENAME COLUMN away TO carrier")
    world.carrier.up = True
    await world.clock.advance(timedelta(minutes=1))
    assert (await world.timeline(message))["state"] == "delivered"
    assert len(world.carrier.submissions) == 1


TO_BE_TAKEN_BACK = {
    "put back": (lambda hands, message: hands.put_back(message.carrier, [message]), True),
    "handed over": (lambda hands, message: hands.hand([message]), False),
    "ended": (lambda hands, message: hands.answered([message.submission.key]), False),
    "lost": (lambda hands, message: hands.lose({message.block}), False),
}


@pytest.mark.parametrize(("becomes", "kept"), TO_BE_TAKEN_BACK.values(), ids=TO_BE_TAKEN_BACK)
async def test_what_is_looked_at_is_taken_back_as_soon_as_it_is_known_what_becomes_of_it(
    becomes: Callable[[HandOver, Pending], None], kept: bool, dsn: str, database: Database
) -> None:
    world = World(dsn, database)
    world.gateway.worker.close()
    world.resource = await world.gateway.own()
    hands = world.gateway.handover
    await world.gateway.sms.send(world.resource, SENDER, [To(PHONES[0])], "hello", Options())
    [message] = hands.next(world.carrier.name, 1, world.clock.now())
    both = [asyncio.create_task(world.gateway.canceling._kept_back(message.submission.key)) for _ in range(2)]
    await _turns()
    assert not any(task.done() for task in both)
    becomes(hands, message)
    await _turns()
    if kept:
        assert both[0].result() is message
        assert not both[1].done()
        hands.answered([message.submission.key])
        await _turns()
        assert both[1].result() is None
    else:
        assert [task.result() for task in both] == [None, None]


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
