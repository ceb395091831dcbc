"""Numbered SQL migrations: `services/*/migrations/NNNN_name.sql` and `engines/*/migrations`, applied once, in order."""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from landline.core.errors import Refusal
from landline.store.database import Connection, Database

_LOCK = 0x6C616E64  # "land": one migrator at a time on one database
_PATIENCE_S = 86_400.0
"""An index of a hundred million rows takes longer than any other statement may."""
_TIMEOUTS = """FROM pg_settings WHERE name IN
    ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')"""
_PATIENT = f"SELECT set_config(name, '0', false) {_TIMEOUTS}"
"""What an operator set on the role or the database is meant for statements of every day."""
_AS_BEFORE = f"SELECT set_config(name, reset_val, false) {_TIMEOUTS}"
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_ROOTS = ("store", "services", "engines")


class SchemaMismatch(Refusal):
    """The database was migrated by another Landline than this one."""

    code = "SchemaMismatch"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of SQL. `name` is `<slice>/<number>_<name>`; `digest` finds files changed after they were applied."""

    name: str
    sql: str
    digest: str


def available() -> list[Migration]:
    """All migrations this package carries, in the order they apply: by number first, then by slice."""
    found: list[tuple[str, str, Migration]] = []
    for root in _ROOTS:
        for folder in _folders(files("landline") / root):
            for entry in (folder / "migrations").iterdir():
                if _NAME.fullmatch(entry.name):
                    sql = entry.read_text("utf-8")
                    digest = hashlib.sha256(sql.encode()).hexdigest()
                    migration = Migration(f"{folder.name}/{entry.name.removesuffix('.sql')}", sql, digest)
                    found.append((entry.name[:4], folder.name, migration))
    return [migration for _, _, migration in sorted(found, key=lambda item: item[:2])]


def _folders(root: Traversable) -> list[Traversable]:
    candidates = [root, *(entry for entry in root.iterdir() if entry.is_dir())]
    return [folder for folder in candidates if (folder / "migrations").is_dir()]


async def migrate(database: Database) -> list[str]:
    """Bring the database to this package's schema and return the names applied, in one transaction each.

    Raises `SchemaMismatch` when the database holds a migration this package does not know, or knows differently.
    """
    applied: list[str] = []
    async with database.connection() as connection:
        await connection.execute(_PATIENT)
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=_PATIENCE_S)
        try:
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS store_migrations (name text PRIMARY KEY, digest text NOT NULL)"
            )
            for migration in await pending(connection):
                async with connection.transaction():
                    await connection.execute(migration.sql, timeout=_PATIENCE_S)
                    await connection.execute(
                        "INSERT INTO store_migrations (name, digest) VALUES ($1, $2)",
                        migration.name,
                        migration.digest,
                    )
                applied.append(migration.name)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
            await connection.execute(_AS_BEFORE)
    return applied


async def pending(connection: Connection) -> list[Migration]:
    """What `migrate` would apply. Raises `SchemaMismatch`."""
    rows = await connection.fetch("SELECT name, digest FROM store_migrations")
    done = {row["name"]: row["digest"] for row in rows}
    known = {migration.name: migration for migration in available()}
    for name, digest in done.items():
        if name not in known:
            raise SchemaMismatch(f"the database holds migration {name}, which this Landline does not know")
        if known[name].digest != digest:
            raise SchemaMismatch(f"migration {name} was applied in another form than this Landline carries")
    return [migration for migration in known.values() if migration.name not in done]
