"""Bringing a database to this package's schema, however large it is."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from structlog.testing import capture_logs
from tests.support.cluster import eventually

from landline.core.errors import Refusal, Unavailable
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


@pytest.fixture
async def role(dsn: str) -> AsyncGenerator[str]:
    """A role without any right, as which `as_role` connects."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(dsn)
    await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    yield name
    await admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
    await admin.close()


async def as_role(dsn: str, role: str) -> Database:
    place = urlsplit(dsn)
    host = place.netloc.rpartition("@")[2]
    return await Database.connect(place._replace(netloc=f"{role}:secret@{host}").geturl(), size=2)


async def refused(database: Database) -> str:
    """What a migration says, and `doctor` as well."""
    with pytest.raises(Refusal) as told:
        async with database.connection() as connection:
            await migrations.pending(connection)
    with pytest.raises(Refusal) as raised:
        await migrations.migrate(database)
    assert told.value.message == raised.value.message
    await database.close()
    return raised.value.message


async def test_a_role_that_may_make_no_tables_is_told_what_it_needs(dsn: str, role: str) -> None:
    message = await refused(await as_role(dsn, role))
    assert f"role {role} may make no tables" in message
    assert "GRANT CREATE" in message


async def test_a_search_path_that_leads_nowhere_is_named(dsn: str) -> None:
    """It was told to GRANT rights on another schema."""
    message = await refused(await Database.connect(f"{dsn}{'&' if '?' in dsn else '?'}search_path=nowhere", size=2))
    assert "search_path is nowhere, which names no schema that is there" in message


async def test_a_role_that_does_not_own_what_was_restored_as_another_is_told_so(
    dsn: str, database: Database, role: str
) -> None:
    """A dump that a superuser restored; texts would be answered with 500 one by one."""
    await database.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {role}")
    message = await refused(await as_role(dsn, role))
    assert re.search(rf"role {role} has no rights on \d+ of Landline's tables", message)
    assert f"OWNER TO {role}" in message


async def test_a_role_that_may_use_tables_and_not_change_them_is_told_so_by_a_new_version(
    dsn: str, database: Database, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {role}")
    await database.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    theirs = await as_role(dsn, role)
    assert await migrations.migrate(theirs) == []
    known = migrations.available()
    newer = Migration("sms/9999_newer", "ALTER TABLE sms_messages ADD COLUMN newer text", "digest")
    monkeypatch.setattr(migrations, "available", lambda: [*known, newer])
    with pytest.raises(Refusal, match=f"role {role} may not change its tables: must be owner of table sms_messages"):
        await migrations.migrate(theirs)
    await theirs.close()


async def test_a_database_of_a_later_version_is_refused_with_what_to_do(database: Database) -> None:
    await database.execute("INSERT INTO store_migrations VALUES ('sms/9999_later', 'digest')")
    assert "start that version, or a later one" in await refused(database)


async def test_a_database_that_cannot_hold_every_text_is_refused_at_the_start(dsn: str) -> None:
    async with encoded(dsn, "LATIN1") as other:
        with pytest.raises(Refusal, match=r"LATIN1.*ENCODING 'UTF8' TEMPLATE template0"):
            await Database.connect(other, size=2)


async def test_a_database_that_keeps_texts_as_bytes_keeps_every_text(dsn: str) -> None:
    """SQL_ASCII, which `initdb` makes where no language is set."""
    async with encoded(dsn, "SQL_ASCII") as other:
        with capture_logs() as logs:
            database = await Database.connect(other, size=2)
        assert ("store.encoding_unchecked", "SQL_ASCII") in [(each["event"], each.get("encoding")) for each in logs]
        await migrations.migrate(database)
        assert await database.fetchval("SELECT $1::text || min(t) FROM unnest($2::text[]) t", "é", ["😀"]) == "é😀"
        await database.close()


@asynccontextmanager
async def encoded(dsn: str, encoding: str) -> AsyncGenerator[str]:
    """The DSN of a new database that is encoded so."""
    admin: Any = await asyncpg.connect(dsn)
    name = f"test_{uuid4().hex}"
    locale = "LOCALE_PROVIDER libc LOCALE 'C'"
    await admin.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' {locale} TEMPLATE template0")
    try:
        yield urlsplit(dsn)._replace(path=f"/{name}").geturl()
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()
