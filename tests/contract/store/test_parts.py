"""Statements run as parts of one: all of them, or none."""

import pytest
from asyncpg.exceptions import DivisionByZeroError

from landline.store.database import Database
from landline.store.parts import Part, execute

ADD = "INSERT INTO noted SELECT ${}::integer"
TWICE = "WITH both_of_them AS (SELECT unnest(ARRAY[${}::integer, ${}::integer]) AS number)" + (
    " INSERT INTO noted SELECT number FROM both_of_them"
)
BROKEN = "INSERT INTO noted SELECT 1 / ${}::integer"


async def test_parts_are_run_together_with_their_own_arguments(database: Database):
    async with database.connection() as connection:
        await connection.execute("CREATE TABLE noted (number integer)")
        await execute(connection, [])
        await execute(connection, [Part(ADD, (1,))])
        await execute(connection, [Part(ADD, (2,)), Part(TWICE, (3, 4)), Part(ADD, (5,))])
        await execute(connection, [Part(ADD, (6,)), Part(TWICE, (7, 8))])
        found = await connection.fetch("SELECT number FROM noted ORDER BY number")
    assert [row["number"] for row in found] == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_part_that_fails_leaves_nothing_of_the_others(database: Database):
    async with database.connection() as connection:
        await connection.execute("CREATE TABLE noted (number integer)")
        with pytest.raises(DivisionByZeroError):
            await execute(connection, [Part(ADD, (1,)), Part(BROKEN, (0,)), Part(ADD, (2,))])
        assert await connection.fetchval("SELECT count(*) FROM noted") == 0
