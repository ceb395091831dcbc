"""A request that is committed in parts, because its senders or carriers are several: what is told of each recipient is
what became of it."""

from collections.abc import AsyncGenerator
from uuid import UUID

import pytest
from tests.support.gateway import Gateway
from tests.support.scripted import ScriptedCarrier

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.services.sms.model import details
from landline.services.sms.model.guard import OVER_LIMIT
from landline.services.sms.model.messages import Outcome
from landline.services.sms.model.pools import Pool
from landline.services.sms.model.routing import Choice, Rule
from landline.services.sms.service import Options, To
from landline.store.database import Database

CAMPAIGN, CODES = "+18005550100", "+14255550100"
HOME, ABROAD = "+14255559999", "+447700900123"
IDS = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222")
LIMIT = 100
_FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON sms_messages FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION full_disk()
"""


class World:
    def __init__(self, dsn: str, database: Database) -> None:
        self.clock = DrivenClock()
        self.slow, self.quick = ScriptedCarrier(self.clock, name="slow"), ScriptedCarrier(self.clock, name="quick")
        self.database = database
        self.gateway = Gateway(dsn, database, self.clock, self.slow, self.quick, in_hand=LIMIT)
        self.gateway.rules = [
            Rule(name="abroad", carriers=(Choice("quick"),), priority=10, prefixes=("+44",)),
            Rule(name="all", carriers=(Choice("slow"),)),
        ]
        self.resource: ResourceId

    async def send(self, sender: str, *phones: str, ids: tuple[str, ...] = ()) -> list[Outcome]:
        first_sent = self.clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT")
        given = [(each, first_sent) for each in ids] or [(None, None)] * len(phones)
        to = [To(phone, *known) for phone, known in zip(phones, given, strict=True)]
        return await self.gateway.sms.send(self.resource, sender, to, "hello", Options())

    async def stored(self) -> set[str]:
        rows = await self.database.fetch("SELECT recipient FROM sms_messages WHERE recipient IN ($1, $2)", HOME, ABROAD)
        return {row["recipient"] for row in rows}

    async def passes(self, phone: str) -> bool:
        """Whether a text to a phone that got none before is within the caps."""
        await self.send(CODES, phone)
        code = await self.database.fetchval("SELECT code FROM sms_messages WHERE recipient = $1", phone)
        assert code in (None, details.NO_ERROR, OVER_LIMIT)  # it may be delivered by now
        return code != OVER_LIMIT

    async def crowd(self, at_once: int = 50) -> None:
        """So much waits at the slow carrier that more of it waits in the database."""
        self.slow.up = False
        for first in range(0, 4 * LIMIT, at_once):
            await self.send(CODES, *(f"+1425555{1000 + first + number}" for number in range(at_once)))

    async def fail(self, when: str) -> None:
        """The database has no room for messages of which this is so."""
        await self.database.execute(_FULL.format(when=when))


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    world.resource = await world.gateway.own()
    await world.gateway.start()
    yield world
    await world.gateway.crash()


async def test_of_two_carriers_each_recipient_is_told_whether_its_text_was_accepted(world: World) -> None:
    await world.crowd()
    await world.fail(f"new.carrier = 'slow' AND new.recipient = '{HOME}'")
    abroad, home = await world.send(CODES, ABROAD, HOME)
    assert (abroad.status, home.status, home.message_id, home.repeatable) == (202, 503, None, None)
    assert home.error == "The database was away for it, though not for others of the request: send it again."
    assert await world.stored() == {ABROAD}
    assert abroad.message_id


async def test_a_request_that_can_be_repeated_is_to_be_repeated_and_nothing_of_it_is_sent_twice(world: World) -> None:
    """As the SDKs do by themselves, which give each recipient an id."""
    await world.crowd()
    await world.fail(f"new.carrier = 'slow' AND new.recipient = '{HOME}'")
    with pytest.raises(Unavailable):
        await world.send(CODES, ABROAD, HOME, ids=IDS)
    assert await world.stored() == {ABROAD}
    await world.database.execute("DROP TRIGGER full_disk ON sms_messages")
    assert [outcome.status for outcome in await world.send(CODES, ABROAD, HOME, ids=IDS)] == [202, 202]
    assert await world.stored() == {ABROAD, HOME}
    assert await world.database.fetchval("SELECT count(*) FROM sms_messages WHERE recipient = $1", ABROAD) == 1


async def test_what_was_written_in_part_counts_though_it_is_to_be_repeated(world: World) -> None:
    await world.crowd()
    await world.gateway.settings.put(world.resource, {"caps": {"perDay": 2}})
    await world.fail(f"new.carrier = 'slow' AND new.recipient = '{HOME}'")
    with pytest.raises(Unavailable):
        await world.send(CODES, ABROAD, HOME, ids=IDS)
    await world.database.execute("DROP TRIGGER full_disk ON sms_messages")
    assert await world.passes("+447700900124")
    assert not await world.passes("+447700900125")


@pytest.mark.parametrize(("sender", "others"), [(CODES, 1), ("pool:news", 20)], ids=["carriers", "senders"])
async def test_what_was_not_written_counts_once_however_often_it_is_asked_for(
    world: World, sender: str, others: int
) -> None:
    await world.gateway.pools.put(world.resource, Pool("news", (CAMPAIGN, CODES), sticky=False))
    phones = HOME, *(f"+4477009001{number:02}" for number in range(others))
    ids = tuple(str(UUID(int=number)) for number in range(1, 1 + len(phones)))
    await world.crowd()
    await world.gateway.settings.put(world.resource, {"caps": {"perDay": len(phones) + 1}})
    await world.fail(f"new.recipient = '{HOME}'")
    for _ in range(3):
        with pytest.raises(Unavailable):
            await world.send(sender, *phones, ids=ids)
    await world.database.execute("DROP TRIGGER full_disk ON sms_messages")
    assert {outcome.status for outcome in await world.send(sender, *phones, ids=ids)} == {202}
    assert await world.database.fetchval("SELECT code FROM sms_messages WHERE recipient = $1", HOME) is None
    assert await world.passes("+447700900201")
    assert not await world.passes("+447700900202")


async def test_of_a_pools_senders_each_recipient_is_told_whether_its_text_was_accepted(world: World) -> None:
    """One's wait in the database, and are committed without the other's."""
    await world.gateway.pools.put(world.resource, Pool("news", (CAMPAIGN, CODES), sticky=False))
    world.gateway.rules.append(Rule(name="news", carriers=(Choice("quick"),), priority=20, senders=(CAMPAIGN,)))
    await world.crowd(LIMIT * 3 // 10)
    await world.fail(f"new.sender = '{CODES}' AND new.recipient LIKE '+1206%'")
    outcomes = await world.send("pool:news", *(f"+1206555{number:04}" for number in range(40)))
    assert {outcome.status for outcome in outcomes} == {202, 503}
    rows = await world.database.fetch("SELECT recipient FROM sms_messages WHERE recipient LIKE '+1206%'")
    assert {row["recipient"] for row in rows} == {outcome.to for outcome in outcomes if outcome.status == 202}


async def test_what_was_accepted_in_no_part_is_refused_as_a_whole(world: World) -> None:
    await world.crowd()
    await world.fail(f"new.recipient IN ('{HOME}', '{ABROAD}')")
    with pytest.raises(Unavailable):
        await world.send(CODES, ABROAD, HOME)
    assert await world.stored() == set()
