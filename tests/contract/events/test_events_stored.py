"""What is asked of one subscription's deliveries does not go through those of others, however many there are."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest
from aiohttp import web
from tests.contract.events.webhooks import RESOURCE, Slice, process, webhook, working
from tests.support.rows import index_pages_read, rows_read

from landline.core.errors import NotFound
from landline.services.events import records
from landline.services.events.records_subscriptions import DeadKey

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
