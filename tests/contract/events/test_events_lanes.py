"""How many requests a subscription has open, and that nothing stays behind whatever ends them."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from structlog.testing import capture_logs
from tests.contract.events.webhooks import REPORT, Slice, Webhook, process, webhook, working
from tests.support.patience import PATIENCE_S

from landline.core.errors import Unavailable
from landline.services.events import lanes, records, records_ladder
from landline.services.events.model import Delivery

TEXT = "Microsoft.Communication.SMSReceived"


@pytest.fixture
async def here(dsn: str, database: object) -> AsyncGenerator[Slice]:
    async with process(dsn) as slice_:
        yield slice_


def let_go(hook: Webhook) -> None:
    """Have the requests that are open now answered, and no later ones."""
    hook.gate.set()
    hook.gate.clear()


async def others_pass(here: Slice, other: Webhook) -> None:
    """Wait for another subscription's event: what was to go out before it has."""
    count = len(other.calls)
    for _ in range(3):
        await here.emit(here.event(type=TEXT))
        count += 1
        await other.wait_for(count)


async def test_an_endpoint_that_fails_has_few_requests_open_until_it_answers_again(here: Slice) -> None:
    async with webhook(lambda _call: web.Response(status=503)) as hook, webhook() as other, working(here.events):
        await here.subscribe("hook", hook.url, types=(REPORT,))
        await here.subscribe("other", other.url, types=(TEXT,))
        hook.gate.clear()
        await here.emit(*(here.event() for _ in range(200)))
        for expected in (16, 20, 24, 32, 48):
            await hook.wait_for(expected)
            await others_pass(here, other)
            assert len(hook.calls) == expected
            if expected == 24:
                hook.answer = lambda _call: web.Response(status=200)
            let_go(hook)
        hook.gate.set()


