"""What becomes of events that wait while their endpoint is away, or their subscription disabled or removed."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta, tzinfo
from typing import Self
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from msgspec.structs import replace
from tests.contract.events.test_events_delivery import look
from tests.contract.events.webhooks import RESOURCE, Slice, process, webhook, working
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port

from landline.engines import clock as clock_engines
from landline.services.events import records_ladder
from landline.services.events.model import Delivery, Event, Secrets, Settings


@pytest.fixture
async def here(dsn: str, database: object) -> AsyncGenerator[Slice]:
    async with process(dsn) as slice_:
        yield slice_


async def enable(here: Slice, enabled: bool) -> None:
    await here.subscriptions.change("local", "hook", as_it_is, enabled=enabled, validation=False)


def elsewhere(settings: Settings, secrets: Secrets) -> tuple[Settings, Secrets]:
    """Where nobody is."""
    return replace(settings, endpoint=f"http://127.0.0.1:{free_port()}/"), secrets


def as_it_is(settings: Settings, secrets: Secrets) -> tuple[Settings, Secrets]:
    return settings, secrets


async def test_what_outlives_its_time_while_its_subscription_is_disabled_is_a_dead_letter(here: Slice) -> None:
    async with webhook(lambda _call: web.Response(status=500)) as hook, working(here.events):
        await here.subscribe("hook", hook.url, ttl_minutes=30)
        await here.emit(here.event())
        await here.settle()
        await enable(here, False)
        await here.clock.advance(timedelta(minutes=31))
        hook.answer = lambda _call: web.Response(status=200)
        await enable(here, True)
        await here.settle()
        (row,) = await here.rows()
        assert (row["reason"], row["attempts"], row["delivered_at"]) == ("TimeToLiveExceeded", 1, None)
        assert len(hook.calls) == 1


@pytest.mark.parametrize("status", [503, None])
async def test_a_dead_letter_says_what_its_last_try_met_though_it_ended_while_it_waited(
    here: Slice, status: int | None
) -> None:
    async with webhook(lambda _call: web.Response(status=500)) as hook, working(here.events):
        await here.subscribe("hook", hook.url, ttl_minutes=30)
        await here.emit(here.event())
        await here.settle()
        if status is None:
            await here.subscriptions.change("local", "hook", elsewhere, enabled=None, validation=False)
        else:
            hook.answer = lambda _call: web.Response(status=status)
        await here.clock.advance(timedelta(seconds=11))
        await enable(here, False)
        await here.clock.advance(timedelta(minutes=31))
        await enable(here, True)
        await here.settle()
        (letter,) = await here.subscriptions.dead_letters("local", "hook", None, 10)
        assert (letter["reason"], letter["attempts"], letter["status"]) == ("TimeToLiveExceeded", 2, status)
        assert (letter["error"] is None) is (status is not None)


async def test_what_waits_in_memory_when_its_subscription_is_disabled_is_sent_once_it_is_enabled(here: Slice) -> None:
    async with webhook() as hook, working(here.events):
        await here.subscribe("hook", hook.url)
        hook.gate.clear()
        await here.emit(*(here.event() for _ in range(100)))
        under_way = len(await hook.wait_for(16))
        await enable(here, False)
        hook.gate.set()
        await here.clock.advance(timedelta(hours=1))
        assert len(hook.calls) == under_way
        await enable(here, True)
        await here.settle()
        assert len(hook.calls) == len(set(hook.event_ids)) == 100
        assert {row["delivered_at"] is not None for row in await here.rows()} == {True}
        assert await here.blocks() == 0


async def test_what_waits_in_memory_when_its_subscription_is_removed_is_gone(here: Slice) -> None:
    async with webhook() as hook, webhook() as other, working(here.events):
        await here.subscribe("hook", hook.url)
        await here.subscribe("other", other.url)
        hook.gate.clear()
        await here.emit(*(here.event() for _ in range(100)))
        under_way = len(await hook.wait_for(16))
        await here.subscriptions.remove("local", "hook")
        hook.gate.set()
        await here.clock.advance(timedelta(hours=24))
        assert len(hook.calls) == under_way
        assert len(set(other.event_ids)) == 100
        kept = {row["subscription_id"] for row in await here.rows() if row["delivered_at"] is None}
        assert (kept, await here.blocks()) == (set(), 0)


async def test_an_endpoint_that_cannot_be_reached_is_tried_again_and_said_to_be_so(here: Slice) -> None:
    async with working(here.events):
        await here.subscribe("hook", f"http://127.0.0.1:{free_port()}/hook", max_attempts=2)
        await here.emit(here.event())
        await here.settle()
        (row,) = await here.rows()
        assert (row["attempts"], row["status"], row["reason"]) == (1, None, None)
        assert row["error"]
        await here.clock.advance(timedelta(seconds=15))
        (row,) = await here.rows()
        assert (row["attempts"], row["status"], row["reason"]) == (2, None, "MaxDeliveryAttemptsExceeded")


class AnHourEarlier(datetime):
    """What the machine's clock shows once it is set back."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) - timedelta(hours=1)


