"""What waits in great numbers, for a slow number or a carrier that is down, holds up nobody else."""

from collections import Counter
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.support.cluster import eventually
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Arrival, Submission
from landline.services.sms.model.crowds import NO_CROWDS, Crowd
from landline.services.sms.model.pools import Pool
from landline.services.sms.model.routing import Choice, Rule
from landline.services.sms.service import Options, To
from landline.store.database import Database

CAMPAIGN, CODES = "+18005550100", "+14255550100"
PHONE, CARRIERS_PHONE = "+14255559999", "+447700900123"
LIMIT = 200
ON_TIMERS = "SELECT count(*) FROM sms_messages WHERE attempts > 0"


class World:
    def __init__(self, dsn: str, database: Database, processes: int) -> None:
        self.clock = DrivenClock()
        self.slow, self.quick = ScriptedCarrier(self.clock, name="slow"), ScriptedCarrier(self.clock, name="quick")
        self._where = dsn, database
        self.database = database
        self._processes = processes
        self.gateway = self.started()
        self.resource: ResourceId

    def started(self, limit: int = LIMIT, *carriers: ScriptedCarrier) -> Gateway:
        """A process with room for `limit` messages in memory."""
        limit *= 1 if self._processes == 1 else 10
        carriers = carriers or (self.slow, self.quick)
        gateway = Gateway(*self._where, self.clock, *carriers, in_hand=limit, share=lambda: self._processes)
        gateway.rules = [
            Rule(name="abroad", carriers=(Choice("quick"),), priority=10, prefixes=("+44",)),
            Rule(name="all", carriers=(Choice("slow"),)),
        ]
        return gateway

    async def send(self, sender: str, phones: list[str], **options: Any) -> None:
        await self.gateway.sms.send(self.resource, sender, [To(phone) for phone in phones], "hello", Options(**options))

    async def fill(self, count: int = 5 * LIMIT, sender: str = CAMPAIGN) -> None:
        """A campaign of so many texts, which wait."""
        for first in range(0, count, 50):
            await self.send(sender, [f"+1425555{1000 + first + number}" for number in range(50)])
        await self.clock.advance(timedelta(seconds=1))

    async def numbers(self, count: int, resource: ResourceId) -> list[str]:
        """So many numbers of `resource`, each of a text in ten seconds."""
        found = [f"+1206555{number:04}" for number in range(count)]
        for number in found:
            await self.gateway.numbers.add(resource, number)
            await self.gateway.rates.set(resource, number, 0.1)
        return found

    async def fill_by_many(self, senders: list[str], *, each: int, resource: ResourceId) -> None:
        """Texts that wait for the senders' pace; in requests of several."""
        to = [To(f"+1425555{1000 + number}") for number in range(10)]
        for _ in range(0, each, 10):
            for sender in senders:
                await self.gateway.sms.send(resource, sender, to, "hello", Options())
        await self.clock.advance(timedelta(seconds=1))

    def sent(self, phone: str) -> bool:
        return any(each.recipient == phone for each in [*self.slow.submissions, *self.quick.submissions])


@pytest.fixture(params=[1, 2], ids=["alone", "one of two"])
async def world(dsn: str, database: Database, request: pytest.FixtureRequest) -> AsyncGenerator[World]:
    world = World(dsn, database, request.param)
    world.resource = await world.gateway.own()
    await world.gateway.rates.set(world.resource, CAMPAIGN, 0.1)
    await world.gateway.start()
    yield world
    await world.gateway.crash()


async def test_a_text_does_not_wait_behind_a_campaign_of_a_slow_number(world: World) -> None:
    await world.fill()
    await world.send(CODES, [PHONE])
    await world.clock.advance(timedelta(seconds=1))
    assert world.sent(PHONE)


async def test_a_text_does_not_wait_behind_what_waits_for_a_carrier_that_is_down(world: World) -> None:
    world.slow.up = False
    await world.fill(sender=CODES)
    await world.send(CODES, [CARRIERS_PHONE])
    await world.clock.advance(timedelta(seconds=1))
    assert world.sent(CARRIERS_PHONE)


async def test_a_campaign_does_not_wait_behind_another_one_of_a_slow_number(world: World) -> None:
    await world.fill()
    before = len(world.slow.submissions)
    await world.fill(2 * LIMIT, CODES)
    await world.clock.advance(timedelta(seconds=30))
    assert len([each for each in world.slow.submissions[before:] if each.sender == CODES]) == 2 * LIMIT


