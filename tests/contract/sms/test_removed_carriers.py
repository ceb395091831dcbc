"""What waits for a carrier that is in no process's configuration any more: its operator took it out, or renamed it."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from tests.support.cluster import eventually
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier
from tests.support.still import StillClock

from landline.core.ids import ResourceId
from landline.ports.sms_carrier import CrashPolicy, Receipt
from landline.services.sms.model.routing import Choice, Rule
from landline.services.sms.service import Options, To
from landline.store.database import Database

FREE = "+14255550100"
PHONES = [f"+1425555{number:04}" for number in range(1000, 1300)]
WHILE = timedelta(minutes=3)
"""After which what waited for a carrier that is gone has gone elsewhere."""


class World:
    """Processes that come and go, with other carriers each time, on one database."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.dsn = dsn
        self.database = database
        self.clock = StillClock()
        self.processes: list[Gateway] = []
        self.resource: ResourceId | None = None

    def carrier(
        self, name: str, fate: Fate = Fate.DELIVERED, *, up: bool = True, policy: CrashPolicy = CrashPolicy.RESEND
    ) -> ScriptedCarrier:
        carrier = ScriptedCarrier(self.clock, fate, name=name, policy=policy)
        carrier.up = up
        return carrier

    async def start(self, *carriers: ScriptedCarrier, rules: Sequence[Rule] = ()) -> Gateway:
        gateway = Gateway(self.dsn, self.database, self.clock, *carriers)
        gateway.worker.beat_s = 0.05
        gateway.rules = list(rules)
        self.processes.append(await gateway.start())
        await self.clock.advance(timedelta(seconds=1))
        return gateway

    async def end(self, gateway: Gateway, *, told_to: bool = False) -> None:
        self.processes.remove(gateway)
        await (gateway.end() if told_to else gateway.crash())

    async def send(self, gateway: Gateway, *phones: str, options: Options | None = None) -> None:
        resource = self.resource = self.resource or await gateway.own()
        await gateway.sms.send(resource, FREE, [To(phone) for phone in phones], "hello", options or Options())
        await self.clock.advance(timedelta(milliseconds=1))

    async def codes(self) -> list[int | None]:
        rows = await self.database.fetch("SELECT code FROM sms_messages ORDER BY code")
        return [row["code"] for row in rows]

    async def ends(self, codes: Sequence[int | None]) -> None:
        """Within the time after which what waited has gone elsewhere."""
        until = self.clock.now() + WHILE

        async def ended() -> bool:
            if self.clock.now() < until:
                await self.clock.advance(timedelta(seconds=5))
            return await self.codes() == list(codes)

        await eventually(ended)


@pytest.fixture
async def world(dsn: str, database: Database):
    world = World(dsn, database)
    yield world
    for gateway in list(world.processes):
        await world.end(gateway)


async def test_what_waited_for_it_goes_through_the_next_carrier_of_its_route(world: World):
    before = await world.start(world.carrier("north", up=False), world.carrier("south", up=False))
    await world.send(before, *PHONES[:3])
    await world.end(before)
    south = world.carrier("south")
    await world.start(south)
    await world.ends([2000] * 3)
    assert len(south.submissions) == 3


async def test_what_waited_for_a_carrier_that_was_renamed_goes_by_its_new_name(world: World):
    rules = [Rule(name="all", carriers=(Choice("north"),))]
    before = await world.start(world.carrier("north", up=False), rules=rules)
    await world.send(before, PHONES[0])
    await world.end(before)
    await world.start(world.carrier("nord"), rules=[Rule(name="all", carriers=(Choice("nord"),))])
    await world.ends([2000])


async def test_what_is_to_be_sent_later_waits_for_its_time_and_goes_through_the_next(world: World):
    before = await world.start(world.carrier("north"), world.carrier("south"))
    at = world.clock.now() + timedelta(hours=1)
    await world.send(before, *PHONES[:2], options=Options(send_at=at))
    await world.end(before)
    south = world.carrier("south")
    await world.start(south)
    await world.clock.advance(timedelta(minutes=50))
    assert south.submissions == []
    await world.clock.advance(timedelta(minutes=9))
    await world.ends([2000] * 2)


async def test_what_was_refused_for_now_is_tried_again_with_the_next(world: World):
    before = await world.start(world.carrier("north", Fate.BUSY))
    await world.send(before, PHONES[0])
    await world.end(before)
    await world.start(world.carrier("south"))
    await world.ends([2000])


async def test_so_does_the_crowd_that_waited_for_it(world: World):
    """A campaign that had no room in memory."""
    north = world.carrier("north", up=False)
    north.reachable = False
    before = await world.start(north)
    await world.send(before, *PHONES)
    assert await world.database.fetchval("SELECT bool_and(crowd IS NOT NULL) FROM sms_blocks")
    await world.end(before)
    await world.start(world.carrier("south"))
    await world.ends([2000] * 300)


async def test_what_another_process_has_still_is_left_to_it(world: World):
    """As during a rolling restart."""
    theirs = world.carrier("north", up=False)
    await world.start(theirs)
    before = await world.start(world.carrier("north", up=False), world.carrier("south", up=False))
    await world.send(before, *PHONES[:2])
    await world.end(before)
    south = world.carrier("south")
    await world.start(south)
    for _ in range(20):
        await world.clock.advance(timedelta(seconds=30))
        for gateway in world.processes:
            await gateway.removed.refresh()
    assert await world.codes() == [None] * 2
    theirs.up = True
    await world.ends([2000] * 2)
    assert south.submissions == []


