"""How many rows a statement reads, which grows with what is stored only where an index is missing, and with what is
dead where nothing tells them apart."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg

from landline.store.database import Database


async def rows_read(database: Database, table: str) -> int:
    """Rows of `table` read so far, by callers one after the other: the pool lends each the same connection."""
    await database.execute("SELECT pg_stat_force_next_flush()")
    return await database.fetchval(
        "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = $1",
        table,
    )


async def index_pages_read(database: Database, table: str) -> int:
    """Pages of its indexes, likewise: a condition that leaves out an index's first column goes through all of it."""
    await database.execute("SELECT pg_stat_force_next_flush()")
    return await database.fetchval(
        "SELECT sum(idx_blks_read + idx_blks_hit)::bigint FROM pg_statio_user_indexes WHERE relname = $1", table
    )


async def pages_read(database: Database, table: str) -> int:
    """Pages of the table itself and of its indexes, likewise."""
    await database.execute("SELECT pg_stat_force_next_flush()")
    return await database.fetchval(
        "SELECT (heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0))::bigint"
        " FROM pg_statio_user_tables WHERE relname = $1",
        table,
    )


@asynccontextmanager
async def backup(dsn: str) -> AsyncGenerator[None]:
    """One that goes on: no state of any row is taken away meanwhile."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        yield
    finally:
        await connection.close()
