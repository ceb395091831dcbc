"""The same parts of a long text submitted again: by whom the answers may have been lost, and by whom they were not."""

import pytest
from tests.support.esme import EsmeWorld
from tests.support.smpp_client import Client
from tests.support.smpp_world import OURS, until

from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.texts import Alphabet, LongStyle, Part, write

ALWAYS = 1


def parts_of(words: str, style: LongStyle = LongStyle.UDH8) -> list[Part]:
    return write(words, style, Alphabet.GSM, 7)


async def submit(client: Client, parts: list[Part]) -> list[str]:
    """The ids that the parts are answered with, one after the other."""
    ids: list[str] = []
    for part in parts:
        fields = {"esm_class": part.esm_class, "tlvs": part.tlvs, "registered_delivery": ALWAYS}
        client.submit(part.short_message, **fields)
        ids.append(await client.accepted())
    return ids


async def unbind(client: Client) -> None:
    client.session.unbind(0.0)
    client.pump.flush()
    await until(lambda: client.closed)


@pytest.mark.parametrize("style", [LongStyle.UDH8, LongStyle.UDH16, LongStyle.SAR])
async def test_they_are_another_text_for_who_has_the_answers(world: EsmeWorld, style: LongStyle) -> None:
    process = await world.process()
    password = await world.account(process)
    told: list[str] = []
    for _ in range(2):  # by a bind that is there still, and after one that was ended in good order
        client = await world.client(process, password)
        for _ in range(2):
            told += await submit(client, parts_of("x" * 300, style))
        await unbind(client)
    assert len(set(told)) == 8
    assert len(await world.messages()) == 4
    client = await world.client(process, password)
    await world.end(process, await world.messages())
    receipts = [await client.receipt() for _ in told]
    assert {receipt.message_id: receipt.state for receipt in receipts} == dict.fromkeys(told, MessageState.DELIVERED)


async def test_they_are_another_text_for_who_has_the_answers_by_another_bind(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process)
    clients = [await world.client(process, password) for _ in range(2)]
    told = [await submit(client, parts_of("x" * 300)) for client in clients]
    assert set(told[0]).isdisjoint(told[1])
    assert len(await world.messages()) == 2


async def test_they_are_the_same_text_for_who_may_have_lost_the_answers(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process)
    told: list[list[str]] = []
    for _ in range(2):
        client = await world.client(process, password)
        told.append(await submit(client, parts_of("x" * 300)))
        client.pump.abort()
        await until(lambda: process.listener.receivers("customer") == 0)
    assert told[0] == told[1]
    assert len(await world.messages()) == 1


async def test_a_part_whose_answer_was_lost_is_the_same_also_when_those_of_others_were_not(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process)
    first, second = parts_of("x" * 300)
    client = await world.client(process, password)
    told = await submit(client, [first])
    await unbind(client)
    client = await world.client(process, password)
    told += await submit(client, [second])
    client.pump.abort()
    await until(lambda: process.listener.receivers("customer") == 0)
    client = await world.client(process, password)
    assert await submit(client, [first, second]) == told
    assert len(await world.messages()) == 1


async def test_other_processes_take_them_for_the_same(world: EsmeWorld) -> None:
    processes = [await world.process() for _ in range(2)]
    password = await world.account(processes[0])
    told: list[list[str]] = []
    for process in processes:
        client = await world.client(process, password)
        told.append(await submit(client, parts_of("x" * 300)))
    assert told[0] == told[1]
    assert len(await world.messages()) == 1


async def test_a_text_that_was_accepted_stays_so_though_it_would_be_refused_by_now(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process)
    client = await world.client(process, password)
    told = await submit(client, parts_of("x" * 300))
    client.pump.abort()
    await until(lambda: process.listener.receivers("customer") == 0)
    for table in ("smpp_inbound_parts", "smpp_customer_texts"):  # the process ended before it could note it
        await world.database.execute(f"UPDATE {table} SET done = false")
    await process.numbers.remove(world.resource, OURS)
    client = await world.client(process, password)
    assert await submit(client, parts_of("x" * 300)[1:]) == told[1:]
    (message,) = await world.messages()
    await world.end(process, [message])
    receipts = [await client.receipt() for _ in told]
    assert {receipt.message_id: receipt.state for receipt in receipts} == dict.fromkeys(told, MessageState.DELIVERED)


async def test_those_of_two_customers_are_two_texts(world: EsmeWorld) -> None:
    process = await world.process()
    names = ("one", "two")
    clients = {name: await world.client(process, await world.account(process, name), name) for name in names}
    told: dict[str, list[str]] = {name: [] for name in names}
    for part in (*parts_of("x" * 400), *parts_of("x" * 300)):
        for name, client in clients.items():
            told[name] += await submit(client, [part])
    messages = await world.messages()
    assert len(messages) == 4
    await world.end(process, messages)
    for name, client in clients.items():
        receipts = [await client.receipt() for _ in told[name]]
        assert {receipt.message_id for receipt in receipts} == set(told[name])
        assert {receipt.state for receipt in receipts} == {MessageState.DELIVERED}
        whose = await world.database.fetch("SELECT message_id FROM sms_esme_messages WHERE system_id = $1", name)
        assert {row["message_id"].hex for row in whose} == {part.partition("-")[0] for part in told[name]}


async def test_one_that_comes_again_and_again_takes_no_more_room(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    first, second = parts_of("x" * 300)
    told = await submit(client, [first])
    for _ in range(3):
        for _ in range(4):
            client.submit(first.short_message, esm_class=first.esm_class, registered_delivery=ALWAYS)
        assert [await client.accepted() for _ in range(4)] == told * 4
    assert await world.database.fetchval("SELECT parts FROM smpp_customer_texts") == [1]
    told += await submit(client, [second])
    await world.end(process, await world.messages())
    receipts = [await client.receipt() for _ in told]
    assert {receipt.message_id: receipt.state for receipt in receipts} == dict.fromkeys(told, MessageState.DELIVERED)
    assert client.events == []
