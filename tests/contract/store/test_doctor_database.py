"""What `doctor` says of a database that a server would not start on."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from tests.support.rows import backup

from landline.app import cli_doctor
from landline.core.ids import ResourceId
from landline.services.resources import records
from landline.services.resources.model import Resource, SealedKey, Slot
from landline.store.database import Database
from landline.store.sealing import Sealer

SECRET = "Zx1-doctor-7f3b9a2d8c6e4051-9a1b-ok"
MANY = 110_000


@pytest.mark.parametrize(("begun_with", "said"), [(SECRET, []), ("Q" + SECRET, ["does not open with the configured"])])
async def test_another_sealing_secret_is_told_before_the_start(
    begun_with: str, said: list[str], database: Database, dsn: str, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    local = Resource(ResourceId(UUID("63ae4f5f-5888-4e84-82ae-6cb99cc4c3a3")), "local", "unitedstates", now)
    purpose = SealedKey(local.resource_id, Slot.PRIMARY, 1, b"").purpose
    key = SealedKey(local.resource_id, Slot.PRIMARY, 1, Sealer(begun_with.encode()).seal(b"key", purpose))
    async with database.connection() as connection:
        await records.insert(connection, local, [key])
    file = tmp_path / "landline.toml"
    file.write_text(f'dsn = "{dsn}"\nsealing_secret = "{SECRET}"\n')
    found = await asyncio.to_thread(cli_doctor.check, "worker", file, tmp_path, None)
    told = [each.detail for each in found if each.check == "sealing secret"]
    assert [not each.ok for each in found if each.check == "sealing secret"] == [True] * len(said)
    assert all(part in detail for part, detail in zip(said, told, strict=True))


async def test_a_database_that_is_read_only_is_told_before_the_start(
    database: Database, dsn: str, tmp_path: Path
) -> None:
    """As a standby is, or one that an operator closed to writing."""
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    file = tmp_path / "landline.toml"
    file.write_text(f'dsn = "{dsn}"\nsealing_secret = "{SECRET}"\n')
    found = await asyncio.to_thread(cli_doctor.check, "worker", file, tmp_path, None)
    [told] = [each for each in found if each.check == "database"]
    assert (told.ok, told.detail) == (False, "PostgreSQL is read-only, as a standby is")


async def test_dead_rows_that_something_keeps_are_told(database: Database, dsn: str, tmp_path: Path) -> None:
    """Such as a backup that has gone on for a night, or a session left in its transaction."""
    file = tmp_path / "landline.toml"
    file.write_text(f'dsn = "{dsn}"\nsealing_secret = "{SECRET}"\n')

    async def told() -> list[str]:
        found = await asyncio.to_thread(cli_doctor.check, "worker", file, tmp_path, None)
        return [each.detail for each in found if "dead rows" in each.detail]

    assert await told() == []
    async with backup(dsn):
        await database.execute(
            "INSERT INTO chat_unchecked_users (resource_id, raw_id)"
            f" SELECT gen_random_uuid(), n::text FROM generate_series(1, {MANY}) AS n"
        )
        await database.execute("DELETE FROM chat_unchecked_users")
        await database.execute("SELECT pg_stat_force_next_flush()")
        [note] = await told()
    assert f"{MANY:,} dead rows of the table chat_unchecked_users beside 0 living" in note
