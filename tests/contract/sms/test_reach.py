"""A process that has lost a carrier to others: what waits for it here goes to them at once."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from tests.support.cluster import eventually
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier
from tests.support.still import StillClock

from landline.core.errors import Unavailable
from landline.core.phone import SenderKind
from landline.ports.sms_carrier import Receipt, Submission, Submitted
from landline.services.sms.model.routing import Choice, Rule
from landline.services.sms.service import Options, To
from landline.store.database import Database

PACED, FREE = "+18005550100", "+14255550100"
PHONES = [f"+1425555{number:04}" for number in range(4)]


class World:
    """Two processes, each with its own way to the same carrier."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.clock = StillClock()
        self.database = database
        self.ours, self.theirs = ScriptedCarrier(self.clock), ScriptedCarrier(self.clock)
        self.second, self.their_second = (ScriptedCarrier(self.clock, name="second") for _ in range(2))
        self.here, self.there = (
            Gateway(dsn, database, self.clock, *carriers, sender_rates={SenderKind.TOLL_FREE: 0.05})
            for carriers in ((self.ours, self.second), (self.theirs, self.their_second))
        )
        for gateway in (self.here, self.there):
            gateway.rules = [Rule(name="all", carriers=(Choice("carrier"), Choice("second")))]

    async def start(self) -> None:
        self.theirs.reachable = self.theirs.up = False
        for gateway in (self.here, self.there):
            gateway.worker.beat_s = 0.05
            await gateway.start()
        self.resource = await self.here.own()

    async def send(self, *phones: str, sender: str = PACED) -> None:
        await self.here.sms.send(self.resource, sender, [To(phone) for phone in phones], "hello", Options())
        await self.clock.advance(timedelta(milliseconds=1))

    async def lose(self) -> None:
        """The other process has the carrier now."""
        self.ours.reachable = self.ours.up = False
        self.theirs.reachable = self.theirs.up = True
        self.here.worker.reached()
        self.there.worker.reached()

    async def there_looks(self) -> None:
        """The other process has looked for work."""
        self.theirs.submissions.clear()
        self.there.worker.look()
        await self.clock.advance(timedelta(milliseconds=1))

    async def there_has(self, count: int) -> None:
        async def has() -> bool:
            await self.clock.advance(timedelta(milliseconds=1))
            return self.there.handover.count + len(self.theirs.submissions) == count

        await eventually(has)


@pytest.fixture
async def world(dsn: str, database: Database):
    world = World(dsn, database)
    await world.start()
    yield world
    await world.here.crash()
    await world.there.crash()


async def test_what_waits_for_its_turn_goes_to_the_process_that_has_the_carrier(world: World):
    await world.send(*PHONES)  # one goes, its sender's pace keeps back the rest
    began = world.clock.now()
    await world.lose()
    await world.there_has(3)
    assert world.here.handover.count == 0
    assert world.clock.now() - began < timedelta(seconds=5)
    assert world.second.submissions == []


async def test_so_does_what_has_a_timer_of_its_own(world: World):
    await world.send(PHONES[0])
    later = Options(send_at=world.clock.now() + timedelta(seconds=1))
    await world.here.sms.send(world.resource, PACED, [To(PHONES[1])], "hello", later)
    await world.clock.advance(timedelta(seconds=2))
    assert world.here.handover.count == 1, "it waits for its sender's pace"
    await world.lose()
    await world.there_has(1)
    assert world.here.handover.count == 0
    assert len(world.theirs.submissions) == 1, "its own bucket is full"


async def test_what_nobody_reached_for_a_while_is_due_for_who_does(world: World):
    """Whoever looked after it meanwhile, for it might have become too late, has not put it off for others."""
    world.ours.reachable = world.ours.up = False
    world.here.worker.reached()
    later = Options(send_at=world.clock.now() + timedelta(seconds=1))
    await world.here.sms.send(world.resource, FREE, [To(PHONES[0])], "hello", later)
    await world.clock.advance(timedelta(seconds=17))
    assert world.theirs.submissions == []
    await world.lose()
    await world.clock.advance(timedelta(seconds=1))
    assert len(world.theirs.submissions) == 1


async def test_what_is_on_its_way_stays_until_it_is_answered(world: World):
    world.ours.fate = Fate.LOST
    await world.send(*PHONES[:2])
    (sent,) = world.ours.submissions
    await world.lose()
    await world.there_looks()
    assert world.here.handover.count == 2
    await world.here.news.submitted("carrier", [Submitted(sent.key, "late")])
    await world.there_has(1)
    assert world.theirs.submissions == [] or world.theirs.submissions[0].key != sent.key


async def test_what_is_being_handed_over_meanwhile_goes_to_them_too(world: World, monkeypatch: pytest.MonkeyPatch):
    async def too_late(_submissions: Sequence[Submission]) -> None:
        monkeypatch.undo()
        await world.lose()
        raise Unavailable("no connection is left")

    monkeypatch.setattr(world.ours, "submit", too_late)
    await world.send(*PHONES[:2], sender=FREE)
    await world.there_has(2)
    assert world.here.handover.count == 0
    assert sorted(each.recipient for each in world.theirs.submissions) == PHONES[:2]
    assert world.ours.submissions == world.second.submissions == world.their_second.submissions == []