async def test_an_endpoint_that_failed_is_not_given_more_at_once_for_having_had_nothing_to_do(here: Slice) -> None:
    async with webhook(lambda _call: web.Response(status=503)) as hook, webhook() as other, working(here.events):
        await here.subscribe("hook", hook.url, types=(REPORT,), max_attempts=1)
        await here.subscribe("other", other.url, types=(TEXT,))
        await here.emit(*(here.event() for _ in range(20)))
        await here.settle()
        assert len(hook.calls) == 20
        hook.gate.clear()
        await here.emit(*(here.event() for _ in range(20)))
        await hook.wait_for(24)
        await others_pass(here, other)
        assert len(hook.calls) == 24
        hook.gate.set()


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_more_subscriptions_than_requests_at_once_get_everything(
    here: Slice, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(lanes, "IN_FLIGHT_LIMIT", limit)
    async with asyncio.timeout(PATIENCE_S), AsyncExitStack() as stack, working(here.events):
        hooks = [await stack.enter_async_context(webhook()) for _ in range(4)]
        for number, hook in enumerate(hooks):
            await here.subscribe(f"hook{number}", hook.url)
            hook.gate.clear()
        sent = [here.event() for _ in range(24)]
        for first in range(0, len(sent), 8):
            await here.emit(*sent[first : first + 8])
        await hooks[0].wait_for(1)
        assert sum(len(hook.calls) for hook in hooks) <= limit
        for hook in hooks:
            hook.gate.set()
        await here.settle()
        assert [Counter(hook.event_ids) for hook in hooks] == [Counter(str(event.event_id) for event in sent)] * 4
        assert await here.blocks() == 0


async def test_endpoints_that_hang_leave_requests_to_those_that_answer(
    here: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "IN_FLIGHT_LIMIT", 8)
    async with asyncio.timeout(PATIENCE_S), AsyncExitStack() as stack, working(here.events):
        hooks = [await stack.enter_async_context(webhook()) for _ in range(5)]
        for number, hook in enumerate(hooks):
            await here.subscribe(f"hook{number}", hook.url, types=(REPORT,))
        good = await stack.enter_async_context(webhook())
        await here.subscribe("good", good.url, types=(TEXT,))
        monkeypatch.setattr(lanes, "_SLOW_S", 0.0)  # what they were told before, they were slow to take
        sent = [here.event() for _ in range(12)]
        await here.emit(*sent[:2])
        await here.settle()
        monkeypatch.setattr(lanes, "_SLOW_S", 1000.0)
        for hook in hooks:
            hook.gate.clear()
        await here.emit(*sent[2:])
        await others_pass(here, good)
        assert sum(len(hook.calls) - 2 for hook in hooks) == 4
        for hook in hooks:
            hook.gate.set()
        await here.settle()
        assert [Counter(hook.event_ids) for hook in hooks] == [Counter(str(event.event_id) for event in sent)] * 5
        assert await here.blocks() == 0


async def test_endpoints_that_begin_to_hang_at_once_hold_up_no_other_until_they_are_given_up(
    here: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have all requests by then."""
    for name, value in (("IN_FLIGHT_LIMIT", 8), ("_SLOW_S", 1000.0), ("_LOOK_S", 0.0), ("TIMEOUT_S", 1000.0)):
        monkeypatch.setattr(lanes, name, value)
    async with asyncio.timeout(PATIENCE_S), AsyncExitStack() as stack, working(here.events):
        hooks = [await stack.enter_async_context(webhook()) for _ in range(5)]
        for number, hook in enumerate(hooks):
            await here.subscribe(f"hook{number}", hook.url, types=(REPORT,))
            hook.gate.clear()
        good = await stack.enter_async_context(webhook())
        await here.subscribe("good", good.url, types=(TEXT,))
        sent = [here.event() for _ in range(12)]
        await here.emit(*sent)
        await here.emit(here.event(type=TEXT))
        monkeypatch.setattr(lanes, "_SLOW_S", 0.0)
        await good.wait_for(1)
        monkeypatch.setattr(lanes, "_SLOW_S", 1000.0)
        assert sum(len(hook.calls) for hook in hooks) <= 11
        for hook in hooks:
            hook.gate.set()
        await here.settle()
        assert [Counter(hook.event_ids) for hook in hooks] == [Counter(str(event.event_id) for event in sent)] * 5
        assert await here.blocks() == 0


@pytest.mark.parametrize("known", [True, False])
async def test_endpoints_that_hang_leave_memory_to_those_that_answer(
    here: Slice, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setattr(lanes, "LANE_LIMIT", 60)
    monkeypatch.setattr(lanes, "TOTAL_LIMIT", 100)
    async with asyncio.timeout(PATIENCE_S), AsyncExitStack() as stack, working(here.events):
        hooks = [await stack.enter_async_context(webhook()) for _ in range(2)]
        for number, hook in enumerate(hooks):
            await here.subscribe(f"hook{number}", hook.url, types=(REPORT,))
        good = await stack.enter_async_context(webhook())
        await here.subscribe("good", good.url, types=(TEXT,))
        sent = [here.event() for _ in range(161)]
        if known:
            monkeypatch.setattr(lanes, "_SLOW_S", 0.0)
            await here.emit(sent[0])
            await here.settle()
        for hook in hooks:
            hook.gate.clear()
        await here.emit(*sent[known:81])
        if not known:  # they are found to be slow with all of memory in their hands
            monkeypatch.setattr(lanes, "_SLOW_S", 0.0)
            for hook in hooks:
                await hook.wait_for(16)
                let_go(hook)
                await hook.wait_for(17)
        monkeypatch.setattr(lanes, "_SLOW_S", 1000.0)
        await here.emit(*sent[81:])
        await others_pass(here, good)
        for hook in hooks:
            hook.gate.set()
        await here.settle()
        assert [Counter(hook.event_ids) for hook in hooks] == [Counter(str(event.event_id) for event in sent)] * 2
        assert await here.blocks() == 0


@pytest.mark.parametrize(("waiting", "first"), [(12, 2), (1, 1)])
async def test_the_backlogs_of_many_are_claimed_as_memory_has_room_for_them(
    here: Slice, monkeypatch: pytest.MonkeyPatch, waiting: int, first: int
) -> None:
    """Of 500 with 256 rows each all were claimed at once, in a statement that took too long and so did nothing."""
    monkeypatch.setattr(lanes, "TOTAL_LIMIT", 100)
    claim, claimed = records_ladder.claim, list[Counter[UUID]]()

    async def counting(*arguments: Any, **options: Any) -> list[Delivery]:
        rows = await claim(*arguments, **options)
        claimed.append(Counter(row.subscription for row in rows))
        return rows

    monkeypatch.setattr(records_ladder, "claim", counting)
    async with webhook() as hook:
        for n in range(50):
            await here.subscribe(f"hook-{n}", hook.url)
        await here.emit(*(here.event() for _ in range(waiting)))  # nobody delivers: all of it waits in the database
        async with working(here.events):
            await here.clock.advance(timedelta(minutes=1))
            assert [*claimed[0].values()] == [first] * 50
            assert max(each.total() for each in claimed) <= 100
            assert len(hook.event_ids) == 50 * waiting
            assert await here.blocks() == 0


async def test_what_could_not_be_sent_because_of_a_bug_is_sent_later(
    here: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, broken = here.events.callout.post, 0

    def fail(*arguments: Any, **options: Any) -> None:
        nonlocal broken
        broken += 1
        if broken == 1:
            raise RuntimeError("a bug")
        if broken == 2:
            asyncio.get_running_loop().call_soon(options["answered"], RuntimeError("another"))
        else:
            post(*arguments, **options)

    async with webhook() as hook, working(here.events):
        await here.subscribe("hook", hook.url)
        monkeypatch.setattr(here.events.callout, "post", fail)
        sent = [here.event() for _ in range(50)]
        with capture_logs() as logs:
            await here.emit(*sent)
            await here.settle()
        assert [each["event"] for each in logs if each["log_level"] == "error"] == ["events.delivery_trouble"] * 2
        assert len(hook.calls) == 48
        await here.clock.advance(timedelta(seconds=12))
        assert sorted(hook.event_ids) == sorted(str(event.event_id) for event in sent)
        assert await here.blocks() == 0


async def test_what_cannot_be_dropped_while_the_database_is_away_is_dropped_later(
    here: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = 0

    async def is_away(_database: Any, _batch: Sequence[Delivery]) -> None:
        nonlocal away
        away += 1
        raise Unavailable("PostgreSQL is away")

    async with webhook() as hook, working(here.events):
        await here.subscribe("hook", hook.url)
        hook.gate.clear()
        await here.emit(*(here.event() for _ in range(40)))
        await hook.wait_for(16)
        monkeypatch.setattr(records, "discard", is_away)
        await here.subscriptions.remove("local", "hook")
        hook.gate.set()
        await here.clock.advance(timedelta(seconds=1))
        assert away == 1
        assert await here.blocks() == 0
        await here.clock.advance(timedelta(hours=1))
        assert all(row["next_at"] is None for row in await here.rows())


async def test_who_closes_lets_what_is_under_way_end_and_begins_nothing(here: Slice) -> None:
    async with webhook() as hook:
        await here.subscribe("hook", hook.url)
        hook.gate.clear()
        async with working(here.events) as worker:
            await here.emit(*(here.event() for _ in range(100)))
            await hook.wait_for(16)
            closing = asyncio.create_task(worker.close())
            while here.events.sender is not None:
                await asyncio.sleep(0)
            hook.gate.set()
            await closing
        assert len(hook.calls) == 16
        assert sum(row["delivered_at"] is not None for row in await here.rows()) == 16
