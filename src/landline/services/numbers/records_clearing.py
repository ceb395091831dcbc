"""The SQL of what is cleared away: in portions, for a statement that takes longer than the pool's timeout is undone."""

from datetime import datetime

from landline.store.database import Database

AT_ONCE = 1000

# The condition is there twice: a row that was sold or extended since it was selected stays.
_PORTION = (
    "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {condition}"
    f" ORDER BY {{column}} LIMIT {AT_ONCE})) AND {{condition}}"
)
_HOLDS = _PORTION.format(table="numbers_holds", condition="NOT sold AND expires_at <= $1", column="expires_at")
_SEARCHES = _PORTION.format(table="numbers_searches", condition="expires_at < $1", column="expires_at")
_RESERVATIONS = _PORTION.format(table="numbers_reservations", condition="created_at < $1", column="created_at")
_OPERATIONS = _PORTION.format(table="numbers_operations", condition="created_at < $1", column="created_at")


async def clear(database: Database, now: datetime, kept_since: datetime) -> None:
    """Take away the holds that have ended at `now`, and what searches, reservations and operations are of before
    `kept_since`."""
    await _all(database, _HOLDS, now)
    for sql in (_SEARCHES, _RESERVATIONS, _OPERATIONS):
        await _all(database, sql, kept_since)


async def _all(database: Database, sql: str, instant: datetime) -> None:
    while int((await database.execute(sql, instant)).rpartition(" ")[2]) >= AT_ONCE:
        pass
