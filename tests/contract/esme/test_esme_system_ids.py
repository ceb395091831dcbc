"""A system id that another customer had before, of the same resource or another one: what is that one's is not the next
one's."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from tests.contract.esme.test_esme_cancel import CANNOT, TOMORROW, cancel
from tests.contract.esme.test_esme_messages import nothing_waits
from tests.contract.esme.test_esme_same_parts import parts_of, submit
from tests.support.esme import EsmeWorld, Process
from tests.support.smpp_client import Client
from tests.support.smpp_world import OURS, PHONE, until

from landline.core.ids import ResourceId
from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import Command
from landline.services.sms.model.messages import State


@pytest.fixture
async def process(world: EsmeWorld) -> Process:
    return await world.process()


async def successor(world: EsmeWorld, process: Process, first: Client) -> Client:
    """The next customer with the system id of `first`."""
    await process.accounts.delete(world.resource, "customer")
    await until(lambda: first.closed)
    return await world.client(process, await world.account(process))


async def test_the_receipts_of_the_first_one_are_not_brought_to_the_second(world: EsmeWorld, process: Process) -> None:
    first = await world.client(process, await world.account(process))
    first.submit(registered_delivery=1)
    await first.accepted()
    second = await successor(world, process, first)
    second.submit(registered_delivery=1)
    told = await second.accepted()
    await world.end(process, await world.messages())
    assert (await second.receipt()).message_id == told
    await nothing_waits(world)
    assert second.events == []


async def test_the_second_one_can_neither_ask_for_nor_take_back_what_the_first_one_submitted(
    world: EsmeWorld, process: Process
) -> None:
    first = await world.client(process, await world.account(process))
    first.submit(schedule_delivery_time=TOMORROW)
    scheduled = await first.accepted()
    first.submit()
    await first.accepted()
    second = await successor(world, process, first)
    second.session.request(Command.QUERY_SM, pdu.QuerySm(scheduled), None, 0.0)
    second.pump.flush()
    assert await second.status() == status.ESME_RQUERYFAIL
    assert await cancel(second, scheduled) == CANNOT
    assert await cancel(second, sender=OURS[1:], recipient=PHONE[1:]) == CANNOT
    assert [row["state"] < State.DELIVERED for row in await world.messages()] == [True, True]


@pytest.mark.parametrize("whole", [False, True])
async def test_parts_of_the_first_ones_long_text_are_none_of_the_second_ones(
    world: EsmeWorld, process: Process, whole: bool
) -> None:
    """A text that lacks its last part, and one that is submitted again."""
    first = await world.client(process, await world.account(process))
    before = parts_of("a" * 153 + "b" * 100)
    told = await submit(first, before if whole else before[:1])
    first.pump.abort()  # it may not have its answers
    await until(lambda: process.listener.receivers("customer") == 0)
    await world.clock.advance(timedelta(minutes=1))
    second = await successor(world, process, first)
    anew = await submit(second, before if whole else parts_of("c" * 153 + "d" * 100)[::-1])
    assert set(told).isdisjoint(anew)
    (row,) = [row for row in await world.messages() if row["message_id"] == UUID(anew[0].partition("-")[0])]
    assert row["body"] == ("a" * 153 + "b" * 100 if whole else "c" * 153 + "d" * 100)


async def test_the_next_one_of_another_resource_binds_where_nobody_has_heard_that_the_first_one_is_none_any_more(
    world: EsmeWorld,
) -> None:
    deaf, other = await world.process(), await world.process()
    first = await world.client(deaf, await world.account(deaf, texts=["*"]))
    await deaf.changes.close()
    for number in range(30):  # more than it is brought at once
        await world.text(deaf, f"for the first {number}", OURS, PHONE)
    await until(lambda: len(first.events) == 10)
    await other.accounts.delete(world.resource, "customer")
    world.resource = ResourceId(uuid4())
    second = await world.client(deaf, await world.account(other, texts=["*"]))
    await until(lambda: first.closed)
    await world.text(deaf, "for the second", OURS, PHONE)
    assert (await second.arrival()).short_message == b"for the second"
    await nothing_waits(world)
    assert second.events == []
    assert not second.closed
