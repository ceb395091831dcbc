"""What is asked of one subscription's deliveries does not go through those of others, however many there are."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from tests.contract.events.webhooks import RESOURCE, Slice, process, webhook, working
from tests.support.rows import backup, index_pages_read, pages_read, rows_read

from landline.core.errors import NotFound
from landline.services.events import records, records_ladder
from landline.services.events.model import Again, Delivery, Outcome
from landline.services.events.records_subscriptions import DeadKey
from landline.store.blocks import LEASE
from landline.store.parts import execute

STORED = 3000


@pytest.fixture
async def here(dsn: str, database: object) -> AsyncGenerator[Slice]:
    async with process(dsn) as slice_:
        yield slice_


async def store(here: Slice, subscription: UUID, count: int, *, dead: bool) -> None:
    now = here.clock.now()
    times = "NULL, $3" if dead else "$3, NULL"
    await here.database.execute(
        "INSERT INTO events_deliveries (resource_id, about, event_id, subscription_id, since, next_at, dead_at, at,"
        " type, subject, data)"
        f" SELECT $1, gen_random_uuid(), gen_random_uuid(), $2, $3, {times}, $3, '', '', ''"
        " FROM generate_series(1, $4)",
        RESOURCE,
        subscription,
        now + timedelta(0 if dead else 3600),
        count,
    )


@pytest.mark.parametrize("stored", [True, False], ids=["tried before", "for the first time"])
async def test_what_is_in_hand_is_not_read_for_each_try_though_postgresql_has_seen_nothing(
    here: Slice, stored: bool
) -> None:
    """It found pages and only dead rows in them, as is usual of what is told at once; then webhooks are down."""
    table = "events_blocks" if stored else "events_batches"
    columns, values = ("", "") if stored else (", since, events", ", $2, ''")
    insert = (
        f"INSERT INTO {table} (block_id, owner, due_at{columns}) SELECT gen_random_uuid(), $1, $2{values}"
        f" FROM generate_series(1, {STORED})"
    )
    subscription, now, block = await here.subscribe("all", "http://127.0.0.1:9/"), here.clock.now(), uuid4()
    await here.database.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    await here.database.execute(insert, here.events.owner, now)
    await here.database.execute(f"DELETE FROM {table}")
    await here.database.execute(f"ANALYZE {table}")
    await here.database.execute(insert, here.events.owner, now)
    deliveries = [Delivery(here.event(), subscription, now, block=block) for _ in range(10)]
    async with here.database.connection() as connection:
        if stored:
            await execute(connection, [records.inserting(deliveries, now)])
            lease = {"block": block, "owner": here.events.owner, "lease_until": now + LEASE}
            deliveries = await records_ladder.claim(here.database, now, 10, (), **lease)
        else:
            await execute(connection, [records.keeping(deliveries, block, here.events.owner, now + LEASE, now)])
    before = await rows_read(here.database, table)
    tries = [records.Result(each, Outcome(now, 503), Again(now + timedelta(seconds=10))) for each in deliveries]
    async with here.database.connection() as connection:
        await execute(connection, records.writing(tries, here.events.owner))
    assert [row["next_at"] for row in await here.rows()] == [now + timedelta(seconds=10)] * 10
    assert await rows_read(here.database, table) - before < 50


async def read(here: Slice, do: Callable[[], Awaitable[object]]) -> int:
    before = await rows_read(here.database, "events_deliveries")
    await do()
    return await rows_read(here.database, "events_deliveries") - before


async def test_dead_letters_of_a_subscription_are_found_without_those_of_others(here: Slice) -> None:
    many = await here.subscribe("many", "http://127.0.0.1:9/many")
    few = await here.subscribe("few", "http://127.0.0.1:9/few")
    await store(here, many, STORED, dead=True)
    await store(here, few, 2, dead=True)

    async def ask() -> None:
        assert len(await here.subscriptions.dead_letters("local", "few", None, 100)) == 2
        with pytest.raises(NotFound):
            await here.subscriptions.dead_letters("local", "none", None, 100)
        assert await here.subscriptions.replay_all("local", "few") == 2

    assert await read(here, ask) < 100
    assert len(await here.subscriptions.dead_letters("local", None, None, 1000)) == 1000


async def test_what_waits_for_a_subscription_is_not_gone_through_to_find_those_that_are_gone(here: Slice) -> None:
    there = await here.subscribe("there", "http://127.0.0.1:9/there")
    await store(here, there, STORED, dead=False)
    for gone in (UUID(int=1), UUID(int=2)):
        await store(here, gone, 1, dead=False)

    async def prune() -> None:
        assert await records.prune_gone(here.database, 5000) == 2

    assert await read(here, prune) < 100


async def test_dead_letters_that_are_kept_are_not_gone_through_to_find_the_old_ones(here: Slice) -> None:
    many = await here.subscribe("many", "http://127.0.0.1:9/many")
    for dead in (True, False):
        await store(here, many, 10 * STORED, dead=dead)
    now = here.clock.now()
    for column, count in (("dead_at", 2), ("next_at", 3)):
        await here.database.execute(
            f"UPDATE events_deliveries SET {column} = $1 WHERE ctid = ANY(ARRAY("
            f"SELECT ctid FROM events_deliveries WHERE {column} IS NOT NULL LIMIT $2))",
            now - timedelta(days=8),
            count,
        )
    await store(here, UUID(int=1), 1, dead=True)  # of a subscription that is gone, and new

    async def prune() -> None:
        assert await records.prune_dead(here.database, now - timedelta(days=7), 5000) == 5

    before = await index_pages_read(here.database, "events_deliveries")
    await prune()
    assert await index_pages_read(here.database, "events_deliveries") - before < 150
    old = now + timedelta(days=4000)
    assert await records.prune_dead(here.database, old, 100 * STORED) == 20 * STORED + 1 - 5


async def test_what_is_done_about_one_subscription_leaves_others_and_other_resources_as_they_are(here: Slice) -> None:
    """Each has events that wait and dead letters."""
    one = await here.subscribe("one", "http://127.0.0.1:9/one")
    two = await here.subscribe("two", "http://127.0.0.1:9/two")
    for subscription in (one, two):
        await store(here, subscription, 2, dead=True)
        await store(here, subscription, 2, dead=False)
    await here.database.execute(
        "INSERT INTO events_deliveries"
        " (resource_id, about, event_id, subscription_id, since, dead_at, at, type, subject, data)"
        " SELECT $2, about, gen_random_uuid(), subscription_id, since, dead_at, at, type, subject, data"
        " FROM events_deliveries WHERE resource_id = $1 AND dead_at IS NOT NULL",
        RESOURCE,
        UUID(int=7),
    )

    async def dead() -> dict[tuple[UUID, UUID], int]:
        rows = [row for row in await here.rows() if row["dead_at"] is not None]
        return Counter((row["resource_id"], row["subscription_id"]) for row in rows)

    theirs = {(UUID(int=7), one): 2, (UUID(int=7), two): 2}
    assert {row["subscription_id"] for row in await here.subscriptions.dead_letters("local", "one", None, 9)} == {one}
    assert len(await here.subscriptions.dead_letters("local", None, None, 9)) == 4
    keys = [DeadKey(row["about"], row["event_id"], row["subscription_id"]) for row in await here.rows()]
    assert await here.subscriptions.replay("local", [key for key in keys if key.subscription == one]) == 2
    assert await dead() == {(RESOURCE, two): 2, **theirs}
    await here.subscriptions.remove("local", "one")
    assert await dead() == {(RESOURCE, two): 2, **theirs}
    waiting = [row for row in await here.rows() if row["next_at"] is not None]
    assert [row["subscription_id"] for row in waiting] == [two, two]
    assert await here.subscriptions.replay_all("local", "two") == 2
    assert await dead() == theirs


async def test_a_dead_letter_that_is_replayed_has_all_its_tries_again(here: Slice) -> None:
    async with webhook(lambda _call: web.Response(status=500)) as hook, working(here.events):
        await here.subscribe("all", hook.url, max_attempts=2)
        await here.emit(here.event())
        await here.clock.advance(timedelta(minutes=1))
        assert len(hook.calls) == 2
        await here.clock.advance(timedelta(days=2))
        assert await here.subscriptions.replay_all("local", "all") == 1
        await here.clock.advance(timedelta(minutes=1))
        assert [call.headers["aeg-delivery-count"] for call in hook.calls] == ["0", "1", "0", "1"]
        (letter,) = await here.subscriptions.dead_letters("local", "all", None, 9)
        assert (letter["reason"], letter["attempts"]) == ("MaxDeliveryAttemptsExceeded", 2)


async def test_what_waits_is_found_without_going_through_what_was_tried_during_a_backup(here: Slice, dsn: str) -> None:
    """A webhook fails at times: what waited for its next try is dead soon, and stays until the backup ends."""
    lease = {"block": uuid4(), "owner": here.events.owner, "lease_until": here.clock.now() + LEASE}
    fails = await here.subscribe("fails", "http://127.0.0.1:9/fails")
    paused = await here.subscribe("paused", "http://127.0.0.1:9/paused")
    async with backup(dsn):
        await store(here, fails, STORED, dead=False)
        await here.database.execute("UPDATE events_deliveries SET next_at = NULL, block_id = $1", uuid4())
        await store(here, paused, 1, dead=False)  # and is not enabled when it is looked for
        due = await here.database.fetchval("SELECT min(next_at) FROM events_deliveries")
        floors = await records_ladder.floors(here.database, due + timedelta(seconds=1))
        now = due + timedelta(minutes=1)
        await here.database.execute("UPDATE events_deliveries SET next_at = $1 WHERE next_at IS NULL", now)
        before = await pages_read(here.database, "events_deliveries")
        assert await records_ladder.look(here.database, {paused}, now, floors) == (now, 1)
        assert len(await records_ladder.claim(here.database, now, 1, {paused}, **lease, floors=floors)) == 1
        assert await pages_read(here.database, "events_deliveries") - before < 100
    assert await records_ladder.look(here.database, (), now, floors) == (due, 2)


async def test_what_was_due_long_before_it_was_written_waits_a_minute_at_most(here: Slice) -> None:
    """As by a clock that is behind."""
    async with webhook() as hook, working(here.events):
        subscription = await here.subscribe("all", hook.url)
        await here.clock.advance(timedelta(hours=2))
        await here.emit(here.event())
        await hook.wait_for(1)
        await store(here, subscription, 1, dead=False)
        await here.database.execute(
            "UPDATE events_deliveries SET next_at = $1 WHERE next_at IS NOT NULL", here.clock.now() - timedelta(hours=1)
        )
        await here.clock.advance(timedelta(minutes=1, seconds=10))
        await hook.wait_for(2)
