"""Old messages and texts go, and nothing else does."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import pytest
from tests.support.gateway import DEFAULT_CARRIER, Gateway
from tests.support.rows import index_pages_read, rows_read
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.errors import Unavailable
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Arrival, Receipt
from landline.services.sms.records_progress import PARKED_FOR
from landline.services.sms.retention import LONGEST_OPEN, Retention
from landline.services.sms.service import Options, To
from landline.store.database import Database, Record

SENDER, PHONE = "+18005550100", "+14255550142"


async def counts(database: Database) -> list[int]:
    tables = ("sms_messages", "sms_submissions", "sms_attempts", "sms_inbound", "sms_optouts")
    return [await database.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


async def test_what_is_old_and_ended_goes(dsn: str, database: Database) -> None:
    clock = DrivenClock()
    carrier = ScriptedCarrier(clock, Fate.DELIVERED)
    gateway = await Gateway(dsn, database, clock, carrier).start()
    resource = await gateway.own()
    later = Options(send_at=clock.now() + timedelta(days=34), valid_for_s=259_200)
    await gateway.sms.send(resource, SENDER, [To(PHONE)], "scheduled", later)
    await gateway.sms.send(resource, SENDER, [To(PHONE)], "hello", Options())
    await clock.advance(timedelta(milliseconds=1))
    carrier.fate = Fate.REFUSED
    await gateway.sms.send(resource, SENDER, [To(PHONE)], "refused", Options())
    await gateway.news.arrived(carrier.name, [Arrival("mo1", PHONE, SENDER, "STOP", 1, clock.now())])
    await clock.advance(timedelta(minutes=1))
    assert await counts(database) == [4, 1, 2, 1, 1]  # the confirmation of STOP is a message, and was refused
    retention = Retention(database, clock, keep=timedelta(days=1))
    assert await retention.prune(clock.now() + timedelta(days=30)) == 0
    assert await counts(database) == [4, 1, 2, 1, 1]
    dropped = await retention.prune(clock.now() + LONGEST_OPEN + timedelta(minutes=1))
    assert dropped == 6
    assert await counts(database) == [1, 0, 0, 0, 1]  # what is still to be sent, and the opt-out
    await gateway.crash()


@pytest.mark.parametrize("statement", range(3))
async def test_what_a_database_that_went_away_left_of_the_old_goes_the_next_time(
    dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch, statement: int
) -> None:
    """Though the resource has nothing newer."""
    clock = DrivenClock()
    carrier = ScriptedCarrier(clock, Fate.REFUSED)
    gateway = await Gateway(dsn, database, clock, carrier).start()
    await gateway.sms.send(await gateway.own(), SENDER, [To(PHONE)], "refused", Options())
    await gateway.news.arrived(carrier.name, [Arrival("mo1", PHONE, SENDER, "hi", 1, clock.now())])
    await clock.advance(timedelta(minutes=1))
    await gateway.crash()
    retention, fetchrow, done = Retention(database, clock, keep=timedelta(days=1)), database.fetchrow, 0

    async def away_after(sql: str, *arguments: object) -> Record | None:
        nonlocal done
        if done == statement:
            raise Unavailable("the database is away")
        done += 1
        return await fetchrow(sql, *arguments)

    old = clock.now() + LONGEST_OPEN + timedelta(minutes=1)
    with monkeypatch.context() as patch:
        patch.setattr(database, "fetchrow", away_after)
        with pytest.raises(Unavailable):
            await retention.prune(old)
    await retention.prune(old)
    assert await counts(database) == [0, 0, 0, 0, 0]


async def test_what_is_old_goes_of_every_resource(dsn: str, database: Database) -> None:
    clock = DrivenClock()
    gateway = await Gateway(dsn, database, clock, ScriptedCarrier(clock)).start()
    to = [To(f"+1425555{number:04}") for number in range(5)]
    await gateway.sms.send(await gateway.own(), SENDER, to, "hello", Options())
    await clock.advance(timedelta(minutes=1))
    await gateway.crash()
    await database.execute("UPDATE sms_messages SET resource_id = message_id")  # to each its own
    retention = Retention(database, clock, keep=timedelta(days=1))
    assert await retention.prune(clock.now() + LONGEST_OPEN + timedelta(minutes=1)) == 5
    assert await counts(database) == [0, 0, 0, 0, 0]


async def test_what_went_already_is_not_gone_through_for_each_portion(database: Database) -> None:
    """Its entries stay in the index until PostgreSQL has vacuumed: of ten million messages the last portions would
    take as long as all others do."""
    clock = DrivenClock()
    await database.execute("ALTER TABLE sms_messages SET (autovacuum_enabled = false)")
    await database.execute(
        "INSERT INTO sms_messages (resource_id, message_id, block_id, accepted_at, report_by, segments, state,"
        " report_wanted, sender, recipient, carrier, body) SELECT $1::uuid, lpad(to_hex(n), 32, '0')::uuid, $1, $2, $2,"
        " 1, 8, true, 'from', 'to', 'first', 'hello' FROM generate_series(1, 20000) AS n",
        UUID(int=1),
        clock.now(),
    )
    before = await index_pages_read(database, "sms_messages")
    retention = Retention(database, clock, keep=timedelta(days=1), at_once=100)
    assert await retention.prune(clock.now()) == 20_000
    assert await index_pages_read(database, "sms_messages") - before < 2000, "a few for each of 200 portions"
    assert (await counts(database))[0] == 0


async def test_a_receipt_waits_for_its_message_for_as_long_as_promised(dsn: str, database: Database) -> None:
    clock = DrivenClock()
    gateway = await Gateway(dsn, database, clock, ScriptedCarrier(clock)).start()
    await gateway.news.reported(DEFAULT_CARRIER, [Receipt("unheard of", True, 2000, clock.now())])
    retention = Retention(database, clock, keep=timedelta(days=90))
    for after, left in ((PARKED_FOR - timedelta(minutes=1), 1), (PARKED_FOR + timedelta(minutes=1), 0)):
        await retention.prune(clock.now() + after)
        assert await database.fetchval("SELECT count(*) FROM sms_parked_receipts") == left
    await gateway.crash()


async def test_receipts_that_nobody_knew_go_in_portions(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of millions at once the database would never get rid: each statement has its time."""
    clock, execute, gone = DrivenClock(), database.execute, list[int]()
    await database.execute(
        "INSERT INTO sms_parked_receipts (carrier, carrier_message_id, parked_at, at, state, code)"
        " SELECT 'evil', n::text, $1, $1, 4, 2000 FROM generate_series(1, 12000) AS n",
        clock.now(),
    )

    async def counted(sql: str, *arguments: object) -> str:
        told = await execute(sql, *arguments)
        gone.append(int(told.rpartition(" ")[2]))
        return told

    monkeypatch.setattr(database, "execute", counted)
    await Retention(database, clock, keep=timedelta(days=90)).prune(clock.now() + PARKED_FOR + timedelta(minutes=1))
    assert (sum(gone), max(gone)) == (12_000, 5000)