async def test_a_carrier_that_others_have_is_not_down(world: World):
    """It does not fail over what this process cannot hand over any more."""
    world.ours.up = False
    await world.send(PHONES[0], sender=FREE)
    assert len(world.second.submissions) + len(world.their_second.submissions) == 1
    world.ours.up = True
    await world.send(PHONES[1], PHONES[2])
    await world.lose()
    await world.there_has(2)
    assert len(world.second.submissions) + len(world.their_second.submissions) == 1


async def _sent_by_both(world: World) -> list[str]:
    """One request of which each process reaches the carrier of a half; the phones of the other's half."""
    world.second.reachable = world.second.up = False
    abroad = [f"+44770090{number:04}" for number in range(2)]
    for gateway in (world.here, world.there):
        gateway.rules.insert(0, Rule(name="abroad", priority=1, prefixes=("+44",), carriers=(Choice("second"),)))
    await world.send(PHONES[0], abroad[0], PHONES[1], abroad[1], sender=FREE)

    async def both() -> bool:
        await world.clock.advance(timedelta(milliseconds=1))
        return len(world.ours.submissions) + len(world.their_second.submissions) == 4

    await eventually(both)
    return abroad


async def test_one_request_for_carriers_of_several_processes_is_handed_over_by_each(world: World):
    """Though no process reaches all of its carriers."""
    abroad = await _sent_by_both(world)
    assert sorted(each.recipient for each in world.ours.submissions) == PHONES[:2]
    assert sorted(each.recipient for each in world.their_second.submissions) == abroad
    assert world.theirs.submissions == world.second.submissions == []


@pytest.mark.parametrize("first", ["carrier", "second"])
@pytest.mark.parametrize("brings", ["here", "there"])
async def test_what_one_carrier_of_a_request_delivers_ends_nothing_of_the_others(world: World, first: str, brings: str):
    """Whichever process brings it: the other half is looked after until it has waited too long for its reports."""
    for carrier in (world.ours, world.theirs, world.second, world.their_second):
        carrier.fate = Fate.TAKEN
    await _sent_by_both(world)
    told = [Receipt(f"{first}{number}", True, 2000, world.clock.now()) for number in (1, 2)]
    gateway: Gateway = getattr(world, brings)
    await gateway.news.reported(first, told)

    async def ended() -> bool:
        await world.clock.advance(timedelta(days=1))
        rows = await world.database.fetch("SELECT code FROM sms_messages ORDER BY code")
        return [row["code"] for row in rows] == [2000, 2000, 5002, 5002]

    await eventually(ended)


async def nobody_reaches(world: World) -> None:
    """The carrier of all texts."""
    for gateway in (world.here, world.there):
        gateway.rules = [Rule(name="all", carriers=(Choice("carrier"),))]
    for carrier in (world.ours, world.theirs):
        carrier.reachable = carrier.up = False
    world.here.worker.reached()


VERSIONS = "SELECT m.message_id, m.xmin::text, m.due_at FROM sms_messages m ORDER BY m.message_id"


async def test_what_is_due_at_others_carriers_is_not_touched_until_it_ends(world: World):
    """However much it is and however long it waits there: a campaign scheduled for one instant, say."""
    await nobody_reaches(world)
    later = world.clock.now() + timedelta(seconds=1)
    await world.here.sms.send(
        world.resource, FREE, [To(phone) for phone in PHONES], "hello", Options(send_at=later, valid_for_s=3600)
    )
    before = await world.database.fetch(VERSIONS)
    for _ in range(6):
        await world.clock.advance(timedelta(minutes=5))
        world.here.worker.look()
    assert await world.database.fetch(VERSIONS) == before
    await world.clock.advance(timedelta(minutes=35))
    ended = await world.database.fetch("SELECT code FROM sms_messages")
    assert [row["code"] for row in ended] == [5001] * len(PHONES)


async def test_a_crowd_at_others_carrier_is_not_claimed_until_some_of_it_ends(world: World):
    await nobody_reaches(world)
    phones = [f"+1425555{number:04}" for number in range(1000, 1300)]
    await world.here.sms.send(world.resource, FREE, [To(phone) for phone in phones], "hello", Options(valid_for_s=3600))
    blocks = "SELECT block_id, xmin::text, owner, due_at, crowd FROM sms_blocks"
    before = await world.database.fetch(blocks)
    assert [row["crowd"] is None for row in before] == [False]
    for _ in range(6):
        await world.clock.advance(timedelta(minutes=5))
        world.here.worker.look()
    assert await world.database.fetch(blocks) == before
    await world.clock.advance(timedelta(minutes=31))
    assert await world.database.fetchval("SELECT count(*) FROM sms_messages WHERE code = 5001") == len(phones)
