"""What waits for a customer is taken by its keys, however much of it there is and whatever PostgreSQL knows of its
table (docs/design/plans.md)."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.support.rows import rows_read

from landline.core.ids import ResourceId
from landline.services.sms import records_esme_out as records
from landline.store.database import Database

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
RESOURCE, US = ResourceId(UUID(int=1)), UUID(int=2)
MANY = 3000


async def wait(database: Database) -> None:
    """So many receipts, for one account."""
    await database.execute(
        "INSERT INTO sms_esme_out (resource_id, system_id, out_id, due_at, message_id, sender, recipient)"
        " SELECT $1, 'shop', gen_random_uuid(), $2, gen_random_uuid(), 'a', 'b' FROM generate_series(1, $3)",
        RESOURCE,
        NOW,
        MANY,
    )


async def test_a_few_of_thousands_are_read_though_postgresql_has_seen_none(database: Database) -> None:
    """It found pages and only dead rows in them, as while a backup goes on and the customer has all he waited for."""
    await database.execute("ALTER TABLE sms_esme_out SET (autovacuum_enabled = false)")
    await database.execute(
        "INSERT INTO sms_esme_accounts (resource_id, system_id, secret, generation, enabled, addresses, binds,"
        " send_window, receipts, texts, created_at) VALUES ($1, 'shop', '', 1, true, '{}', 1, 10, true, '{}', $2)",
        RESOURCE,
        NOW,
    )
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
