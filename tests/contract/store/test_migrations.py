"""Bringing a database to this package's schema, however large it is."""

import asyncio
from contextlib import suppress

import pytest
from tests.support.cluster import eventually

from landline.core.errors import Unavailable
from landline.store import migrations
from landline.store.database import Database
from landline.store.migrations import Migration


async def test_a_migration_may_take_longer_than_other_statements(
    dsn: str, database: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = list(migrations.available())
    monkeypatch.setattr(migrations, "available", lambda: known)
    for timeout_s in (0.1, 1.0, 10.0):  # which is also what every other statement has: a slow machine needs more
        slow = Migration(f"store/9999_slow_{timeout_s}", f"SELECT pg_sleep({1.5 * timeout_s})", "digest")
        known.append(slow)
        with suppress(Unavailable):
            await migrated_hastily(dsn, timeout_s, slow)
            return
    raise AssertionError("no time was enough")


async def migrated_hastily(dsn: str, timeout_s: float, slow: Migration) -> None:
    hasty = await Database.connect(dsn, size=2, timeout_s=timeout_s)
    try:
        assert slow.name in await migrations.migrate(hasty)
        assert await migrations.migrate(hasty) == []
    finally:
        await hasty.close()


async def test_timeouts_of_an_operator_are_not_for_migrations(
    dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are on the role or the database, for statements of every day."""
    known = migrations.available()
    slow = Migration("store/9999_slow", "SELECT count(*) FROM generate_series(1, 3000000)", "digest")
    monkeypatch.setattr(migrations, "available", lambda: [*known, slow])
    name = await database.fetchval("SELECT current_database()")
    limits = {"statement_timeout": "100ms", "lock_timeout": "1ms", "idle_in_transaction_session_timeout": "1s"}
    for setting, value in limits.items():
        await database.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'")
    theirs = await Database.connect(dsn, size=2)

    async def waited_for() -> bool:
        return await database.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
        )

    try:
        async with asyncio.TaskGroup() as group, database.transaction() as other:
            await other.execute("SELECT pg_advisory_xact_lock($1)", migrations._LOCK)
            migrating = group.create_task(migrations.migrate(theirs))
            await eventually(waited_for)
        assert migrating.result() == [slow.name]
        async with theirs.connection() as first, theirs.connection() as second:
            for connection in (first, second):
                assert {each: await connection.fetchval(f"SHOW {each}") for each in limits} == limits
    finally:
        await theirs.close()
