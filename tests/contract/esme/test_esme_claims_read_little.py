"""What waits for a customer is taken by its keys, however much of it there is and whatever PostgreSQL knows of its
table (docs/design/plans.md)."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.support.rows import backup, pages_read, rows_read

from landline.core.ids import ResourceId, time_ordered
from landline.services.sms import records_esme_out as records
from landline.store.database import Database

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
RESOURCE, US = ResourceId(UUID(int=1)), UUID(int=2)
MANY = 3000


async def account(database: Database) -> None:
    await database.execute(
        "INSERT INTO sms_esme_accounts (resource_id, system_id, secret, generation, enabled, addresses, binds,"
        " send_window, receipts, texts, created_at) VALUES ($1, 'shop', '', 1, true, '{}', 1, 10, true, '{}', $2)",
        RESOURCE,
        NOW,
    )


async def wait(database: Database) -> None:
    """So many receipts, for one account."""
    await database.execute(
        "INSERT INTO sms_esme_out (resource_id, system_id, out_id, due_at, message_id, sender, recipient)"
        " SELECT $1, 'shop', ('00000000' || substr(gen_random_uuid()::text, 9))::uuid, $2, gen_random_uuid(), 'a', 'b'"
        " FROM generate_series(1, $3)",
        RESOURCE,
        NOW,
        MANY,
    )


async def test_a_few_of_thousands_are_read_though_postgresql_has_seen_none(database: Database) -> None:
    """It found pages and only dead rows in them, as while a backup goes on and the customer has all he waited for."""
    await database.execute("ALTER TABLE sms_esme_out SET (autovacuum_enabled = false)")
    await account(database)
    await wait(database)
    await database.execute("DELETE FROM sms_esme_out")
    await database.execute("ANALYZE sms_esme_out")
    await wait(database)
    before = await rows_read(database, "sms_esme_out")
    async with database.connection() as connection:
        claimed = await records.claim(connection, RESOURCE, "shop", US, NOW, LATER, 10)
        outs = [row["out_id"] for row in claimed]
        await records.put_off(connection, RESOURCE, "shop", US, [(out, LATER, 1) for out in outs[:5]])
        await records.delivered(connection, RESOURCE, "shop", US, outs[5:])
        assert await records.give_up(connection, RESOURCE, "shop", UUID(int=2**128 - 1), limit=10) == 10
    assert await rows_read(database, "sms_esme_out") - before < 100
    assert await database.fetchval("SELECT count(*) FROM sms_esme_out") == MANY - 15


async def test_what_is_new_is_found_without_going_through_what_was_brought_during_a_backup(
    database: Database, dsn: str
) -> None:
    """What a customer took is dead, and stays until the backup ends; it was read for each few that came since."""
    last = time_ordered(NOW, bytes(10))
    await account(database)
    async with backup(dsn):
        await wait(database)
        await database.execute("DELETE FROM sms_esme_out")
        async with database.connection() as connection:
            oldest = await records.oldest(connection, RESOURCE, "shop", last)
        await database.execute(
            "INSERT INTO sms_esme_out (resource_id, system_id, out_id, due_at, message_id, sender, recipient)"
            " VALUES ($1, 'shop', $2, $3, gen_random_uuid(), 'a', 'b')",
            RESOURCE,
            last,
            NOW,
        )
        before = await pages_read(database, "sms_esme_out")
        async with database.connection() as connection:
            assert await records.next_due(connection, RESOURCE, "shop", oldest) == NOW
            assert len(await records.claim(connection, RESOURCE, "shop", US, NOW, LATER, 10, oldest)) == 1
        assert await pages_read(database, "sms_esme_out") - before < 100
