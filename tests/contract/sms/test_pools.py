"""Sender pools whose numbers come and go: who knows which sender, and who wants nothing more from it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from tests.support.gateway import Gateway
from tests.support.patience import PATIENCE_S
from tests.support.scripted import ScriptedCarrier

from landline.core.errors import Invalid, NotFound, Unauthorized
from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.services.numbers.model import Directions
from landline.services.sms import records_pools
from landline.services.sms.keywords import Keywords, preset
from landline.services.sms.model.pools import Pool
from landline.services.sms.pools import Pools
from landline.services.sms.service import Options, To
from landline.store.changes import Changes
from landline.store.database import Connection, Database

A, B = "+18005550100", "+14255550100"
PHONES = [f"+1425555{number:04}" for number in range(200, 220)]


async def _put(pools: Pools, resource: ResourceId, name: str, *senders: str) -> None:
    await pools.put(resource, Pool(name, senders))


class World:
    def __init__(self, dsn: str, database: Database) -> None:
        clock = DrivenClock()
        self.gateway = Gateway(dsn, database, clock, ScriptedCarrier(clock))
        self.resource: ResourceId

    async def pool(self, *senders: str, sticky: bool = True) -> None:
        await self.gateway.pools.put(self.resource, Pool("news", senders, sticky))

    async def chosen(self) -> set[str]:
        return set(await self.gateway.pools.choose(self.resource, "news", PHONES))

    async def send(self) -> set[int]:
        """Send to all by the pool; the codes of those that ended at once."""
        to = [To(phone) for phone in PHONES]
        before = set(await self._codes())
        await self.gateway.sms.send(self.resource, "pool:news", to, "hello", Options())
        return {code for message, code in (await self._codes()).items() if message not in before}

    async def _codes(self) -> dict[object, int]:
        rows = await self.gateway.database.fetch("SELECT message_id, code FROM sms_messages WHERE code IS NOT NULL")
        return {row["message_id"]: row["code"] for row in rows}


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    await world.gateway.changes.start()
    world.resource = await world.gateway.own()
    yield world
    await world.gateway.crash()


@pytest.mark.parametrize("sticky", [True, False])
async def test_a_pool_sends_by_the_senders_that_are_still_there(world: World, sticky: bool) -> None:
    await world.pool(A, B, sticky=sticky)
    assert await world.chosen() == {A, B}
    await world.gateway.numbers.remove(world.resource, A)
    assert await world.chosen() == {B}
    await world.gateway.numbers.add(world.resource, A)
    assert await world.chosen() == ({B} if sticky else {A, B})
    await world.gateway.numbers.remove(world.resource, A)
    await world.gateway.numbers.remove(world.resource, B)
    with pytest.raises(Unauthorized):
        await world.chosen()


async def test_who_sends_by_a_pool_that_is_not_there_is_told_so(world: World) -> None:
    with pytest.raises(Invalid, match="no sender pool 'news'") as refused:
        await world.send()
    assert refused.value.target == "from"


async def test_only_what_can_send_makes_a_pool(world: World) -> None:
    numbers, deaf, brand = world.gateway.numbers, "+14255550101", "CONTOSO"
    await numbers.add(world.resource, deaf, sms=Directions.INBOUND)
    await numbers.add(world.resource, brand)
    for senders in ((), (A, A), (A, deaf), (A, "+14255550199"), (brand, A)):
        with pytest.raises(Invalid):
            await world.pool(*senders)
    await world.pool(brand, A, sticky=False)
    assert await world.chosen() <= {brand, A}


async def test_a_pool_is_removed_once(world: World) -> None:
    await world.pool(A)
    await world.gateway.pools.remove(world.resource, "news")
    with pytest.raises(Invalid):
        await world.chosen()
    with pytest.raises(NotFound):
        await world.gateway.pools.remove(world.resource, "news")


async def test_a_pool_and_who_knows_its_senders_are_its_resources_and_its_own(world: World) -> None:
    pools, numbers, other = world.gateway.pools, world.gateway.numbers, ResourceId(uuid4())
    theirs = "+14255550111", "+14255550112"
    for number in theirs:
        await numbers.add(other, number)
    phone = PHONES[0]
    first = {(world.resource, "news"): A, (world.resource, "ads"): B, (other, "news"): theirs[0]}
    for (resource, name), sender in first.items():
        await _put(pools, resource, name, sender)
        assert await pools.choose(resource, name, [phone]) == [sender]
    for resource, name in first:
        await _put(pools, resource, name, *((A, B) if resource == world.resource else theirs))
    for (resource, name), sender in first.items():
        assert await pools.choose(resource, name, [phone]) == [sender]
    assert [pool.name for pool in await pools.all_of(world.resource)] == ["ads", "news"]
    await pools.remove(world.resource, "news")
    assert [pool.name for pool in await pools.all_of(world.resource)] == ["ads"]
    assert [pool.name for pool in await pools.all_of(other)] == ["news"]
    assert await pools.choose(other, "news", [phone]) == [theirs[0]]
    assert await pools.choose(world.resource, "ads", [phone]) == [B]


async def test_a_pool_that_is_made_anew_knows_nobody(world: World) -> None:
    for first in (A, B):  # whichever it would choose
        await world.pool(first)
        await world.chosen()
        await world.gateway.pools.remove(world.resource, "news")
        await world.pool(A, B)
        assert await world.chosen() == {A, B}
        await world.gateway.pools.remove(world.resource, "news")


async def test_a_pool_that_is_sticky_no_more_chooses_anew(world: World) -> None:
    await world.pool(A)
    assert await world.chosen() == {A}
    await world.pool(A, B, sticky=False)
    assert await world.chosen() == {A, B}
    await world.pool(A, B)
    assert await world.chosen() == {A}


async def test_who_opted_out_of_the_sender_he_knew_gets_nothing_from_the_one_that_takes_its_place(
    world: World,
) -> None:
    await world.pool(A)
    await world.send()
    await world.gateway.opt_outs.opt_out(world.resource, A, PHONES)
    await world.pool(B)
    assert await world.send() == {4007}
    assert await world.gateway.opt_outs.opted_out(world.resource, B, PHONES) == set(PHONES)
    await world.gateway.opt_outs.opt_in(world.resource, B, PHONES)
    assert await world.send() == set()


class Slow(Database):
    """Gives what was read when it is told to."""

    def __init__(self, real: Database) -> None:
        self._real = real
        self.reads, self.go_on = asyncio.Semaphore(0), asyncio.Event()

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        async with self._real.connection() as connection:
            yield connection
        self.reads.release()
        await self.go_on.wait()


async def test_of_two_requests_that_choose_at_once_both_send_by_the_sender_that_was_written_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool has one sender more for the second, and neither has read yet what the first writes."""

    async def nothing_yet(*_: object) -> dict[str, str]:
        return {}

    monkeypatch.setattr(records_pools, "sticky", nothing_yet)
    await world.pool(A)
    assert await world.chosen() == {A}
    await world.pool(A, B)
    assert await world.chosen() == {A}
    await world.pool(B)
    assert await world.chosen() == {B}


