"""A user that is deleted leaves its threads, and takes along what it said there."""

import asyncio
from datetime import timedelta

import pytest
from tests.support.chat import RESOURCE, Process
from tests.support.patience import PATIENCE_S

from landline.core.ids import RawId, split_user_raw_id
from landline.edge.http import Caller
from landline.engines.clock import DrivenClock
from landline.services.chat import departures, records
from landline.services.chat.model.changes import ParticipantsRemoved
from landline.services.chat.model.ids import ThreadId
from landline.store.database import Database
from landline.store.migrations import available

WAITING = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"


async def deleted(one: Process, clock: DrivenClock, user: RawId) -> None:
    await one.identity.delete(Caller(RESOURCE), user)
    one.worker.wake()
    await clock.advance(timedelta(seconds=1))


async def there(one: Process, thread: ThreadId, user: RawId) -> list[str]:
    return [row["raw_id"] for row in await one.chat.participants(RESOURCE, user, thread, 0, 100, None)]


async def test_a_deleted_user_leaves_all_threads_and_what_it_said_goes_along(
    running: Process, clock: DrivenClock, database: Database
) -> None:
    ann, bob, cem = [await running.user() for _ in range(3)]
    here, there_before = await running.thread(ann, bob, cem), await running.thread(ann, bob)
    for thread in (here, there_before):
        await running.send(thread, bob, "mine")
        await running.send(thread, ann, "yours")
    await running.chat.remove(RESOURCE, ann, there_before, bob)
    heard = await running.hears()
    await deleted(running, clock, bob)
    assert await there(running, here, ann) == [ann, cem]
    assert [text for _, text in await running.listed(here, ann)][2:] == [None, "yours", "participantRemoved"]
    assert [text for _, text in await running.listed(there_before, ann)][2:] == [None, "yours", "participantRemoved"]
    (told,) = heard
    assert isinstance(told, ParticipantsRemoved)
    assert (told.thread, told.removed_by.raw_id, set(told.recipients)) == (here, bob, {ann, bob, cem})
    assert await database.fetchval("SELECT count(*) FROM chat_participants WHERE raw_id = $1", bob) == 0
    assert await database.fetchval("SELECT count(*) FROM chat_messages WHERE content = 'mine'") == 0
    await clock.advance(timedelta(minutes=2))
    assert await database.fetchval("SELECT count(*) FROM chat_departures") == 0
    assert len(heard) == 1


async def test_of_a_thread_that_is_deleted_too_nothing_is_left(
    running: Process, clock: DrivenClock, database: Database
) -> None:
    ann, bob = await running.user(), await running.user()
    thread = await running.thread(ann, bob)
    await running.chat.delete(RESOURCE, ann, thread)
    await deleted(running, clock, bob)
    await deleted(running, clock, ann)
    assert await database.fetchval("SELECT count(*) FROM chat_participants") == 0


async def test_more_messages_than_are_erased_at_once(running: Process, clock: DrivenClock, database: Database) -> None:
    ann, bob = await running.user(), await running.user()
    thread = await running.thread(ann, bob)
    await asyncio.gather(*[running.send(thread, bob) for _ in range(2_500)])
    await deleted(running, clock, bob)
    assert await database.fetchval("SELECT count(*) FROM chat_messages WHERE content = 'hi'") == 0
    assert await database.fetchval("SELECT count(*) FROM chat_messages WHERE deleted_at IS NOT NULL") == 2_500


async def test_who_is_added_by_a_request_that_was_under_way_is_found_as_well(
    running: Process, clock: DrivenClock, database: Database
) -> None:
    ann, bob = await running.user(), await running.user()
    thread = await running.thread(ann)
    async with database.transaction() as connection:
        await records.lock(connection, [(RESOURCE, thread)])
        adding = asyncio.create_task(running.add(thread, ann, bob))  # asks whether bob is there, and waits
        async with asyncio.timeout(PATIENCE_S):
            while not await database.fetchval(WAITING):
                await asyncio.sleep(0)
        await deleted(running, clock, bob)
    await adding
    assert await there(running, thread, ann) == [ann, bob]
    await clock.advance(timedelta(minutes=1))
    assert await there(running, thread, ann) == [ann]


async def test_who_was_deleted_before_chat_was_told_of_it_is_found_after_the_upgrade(
    running: Process, clock: DrivenClock, database: Database
) -> None:
    ann, bob, cem = [await running.user() for _ in range(3)]
    here, there_before = await running.thread(ann, bob, cem), await running.thread(ann, cem)
    for thread, who in ((here, bob), (there_before, cem), (here, ann)):
        await running.send(thread, who, "mine")
    await running.chat.remove(RESOURCE, ann, there_before, cem)
    for gone in (bob, cem):
        _, user = split_user_raw_id(gone) or ("", "")
        await database.execute("DELETE FROM identity_user WHERE user_id = $1", user)
    migration = next(each for each in available() if each.name == "chat/0005_unchecked_users")
    await database.execute("DROP TABLE chat_unchecked_users")
    await database.execute(migration.sql)
    running.worker.wake()
    await clock.advance(timedelta(minutes=2))
    assert await there(running, here, ann) == [ann]
    assert await database.fetchval("SELECT count(*) FROM chat_participants WHERE raw_id <> $1", ann) == 0
    assert await database.fetchval("SELECT count(*) FROM chat_messages WHERE content = 'mine'") == 1
    assert await database.fetchval("SELECT count(*) FROM chat_unchecked_users") == 0
    assert await database.fetchval("SELECT count(*) FROM chat_departures") == 0


async def test_more_users_than_are_looked_for_at_once(
    running: Process, clock: DrivenClock, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departures, "_CHECKED", 2)
    users = [await running.user() for _ in range(5)]
    thread = await running.thread(users[0], *users[1:])
    _, gone = split_user_raw_id(users[3]) or ("", "")
    await database.execute("DELETE FROM identity_user WHERE user_id = $1", gone)
    await database.execute("INSERT INTO chat_unchecked_users SELECT resource_id, raw_id FROM chat_participants")
    running.worker.wake()
    await clock.advance(timedelta(seconds=1))
    assert set(await there(running, thread, users[0])) == {*users} - {users[3]}
