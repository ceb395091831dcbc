"""Long texts that came to nothing: each customer is told of its own, once, whichever processes look."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from tests.support.cluster import eventually
from tests.support.esme import EsmeWorld, Process
from tests.support.smpp_client import Client

from landline.core.errors import Unavailable
from landline.engines.smpp.listener import given_up
from landline.ports.esme_gateway import ReportOut
from landline.protocols.smpp import texts
from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.texts import Alphabet, LongStyle

ALWAYS = 1
HOUR = timedelta(hours=1)


async def begin(client: Client, *references: int, wish: int = ALWAYS) -> list[str]:
    """The first parts of texts; the ids that they are told."""
    told: list[str] = []
    for reference in references:
        part = texts.write("x" * 300, LongStyle.UDH8, Alphabet.GSM, reference)[0]
        client.submit(part.short_message, esm_class=part.esm_class, registered_delivery=wish)
        told.append(await client.accepted())
    return told


async def away(_system_id: str, _reports: Sequence[ReportOut]) -> None:
    raise Unavailable("PostgreSQL is away")


def sweeping(world: EsmeWorld, process: Process, *system_ids: str, after: timedelta = HOUR) -> "asyncio.Task[None]":
    at = world.clock.now() + after
    return asyncio.create_task(given_up.sweep(world.database, process.esme, process.owner, system_ids, at))


async def test_each_customer_is_told_of_its_own_texts(world: EsmeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    process = await world.process()
    clients = {name: await world.client(process, await world.account(process, name), name) for name in ("one", "two")}
    told = {name: await begin(client, 1, 2) for name, client in clients.items()}
    with monkeypatch.context() as patched:
        patched.setattr(process.esme, "unsubmitted", away)
        for name in clients:
            await sweeping(world, process, name)
    await sweeping(world, process, after=HOUR + timedelta(seconds=61))
    for name, client in clients.items():
        receipts = [await client.receipt() for _ in told[name]]
        assert {receipt.message_id: receipt.state for receipt in receipts} == dict.fromkeys(
            told[name], MessageState.EXPIRED
        )
    assert await world.database.fetchval("SELECT count(*) FROM smpp_customer_given_up") == 0
    assert [client.events for client in clients.values()] == [[], []]


async def test_what_one_process_is_telling_another_does_not_tell(world: EsmeWorld) -> None:
    first, second = await world.process(), await world.process()
    client = await world.client(first, await world.account(first))
    [told] = await begin(client, 1)
    async with world.database.transaction() as connection:
        await connection.execute("LOCK TABLE sms_esme_out IN EXCLUSIVE MODE")
        telling = sweeping(world, first, "customer")
        claimed = "SELECT count(*) FROM smpp_customer_given_up WHERE due_at > $1"
        await eventually(lambda: world.database.fetchval(claimed, world.clock.now() + HOUR))
        await sweeping(world, second, "customer", after=HOUR + timedelta(seconds=59))
    await telling
    assert (await client.receipt()).message_id == told
    await eventually(lambda: world.database.fetchval("SELECT count(*) = 0 FROM sms_esme_out"))
    assert client.events == []


async def test_what_could_not_be_told_is_told_by_another_process_after_a_minute(
    world: EsmeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await world.process(), await world.process()
    client = await world.client(second, await world.account(first))
    [told] = await begin(client, 1)
    monkeypatch.setattr(first.esme, "unsubmitted", away)
    await sweeping(world, first, "customer")
    await sweeping(world, second, "customer", after=HOUR + timedelta(seconds=59))
    assert await world.waiting() == 0
    await sweeping(world, second, after=HOUR + timedelta(seconds=61))
    assert (await client.receipt()).message_id == told
    assert await world.database.fetchval("SELECT count(*) FROM smpp_customer_given_up") == 0


async def test_what_one_process_has_told_takes_nothing_with_it_that_another_could_not_tell(
    world: EsmeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await world.process(), await world.process()
    client = await world.client(first, await world.account(first))
    told = await begin(client, 1)
    monkeypatch.setattr(second.esme, "unsubmitted", away)
    async with world.database.transaction() as connection:
        await connection.execute("LOCK TABLE sms_esme_out IN EXCLUSIVE MODE")
        telling = sweeping(world, first, "customer")
        claimed = "SELECT count(*) FROM smpp_customer_given_up WHERE due_at > $1"
        await eventually(lambda: world.database.fetchval(claimed, world.clock.now() + HOUR))
        told += await begin(client, 2)
        await sweeping(world, second, "customer")
    await telling
    await sweeping(world, first, "customer", after=HOUR + timedelta(seconds=61))
    assert [(await client.receipt()).message_id for _ in told] == told


async def test_who_wished_to_be_told_nothing_is_told_nothing(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    await begin(client, 1, wish=0)
    [told] = await begin(client, 2)
    await sweeping(world, process, "customer")
    assert (await client.receipt()).message_id == told
    await eventually(lambda: world.database.fetchval("SELECT count(*) = 0 FROM sms_esme_out"))
    assert client.events == []
    assert await world.database.fetchval("SELECT count(*) FROM smpp_customer_given_up") == 0
