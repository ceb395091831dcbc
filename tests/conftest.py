"""What every kind of test shares: a PostgreSQL server for the session, and fresh databases on it."""

import os
from collections.abc import AsyncGenerator
from uuid import uuid4

import asyncpg
import pytest

from landline.store.database import Database
from landline.store.migrations import migrate


@pytest.fixture(scope="session")
def server_dsn() -> str:
    """A PostgreSQL server the tests may create databases on."""
    return os.environ["LANDLINE_TEST_DSN"]


@pytest.fixture
async def dsn(server_dsn: str) -> AsyncGenerator[str]:
    """The DSN of a fresh, empty database, dropped after the test."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(server_dsn)
    await admin.execute(f"CREATE DATABASE {name}")
    base, _, _ = server_dsn.rpartition("/")
    try:
        yield f"{base}/{name}"
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


@pytest.fixture
async def database(dsn: str) -> AsyncGenerator[Database]:
    """A fresh migrated database."""
    database = await Database.connect(dsn, size=4)
    await migrate(database)
    yield database
    await database.close()
