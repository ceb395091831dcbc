"""What is taken up is found by keys, however much else waits and whatever PostgreSQL knows of its tables (plans.md)."""

from collections import Counter
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from tests.support.rows import index_pages_read

from landline.services.sms import records_deferred
from landline.services.sms import records_progress as records
from landline.services.sms.model.crowds import NO_CROWDS, Fairly
from landline.services.sms.model.messages import State
from landline.services.sms.records_deferred import Claim
from landline.services.sms.rota import Rota
from landline.store.database import Connection, Database

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RESOURCE, US = UUID(int=1), UUID(int=2)
MANY = 3000
CAMPAIGN, OTHERS = "+18005550000", [f"+1425555{number:04}" for number in range(20)]


class World:
    """A session that has planned nothing yet, of a database that nobody looks after."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rota = Rota()

    async def messages(self, count: int, sender: str, *, block: UUID | None = None, due: bool = True) -> None:
        await self.connection.execute(
            "INSERT INTO sms_messages (resource_id, message_id, block_id, accepted_at, report_by, segments, state,"
            " report_wanted, sender, recipient, carrier, body, due_at)"
            " SELECT $1, gen_random_uuid(), $2, $3, $4, 1, $5, true, $6, 'to', 'first', 'hello', $7"
            " FROM generate_series(1, $8)",
            RESOURCE, block or uuid4(), NOW, NOW + timedelta(hours=1), State.QUEUED, sender, NOW if due else None,
            count,
        )  # fmt: skip

    async def senders(self, count: int, each: int) -> None:
        """So many senders with so many messages that are due."""
        await self.connection.execute(
            "INSERT INTO sms_messages (resource_id, message_id, block_id, accepted_at, report_by, segments, state,"
            " report_wanted, sender, recipient, carrier, body, due_at)"
            " SELECT $1, gen_random_uuid(), $2, $3, $4, 1, $5, true, 'sender' || s, 'to', 'first', 'hello', $3"
            " FROM generate_series(1, $6) AS s, generate_series(1, $7)",
            RESOURCE, uuid4(), NOW, NOW + timedelta(hours=1), State.QUEUED, count, each,
        )  # fmt: skip

    async def submissions(self, count: int = MANY) -> None:
        """Others' that the same carrier has taken."""
        await self.connection.execute(
            "INSERT INTO sms_submissions (resource_id, message_id, block_id, submitted_at, carrier, carrier_message_id)"
            " SELECT $1, gen_random_uuid(), gen_random_uuid(), $2, 'first', gen_random_uuid()"
            " FROM generate_series(1, $3)",
            RESOURCE, NOW, count,
        )  # fmt: skip

    async def few_are_known(self) -> None:
        """PostgreSQL has seen the table while it held hardly anything."""
        await self.submissions(1)
        await self.connection.execute("ANALYZE sms_submissions")

    async def claim(self, limit: int, fairly: Fairly | None) -> list[str]:
        """The senders of what is claimed."""
        arguments = (self.connection, Claim(uuid4(), US, NOW), limit)
        if fairly is None:
            rows = await records_deferred.claim_deferred(*arguments, carriers=["first"])
        else:
            rows = await self.rota.claim(*arguments, carriers=["first"], fairly=fairly)
        return [row["sender"] for row in rows]

    async def a_block(self) -> UUID:
        """One of ours."""
        return await self.connection.fetchval("SELECT block_id FROM sms_blocks WHERE owner = $1 LIMIT 1", US)

    async def read(self, table: str) -> int:
        """Rows of `table` that this transaction has read so far."""
        return await self.connection.fetchval(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = $1", table
        )


@pytest.fixture
async def world(database: Database) -> AsyncGenerator[World]:
    for table in ("sms_messages", "sms_submissions", "sms_blocks"):
        await database.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    async with database.transaction() as connection:
        yield World(connection)


@pytest.mark.parametrize("fairly", [None, Fairly(NO_CROWDS, of_each=10)], ids=["plainly", "fairly"])
async def test_what_a_carrier_has_is_not_read_for_what_is_due(world: World, fairly: Fairly | None):
    await world.few_are_known()
    assert await world.claim(10, fairly) == []
    await world.messages(20, CAMPAIGN)
    await world.submissions()
    assert len(await world.claim(10, fairly)) == 10
    assert await world.read("sms_submissions") < 50


async def test_what_a_carrier_has_is_not_read_for_a_block(world: World):
    block = uuid4()
    await world.few_are_known()
    await records.unfinished(world.connection, [block])
    await world.messages(20, CAMPAIGN, block=block, due=False)
    await world.submissions()
    assert len((await records.unfinished(world.connection, [block]))[block]) == 20
    assert await world.read("sms_submissions") < 50


@pytest.mark.parametrize("known", [False, True], ids=["of empty tables", "of a campaign"])
async def test_a_campaign_that_is_due_is_not_read_for_each_other_sender(world: World, known: bool):
    """Though PostgreSQL believes that all there is is the campaign's."""
    everybody = Fairly(NO_CROWDS, of_each=500)
    if not known:
        await world.claim(100, everybody)
        await world.rota.next_due(world.connection, NOW, ["first"], NO_CROWDS)
    await world.messages(MANY, CAMPAIGN)
    if known:
        await world.connection.execute("ANALYZE sms_messages")
    for sender in OTHERS:
        await world.messages(1, sender)
    before = await world.read("sms_messages")
    assert await world.rota.next_due(world.connection, NOW, ["first"], NO_CROWDS) == NOW
    claimed = await world.claim(100, everybody)
    assert (len(claimed), {*OTHERS} - {*claimed}) == (24, set()), (
        "of the campaign as much as were there for each sender"
    )
    assert await world.read("sms_messages") - before < 10 * len(claimed)


