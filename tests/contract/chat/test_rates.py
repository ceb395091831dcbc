"""ACS's rates of chat hold over processes that reach one another; one that reaches nobody keeps its part of them."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import uuid4

import pytest
from tests.support.bus import nats_server, processes
from tests.support.cluster import eventually
from tests.support.still import StillClock

from landline.core.errors import TooMany
from landline.core.ids import RawId, ResourceId
from landline.engines.bus import MemoryBus
from landline.engines.clock import DrivenClock
from landline.services.chat.limits import Rates
from landline.services.chat.model.ids import ThreadId
from landline.services.chat.model.rates import Operation

SHOP, THREAD, ANN = ResourceId(uuid4()), ThreadId(uuid4()), RawId("8:acs:ann")


def refused(rates: Rates, operation: Operation = Operation.WRITE_MESSAGE, thread: ThreadId | None = THREAD) -> bool:
    try:
        rates.take(operation, SHOP, ANN, thread)
    except TooMany:
        return True
    return False


async def test_what_one_process_took_counts_in_the_others() -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        buses = await stack.enter_async_context(processes(server.url, count=3))
        nodes = [Rates(True, DrivenClock(), lambda: 3, bus) for bus in buses]
        for node in nodes:
            await node.start()
        for number in range(10):  # 10 in 10 s
            assert not refused(nodes[number % 3]), number

        async def counted() -> bool:
            return all(bus.figures.heard + bus.figures.published == 10 for bus in buses)

        await eventually(counted)
        assert [refused(node) for node in nodes] == [True, True, True]
        assert not refused(nodes[0], thread=ThreadId(uuid4()))
        assert not refused(nodes[0], Operation.READ_RECEIPT)


async def test_a_process_that_reaches_nobody_keeps_an_equal_part() -> None:
    rates = Rates(True, DrivenClock(), lambda: 5, MemoryBus())
    await rates.start()
    assert [refused(rates) for _ in range(3)] == [False, False, True]


async def test_a_process_alone_counts_itself_once() -> None:
    rates = Rates(True, DrivenClock(), lambda: 1, MemoryBus())
    await rates.start()
    for _ in range(10):
        assert not refused(rates)
        await asyncio.sleep(0)  # what it said comes back to it
    with pytest.raises(TooMany) as told:
        rates.take(Operation.WRITE_MESSAGE, SHOP, ANN, THREAD)
    assert 0 < told.value.retry_after_s <= 10


async def test_a_clock_that_is_set_back_makes_no_rate_last_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = StillClock()
    rates = Rates(True, clock, lambda: 1, MemoryBus())
    assert [refused(rates) for _ in range(11)] == [False] * 10 + [True]
    monkeypatch.setattr(clock, "_began", clock._began - timedelta(hours=1))
    assert refused(rates)
    await clock.advance(timedelta(seconds=10))
    assert [refused(rates) for _ in range(11)] == [False] * 10 + [True]
