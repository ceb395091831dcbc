"""Bringing a database to this package's schema, however large it is."""

import pytest

from landline.store import migrations
from landline.store.database import Database
from landline.store.migrations import Migration


async def test_a_migration_may_take_longer_than_other_statements(
    dsn: str, database: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrations.available()
    slow = Migration("store/9999_slow", "SELECT count(*) FROM generate_series(1, 3000000)", "digest")
    monkeypatch.setattr(migrations, "available", lambda: [*known, slow])
    hasty = await Database.connect(dsn, size=2, timeout_s=0.1)
    try:
        assert await migrations.migrate(hasty) == [slow.name]
        assert await migrations.migrate(hasty) == []
    finally:
        await hasty.close()
