"""What the supervisor of several processes does to the database before the first of them starts."""

from datetime import UTC, datetime
from uuid import uuid4

from landline.app.config import Config
from landline.engines.smpp import leases
from landline.services.sms import records_esme_out
from landline.store.blocks import Blocks
from landline.store.database import Database
from landline.store.migrations import migrate
from landline.store.processes import forget_all

_BLOCKS = ("sms_blocks", "events_batches", "events_blocks")


async def prepare(config: Config, dsn: str) -> None:
    """Migrate; where the data directory's lock says that nobody else is on the database, what earlier processes held is
    for the new ones at once. Raises `Unavailable`, `SchemaMismatch`."""
    database = await Database.connect(dsn, size=2)
    try:
        await migrate(database)
        if config.dsn is None:
            await forget_all(database)
            await leases.forget_all(database)
            for table in _BLOCKS:
                await Blocks(database, table, uuid4()).inherit(datetime.now(UTC))
            async with database.connection() as connection:
                await records_esme_out.inherit(connection, uuid4(), datetime.now(UTC))
    finally:
        await database.close()