async def test_a_campaign_does_not_wait_behind_what_waits_for_a_carrier_that_is_down(world: World) -> None:
    world.slow.up = False
    await world.fill(sender=CODES)
    for first in range(0, 2 * LIMIT, 50):
        await world.send(CODES, [f"+4477009{first + number:05}" for number in range(50)])
    await world.clock.advance(timedelta(seconds=30))
    assert len(world.quick.submissions) == 2 * LIMIT


@pytest.mark.parametrize("senders", [1, 12])
async def test_a_text_does_not_wait_behind_campaigns_accepted_by_who_does_not_reach_their_carrier(
    world: World, senders: int
) -> None:
    """Nothing of them is in that one's memory, which could tell that they are crowds."""
    near, numbers = world.gateway, [CAMPAIGN] if senders == 1 else await world.numbers(senders, world.resource)
    carriers = [ScriptedCarrier(world.clock, name=name) for name in ("slow", "quick")]
    for carrier in carriers:
        carrier.reachable = carrier.up = False
    world.gateway = far = await world.started(LIMIT, *carriers).start()
    far.handover.on_left = near.worker.look
    for number in numbers:
        await world.fill(6 * LIMIT // 50 // senders * 50, number)
    await world.send(CODES, [PHONE])
    world.gateway = near

    async def code_sent() -> bool:
        await world.clock.advance(timedelta(milliseconds=1))
        return world.sent(PHONE)

    await eventually(code_sent)
    await far.crash()
    assert near.handover.count <= 2.2 * LIMIT
    await world.clock.advance(timedelta(minutes=5))
    sent = Counter(each.sender for each in world.slow.submissions)
    assert min(sent[number] for number in numbers) >= 15, sent
    assert len({each.key for each in world.slow.submissions}) == len(world.slow.submissions)


async def test_a_code_does_not_wait_behind_a_campaign_that_is_as_quick(world: World) -> None:
    """Both were accepted by who does not reach their carrier, the campaign before. Were it not told apart by then, all
    of it would be put on timers before the code is found behind it; and some of it would be if as many of its blocks
    were claimed as of codes."""
    quick, far = "+12065550100", [ScriptedCarrier(world.clock, name=name) for name in ("slow", "quick")]
    for carrier in far:
        carrier.reachable = carrier.up = False
    await world.gateway.numbers.add(world.resource, quick)
    await world.gateway.crash()
    world.gateway = await world.started(LIMIT, *far).start()
    await world.fill(6 * LIMIT, quick)
    for phone in [*(f"+1425555{number}" for number in range(9001, 9016)), PHONE]:
        await world.send(CODES, [phone])
    await world.gateway.crash()
    world.gateway = await world.started().start()
    while len(world.slow.submissions) < 6 * LIMIT + 16:
        await world.clock.advance(timedelta(seconds=1))
    assert [each.recipient for each in world.slow.submissions].index(PHONE) <= LIMIT
    assert await world.database.fetchval(ON_TIMERS) == 0


async def test_a_request_of_many_crowds_is_committed_at_once(world: World) -> None:
    """As of a pool of numbers, for each of which so much waits that more of it waits in the database."""
    senders = await world.numbers(20, world.resource)
    await world.fill_by_many(senders, each=40, resource=world.resource)
    await world.gateway.pools.put(world.resource, Pool("news", tuple(senders), sticky=False))
    await world.send("pool:news", [f"+1425556{number:04}" for number in range(60)])
    of_it = "FROM sms_messages m JOIN sms_blocks b USING (block_id) WHERE recipient LIKE '+1425556%'"
    rows = await world.database.fetch(f"SELECT m.sender, b.crowd, m.xmin::text AS committed {of_it}")
    assert len({row["sender"] for row in rows if row["crowd"]}) > 10
    assert len({row["crowd"] for row in rows}) > 10
    assert len({row["committed"] for row in rows}) <= 2


async def test_a_request_for_two_carriers_waits_only_for_the_one_that_is_down(world: World) -> None:
    world.slow.up = False
    await world.fill(sender=CODES)
    await world.send(CODES, [PHONE, CARRIERS_PHONE])
    await world.clock.advance(timedelta(seconds=1))
    assert (world.sent(PHONE), world.sent(CARRIERS_PHONE)) == (False, True)
    world.slow.up = True
    await world.clock.advance(timedelta(minutes=2))
    assert world.sent(PHONE)


async def test_after_a_restart_a_campaign_does_not_wait_behind_what_waits_for_a_carrier_that_is_down(
    world: World,
) -> None:
    world.slow.up = False
    await world.fill(sender=CODES)
    await world.gateway.crash()
    world.gateway = world.started()
    await world.gateway.start(alone=True)
    await world.clock.advance(timedelta(seconds=30))
    for first in range(0, 2 * LIMIT, 50):
        await world.send(CODES, [f"+4477009{first + number:05}" for number in range(50)])
    await world.clock.advance(timedelta(seconds=30))
    assert len(world.quick.submissions) == 2 * LIMIT


async def test_texts_do_not_wait_behind_another_resources_campaigns_of_very_many_slow_numbers(world: World) -> None:
    """Of each of which there is less than of a campaign."""
    other = ResourceId(uuid4())
    await world.send(CODES, ["+14255559998"], send_at=world.clock.now() + timedelta(minutes=1))
    await world.fill_by_many(await world.numbers(100, other), each=10, resource=other)
    await world.send(CODES, [PHONE])
    await world.clock.advance(timedelta(seconds=1))
    assert world.sent(PHONE)
    await world.clock.advance(timedelta(minutes=1))
    assert world.sent("+14255559998")
    assert world.gateway.handover.count <= 2.2 * LIMIT


async def test_a_code_does_not_wait_behind_its_own_resources_campaigns_of_many_slow_numbers(world: World) -> None:
    await world.fill_by_many(await world.numbers(40, world.resource), each=40, resource=world.resource)
    await world.send(CODES, [PHONE])
    await world.clock.advance(timedelta(seconds=1))
    assert world.sent(PHONE)


async def test_campaigns_of_several_slow_numbers_all_go_on(world: World) -> None:
    """The first does not have memory for itself, and who has none there is taken up. Of two processes each has half of
    a number's pace."""
    senders = await world.numbers(8, world.resource)
    await world.fill(sender=senders[0], count=2 * LIMIT)
    await world.fill(sender=senders[1], count=2 * LIMIT)
    await world.fill_by_many(senders[2:], each=50, resource=world.resource)
    await world.clock.advance(timedelta(minutes=5))
    sent = Counter(each.sender for each in world.slow.submissions)
    assert len({sent[sender] for sender in senders}) == 1, sent
    assert sent[senders[0]] in (31, 16)


async def test_campaigns_of_very_many_slow_numbers_all_go_on(world: World) -> None:
    """A few of whose requests would fill memory, were they taken up whole."""
    senders = await world.numbers(40, world.resource)
    for sender in senders:
        await world.send(sender, [f"+1425555{1000 + number}" for number in range(100)])
    sent = Counter[str]()
    while min(sent[sender] for sender in senders) < 5:
        assert max(sent.values(), default=0) < 30, sent
        await world.clock.advance(timedelta(seconds=20))
        sent = Counter(each.sender for each in world.slow.submissions)
    assert world.gateway.handover.count <= 2.2 * LIMIT


async def test_a_scheduled_text_is_sent_at_its_time_beside_a_campaign(world: World) -> None:
    await world.send(CODES, [PHONE], send_at=world.clock.now() + timedelta(minutes=5))
    await world.fill()
    await world.clock.advance(timedelta(minutes=4))
    assert not world.sent(PHONE)
    await world.clock.advance(timedelta(minutes=1))
    assert world.sent(PHONE)


async def test_a_text_scheduled_between_two_looks_is_found_by_the_second_when_there_is_a_campaign_by_then(
    world: World,
) -> None:
    """What the first had found beside one was taken for what there is: the text was late by up to a heartbeat."""
    timers = world.gateway.timers
    campaign = {Crowd("slow", (world.resource, CAMPAIGN)): 1}
    assert await timers.next_due({}) is None
    assert await timers.claim(campaign) == 0
    at = world.clock.now() + timedelta(minutes=5)
    await world.send(CODES, [PHONE], send_at=at)
    assert await timers.claim({}) == 0
    assert await timers.next_due(campaign) == at


async def test_a_text_scheduled_is_sent_at_its_time_behind_campaigns_scheduled_for_the_same(world: World) -> None:
    """Of many slow numbers: all of it together is more than memory takes, and due before the text."""
    await world.gateway.crash()
    world.gateway = await world.started(5 * LIMIT).start()
    senders, at = await world.numbers(20, world.resource), world.clock.now() + timedelta(minutes=5)
    for sender in senders:
        for first in range(0, 200, 100):
            await world.send(sender, [f"+1425555{1000 + first + number}" for number in range(100)], send_at=at)
    await world.send(CODES, [PHONE], send_at=at + timedelta(seconds=1))
    await world.clock.advance(timedelta(minutes=5, seconds=1))
    assert world.sent(PHONE)
    await world.clock.advance(timedelta(minutes=1))
    sent = Counter(each.sender for each in world.slow.submissions)
    assert min(sent[sender] for sender in senders) >= 3, sent


async def test_a_text_scheduled_does_not_wait_for_all_of_another_senders_campaign_that_is_due(world: World) -> None:
    """Which its carrier takes as fast as it comes, so that memory never fills."""
    await world.gateway.crash()
    world.gateway, at = world.started(50 * LIMIT), world.clock.now() + timedelta(minutes=5)
    world.gateway.worker.close()  # it does not run
    for first in range(0, 1500, 100):
        await world.send(CAMPAIGN, [f"+1425555{1000 + first + number}" for number in range(100)], send_at=at)
    await world.send(CODES, [PHONE], send_at=at + timedelta(seconds=1))
    await world.clock.advance(timedelta(minutes=5, seconds=1))
    timers = world.gateway.timers
    assert await timers.next_due(NO_CROWDS) == at
    assert [await timers.claim(NO_CROWDS) for _ in range(2)] == [500, 251]
    assert PHONE in {each.submission.recipient for each in world.gateway.handover.waiting("slow")}


async def test_a_text_is_tried_again_beside_a_campaign(world: World) -> None:
    def fate(submission: Submission) -> Fate:
        if submission.recipient != PHONE or [each.recipient for each in world.slow.submissions].count(PHONE) > 1:
            return Fate.DELIVERED
        return Fate.BUSY

    world.slow.fate = fate
    await world.fill()
    await world.send(CODES, [PHONE])
    await world.clock.advance(timedelta(seconds=30))
    assert [each.recipient for each in world.slow.submissions].count(PHONE) == 2


async def test_a_keyword_is_answered_beside_a_campaign(world: World) -> None:
    await world.fill()
    await world.gateway.news.arrived("slow", [Arrival("key", PHONE, CODES, "STOP", 1, world.clock.now())])
    await world.clock.advance(timedelta(seconds=1))
    assert world.sent(PHONE)


async def test_memory_takes_no_more_of_a_campaign_than_it_has_room_for_and_all_of_it_is_sent(world: World) -> None:
    world.slow.up = False
    await world.fill(sender=CODES)
    assert world.gateway.handover.count <= LIMIT + 100
    world.slow.up = True
    await world.clock.advance(timedelta(minutes=2))
    assert len(world.slow.submissions) == 5 * LIMIT
    assert world.gateway.handover.count == 0


@pytest.mark.parametrize("restarted", [False, True])
async def test_of_one_senders_campaign_beyond_memory_no_text_is_put_on_a_timer(world: World, restarted: bool) -> None:
    """It needs none: its blocks are taken up as its carrier takes what they hold."""
    world.slow.up = False
    await world.fill(10 * LIMIT, CODES)
    if restarted:  # memory takes up all it can before the carrier takes any
        await world.gateway.crash()
        world.gateway = await world.started().start()
        await world.clock.advance(timedelta(seconds=20))
    world.slow.up = True
    while len(world.slow.submissions) < 10 * LIMIT:
        await world.clock.advance(timedelta(seconds=1))
    # The dead process's first texts are in blocks of no crowd, as many as came before its queue showed one. Who takes
    # those up fills no more than half of memory with them, for others' sake.
    assert await world.database.fetchval(ON_TIMERS) <= (LIMIT if restarted else 0)


async def test_of_texts_that_were_requests_of_their_own_many_are_taken_up_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.slow.up = False
    for number in range(400):
        await world.send(CODES, [f"+1425555{1000 + number}"])
    await world.gateway.crash()
    world.slow.up, world.gateway = True, world.started(10 * LIMIT)
    claims, claim = list[int](), world.gateway.blocks.claim_fairly

    async def counted(*arguments: Any) -> Any:
        claimed, of_crowds = await claim(*arguments)
        claims.append(len(claimed))
        return claimed, of_crowds

    monkeypatch.setattr(world.gateway.blocks, "claim_fairly", counted)
    await world.gateway.start()
    while len(world.slow.submissions) < 400:
        await world.clock.advance(timedelta(seconds=1))
    assert len([count for count in claims if count]) < 400 / 16, "not eight at once, as of those of a thousand"


async def test_what_waits_in_the_database_ends_when_its_validity_does(world: World) -> None:
    world.slow.up = False
    await world.fill(sender=CODES)
    await world.send(CODES, [PHONE], valid_for_s=60)
    await world.clock.advance(timedelta(seconds=59))
    ended = "SELECT code FROM sms_messages WHERE recipient = $1"
    assert await world.database.fetchval(ended, PHONE) is None
    await world.clock.advance(timedelta(seconds=3))
    assert await world.database.fetchval(ended, PHONE) == 5001
