"""Tens of thousands of events of one transaction, as when a chat gets many participants at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import timedelta
from itertools import pairwise

import pytest
from tests.contract.events.webhooks import Slice, process, webhook, working

from landline.services.events import lanes, service
from landline.services.events.lanes import LANE_LIMIT
from landline.services.events.model import Event
from landline.services.events.service import EMITTED_AT_ONCE
from landline.store.database import Connection
from landline.store.parts import Part


@pytest.fixture
async def here(dsn: str, database: object) -> AsyncGenerator[Slice]:
    async with process(dsn) as slice_:
        yield slice_


class Crowd:
    """So many events, made when they are asked for."""

    def __init__(self, here: Slice, size: int) -> None:
        self._here = here
        self._size = size
        self.made = 0

    def events(self) -> Iterator[Event]:
        while self.made < self._size:
            self.made += 1
            yield self._here.event()


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_crowd_is_made_by_and_by_and_others_come_in_between(wanted: bool, here: Slice) -> None:
    async with webhook() as hook:
        if wanted:
            await here.subscribe("crowd", hook.url)
        crowd, seen, over = Crowd(here, 2_345), [0], asyncio.Event()

        async def look() -> None:
            while not over.is_set():
                seen.append(crowd.made)
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        async with here.database.transaction() as connection:
            emitted = await here.events.emit_all(connection, crowd.events())
        over.set()
        await looking
        assert emitted.overflow == wanted
        assert len({row["event_id"] for row in await here.rows()}) == 2_345 * wanted
        assert max(after - before for before, after in pairwise(seen)) <= EMITTED_AT_ONCE


async def test_of_a_crowd_only_what_there_is_room_for_is_held_in_memory(here: Slice) -> None:
    async with webhook() as hook, working(here.events):
        await here.subscribe("crowd", hook.url)
        async with here.database.transaction() as connection:
            emitted = await here.events.emit_all(connection, Crowd(here, LANE_LIMIT + 700).events())
        assert (len(emitted.deliveries), emitted.overflow) == (LANE_LIMIT, True)


@pytest.mark.parametrize(("total", "batches"), [(1000, 4), (50, 2), (0, 0)])
async def test_a_batch_that_many_webhooks_want_is_written_by_several_statements_and_fills_memory_and_no_more(
    here: Slice, monkeypatch: pytest.MonkeyPatch, total: int, batches: int
) -> None:
    """500 reports for 500 webhooks were one statement of 160 MB, or, where memory was full, one that took longer than
    PostgreSQL is waited for: the reports' own commit failed with it, and was tried again like that for ever."""
    monkeypatch.setattr(service, "WRITTEN_AT_ONCE", 30)
    monkeypatch.setattr(lanes, "TOTAL_LIMIT", total)
    execute, written = service.execute, list[int]()

    async def counting(connection: Connection, parts: Sequence[Part]) -> None:
        before = await count(connection)
        await execute(connection, parts)
        written.append(await count(connection) - before)

    async def count(connection: Connection) -> int:
        return await connection.fetchval("SELECT count(*) FROM events_deliveries")

    monkeypatch.setattr(service, "execute", counting)
    async with webhook() as hook:
        for number in range(10):
            await here.subscribe(f"hook{number}", hook.url)
        sent = [here.event() for _ in range(12)]
        async with working(here.events):
            async with here.database.transaction() as connection:
                emitted = await here.events.emit(connection, sent)
                held = await connection.fetchval("SELECT count(*) FROM events_batches")
            assert (held, len(emitted.deliveries), sum(written)) == (batches, min(total, 120), max(0, 120 - total))
            assert len(written) == 4
            assert max(written) <= 30
            here.events.committed(emitted)
            monkeypatch.setattr(lanes, "TOTAL_LIMIT", 1000)
            await here.clock.advance(timedelta(minutes=1))
            assert Counter(hook.event_ids) == {str(event.event_id): 10 for event in sent}
            assert await here.blocks() == 0
