"""How many requests a subscription has open, and that nothing stays behind whatever ends them."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs
from tests.contract.events.webhooks import REPORT, Slice, Webhook, process, webhook, working
from tests.support.patience import PATIENCE_S

from landline.core.errors import Unavailable
from landline.ports.callout import Answer
from landline.services.events import lanes, records
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


async def test_what_could_not_be_sent_because_of_a_bug_is_sent_later(
    here: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, broken = here.events.callout.request, 0

    async def fail(*arguments: Any, **options: Any) -> Answer:
        nonlocal broken
        broken += 1
        if broken <= 2:
            raise RuntimeError("a bug")
        return await request(*arguments, **options)

    async with webhook() as hook, working(here.events):
        await here.subscribe("hook", hook.url)
        monkeypatch.setattr(here.events.callout, "request", fail)
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
    discard, away = records.discard, 0

    async def away_at_first(database: Any, batch: Sequence[Delivery]) -> None:
        nonlocal away
        away += 1
        if away <= 2:
            raise Unavailable("PostgreSQL is away")
        await discard(database, batch)

    async with webhook() as hook, working(here.events):
        await here.subscribe("hook", hook.url)
        hook.gate.clear()
        await here.emit(*(here.event() for _ in range(40)))
        await hook.wait_for(16)
        monkeypatch.setattr(records, "discard", away_at_first)
        await here.subscriptions.remove("local", "hook")
        hook.gate.set()
        await here.clock.advance(timedelta(seconds=1))
        assert away > 2
        assert await here.blocks() == 0


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
