"""How many rows each statement took away, as the database saw it."""

from collections.abc import Awaitable, Callable

from landline.store.database import Database


async def portions(database: Database, *tables: str) -> Callable[[str], Awaitable[list[int]]]:
    """From now on statements that take rows of `tables` away are noted; what is returned tells of one table how many
    each took."""
    async with database.connection() as connection:
        await connection.execute(
            "CREATE TABLE taken_away (what text, rows bigint);"
            "CREATE FUNCTION note_taken_away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            "  INSERT INTO taken_away SELECT TG_TABLE_NAME, count(*) FROM gone HAVING count(*) > 0; RETURN NULL; END $$"
        )
        for table in tables:
            await connection.execute(
                f"CREATE TRIGGER note_taken_away AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone"
                " FOR EACH STATEMENT EXECUTE FUNCTION note_taken_away()"
            )

    async def taken(table: str) -> list[int]:
        rows = await database.fetch("SELECT rows FROM taken_away WHERE what = $1 ORDER BY rows DESC", table)
        return [row["rows"] for row in rows]

    return taken
