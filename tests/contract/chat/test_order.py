"""Messages of a thread have one order that every reader sees, however many processes write."""

import asyncio
from itertools import pairwise
from random import Random

import pytest
from tests.support.chat import RESOURCE, Process, process
from tests.support.cluster import eventually

from landline.core.errors import Forbidden
from landline.core.ids import RawId
from landline.engines.clock import DrivenClock
from landline.services.chat import records
from landline.services.chat.model.changes import MessageReceived
from landline.services.chat.model.ids import ThreadId
from landline.store.database import Database

WRITERS = 3
LANES = 8
WAITING = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
MESSAGES = 7


@pytest.mark.parametrize("seed", range(3))
async def test_no_reader_ever_misses_a_message_before_one_it_saw(database: Database, dsn: str, seed: int) -> None:
    clock, random = DrivenClock(), Random(seed)
    processes = [process(database, dsn, clock=clock) for _ in range(WRITERS)]
    one = processes[0]
    ann = await one.user()
    threads = [await one.thread(ann) for _ in range(3)]
    told = [await each.hears() for each in processes]
    done = asyncio.Event()
    readers = [asyncio.create_task(follow(each, thread, ann, done)) for each in processes[:2] for thread in threads]
    writers = [
        asyncio.create_task(write(each, threads, ann, Random(random.random()), f"{at}.{lane}"))
        for at, each in enumerate(processes)
        for lane in range(LANES)
    ]
    await asyncio.gather(*writers)
    done.set()
    for seen in await asyncio.gather(*readers):
        for earlier, later in pairwise(seen):
            assert later[: len(earlier)] == earlier
        assert [sequence for sequence, _ in seen[-1]] == list(range(1, len(seen[-1]) + 1))
    assert sum([len(await one.listed(thread, ann)) - 2 for thread in threads]) == WRITERS * LANES * MESSAGES
    for heard in told:
        assert_in_order([change for change in heard if isinstance(change, MessageReceived)])


def assert_in_order(heard: list[MessageReceived]) -> None:
    last: dict[ThreadId, tuple[int, int]] = {}
    for change in heard:
        assert last.get(change.thread, (0, 0)) < (change.sequence, change.message_id)
        last[change.thread] = (change.sequence, change.message_id)


async def write(one: Process, threads: list[ThreadId], user: RawId, random: Random, name: str) -> None:
    for number in range(MESSAGES):
        await one.send(random.choice(threads), user, f"{name}.{number}")


async def follow(one: Process, thread: ThreadId, user: RawId, done: asyncio.Event) -> list[list[tuple[int, str]]]:
    """Everything that was seen, each time the whole thread, in pages of several sizes."""
    seen: list[list[tuple[int, str]]] = []
    last = False
    while True:
        seen.append(await one.listed(thread, user, page=7 if len(seen) % 2 else 200))
        if last:
            return seen
        last = done.is_set()


async def test_ids_grow_when_the_clock_stands_still(one: Process) -> None:
    ann = await one.user()
    thread = await one.thread(ann)
    sent = await asyncio.gather(*[one.send(thread, ann, str(number)) for number in range(500)])
    assert len(set(sent)) == 500
    assert sent == sorted(sent)
    listed = await one.listed(thread, ann)
    assert [text for _, text in listed[2:]] == [str(number) for number in range(500)]


async def test_a_removal_falls_between_messages_and_nobody_else_is_heard(database: Database, dsn: str) -> None:
    clock = DrivenClock()
    first, second = process(database, dsn, clock=clock), process(database, dsn, clock=clock)
    ann, bob = await first.user(), await first.user()
    thread = await first.thread(ann, bob)
    await second.send(thread, bob)  # so that the second process remembers who is in the thread

    async def bobs() -> int:
        sent = 0
        while True:
            try:
                await second.send(thread, bob, f"bob {sent}")
                sent += 1
            except Forbidden:
                return sent

    async def anns() -> None:
        for number in range(20):
            await first.send(thread, ann, f"ann {number}")
        await first.chat.remove(RESOURCE, ann, thread, bob)
        for number in range(20):
            await first.send(thread, ann, f"after {number}")

    sent, _ = await asyncio.gather(bobs(), anns())
    whole = await first.listed(thread, ann)
    removed = next(sequence for sequence, text in whole if text == "participantRemoved")
    assert sum(text.startswith("bob") for _, text in whole) == sent
    assert all(sequence < removed for sequence, text in whole if text.startswith("bob"))
    assert await first.listed(thread, bob) == [entry for entry in whole if entry[0] <= removed]


async def test_receipts_of_one_reader_through_two_processes_leave_the_furthest(database: Database, dsn: str) -> None:
    here, there = process(database, dsn), process(database, dsn)
    ann, bob = await here.user(), await here.user()
    thread = await here.thread(ann, bob)
    first, second = await here.send(thread, ann), await here.send(thread, ann)
    async with database.transaction() as connection:
        await records.read(connection, [((RESOURCE, thread), bob, first)], here.clock.now())
        reading = asyncio.create_task(there.messages.read(RESOURCE, bob, thread, second))
        await eventually(lambda: database.fetchval(WAITING))
    await reading
    found = [row["read_message_id"] for row in await here.messages.receipts(RESOURCE, ann, thread, 0, 10, None)]
    assert found == [second]
