"""What a message of a busy thread costs while nothing dead can be taken away, as a backup goes on (plans.md): each
leaves an old state of its thread's row, each receipt one of its reader's."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta

import pytest
from tests.support.chat import RESOURCE, Process
from tests.support.rows import backup, pages_read

from landline.core.ids import RawId
from landline.services.chat.model.ids import MessageId, ThreadId
from landline.store.database import Database

FEW, MANY = 10, 500
AT_MOST = 2
"""Times the pages that it took when nothing was dead."""


@pytest.fixture
async def a_backup(dsn: str) -> AsyncGenerator[None]:
    async with backup(dsn):
        yield


class Thread:
    """A thread of two, one of whom writes."""

    def __init__(self, process: Process, thread: ThreadId, writer: RawId, reader: RawId) -> None:
        self._process, self._thread, self._writer, self._reader = process, thread, writer, reader

    async def said(self) -> MessageId:
        await self._process.clock.advance(timedelta(milliseconds=5))
        return await self._process.send(self._thread, self._writer)

    async def read(self) -> None:
        await self._process.messages.read(RESOURCE, self._reader, self._thread, await self.said())

    async def listed(self) -> None:
        await self._process.messages.listed(RESOURCE, self._reader, self._thread, None, None, 1)


@pytest.fixture
async def thread(one: Process) -> Thread:
    writer, reader = await one.user(), await one.user()
    return Thread(one, await one.thread(writer, reader), writer, reader)


@pytest.mark.usefixtures("a_backup")
@pytest.mark.parametrize("table", ["chat_threads", "chat_participants"])
async def test_a_message_is_not_looked_for_among_what_its_thread_was_before(
    database: Database, thread: Thread, table: str
) -> None:
    async def cost(act: Callable[[], Awaitable[object]]) -> int:
        before = await pages_read(database, table)
        for _ in range(FEW):
            await act()
        return await pages_read(database, table) - before

    acts = {"said": thread.said, "read": thread.read, "listed": thread.listed}
    at_first = {name: await cost(act) for name, act in acts.items()}
    for _ in range(MANY):
        await thread.read()
    later = {name: await cost(act) for name, act in acts.items()}
    assert all(later[name] <= AT_MOST * at_first[name] for name in acts), (at_first, later)
