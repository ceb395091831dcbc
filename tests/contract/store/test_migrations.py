"""Bringing a database to this package's schema, however large it is."""

from contextlib import suppress

import pytest

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
