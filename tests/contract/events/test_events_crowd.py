"""Tens of thousands of events of one transaction, as when a chat gets many participants at once."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from itertools import pairwise

import pytest
from tests.contract.events.webhooks import Slice, process, webhook, working

from landline.services.events.lanes import LANE_LIMIT
from landline.services.events.model import Event
from landline.services.events.service import EMITTED_AT_ONCE


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
