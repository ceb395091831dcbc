"""Requests that the database did not take: nothing of them was sent, and so nothing of them counts for limits and caps.
While its disk is full, say, what is asked for is answered 503 and repeated, by the SDKs at once and by themselves."""

from collections.abc import AsyncGenerator

import pytest
from tests.support.gateway import Gateway
from tests.support.scripted import ScriptedCarrier

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.services.sms.model.guard import OVER_LIMIT
from landline.services.sms.model.pools import Pool
from landline.services.sms.model.settings import Document
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, OTHER = "+18005550100", "+14255550100"
PHONES = [f"+1425555{number:04d}" for number in range(200)]
_TRIGGER = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does} RETURN NULL; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON sms_messages FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION no_room()
"""
_FULL = "RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';"
_FULL_CAPS = _TRIGGER.replace("sms_messages", "sms_caps").format(does=_FULL, when="true")
_ENDED = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60);"


class World:
    def __init__(self, dsn: str, database: Database) -> None:
        clock = DrivenClock()
        self.database = database
        self.gateway = Gateway(dsn, database, clock, ScriptedCarrier(clock))
        self.resource: ResourceId

    async def set(self, document: Document) -> None:
        await self.gateway.settings.put(self.resource, document)

    async def fail(self, does: str, when: str = "true") -> None:
        """Each message of which `when` is so fails thus."""
        await self.database.execute(_TRIGGER.format(does=does, when=when))

    async def mend(self) -> None:
        await self.database.execute("DROP TRIGGER no_room ON sms_messages")

    async def send(self, *phones: str, sender: str = SENDER) -> list[int]:
        return [
            each.status for each in await self.gateway.sms.send(self.resource, sender, _to(phones), "hi", Options())
        ]

    async def in_vain(self, *phones: str, sender: str = SENDER) -> None:
        with pytest.raises(Unavailable):
            await self.send(*phones, sender=sender)

    async def blocked(self) -> int:
        """How many were accepted and not sent, as being too many."""
        sql = "SELECT count(*) FROM sms_messages WHERE code = $1"
        return await self.database.fetchval(sql, OVER_LIMIT)


def _to(phones: tuple[str, ...]) -> list[To]:
    return [To(phone) for phone in phones]


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    world.resource = await world.gateway.own()
    await world.gateway.start()
    yield world
    await world.gateway.crash()


ONE_A_MINUTE: Document = {"velocity": {"enabled": True, "perRecipient": {"minute": 1, "hour": 9, "day": 9}}}


async def test_what_did_not_fit_the_disk_is_no_reason_to_take_its_repetition_for_pumping(world: World):
    await world.set(ONE_A_MINUTE)
    await world.fail(_FULL)
    for _ in range(3):
        await world.in_vain(PHONES[0])
    await world.mend()
    assert await world.send(PHONES[0]) == [202]
    assert await world.blocked() == 0
    assert await world.send(PHONES[0]) == [202]
    assert await world.blocked() == 1


@pytest.mark.parametrize("unit", ["messages", "segments"])
async def test_what_did_not_fit_the_disk_takes_nothing_of_a_cap(world: World, unit: str):
    await world.set({"caps": {"perDay": 3, "unit": unit}})
    assert await world.send(PHONES[0]) == [202]
    await world.fail(_FULL)
    for _ in range(3):
        await world.in_vain(*PHONES[:2])
    await world.mend()
    assert await world.send(*PHONES[:3]) == [202] * 3
    assert await world.blocked() == 1


async def test_what_did_not_fit_the_disk_does_not_count_for_the_limits_of_acs(world: World):
    await world.set({"acsLimits": True})
    await world.fail(_FULL)
    for _ in range(3):
        await world.in_vain(*PHONES)
    await world.mend()
    assert await world.send(*PHONES) == [202] * 200


async def test_of_the_senders_of_a_pool_nothing_counts_when_nothing_was_written(world: World):
    await world.gateway.pools.put(world.resource, Pool("both", (SENDER, OTHER)))
    await world.set({"caps": {"perDay": 100}})
    await world.fail(_FULL)
    await world.in_vain(*PHONES[:100], sender="pool:both")
    await world.mend()
    assert await world.send(*PHONES[:100], sender="pool:both") == [202] * 100
    assert await world.blocked() == 0


async def test_what_may_have_been_written_counts(world: World):
    """The connection ended before the answer: it may be with its carrier."""
    await world.set({"caps": {"perDay": 2}})
    await world.fail(_ENDED)
    await world.in_vain(PHONES[0])
    await world.mend()
    assert await world.send(*PHONES[:2]) == [202] * 2
    assert await world.blocked() == 1


async def test_a_cap_that_cannot_be_looked_up_takes_nothing_of_the_limits_of_acs(world: World):
    await world.set({"acsLimits": True, "caps": {"perDay": 10_000}})
    await world.database.execute(_FULL_CAPS)
    for _ in range(3):
        await world.in_vain(*PHONES)
    await world.database.execute("DROP TRIGGER no_room ON sms_caps")
    assert await world.send(*PHONES) == [202] * 200