async def test_after_an_outage_of_all_the_first_to_look_lets_others_say_what_they_have(world: World):
    north = await world.start(world.carrier("north"))
    south = await world.start(world.carrier("south"))
    await world.end(north)
    await world.clock.advance(timedelta(minutes=10))
    await south.removed.refresh()
    assert south.removed.names == []
    await world.start(world.carrier("north"))
    await world.clock.advance(timedelta(seconds=15))
    await south.removed.refresh()
    assert south.removed.names == []


async def test_without_another_carrier_it_waits_and_finds_its_own_again(world: World):
    before = await world.start(world.carrier("north", up=False))
    await world.send(before, PHONES[0], options=Options(valid_for_s=86_400))
    await world.end(before)
    rules = [Rule(name="other", prefixes=("+49",), carriers=(Choice("south"),))]
    between = await world.start(world.carrier("south", up=False), rules=rules)
    await world.clock.advance(timedelta(minutes=10))

    async def told() -> bool:
        await world.clock.advance(timedelta(seconds=5))
        return await between.removed.waiting() == {"north": 1}

    await eventually(told)  # operators
    assert await world.codes() == [None]
    await world.end(between)
    await world.start(world.carrier("north"))
    await world.ends([2000])


@pytest.mark.parametrize(
    ("policy", "handed_over", "code"),
    [(CrashPolicy.RESEND, 1, 2000), (CrashPolicy.UNKNOWN, 0, 9999), (CrashPolicy.QUERY, 0, 9999)],
)
async def test_what_it_may_have_got_before_a_crash_follows_its_crash_policy(
    world: World, policy: CrashPolicy, handed_over: int, code: int
):
    before = await world.start(world.carrier("north", Fate.LOST, policy=policy))
    await world.send(before, PHONES[0])
    await world.end(before)
    south = world.carrier("south")
    await world.start(south)
    await world.ends([code])
    assert len(south.submissions) == handed_over


async def test_what_a_careful_carrier_surely_never_got_goes_through_the_next(world: World):
    """Of what a process that died had in hand for such a carrier, only what says so may have been handed over."""
    before = await world.start(world.carrier("north", policy=CrashPolicy.UNKNOWN, up=False))
    await world.send(before, PHONES[0])
    await world.end(before)
    await world.start(world.carrier("south", policy=CrashPolicy.UNKNOWN))
    await world.ends([2000])


async def test_what_waited_in_a_server_that_was_told_to_end_is_in_no_doubt(world: World):
    """As when one is started anew without the carrier: a careful one may have it, and so it can be taken back."""
    before = await world.start(world.carrier("north", up=False))
    await world.send(before, *PHONES[:2])
    await world.end(before, told_to=True)
    after = await world.start(world.carrier("south", policy=CrashPolicy.UNKNOWN, up=False))
    await world.clock.advance(WHILE)
    message = await world.database.fetchval("SELECT min(message_id::text)::uuid FROM sms_messages")
    assert world.resource is not None
    assert await after.taking_back.cancel(world.resource, [message]) == {message}
    await world.end(after, told_to=True)
    await world.start(world.carrier("south", policy=CrashPolicy.UNKNOWN))
    await world.ends([2000, 5000])


async def test_what_was_on_its_way_then_is(world: World):
    before = await world.start(world.carrier("north", Fate.LOST, policy=CrashPolicy.RESEND))
    await world.send(before, PHONES[0])
    await world.end(before, told_to=True)
    await world.start(world.carrier("south", up=False))
    await world.clock.advance(timedelta(seconds=5))
    assert await world.database.fetchval("SELECT doubt FROM sms_messages") == 1


async def test_who_does_not_have_a_careful_carrier_calls_nothing_of_it_doubtful(world: World):
    """It may find what a dead process had in hand before those who have the carrier do."""
    before = await world.start(world.carrier("north", policy=CrashPolicy.UNKNOWN, up=False))
    await world.send(before, PHONES[0])
    await world.end(before)
    other = await world.start(world.carrier("south", up=False))
    await world.clock.advance(timedelta(seconds=5))
    await world.end(other)
    await world.start(world.carrier("north", policy=CrashPolicy.UNKNOWN))
    await world.ends([2000])


async def test_what_it_took_is_not_sent_again(world: World):
    north = world.carrier("north", Fate.TAKEN)
    before = await world.start(north)
    await world.send(before, *PHONES[:2])
    await world.end(before)
    south = world.carrier("south")
    after = await world.start(south)
    await world.clock.advance(WHILE)
    await after.news.reported("north", [Receipt("north1", True, 2000, world.clock.now())])
    await world.clock.advance(timedelta(hours=13))
    await world.ends([2000, 5002])
    assert south.submissions == []


async def test_what_waits_for_it_can_be_taken_back(world: World):
    before = await world.start(world.carrier("north", policy=CrashPolicy.UNKNOWN, up=False))
    await world.send(before, PHONES[0])
    await world.end(before)
    after = await world.start(world.carrier("south", up=False))
    await world.clock.advance(WHILE)
    message = await world.database.fetchval("SELECT message_id FROM sms_messages")
    assert world.resource is not None
    assert await after.taking_back.cancel(world.resource, [message]) == {message}