@pytest.mark.parametrize("known", [False, True], ids=["of empty tables", "of a campaign"])
async def test_a_campaign_that_is_due_is_not_read_for_some_of_it(world: World, known: bool):
    if not known:
        await world.claim(10, None)
    await world.messages(MANY, CAMPAIGN)
    if known:
        await world.connection.execute("ANALYZE sms_messages")
    before = await world.read("sms_messages")
    assert len(await world.claim(10, None)) == 10
    assert await world.read("sms_messages") - before < 100


async def test_thousands_of_senders_are_looked_up_once_for_many_claims(world: World):
    """And not all of them again for each five hundred texts."""
    senders = 2000
    await world.senders(senders, 3)
    everybody = Fairly(NO_CROWDS, of_each=500)
    claimed = await world.claim(500, everybody)
    first = await world.read("sms_messages")
    for _ in range(7):
        claimed += await world.claim(500, everybody)
    assert Counter(claimed) == {f"sender{number}": 2 for number in range(1, senders + 1)}, "nobody's third before it"
    assert await world.read("sms_messages") - first < 8 * 7 * 500


async def test_who_has_one_text_is_found_without_reading_on_behind_it(database: Database):
    """Among thousands the rest of the index, of each."""
    await database.execute("ALTER TABLE sms_messages SET (autovacuum_enabled = false)")
    async with database.transaction() as connection:
        await World(connection).senders(MANY, 1)
    before = await index_pages_read(database, "sms_messages")
    async with database.connection() as connection:
        assert len(await World(connection).claim(500, Fairly(NO_CROWDS, of_each=500))) >= 250
    assert await index_pages_read(database, "sms_messages") - before < 8 * MANY


async def test_of_the_blocks_in_our_hands_only_those_asked_for_are_read(world: World):
    """Where each text was a request of its own they are ten thousand; PostgreSQL may believe that we hold none."""
    insert = (
        "INSERT INTO sms_blocks (block_id, owner, due_at) SELECT gen_random_uuid(), $1, $2 FROM generate_series(1, $3)"
    )
    await world.connection.execute(insert, None, NOW, MANY)
    await world.connection.execute("ANALYZE sms_blocks")
    await world.connection.execute(insert, US, NOW, MANY)
    await world.messages(10, CAMPAIGN, block=await world.a_block(), due=False)
    rows = await world.connection.fetch("SELECT resource_id, message_id FROM sms_messages")
    keys = [(row["resource_id"], row["message_id"]) for row in rows]
    before = await world.read("sms_blocks")
    await records_deferred.give_back(world.connection, [await world.a_block()], US, NOW)
    marked = await records.mark(world.connection, [(key, "first", 0, 1) for key in keys], US)
    await records.leave(world.connection, keys, NOW, US)
    assert len(marked) == 10
    assert await world.connection.fetchval("SELECT count(*) FROM sms_messages WHERE attempts = 1") == 10
    assert await world.read("sms_blocks") - before < 100


async def test_the_blocks_of_what_is_asked_about_are_found_by_key_though_postgresql_has_seen_none(world: World):
    """It found pages and only dead rows in them, as while a backup goes on; by then, or since, there are thousands."""
    insert = "INSERT INTO sms_blocks SELECT gen_random_uuid(), $1, $2 FROM generate_series(1, $3)"
    await world.connection.execute(insert, None, NOW, MANY)
    await world.connection.execute("DELETE FROM sms_blocks")
    await world.connection.execute("ANALYZE sms_blocks")
    await world.connection.execute(insert, None, NOW, MANY)
    await world.connection.execute(insert, US, NOW, 1)
    await world.messages(1, CAMPAIGN, block=await world.a_block(), due=False)
    (row,) = await world.connection.fetch("SELECT resource_id, message_id FROM sms_messages")
    key, message = (row["resource_id"], row["message_id"]), row["message_id"]
    before = await world.read("sms_blocks")
    assert await records.holders(world.connection, RESOURCE, [message]) == {message: US}
    assert await records.cancel(world.connection, RESOURCE, [message], NOW, US, [message]) == {message}
    assert len(await records.mark(world.connection, [(key, "first", 0, 1)], US)) == 1
    await records.leave(world.connection, [key], NOW, US)
    assert await world.connection.fetchval("SELECT attempts FROM sms_messages") == 1
    assert await world.read("sms_blocks") - before < 100


async def test_who_holds_a_message_is_found_without_all_that_is_held(world: World):
    """Of blocks PostgreSQL has seen none, as above, but it knows that there are many messages."""
    insert = "INSERT INTO sms_blocks SELECT gen_random_uuid(), $1, $2 FROM generate_series(1, $3)"
    await world.connection.execute(insert, US, NOW, MANY)
    await world.connection.execute("DELETE FROM sms_blocks")
    await world.connection.execute("ANALYZE sms_blocks")
    await world.connection.execute(insert, UUID(int=3), NOW, MANY)
    await world.connection.execute(insert, US, NOW, 1)
    ours = await world.connection.fetchval("SELECT block_id FROM sms_blocks WHERE owner = $1", US)
    await world.messages(MANY, CAMPAIGN, due=False)
    await world.connection.execute("ANALYZE sms_messages")
    await world.messages(1, OTHERS[0], block=ours, due=False)
    message = await world.connection.fetchval("SELECT message_id FROM sms_messages WHERE block_id = $1", ours)
    before = [await world.read(table) for table in ("sms_blocks", "sms_messages")]
    assert await records.holders(world.connection, RESOURCE, [message]) == {message: US}
    after = [await world.read(table) for table in ("sms_blocks", "sms_messages")]
    assert sum(after) - sum(before) < 10
