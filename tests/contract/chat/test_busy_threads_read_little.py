"""What a message of a busy thread costs while nothing dead can be taken away, as a backup goes on (plans.md): each
leaves an old state of its thread's row, each receipt one of its reader's."""

from collections.abc import AsyncGenerator

import pytest
from tests.support.chat import RESOURCE, Process
from tests.support.rows import backup, pages_read

from landline.core.ids import RawId
from landline.services.chat.model.ids import ThreadId
from landline.store.database import Database

THREADS, MANY = 5, 5000
AT_MOST = 2
"""Times the pages that it took when little was dead."""


@pytest.fixture
async def a_backup(dsn: str) -> AsyncGenerator[None]:
    async with backup(dsn):
        yield


class Threads:
    """Some, of two each, one of whom writes."""

    def __init__(self, process: Process, threads: list[tuple[ThreadId, RawId, RawId]]) -> None:
        self._process, self._threads = process, threads

    async def said(self) -> None:
        """Something, in each."""
        for thread, writer, _ in self._threads:
            await self._process.send(thread, writer)

    async def read(self) -> None:
        for thread, writer, reader in self._threads:
            await self._process.messages.read(RESOURCE, reader, thread, await self._process.send(thread, writer))


@pytest.fixture
async def threads(one: Process) -> Threads:
    users = [(await one.user(), await one.user()) for _ in range(THREADS)]
    return Threads(one, [(await one.thread(*pair), *pair) for pair in users])


@pytest.mark.usefixtures("a_backup")
@pytest.mark.parametrize(
    ("table", "looked"), [("chat_threads", False), ("chat_threads", True), ("chat_participants", False)]
)
async def test_a_message_is_not_looked_for_among_what_its_thread_was_before(
    database: Database, threads: Threads, table: str, looked: bool
) -> None:
    """`looked`: PostgreSQL has seen by then that few rows are spread over very many pages."""
    act = threads.said if table == "chat_threads" else threads.read

    async def cost() -> int:
        before = await pages_read(database, table)
        await act()
        return await pages_read(database, table) - before

    await act()  # what is first is planned
    at_first = await cost()
    await database.execute(
        f"DO $$BEGIN FOR n IN 1..{MANY} LOOP UPDATE {table} SET resource_id = resource_id; END LOOP; END$$"
    )
    if looked:
        await database.execute(f"VACUUM (ANALYZE) {table}")
        await act()
    assert await cost() <= AT_MOST * at_first
