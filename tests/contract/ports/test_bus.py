"""The Bus port: every engine keeps the order of a subject, tells everyone who listens, and nobody else."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from tests.support.bus import Ear, nats_server, settings

from landline.engines.bus import MemoryBus
from landline.engines.nats.bus import NatsBus
from landline.ports.bus import Bus


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest) -> AsyncGenerator[Bus]:
    if request.param == "memory":
        made: Bus = MemoryBus()
        await made.start()
        yield made
        await made.close()
        return
    async with nats_server() as server:
        made = NatsBus(settings(server.url))
        await made.start()
        yield made
        await made.close()


async def test_a_subject_is_heard_in_its_order_by_everyone(bus: Bus) -> None:
    ears = [Ear(), Ear()]
    for ear in ears:
        await bus.subscribe("a", ear)
    said = [str(number).encode() for number in range(1000)]
    for data in said:
        bus.publish("a", data)
    for ear in ears:
        assert await ear.until(said[-1]) == said


async def test_nothing_is_heard_before_publish_returns(bus: Bus) -> None:
    ear = Ear()
    await bus.subscribe("a", ear)
    bus.publish("a", b"1")
    assert ear.heard == []
    await ear.until(b"1")


async def test_own_news_is_heard_once(bus: Bus) -> None:
    ear = Ear()
    await bus.subscribe("a", ear)
    bus.publish("a", b"1")
    await ear.until(b"1")
    await bus.subscribe("b", Ear())  # whatever a server had to say to us about `a` has come before its answer to this
    bus.publish("a", b"2")
    assert await ear.until(b"2") == [b"1", b"2"]


async def test_other_subjects_are_not_heard(bus: Bus) -> None:
    ear, other = Ear(), Ear()
    await bus.subscribe("a", ear)
    await bus.subscribe("b", other)
    bus.publish("a", b"1")
    bus.publish("nobody", b"2")
    bus.publish("b", b"3")
    assert await other.until(b"3") == [b"3"]
    assert await ear.until(b"1") == [b"1"]


async def test_who_closes_hears_no_more(bus: Bus) -> None:
    ear, other = Ear(), Ear()
    subscription = await bus.subscribe("a", ear)
    await bus.subscribe("a", other)
    bus.publish("a", b"on its way")
    subscription.close()
    subscription.close()
    bus.publish("a", b"later")
    await other.until(b"later")
    assert ear.heard == []


async def test_who_comes_back_to_a_subject_hears_it(bus: Bus) -> None:
    first, again = Ear(), Ear()
    (await bus.subscribe("a", first)).close()
    await bus.subscribe("a", again)
    bus.publish("a", b"1")
    await again.until(b"1")
    assert first.heard == []


async def test_a_listener_that_fails_does_not_keep_the_others_from_hearing(bus: Bus) -> None:
    def fails(_data: bytes) -> None:
        raise ValueError

    ear = Ear()
    await bus.subscribe("a", fails)
    await bus.subscribe("a", ear)
    bus.publish("a", b"1")
    bus.publish("a", b"2")
    assert await ear.until(b"2") == [b"1", b"2"]


async def test_nobody_hears_after_close(bus: Bus) -> None:
    ear = Ear()
    await bus.subscribe("a", ear)
    await bus.close()
    bus.publish("a", b"1")
    await asyncio.sleep(0)
    assert ear.heard == []


async def test_publishing_takes_whatever_it_is_given(bus: Bus) -> None:
    ear = Ear()
    await bus.subscribe("a", ear)
    bus.publish("a", bytes(2 << 20))  # over what NATS takes
    bus.publish("not a subject", b"1")
    bus.publish("", b"1")
    bus.publish("a", b"\r\nPUB a 1\r\n")
    await ear.until(b"\r\nPUB a 1\r\n")
    assert len(ear.heard) == 2
    await bus.check()
