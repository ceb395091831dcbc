"""Long texts from phones to a customer with several binds, each of a program that knows nothing of the others: whoever
has one part of a text has all of them."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from tests.support.product import Product
from tests.support.smpp_client import Client
from tests.support.smpp_world import OURS, PHONE, until

from landline.engines.clock import DrivenClock
from landline.engines.smpp.listener import ListenerConfig, SmppListener
from landline.ports.esme_gateway import Delivered, TextOut
from landline.protocols.smpp import status
from landline.protocols.smpp.events import MessageArrived
from landline.store.database import Database

Part = tuple[int, int]
"""Reference and number of a part."""


class World:
    """A listener, and binds of one customer."""

    def __init__(self, database: Database) -> None:
        self.clock = DrivenClock()
        self.product = Product()
        self.listener = SmppListener(ListenerConfig(port=0), self.product, database, self.clock)
        self.binds: list[Client] = []

    async def bound(self, count: int = 1) -> list[Client]:
        """So many more binds."""
        assert self.listener.port is not None
        for _ in range(count):
            client = Client()
            await client.connect(self.listener.port)
            await client.bind()
            self.binds.append(client)
        return self.binds[-count:]

    def bring(self, *texts: TextOut) -> "asyncio.Task[list[Delivered]]":
        until_then = self.clock.now() + timedelta(seconds=30)
        return asyncio.create_task(self.listener.deliver(self.product.account, texts, until_then))


@pytest.fixture
async def world(database: Database) -> AsyncGenerator[World]:
    world = World(database)
    await world.listener.start()
    yield world
    for client in world.binds:
        client.pump.abort()
    await world.listener.close()


def long_text(parts: int) -> TextOut:
    return TextOut(uuid4(), PHONE, OURS, "x" * (153 * parts))


def reference(text: TextOut) -> int:
    return text.key.int & 0xFF


def parts_of(client: Client) -> list[Part]:
    """What it was brought, and has not answered."""
    found: list[Part] = []
    for event in client.events:
        assert isinstance(event, MessageArrived)
        header = event.message.short_message
        found.append((header[3], header[5]))
    return found


def answer(client: Client, state: int = status.ESME_ROK, *, count: int | None = None) -> list[Part]:
    """Answer the first `count` of what it was brought, or all."""
    answered = parts_of(client)[:count]
    for event in client.events[:count]:
        assert isinstance(event, MessageArrived)
        client.session.answer(event.sequence, state)
    client.pump.flush()
    del client.events[:count]
    return answered


def whole(text: TextOut, parts: int) -> list[Part]:
    return [(reference(text), number) for number in range(1, parts + 1)]


@pytest.mark.parametrize("parts", [2, 3, 9])
async def test_all_parts_of_a_text_come_by_one_bind(world: World, parts: int) -> None:
    first, second = await world.bound(2)
    text = long_text(parts)
    bringing = world.bring(text)
    await until(lambda: len(first.events) + len(second.events) == parts)
    assert answer(first) == whole(text, parts)
    assert await bringing == [Delivered.TAKEN]


async def test_texts_of_several_parts_are_spread_over_the_binds(world: World) -> None:
    binds = await world.bound(2)
    texts = [long_text(3), long_text(2), long_text(4)]
    bringing = world.bring(*texts)
    await until(lambda: sum(len(each.events) for each in binds) == 9)
    assert [answer(each) for each in binds] == [whole(texts[0], 3) + whole(texts[1], 2), whole(texts[2], 4)]
    assert await bringing == [Delivered.TAKEN] * 3


async def test_what_there_is_no_room_for_waits_for_the_bind_that_has_the_beginning(world: World) -> None:
    first, second = await world.bound(2)
    text, short = long_text(12), TextOut(uuid4(), PHONE, OURS, "hi")
    bringing = world.bring(text)
    await until(lambda: len(first.events) == 10)  # its window at first
    beside = world.bring(short)  # is not held up
    await until(lambda: len(second.events) == 1)
    assert answer(first, count=1) == [(reference(text), 1)]
    await until(lambda: len(first.events) == 11)
    assert answer(first) == whole(text, 12)[1:]
    (event,) = second.events
    assert isinstance(event, MessageArrived)
    second.session.answer(event.sequence)
    second.pump.flush()
    assert await bringing == await beside == [Delivered.TAKEN]


async def test_a_text_whose_bind_ends_within_it_comes_whole_by_another(world: World) -> None:
    (first,) = await world.bound()
    text = long_text(12)
    bringing = world.bring(text)
    await until(lambda: len(first.events) == 10)
    answer(first, count=1)
    await until(lambda: len(first.events) == 11)
    (second,) = await world.bound()
    first.pump.abort()
    await until(lambda: len(second.events) == 10)
    answer(second, count=10)
    await until(lambda: len(second.events) == 2)
    answer(second)
    assert await bringing == [Delivered.TAKEN]


async def test_a_text_that_one_bind_does_not_answer_comes_whole_by_another(world: World) -> None:
    silent, other = await world.bound(2)
    text = long_text(3)
    bringing = world.bring(text)
    await until(lambda: len(silent.events) == 3)
    answer(silent, count=1)
    (connection,) = [each for each in world.listener._connections if each.session.in_flight]
    await until(lambda: connection.session.in_flight == 2)
    await world.clock.advance(timedelta(seconds=11))
    await until(lambda: len(other.events) == 3)
    assert answer(other) == whole(text, 3)
    assert await bringing == [Delivered.TAKEN]


async def test_what_is_left_of_a_text_is_given_up_with_its_time(world: World) -> None:
    (slow,) = await world.bound()
    text = TextOut(UUID(int=7), PHONE, OURS, "x" * (153 * 12))
    bringing = world.bring(text)
    await until(lambda: len(slow.events) == 10)
    for _ in range(3):  # it answers one in nine seconds
        await world.clock.advance(timedelta(seconds=9))
        slow.events.clear()
    await world.clock.advance(timedelta(seconds=9))
    assert await bringing == [Delivered.LATER]