@pytest.mark.parametrize("table", ["sms_submissions", "sms_parked_receipts"])
async def test_a_portion_reads_no_more_than_it_drops_though_it_was_planned_for_an_empty_table(
    database: Database, table: str
) -> None:
    """All there was of the old was read and sorted for each 5,000, until PostgreSQL learned how much that is."""
    clock = DrivenClock()
    retention = Retention(database, clock, keep=timedelta(days=1))
    old = clock.now() + LONGEST_OPEN + timedelta(minutes=1)
    for each in ("sms_submissions", "sms_parked_receipts"):
        await database.execute(f"ALTER TABLE {each} SET (autovacuum_enabled = false)")
    await retention.prune(old)
    await database.execute(
        "INSERT INTO sms_submissions (carrier, carrier_message_id, resource_id, message_id, block_id, submitted_at)"
        " SELECT 'c', n::text, b.id, b.id, b.id, $1 FROM generate_series(1, 40000) AS n"
        " CROSS JOIN LATERAL (SELECT lpad(to_hex(n), 32, '0')::uuid) AS b (id)"
        if table == "sms_submissions"
        else "INSERT INTO sms_parked_receipts (carrier, carrier_message_id, parked_at, at, state, code)"
        " SELECT 'c', n::text, $1, $1, 4, 2000 FROM generate_series(1, 40000) AS n",
        clock.now(),
    )
    before = await rows_read(database, table)
    await retention.prune(old)
    assert await database.fetchval(f"SELECT count(*) FROM {table}") == 0
    assert await rows_read(database, table) - before < 2.5 * 40_000


async def test_it_goes_each_hour_also_after_one_in_which_the_database_was_away(
    dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = DrivenClock()
    gateway = await Gateway(dsn, database, clock, ScriptedCarrier(clock, Fate.DELIVERED)).start()
    await gateway.sms.send(await gateway.own(), SENDER, [To(PHONE)], "hello", Options())
    await clock.advance(timedelta(milliseconds=1))
    await gateway.crash()

    async def away(_sql: str) -> None:
        raise Unavailable("the database is away")

    await clock.advance(LONGEST_OPEN - timedelta(minutes=30))
    running = asyncio.create_task(Retention(database, clock, keep=timedelta(days=1)).run())
    await clock.advance(timedelta(minutes=59))
    assert (await counts(database))[0] == 1
    with monkeypatch.context() as patch:
        patch.setattr(database, "fetch", away)
        await clock.advance(timedelta(minutes=2))
    assert (await counts(database))[0] == 1
    await clock.advance(timedelta(hours=1))
    assert (await counts(database))[0] == 0
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