async def test_what_was_read_before_a_change_is_not_remembered(world: World, database: Database) -> None:
    gateway, slow = world.gateway, Slow(database)
    await world.pool(A)
    pools = Pools(slow, gateway.changes, gateway.numbers)
    keywords = Keywords(slow, gateway.changes)
    reading = asyncio.gather(pools.get(world.resource, "news"), keywords.languages(world.resource, A))
    for _ in range(2):
        await asyncio.wait_for(slow.reads.acquire(), PATIENCE_S)
    await world.pool(B)
    await gateway.keywords.set(world.resource, A, [preset("de")])
    slow.go_on.set()
    await reading
    assert (await pools.get(world.resource, "news")).senders == (B,)
    assert [language.language for language in await keywords.languages(world.resource, A)] == ["de"]


async def test_what_changed_while_no_news_came_is_read_again(world: World, database: Database, dsn: str) -> None:
    changes = Changes(dsn)
    pools, keywords = Pools(database, changes, world.gateway.numbers), Keywords(database, changes)

    async def read() -> tuple[tuple[str, ...], str]:
        languages = await keywords.languages(world.resource, A)
        return (await pools.get(world.resource, "news")).senders, languages[0].language

    for sender, language in ((A, "de"), (B, "es")):
        await world.pool(sender)
        await world.gateway.keywords.set(world.resource, A, [preset(language)])
        assert await read() == ((sender,), language)
        await changes.start()
        assert await read() == ((sender,), language)
        await changes.close()


async def test_another_process_hears_of_the_keywords_of_a_number(world: World, database: Database, dsn: str) -> None:
    changes, heard = Changes(dsn), asyncio.Event()
    there = Keywords(database, changes)
    changes.watch("sms.keywords", lambda _: heard.set())
    await changes.start()

    async def shown(number: str) -> list[str]:
        return [language.language for language in await there.languages(world.resource, number)]

    try:
        for languages in (["de"], ["es", "en"]):
            assert await shown(B) == ["en"]
            heard.clear()
            await world.gateway.keywords.set(world.resource, A, [preset(name) for name in languages])
            await asyncio.wait_for(heard.wait(), PATIENCE_S)
            assert await shown(A) == languages
    finally:
        await changes.close()


async def test_another_process_hears_of_a_pool_that_is_set_or_removed(
    world: World, database: Database, dsn: str
) -> None:
    changes, heard = Changes(dsn), asyncio.Event()
    there = Pools(database, changes, world.gateway.numbers)
    changes.watch("sms.pools", lambda _: heard.set())
    await changes.start()
    try:
        for senders in ((A,), (B,)):
            heard.clear()
            await world.pool(*senders)
            await asyncio.wait_for(heard.wait(), PATIENCE_S)
            assert (await there.get(world.resource, "news")).senders == senders
        heard.clear()
        await world.gateway.pools.remove(world.resource, "news")
        await asyncio.wait_for(heard.wait(), PATIENCE_S)
        with pytest.raises(NotFound):
            await there.get(world.resource, "news")
    finally:
        await changes.close()
