"""Threads end when their policy says; what a deleted thread held is taken away."""

import asyncio
from datetime import timedelta

import pytest
from tests.support.chat import RESOURCE, Process
from tests.support.portions import portions

from landline.core.errors import NotFound
from landline.engines.clock import DrivenClock
from landline.services.chat.model.changes import ThreadDeleted
from landline.services.chat.service import Patch
from landline.store.database import Database


async def count(database: Database, table: str) -> int:
    return await database.fetchval(f"SELECT count(*) FROM {table}")


async def test_a_thread_ends_after_its_days_and_not_before(
    running: Process, clock: DrivenClock, database: Database
) -> None:
    ann, bob = await running.user(), await running.user()
    ending, staying = await running.thread(ann, bob, days=30), await running.thread(ann)
    heard = await running.hears()
    await running.send(ending, ann)
    await clock.advance(timedelta(days=29, hours=23))
    assert len(await running.listed(ending, bob)) == 3
    await clock.advance(timedelta(hours=2))
    with pytest.raises(NotFound):
        await running.listed(ending, bob)
    assert len(await running.listed(staying, ann)) == 2
    (deleted,) = [change for change in heard if isinstance(change, ThreadDeleted)]
    assert (deleted.thread, deleted.deleted_by, set(deleted.recipients)) == (ending, None, {ann, bob})
    assert await count(database, "chat_messages") == 2
    assert await count(database, "chat_participants") == 1


async def test_the_policy_can_be_changed_and_taken_back(running: Process, clock: DrivenClock) -> None:
    ann = await running.user()
    threads = [await running.thread(ann, days=30) for _ in range(3)]
    await running.chat.update(RESOURCE, ann, threads[0], Patch(retention_days=60))
    await running.chat.update(RESOURCE, ann, threads[1], Patch(retention_days=0))
    await running.chat.update(RESOURCE, ann, threads[2], Patch(topic="Dinner"))
    await clock.advance(timedelta(days=31))
    left = [row["thread_id"] for row in await running.chat.threads(RESOURCE, ann, None, None, 10)]
    assert left == [threads[1], threads[0]]
    await clock.advance(timedelta(days=30))
    left = [row["thread_id"] for row in await running.chat.threads(RESOURCE, ann, None, None, 10)]
    assert left == [threads[1]]


async def test_what_a_deleted_thread_held_is_taken_away(
    running: Process, clock: DrivenClock, database: Database
) -> None:
    ann = await running.user()
    thread = await running.thread(ann)
    await asyncio.gather(*[running.send(thread, ann, "secret") for _ in range(50)])
    await running.chat.delete(RESOURCE, ann, thread)
    await running.chat.delete(RESOURCE, ann, thread)  # a retry
    await clock.advance(timedelta(seconds=1))
    assert await count(database, "chat_messages") == 0
    assert await count(database, "chat_participants") == 0
    assert await count(database, "chat_threads") == 1
    await clock.advance(timedelta(days=31))
    assert await count(database, "chat_threads") == 0


async def test_what_is_forgotten_goes_in_portions(running: Process, clock: DrivenClock, database: Database) -> None:
    """A statement that took all would be given up after the pool's time, and then each hour again."""
    ann = await running.user()
    thread = await running.thread(ann)
    taken = await portions(database, "chat_threads", "chat_creations", "chat_log", "chat_stays")
    now = clock.now()
    for table, columns, values in (
        (
            "chat_creations",
            "resource_id, raw_id, repeatability_id, digest, answer, created_at",
            "$1, 'u', i, '', '', $2",
        ),
        (
            "chat_threads",
            "resource_id, thread_id, created_at, created_by, topic, metadata, version, sequence, last_message_id,"
            " roster_version, deleted_at, purged_at",
            "$1, gen_random_uuid(), $2::timestamptz, '', '', '{}', 1, 0, 0, 1, $2, $2",
        ),
    ):
        await database.execute(
            f"INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series(1, 5001) AS i", RESOURCE, now
        )
    await database.execute(
        "INSERT INTO chat_log (resource_id, thread_id, position, kind, at, roster_version, version)"
        " SELECT $1, $2, nextval('chat_log_positions'), 'messageSent', $3, 1, 1 FROM generate_series(1, 10001)",
        RESOURCE,
        thread,
        now,
    )
    await running.chat.delete(RESOURCE, ann, thread)
    await clock.advance(timedelta(seconds=1))
    assert await count(database, "chat_log") == 1
    await clock.advance(timedelta(days=31))
    for table, left in (("chat_threads", 0), ("chat_creations", 0), ("chat_log", 0), ("chat_stays", 0)):
        assert await count(database, table) == left
    assert await taken("chat_threads") == [5000, 2]
    assert await taken("chat_creations") == [5000, 1]
    assert max(await taken("chat_log")) == 10000
