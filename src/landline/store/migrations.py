"""Numbered SQL migrations: `services/*/migrations/NNNN_name.sql` and `engines/*/migrations`, applied once, in order."""

import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg

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
_USUAL_PATH = '"$user", public'
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_ROOTS = ("store", "services", "engines")


_WITHOUT_RIGHTS = """
    SELECT c.relname FROM pg_class c JOIN pg_class m ON m.oid = to_regclass('store_migrations')
        AND c.relnamespace = m.relnamespace AND c.relowner = m.relowner
    WHERE c.relkind IN ('r', 'p') AND split_part(c.relname, '_', 1) = ANY($1)
        AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
            AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
    ORDER BY 1"""
"""The owner tells our tables from those of others in the same schema."""


class NoRights(Refusal):
    """The role of the DSN may not do what Landline does."""

    code = "NoRights"


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

    Raises `SchemaMismatch` when the database holds a migration this package does not know, or knows differently, and
    `NoRights`.
    """
    applied: list[str] = []
    async with database.connection() as connection, _as_refusal(connection):
        await _check_rights(connection)
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
    """What `migrate` would apply. Raises `SchemaMismatch` and `NoRights`."""
    await _check_rights(connection)
    if await connection.fetchval("SELECT to_regclass('store_migrations')") is None:
        return available()
    rows = await connection.fetch("SELECT name, digest FROM store_migrations")
    done = {row["name"]: row["digest"] for row in rows}
    known = {migration.name: migration for migration in available()}
    for name, digest in done.items():
        if name not in known:
            raise SchemaMismatch(
                f"the database holds migration {name}, which this Landline does not know: a later version migrated it;"
                " start that version, or a later one, or restore the backup made before"
            )
        if known[name].digest != digest:
            raise SchemaMismatch(f"migration {name} was applied in another form than this Landline carries")
    return [migration for migration in known.values() if migration.name not in done]


async def _check_rights(connection: Connection) -> None:
    row = await connection.fetchrow(
        "SELECT current_user AS role, s, current_setting('search_path') AS path,"
        " has_schema_privilege(s, 'CREATE') AS may_make,"
        " to_regclass('store_migrations') IS NULL AS new FROM current_schema() AS s"
    )
    assert row is not None
    if row["new"] and not row["may_make"]:
        if row["s"] is None and row["path"] != _USUAL_PATH:
            raise NoRights(
                f"search_path is {row['path']}, which names no schema that is there and open to role {row['role']}:"
                " make it, or set another in the DSN, on the role or on the database"
            )
        schema = row["s"] or "public"  # which is not open to it
        raise NoRights(
            f"role {row['role']} may make no tables in schema {schema} of the database: make the role the database's"
            f" owner, or GRANT CREATE, USAGE ON SCHEMA {schema} TO {row['role']}"
        )
    slices = {migration.name.partition("/")[0] for migration in available()}
    without = [each["relname"] for each in await connection.fetch(_WITHOUT_RIGHTS, list(slices))]
    if without:
        raise NoRights(
            f"role {row['role']} has no rights on {len(without)} of Landline's tables, {without[0]} among them, as when"
            f" another role restored them: for each, ALTER TABLE ... OWNER TO {row['role']}"
        )


@asynccontextmanager
async def _as_refusal(connection: Connection) -> AsyncGenerator[None]:
    """What the role may not do is told in one line: `GRANT` and `ALTER TABLE ... OWNER` are its operator's."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        role = await connection.fetchval("SELECT current_user")
        raise NoRights(
            f"role {role} may not change its tables: {error}; a new version has to: make the role their owner"
        ) from error