async def test_what_waits_for_its_endpoints_rate_does_not_wait_for_as_long_as_the_clock_is_set_back(
    here: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with webhook() as hook, working(here.events) as worker:
        await here.subscribe("slow", hook.url, rate_per_minute=6)
        await here.emit(*(here.event() for _ in range(3)))
        await here.settle()
        assert len(hook.calls) == 1
        monkeypatch.setattr(clock_engines, "datetime", AnHourEarlier)
        await look(here, worker)
        await here.clock.advance(timedelta(seconds=30))
        assert len(hook.calls) == 3


async def test_what_another_process_is_about_to_take_holds_up_nothing_and_is_left_to_it(here: Slice) -> None:
    """Both look for what is due at the same moment."""
    async with webhook() as hook, webhook() as hook_of_other:
        await here.subscribe("hook", hook.url)
        await here.subscribe("other", hook_of_other.url)
        theirs, ours = here.event(), here.event()
        await here.emit(theirs, ours)  # nothing works: they lie in the database, due
        async with here.database.transaction() as connection:
            taking = "FROM events_deliveries WHERE event_id = $1"
            await connection.execute(f"SELECT {taking} FOR UPDATE", theirs.event_id)
            async with working(here.events), asyncio.timeout(PATIENCE_S):
                await hook.wait_for(1)
                await hook_of_other.wait_for(1)
            await connection.execute(
                "UPDATE events_deliveries SET next_at = NULL, block_id = $2 WHERE event_id = $1",
                theirs.event_id,
                uuid4(),
            )
        async with working(here.events):
            await here.clock.advance(timedelta(minutes=1))
        assert hook.event_ids == hook_of_other.event_ids == [str(ours.event_id)]


async def test_of_what_waits_for_two_subscriptions_each_gets_its_own_the_longest_due_first(here: Slice) -> None:
    async with webhook() as one, webhook() as two:
        await here.subscribe("one", one.url, types=("one",))
        await here.subscribe("two", two.url, types=("two",))
        sent: list[Event] = []
        for _ in range(4):
            sent += here.event(type="one"), here.event(type="two")
            await here.emit(*sent[-2:])
            await here.clock.advance(timedelta(seconds=1))
        claimed: list[Delivery] = []
        for number in range(2):
            lease = {"block": UUID(int=number), "owner": here.events.owner, "lease_until": here.clock.now()}
            claimed += await records_ladder.claim(here.database, here.clock.now(), 1, (), **lease)
        assert {delivery.event.event_id for delivery in claimed} == {event.event_id for event in sent[:4]}
        async with working(here.events):
            await here.settle()
        assert sorted(one.event_ids) == sorted(str(event.event_id) for event in sent[4:] if event.type == "one")
        assert sorted(two.event_ids) == sorted(str(event.event_id) for event in sent[4:] if event.type == "two")


async def test_a_failed_try_of_what_waited_in_the_database_is_in_the_timeline(here: Slice) -> None:
    async with webhook(lambda _call: web.Response(status=503)) as hook:
        await here.subscribe("hook", hook.url)
        event = here.event()
        await here.emit(event, here.event())  # nothing works: they lie in the database, due
        async with working(here.events):
            await here.settle()
        assert event.about is not None
        assert [(each.attempt, each.status) for each in await here.events.tries(RESOURCE, event.about)] == [(1, 503)]
