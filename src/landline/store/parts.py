"""Statements as parts of others: what changes beside something else has no round trip of its own."""

from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from landline.store.database import Connection


class Part(Struct, frozen=True):
    """A statement that may be run within another one (a WITH query). `sql` has a `${}` for each of its `arguments`. It
    sees nothing of what the other changes, nor the other of what it does (PostgreSQL, "Data-Modifying Statements in
    WITH"). The outermost one may read what the others return, as `part_1` and so on."""

    sql: str
    arguments: Sequence[object]


async def execute(connection: Connection, parts: Sequence[Part]) -> None:
    """Run `parts`, if there are any, as one statement."""
    if parts:
        statement = _together(tuple([(part.sql, len(part.arguments)) for part in parts]))
        await connection.execute(statement, *[argument for part in parts for argument in part.arguments])


@lru_cache(maxsize=256)
def _together(parts: tuple[tuple[str, int], ...]) -> str:
    """One statement of the (text, number of arguments) `parts`; its last part is the outermost."""
    texts: list[str] = []
    first = 1
    for sql, count in parts:
        texts.append(sql.format(*range(first, first + count)).strip())
        first += count
    *within, outermost = texts
    if not within:
        return outermost
    named = ", ".join(f"part_{number} AS ({text})" for number, text in enumerate(within, start=1))
    if outermost.startswith("WITH "):
        return f"WITH {named}, {outermost.removeprefix('WITH ')}"
    return f"WITH {named} {outermost}"
