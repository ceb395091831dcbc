"""Group commit: batches, their results, and what happens to the neighbours of a bad item."""

import asyncio

import pytest

from landline.core.errors import GaveWay, Unavailable
from landline.store.database import Database
from landline.store.group_commit import GroupCommit


async def test_what_arrives_during_a_commit_shares_the_next_one():
    batches: list[list[int]] = []
    first_runs = asyncio.Event()
    go_on = asyncio.Event()

    async def commit(items: list[int]) -> list[int]:
        batches.append(items)
        first_runs.set()
        await go_on.wait()
        return [item * 10 for item in items]

    group: GroupCommit[int, int] = GroupCommit(commit, lanes=1)
    tasks = [asyncio.create_task(group.submit(0))]
    await first_runs.wait()
    tasks += [asyncio.create_task(group.submit(item)) for item in range(1, 6)]
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40, 50]
    assert batches == [[0], [1, 2, 3, 4, 5]]


async def test_large_items_are_committed_beside_each_other_and_small_ones_together():
    batches: list[list[int]] = []

    async def commit(items: list[int]) -> list[int]:
        batches.append(items)
        await asyncio.sleep(0)
        return items

    group: GroupCommit[int, int] = GroupCommit(commit, lanes=2, batch_limit=100, size=lambda item: item)
    await asyncio.gather(*(group.submit(item) for item in (100, 250, 30, 30, 30, 30)))
    assert batches == [[100], [250], [30, 30, 30], [30]]


async def test_a_bad_item_fails_alone():
    async def commit(items: list[int]) -> list[int]:
        if 3 in items:
            raise ValueError("three")
        return items

    group: GroupCommit[int, int] = GroupCommit(commit, lanes=1)
    results = await asyncio.gather(*(group.submit(item) for item in range(6)), return_exceptions=True)
    assert [result for result in results if isinstance(result, int)] == [0, 1, 2, 4, 5]
    assert isinstance(results[3], ValueError)


async def test_a_lost_server_fails_the_whole_batch_and_nothing_is_tried_twice():
    tries = 0

    async def commit(items: list[int]) -> list[int]:
        nonlocal tries
        tries += 1
        raise Unavailable("away")

    group: GroupCommit[int, int] = GroupCommit(commit, lanes=1)
    results = await asyncio.gather(*(group.submit(item) for item in range(4)), return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    assert tries <= 2


async def test_too_many_waiting_writes_are_refused_at_once():
    never = asyncio.Event()

    async def commit(items: list[int]) -> list[int]:
        await never.wait()
        return items

    group: GroupCommit[int, int] = GroupCommit(commit, lanes=1, batch_limit=1, waiting_limit=2)
    tasks = [asyncio.create_task(group.submit(item)) for item in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await asyncio.gather(*(group.submit(item) for item in range(3)))
    for task in tasks:
        task.cancel()


async def test_a_caller_that_gave_up_does_not_undo_its_write():
    written: list[int] = []
    go_on = asyncio.Event()

    async def commit(items: list[int]) -> list[int]:
        await go_on.wait()
        written.extend(items)
        return items

    group: GroupCommit[int, int] = GroupCommit(commit, lanes=1)
    gone = asyncio.create_task(group.submit(1))
    stays = asyncio.create_task(group.submit(2))
    await asyncio.sleep(0)
    gone.cancel()
    go_on.set()
    assert await stays == 2
    assert written == [1, 2]


async def test_of_two_batches_that_wait_for_each_other_both_are_committed(database: Database) -> None:
    """PostgreSQL ends the transaction of one of them: a deadlock."""
    await database.execute("CREATE TABLE counted (place text PRIMARY KEY, n integer)")
    await database.execute("INSERT INTO counted VALUES ('a', 0), ('b', 0)")
    both_hold_one, gave_way = asyncio.Barrier(2), 0

    async def commit(places: list[str]) -> list[str]:
        nonlocal gave_way
        try:
            async with database.transaction() as connection:
                await connection.execute("SET LOCAL deadlock_timeout = '10ms'")
                first, second = places[0]
                await connection.execute("UPDATE counted SET n = n + 1 WHERE place = $1", first)
                if not gave_way:
                    await both_hold_one.wait()
                await connection.execute("UPDATE counted SET n = n + 1 WHERE place = $1", second)
        except GaveWay:
            gave_way += 1
            raise
        return places

    group: GroupCommit[str, str] = GroupCommit(commit, lanes=2, batch_limit=1)
    assert await asyncio.gather(group.submit("ab"), group.submit("ba")) == ["ab", "ba"]
    assert gave_way  # again, where it is back with its first row before the other was woken for it
    assert await database.fetchval("SELECT array_agg(n) FROM counted") == [2, 2]


async def test_a_batch_that_always_gives_way_is_refused():
    async def commit(_items: list[int]) -> list[int]:
        raise GaveWay("another transaction goes first")

    with pytest.raises(Unavailable, match="goes first"):
        await GroupCommit[int, int](commit).submit(1)
