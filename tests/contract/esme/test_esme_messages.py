"""What SMPP customers submit goes through the service, and its receipts and phones' texts come to them."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import smpp34
from tests.support.cluster import eventually
from tests.support.esme import EsmeWorld
from tests.support.patience import PATIENCE_S
from tests.support.smpp_client import Client
from tests.support.smpp_world import OURS, PHONE, until

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId, time_ordered
from landline.engines.smpp.listener import given_up
from landline.ports.esme_gateway import CustomerSubmission, ReportWish
from landline.ports.sms_carrier import Arrival, Receipt, Submitted
from landline.protocols.smpp import pdu, status, texts
from landline.protocols.smpp.commands import BindKind, Command, MessageState
from landline.protocols.smpp.events import Answered, Unbound
from landline.protocols.smpp.texts import Alphabet, LongStyle
from landline.services.sms import records_esme, records_opt_outs
from landline.services.sms.accounts import Settings
from landline.services.sms.esme_sweep import EsmeSweep
from landline.services.sms.service import Options, To

ALWAYS, ON_FAILURE, ON_SUCCESS = 1, 2, 3


async def nothing_waits(world: EsmeWorld) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await world.waiting():
            await asyncio.sleep(0.005)


async def test_a_message_is_accepted_under_the_id_told_and_reported_under_it(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    client.submit(b"hello", registered_delivery=ALWAYS)
    told = await client.accepted()
    (message,) = await world.messages()
    assert message["message_id"].hex == told
    assert (message["sender"], message["recipient"], message["body"]) == (OURS, PHONE, "hello")
    assert message["report_wanted"]
    await world.end(process, [message])
    receipt = await client.receipt()
    assert (receipt.message_id, receipt.state, receipt.error) == (told, MessageState.DELIVERED, "000")
    await nothing_waits(world)


async def test_an_empty_text_is_accepted_as_on_the_public_wire(world: EsmeWorld) -> None:
    """sm_length 0 is one (SMPP 3.4 §5.2.21)."""
    process = await world.process()
    client = await world.client(process, await world.account(process))
    client.submit(b"")
    await client.accepted()
    (message,) = await world.messages()
    assert (message["body"], message["segments"]) == ("", 1)


async def test_what_a_carrier_brings_is_brought_on_in_the_same_moment(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process, texts=[OURS]))
    client.submit(b"hello", registered_delivery=ALWAYS)
    told = await client.accepted()
    (message,) = await world.messages()
    news, carrier, at = process.gateway.news, message["carrier"], world.clock.now()
    await news.submitted(carrier, [Submitted(message["message_id"], "17")])
    await news.reported(carrier, [Receipt("17", delivered=False, code=4006, at=at)])
    receipt = await client.receipt()
    assert (receipt.message_id, receipt.state) == (told, MessageState.UNDELIVERABLE)
    await news.arrived(carrier, [Arrival("mo1", PHONE, OURS, "and back", 1, at)])
    assert (await client.arrival()).short_message == b"and back"
    await nothing_waits(world)


async def test_an_independent_client_sends_and_is_reported_to(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process)
    assert process.listener.port is not None
    async with asyncio.timeout(PATIENCE_S):
        client = smpp34.Client("127.0.0.1", process.listener.port, "customer", password, bind_type="TRX")
        session = await client.connect()
        answer = await session.submit_sm(PHONE[1:], b"hello", source_addr=OURS[1:], registered_delivery=1)
        assert answer.is_success
        await world.end(process, await world.messages())
        event = await session.next()
        assert isinstance(event, smpp34.DeliverSmEvent)
        assert event.short_message.startswith(f"id:{answer.message_id} sub:001 dlvrd:001".encode())
        await session.unbind()
        await client.stop()


@pytest.mark.parametrize(
    ("code", "state", "error"),
    [
        (4007, MessageState.REJECTED, "407"),
        (4006, MessageState.UNDELIVERABLE, "406"),
        (5001, MessageState.EXPIRED, "501"),
        (5002, MessageState.UNKNOWN, "502"),
        (9999, MessageState.UNKNOWN, "999"),
    ],
)
async def test_a_receipt_says_why(world: EsmeWorld, code: int, state: MessageState, error: str) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    client.submit(registered_delivery=ALWAYS)
    told = await client.accepted()
    await world.end(process, await world.messages(), code)
    receipt = await client.receipt()
    assert (receipt.message_id, receipt.state, receipt.error) == (told, state, error)


async def test_receipts_come_as_registered_delivery_asks(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    told: dict[int, list[str]] = {}
    for wish in (0, ALWAYS, ON_FAILURE, ON_SUCCESS):
        for _ in range(2):
            client.submit(registered_delivery=wish)
            told.setdefault(wish, []).append(await client.accepted())
    messages = await world.messages()
    first = {told[wish][0] for wish in told}
    await world.end(process, [row for row in messages if row["message_id"].hex in first])
    await world.end(process, [row for row in messages if row["message_id"].hex not in first], 4006)
    expected = {told[ALWAYS][0], told[ON_SUCCESS][0], told[ALWAYS][1], told[ON_FAILURE][1]}
    assert {(await client.receipt()).message_id for _ in expected} == expected
    await nothing_waits(world)


async def test_an_account_without_receipts_gets_none(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process, receipts=False))
    client.submit(registered_delivery=ALWAYS)
    await client.accepted()
    await world.end(process, await world.messages())
    assert await world.waiting() == 0


async def test_what_rest_would_refuse_is_refused(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    client.submit(source_addr="4255550123")
    assert await client.status() == status.ESME_RINVSRCADR
    client.submit(b"", tlvs=((0x0424, b"x" * 2049),))
    assert await client.status() == status.ESME_RINVMSGLEN
    assert await world.messages() == []
    assert await world.database.fetchval("SELECT count(*) FROM sms_esme_messages") == 0


async def test_a_sender_name_may_send(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    client.submit(source_addr_ton=5, source_addr="LANDLINE")
    await client.accepted()
    assert [row["sender"] for row in await world.messages()] == ["LANDLINE"]


async def test_an_opted_out_recipient_gets_nothing_and_the_customer_learns_it(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    async with world.database.transaction() as connection:
        await records_opt_outs.add(connection, world.resource, OURS, [PHONE], world.clock.now(), "keyword")
    client.submit(registered_delivery=ALWAYS)
    told = await client.accepted()
    (message,) = await world.messages()
    assert message["code"] == 4007
    receipt = await client.receipt()
    assert (receipt.message_id, receipt.state) == (told, MessageState.REJECTED)


async def test_messages_of_others_cost_no_statement(world: EsmeWorld) -> None:
    process = await world.process()
    outcomes = await process.gateway.sms.send(world.resource, OURS, [To(PHONE)], "hello", Options(report_wanted=True))
    assert outcomes[0].status == 202
    messages = await world.messages()
    nothing: Any = None  # no statement could be made on it
    assert await process.out.ended(nothing, messages) == frozenset()
    await process.accounts.find("nobody")
    arrived = process.out.arrived(
        nothing, resource=world.resource, message_id=uuid4(), sender=PHONE, recipient=OURS, text="hi"
    )
    assert await arrived == frozenset()


async def test_query_sm_tells_the_state(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    other = await world.client(process, await world.account(process, "other"), "other")
    client.submit()
    told = await client.accepted()

    async def ask(who: Client) -> Answered:
        who.session.request(Command.QUERY_SM, pdu.QuerySm(told), None, 0.0)
        who.pump.flush()
        answer = await who.next()
        assert isinstance(answer, Answered)
        return answer

    assert (await ask(client)).body == pdu.QueryAnswer(told, "", MessageState.ENROUTE)
    assert (await ask(other)).status == status.ESME_RQUERYFAIL
    await world.end(process, await world.messages(), 4006)
    body = (await ask(client)).body
    assert isinstance(body, pdu.QueryAnswer)
    assert body.message_state == MessageState.UNDELIVERABLE
    assert body.final_date.endswith("00+")


@pytest.mark.parametrize("style", LongStyle)
async def test_a_long_text_is_one_message_and_each_part_that_asked_is_reported(
    world: EsmeWorld, style: LongStyle
) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    words = "Grüße {x} " * 40
    parts = texts.write(words, style, Alphabet.GSM, 7)
    told: list[str] = []
    for number, part in enumerate(parts, start=1):
        client.submit(
            part.short_message,
            esm_class=part.esm_class,
            data_coding=part.data_coding,
            tlvs=part.tlvs,
            registered_delivery=ALWAYS if number == len(parts) else 0,
        )
        told.append(await client.accepted())
    (message,) = await world.messages()
    assert message["body"] == words
    await world.end(process, [message])
    assert (await client.receipt()).message_id == told[-1]
    await nothing_waits(world)


async def test_parts_may_come_to_several_processes_and_across_a_restart(world: EsmeWorld) -> None:
    processes = [await world.process(), await world.process()]
    password = await world.account(processes[0])
    clients = [await world.client(process, password) for process in processes]
    words = "x" * 500
    parts = texts.write(words, LongStyle.UDH8, Alphabet.GSM, 7)
    assert len(parts) == 4

    def send(client: Client, part: texts.Part) -> None:
        client.submit(part.short_message, esm_class=part.esm_class, registered_delivery=ALWAYS)

    for client, part in zip(clients, parts, strict=False):
        send(client, part)
    told = [await client.accepted() for client in clients]
    await processes[0].crash()
    third = await world.client(await world.process(), password)
    for part in parts[2:]:
        send(third, part)
        told.append(await third.accepted())
    (message,) = await world.messages()
    assert message["body"] == words
    assert told == [f"{message['message_id'].hex}-{number}" for number in (1, 2, 3, 4)]
    send(third, parts[3])  # its answer was lost, it thinks
    assert await third.accepted() == told[3]
    assert len(await world.messages()) == 1
    clients[1].pump.abort()
    await until(lambda: processes[1].listener.receivers("customer") == 0)
    await world.end(processes[1], [message])
    assert {(await third.receipt()).message_id for _ in parts} == set(told)


async def test_a_long_text_that_never_becomes_whole_is_reported_as_expired(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    part = texts.write("x" * 300, LongStyle.UDH8, Alphabet.GSM, 7)[0]
    client.submit(part.short_message, esm_class=part.esm_class, registered_delivery=ALWAYS)
    told = await client.accepted()
    for _ in range(63):  # the customer answers enquire_link all the while
        await world.clock.advance(timedelta(seconds=59))
        client.session.enquire(0.0)
        client.pump.flush()
        await until(lambda: client.session._enquired_at is None)
    receipt = await client.receipt()
    assert (receipt.message_id, receipt.state) == (told, MessageState.EXPIRED)
    assert await world.messages() == []


async def test_a_text_is_reported_as_expired_though_its_customer_was_away_for_hours(world: EsmeWorld) -> None:
    processes = [await world.process() for _ in range(2)]
    password = await world.account(processes[0])
    client = await world.client(processes[0], password)
    part = texts.write("x" * 300, LongStyle.UDH8, Alphabet.GSM, 7)[0]
    client.submit(part.short_message, esm_class=part.esm_class, registered_delivery=ALWAYS)
    told = await client.accepted()
    client.pump.abort()
    await until(lambda: processes[0].listener.receivers("customer") == 0)
    await world.clock.advance(timedelta(hours=5))
    client = await world.client(processes[1], password)
    receipt = await client.receipt()
    assert (receipt.message_id, receipt.state) == (told, MessageState.EXPIRED)
    await nothing_waits(world)
    await world.clock.advance(timedelta(minutes=2))
    assert client.events == []
    for table in ("smpp_inbound_parts", "smpp_customer_texts"):
        assert await world.database.fetchval(f"SELECT count(*) FROM {table} WHERE NOT done") == 0


async def nothing_is_given_up(world: EsmeWorld) -> None:
    """Return when every text has been accepted, or given up and reported."""

    async def nothing() -> bool:
        tables = ("smpp_customer_texts WHERE NOT done", "smpp_customer_given_up")
        return not any([await world.database.fetchval(f"SELECT count(*) FROM {table}") for table in tables])

    await eventually(nothing)


def submit(client: Client, part: texts.Part) -> None:
    client.submit(part.short_message, esm_class=part.esm_class, registered_delivery=ALWAYS)


def in_parts(words: str) -> list[texts.Part]:
    return texts.write(words, LongStyle.UDH8, Alphabet.GSM, 7)


async def test_a_text_that_was_accepted_is_not_given_up_though_nobody_noted_that_it_was(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process)
    client = await world.client(process, password)
    told: list[str] = []
    for part in in_parts("x" * 300):
        submit(client, part)
        told.append(await client.accepted())
    client.pump.abort()
    await until(lambda: process.listener.receivers("customer") == 0)
    for table in ("smpp_inbound_parts", "smpp_customer_texts"):  # the process ended before it could
        await world.database.execute(f"UPDATE {table} SET done = false")
    await world.clock.advance(timedelta(hours=2))
    await nothing_is_given_up(world)
    assert await world.waiting() == 0
    client = await world.client(process, password)
    await world.end(process, await world.messages())
    receipts = [await client.receipt() for _ in told]
    assert {receipt.message_id: receipt.state for receipt in receipts} == dict.fromkeys(told, MessageState.DELIVERED)


async def test_a_text_that_is_being_accepted_when_its_hour_ends_is_not_given_up(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process)
    client = await world.client(process, password)
    first, last = in_parts("x" * 300)
    submit(client, first)
    told = [await client.accepted()]
    await world.clock.advance(timedelta(minutes=59))
    client = await world.client(process, password)
    async with world.database.transaction() as connection:
        await connection.execute("LOCK TABLE sms_messages IN EXCLUSIVE MODE")
        submit(client, last)
        whole = "SELECT count(*) FROM smpp_customer_texts WHERE whole_at > begun_at"
        await eventually(lambda: world.database.fetchval(whole))
        at = world.clock.now() + timedelta(minutes=5)
        await given_up.sweep(world.database, process.esme, process.owner, ["customer"], at)
    await nothing_is_given_up(world)
    told.append(await client.accepted())
    await world.end(process, await world.messages())
    receipts = [await client.receipt() for _ in told]
    assert {receipt.message_id: receipt.state for receipt in receipts} == dict.fromkeys(told, MessageState.DELIVERED)


async def test_parts_whose_text_never_became_whole_are_reported_though_their_reference_is_used_again(
    world: EsmeWorld,
) -> None:
    process = await world.process()
    password = await world.account(process)
    client = await world.client(process, password)
    submit(client, in_parts("x" * 300)[0])
    told = await client.accepted()
    await world.clock.advance(timedelta(seconds=11))
    for part in in_parts("y" * 300):
        submit(client, part)
        assert not (await client.accepted()).startswith(told[:-2])
    assert len(await world.messages()) == 1
    await world.clock.advance(timedelta(seconds=61))
    receipt = await client.receipt()
    assert (receipt.message_id, receipt.state) == (told, MessageState.EXPIRED)
    await nothing_is_given_up(world)


async def test_what_comes_while_a_text_is_reported_as_expired_is_another_text(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process)
    client = await world.client(process, password)
    parts = in_parts("x" * 300)
    submit(client, parts[0])
    expired = await client.accepted()
    async with world.database.transaction() as connection:
        await connection.execute("LOCK TABLE sms_esme_out IN EXCLUSIVE MODE")
        at = world.clock.now() + timedelta(hours=1)
        sweeping = given_up.sweep(world.database, process.esme, process.owner, ["customer"], at)
        later = asyncio.create_task(sweeping)
        await eventually(lambda: world.database.fetchval("SELECT count(*) FROM smpp_customer_given_up"))
        told: list[str] = []
        for part in parts:
            submit(client, part)
            told.append(await client.accepted())
    await later
    await nothing_is_given_up(world)
    receipt = await client.receipt()
    assert (receipt.message_id, receipt.state) == (expired, MessageState.EXPIRED)
    await world.end(process, await world.messages())
    receipts = [await client.receipt() for _ in told]
    assert {receipt.message_id: receipt.state for receipt in receipts} == dict.fromkeys(told, MessageState.DELIVERED)


async def test_who_has_a_system_id_after_another_is_told_nothing_of_the_others_texts(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    submit(client, in_parts("x" * 300)[0])
    await client.accepted()
    await process.accounts.delete(world.resource, "customer")
    await until(lambda: client.closed)
    await world.clock.advance(timedelta(seconds=1))
    _, password = await process.accounts.create(ResourceId(uuid4()), "customer", Settings())
    await world.clock.advance(timedelta(hours=2))
    await nothing_is_given_up(world)
    assert await world.waiting() == 0
    assert (await world.client(process, password)).events == []


async def test_whose_a_message_is_is_known_until_it_has_ended(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    client.submit(b"hello", registered_delivery=ALWAYS, schedule_delivery_time="000020000000000R")
    told = await client.accepted()
    before = time_ordered(world.clock.now() + timedelta(days=20), bytes(10))
    for ended in (False, True):
        async with world.database.connection() as connection:  # as the sweep does
            await records_esme.forget_messages(connection, world.resource, UUID(int=0), before, limit=10)
        assert await world.database.fetchval("SELECT count(*) FROM sms_esme_messages") == (0 if ended else 1)
        if not ended:
            await world.end(process, await world.messages())
            assert (await client.receipt()).message_id == told
            await nothing_waits(world)


async def test_receipts_come_while_what_is_old_is_being_forgotten(world: EsmeWorld) -> None:
    old = time_ordered(world.clock.now() - timedelta(days=9), bytes(10))
    async with world.database.transaction() as connection:
        await connection.execute("INSERT INTO sms_esme_messages VALUES ($1, $2, 'customer', 1)", world.resource, old)
    async with world.database.transaction() as connection:  # forgetting takes as long as this
        await connection.execute("SELECT FROM sms_esme_messages FOR UPDATE")
        process = await world.process()
        client = await world.client(process, await world.account(process))
        client.submit(b"hello", registered_delivery=ALWAYS)
        told = await client.accepted()
        await world.end(process, await world.messages())
        assert (await client.receipt()).message_id == told


async def test_what_is_old_is_dropped_portion_by_portion_and_what_is_not_is_left(world: EsmeWorld) -> None:
    process = await world.process()
    await world.account(process)
    now = world.clock.now()
    ids = [time_ordered(now - timedelta(days=days), bytes(10)) for days in (12, 11, 10, 9, 7, 1)]
    async with world.database.transaction() as connection:
        for resource in (world.resource, uuid4()):
            for each in ids:
                await connection.execute("INSERT INTO sms_esme_messages VALUES ($1, $2, 'customer', 1)", resource, each)
        await connection.execute(  # not one that has not ended
            "INSERT INTO sms_messages (resource_id, message_id, block_id, accepted_at, report_by, segments, state,"
            " report_wanted, sender, recipient, carrier, body) VALUES ($1, $2, $2, $3, $3, 1, 0, true, '', '', '', '')",
            world.resource,
            ids[1],
            now,
        )
        for each in ids:
            await connection.execute(
                "INSERT INTO sms_esme_out (resource_id, system_id, out_id, due_at, message_id, sender, recipient)"
                " VALUES ($1, 'customer', $2, $3, $2, '', '')",
                world.resource,
                each,
                now + timedelta(days=1),
            )
    for kept, left in ((5, ids[4:]), (1, ids[5:])):
        sweep = EsmeSweep(world.database, world.clock, validity=timedelta(days=8), kept=kept, at_once=2)
        await sweep.sweep(now)
        rows = await world.database.fetch("SELECT out_id FROM sms_esme_out ORDER BY out_id")
        assert [row["out_id"] for row in rows] == left
    rows = await world.database.fetch("SELECT resource_id, message_id FROM sms_esme_messages")
    found: dict[UUID, set[UUID]] = {}
    for row in rows:
        found.setdefault(row["resource_id"], set()).add(row["message_id"])
    assert found.pop(world.resource) == {ids[1], ids[4], ids[5]}
    assert list(found.values()) == [set(ids[4:])]


async def test_a_text_that_two_processes_find_whole_is_sent_and_counted_once(world: EsmeWorld) -> None:
    processes = [await world.process() for _ in range(2)]
    await world.account(processes[0])
    account = (await processes[0].accounts.get(world.resource, "customer")).right
    (message_id,) = processes[0].esme.new_ids(1)
    whole = CustomerSubmission(message_id, OURS, PHONE, "hello", ReportWish.ALWAYS, (1, 2))
    for process in processes:
        assert await process.esme.submit(account, [whole, whole]) == [None, None]
    assert [process.gateway.handover.count for process in processes] == [1, 0]
    assert len(await world.messages()) == 1
    counted = await world.database.fetch(
        "SELECT cell, sum(count) AS count FROM insights_deltas, unnest(cells, counts) AS c (cell, count) GROUP BY 1"
    )
    assert {row["count"] for row in counted} == {1}


async def test_a_text_whose_time_comes_while_it_is_taken_in_is_sent_at_once(world: EsmeWorld) -> None:
    """It was in the future when it came: who asked for a second from now is not told that this is no time."""
    process = await world.process()
    await world.account(process)
    account = (await process.accounts.get(world.resource, "customer")).right
    (message_id,) = process.esme.new_ids(1)
    due = CustomerSubmission(message_id, OURS, PHONE, "hello", send_at=process.clock.now())
    assert await process.esme.submit(account, [due]) == [None]
    assert len(await world.messages()) == 1
    assert process.gateway.handover.count == 1


async def test_the_same_reference_may_begin_another_text(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))

    async def send(letter: str, *numbers: int) -> None:
        parts = texts.write(letter * 300, LongStyle.UDH8, Alphabet.GSM, 7)
        for number in numbers:
            client.submit(parts[number].short_message, esm_class=parts[number].esm_class)
            await client.accepted()

    await send("a", 0, 1)
    await send("b", 0)
    await world.clock.advance(timedelta(seconds=11))
    await send("c", 0, 1)
    assert [row["body"] for row in await world.messages()] == ["a" * 300, "c" * 300]
    assert len({row["message_id"] for row in await world.messages()}) == 2


async def test_the_same_reference_may_begin_another_text_after_the_parts_of_the_first_are_gone(
    world: EsmeWorld,
) -> None:
    process = await world.process()
    password = await world.account(process)
    told: set[str] = set()
    for words in (b"one ", b"other "):
        client = await world.client(process, password)
        await world.clock.advance(timedelta(seconds=61))  # what is kept no longer is swept while its customer is there
        for number in (1, 2):
            client.submit(bytes((5, 0, 3, 7, 2, number)) + words, esm_class=0x40)
            told.add((await client.accepted()).partition("-")[0])
        await world.clock.advance(timedelta(minutes=13))
    assert [row["body"] for row in await world.messages()] == ["one one ", "other other "]
    assert {row["message_id"].hex for row in await world.messages()} == told


async def test_a_joined_text_that_is_refused_is_forgotten(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    told: list[str] = []
    for _ in range(2):
        states: list[int] = []
        for part in texts.write("x" * 300, LongStyle.UDH8, Alphabet.GSM, 7):
            client.submit(
                part.short_message, esm_class=part.esm_class, source_addr="4255550123", registered_delivery=ON_FAILURE
            )
            answer = await client.next()
            assert isinstance(answer, Answered)
            states.append(answer.status)
            told.append(answer.message_id)
        assert states == [0, status.ESME_RINVSRCADR]
        receipt = await client.receipt()  # of the part that was accepted
        assert (receipt.message_id, receipt.state) == (told[-2], MessageState.UNDELIVERABLE)
    await nothing_waits(world)


async def test_a_message_may_be_scheduled_and_its_validity_end(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    client.submit(validity_period="000000001000000R")
    client.submit(schedule_delivery_time="000001000000000R", validity_period="000002000000000R")
    client.submit(schedule_delivery_time="010001000000000R")
    assert sorted([await client.status() for _ in range(3)]) == [0, 0, 0x61]  # it is over 35 days ahead
    first, second = await world.messages()
    little = timedelta(seconds=5)
    assert abs(first["valid_until"] - world.clock.now() - timedelta(minutes=10)) < little
    assert first["due_at"] is None
    assert abs(second["valid_until"] - world.clock.now() - timedelta(days=2)) < little
    assert abs(second["due_at"] - world.clock.now() - timedelta(days=1)) < little


async def test_receipts_wait_for_a_receiver_and_come_by_whichever_process_has_it(world: EsmeWorld) -> None:
    first, second = await world.process(), await world.process()
    password = await world.account(first)
    sender = await world.client(first, password, kind=BindKind.TRANSMITTER)
    sender.submit(registered_delivery=ALWAYS)
    told = await sender.accepted()
    await world.end(first, await world.messages())
    assert await world.waiting() == 1
    receiver = await world.client(second, password, kind=BindKind.RECEIVER)
    assert (await receiver.receipt()).message_id == told
    sender.submit(registered_delivery=ALWAYS)
    again = await sender.accepted()
    await world.end(first, (await world.messages())[1:])
    assert (await receiver.receipt()).message_id == again
    await nothing_waits(world)


@pytest.mark.parametrize("alone", [False, True], ids=["when its lease ends", "at once when no other is left"])
async def test_a_process_that_dies_leaves_its_receipts_to_the_next(world: EsmeWorld, alone: bool) -> None:
    process = await world.process()
    password = await world.account(process)
    client = await world.client(process, password)
    client.submit(registered_delivery=ALWAYS)
    told = await client.accepted()
    await world.end(process, await world.messages())
    await client.next()  # it has the receipt, and its acknowledgement never leaves
    await process.crash()
    second = await world.process()
    await (second.worker.inherit() if alone else world.lease_ends())
    again = await world.client(second, password)
    assert (await again.receipt()).message_id == told
    await nothing_waits(world)


async def test_what_a_process_known_to_be_dead_had_in_hand_comes_by_another_at_once(world: EsmeWorld) -> None:
    first, second = await world.process(), await world.process()
    password = await world.account(first)
    client = await world.client(first, password)
    client.submit(registered_delivery=ALWAYS)
    told = await client.accepted()
    await world.end(first, await world.messages())
    await client.next()  # its acknowledgement never leaves
    await first.crash()
    again = await world.client(second, password)
    third = await world.process()
    await third.worker.succeed([first.owner])
    assert (await again.receipt()).message_id == told
    await nothing_waits(world)


async def test_a_process_that_ends_leaves_what_was_not_acknowledged_to_others_at_once(world: EsmeWorld) -> None:
    first, second = await world.process(), await world.process()
    password = await world.account(first)
    client = await world.client(first, password)
    told: list[str] = []
    for _ in range(2):
        client.submit(registered_delivery=ALWAYS)
        told.append(await client.accepted())
    await world.end(first, await world.messages())
    told.remove((await client.receipt()).message_id)
    await client.next()  # the other one is not acknowledged
    again = await world.client(second, password)
    await first.close()
    assert [(await again.receipt()).message_id] == told
    await nothing_waits(world)
    assert again.events == []


async def test_a_customer_who_cannot_take_it_now_gets_it_later(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process, texts=["*"]))
    await world.text(process, "hello", OURS, PHONE)
    for _ in range(3):
        arrived = await client.arrival(status.ESME_RX_T_APPN)
        assert arrived.short_message == b"hello"
        await until_put_off(world)
        assert client.events == []
        await world.clock.advance(timedelta(seconds=9))
    await client.arrival()
    await nothing_waits(world)


async def until_put_off(world: EsmeWorld) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await world.database.fetchval("SELECT count(*) FROM sms_esme_out WHERE owner IS NOT NULL"):
            await asyncio.sleep(0.005)


class Away:
    """A database that cannot be reached."""

    def __getattr__(self, _name: str) -> Any:
        raise Unavailable("PostgreSQL is away")


async def test_what_could_not_be_looked_up_comes_once_the_database_is_back(world: EsmeWorld) -> None:
    process = await world.process()
    clients = [await world.client(process, await world.account(process, name), name) for name in ("one", "two")]
    told: list[str] = []
    for client in clients:
        client.submit(registered_delivery=ALWAYS)
        told.append(await client.accepted())
    own = process.worker._database
    process.worker._database = Away()  # type: ignore[assignment]
    await world.end(process, await world.messages())
    await world.clock.advance(timedelta(seconds=3))
    assert [client.events for client in clients] == [[], []]
    process.worker._database = own
    await world.clock.advance(timedelta(seconds=1))
    assert [(await client.receipt()).message_id for client in clients] == told
    await nothing_waits(world)


async def test_what_nobody_comes_for_is_given_up(world: EsmeWorld) -> None:
    process = await world.process()
    await world.account(process, texts=["*"])
    await world.text(process, "hello", OURS, PHONE)
    await world.clock.advance(timedelta(hours=71))
    assert await world.waiting() == 1
    await world.clock.advance(timedelta(hours=2))
    assert await world.waiting() == 0


async def test_texts_go_to_the_accounts_that_want_their_number(world: EsmeWorld) -> None:
    process = await world.process()
    numbers = {"one": [OURS], "all": ["*"], "none": []}
    clients = {
        name: await world.client(process, await world.account(process, name, texts=wanted), name)
        for name, wanted in numbers.items()
    }
    await world.text(process, "Grüße 1", OURS, PHONE)
    await world.text(process, "x" * 300, "+14255550100", PHONE)
    first = await clients["one"].arrival()
    assert texts.decode(first.data_coding, first.short_message) == "Grüße 1"
    assert (first.source_addr, first.source_addr_ton, first.destination_addr) == (PHONE[1:], 1, OURS[1:])
    to_all = [await clients["all"].arrival() for _ in range(3)]
    assert [len(texts.read(part).octets) for part in to_all] == [7, 153, 147]
    await nothing_waits(world)
    assert clients["none"].events == clients["one"].events == []


async def test_many_submissions_on_one_bind_are_all_accepted_and_reported(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process, window=1000))
    for number in range(500):
        client.submit(b"hello %d" % number, registered_delivery=ALWAYS)
    told = [await client.accepted() for _ in range(500)]
    messages = await world.messages()
    assert {row["message_id"].hex for row in messages} == set(told)
    await world.end(process, messages)
    assert {(await client.receipt()).message_id for _ in range(500)} == set(told)
    await nothing_waits(world)


async def test_whoever_unbinds_is_first_answered_all_it_submitted(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process, window=1000))
    for _ in range(1000):
        client.submit()
    client.session.unbind(0.0)
    client.pump.flush()
    told = {await client.accepted() for _ in range(1000)}
    assert {row["message_id"].hex for row in await world.messages()} == told
    assert isinstance(await client.next(), Unbound)


@pytest.mark.parametrize(
    ("alphabet", "octets", "words"),
    [
        (Alphabet.GSM, b"\x00 \x7d", "@ ñ"),
        (Alphabet.LATIN1, b"@ \xf1", "@ ñ"),
        (Alphabet.UTF8, "@ ñ м".encode(), "@ ñ м"),
    ],
)
async def test_data_coding_0_means_what_the_account_says(
    world: EsmeWorld, alphabet: Alphabet, octets: bytes, words: str
) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process, alphabet=alphabet, texts=["*"]))
    client.submit(octets)
    await client.accepted()
    for number in (1, 2):  # a character of several octets may be cut in two
        half = octets[:3] if number == 1 else octets[3:]
        client.submit(bytes((5, 0, 3, 7, 2, number)) + half, esm_class=0x40)
        await client.accepted()
    assert [row["body"] for row in await world.messages()] == [words, words]
    await world.text(process, words, OURS, PHONE)
    arrived = await client.arrival()
    assert texts.decode(arrived.data_coding, arrived.short_message, alphabet) == words
    if alphabet is not Alphabet.GSM:
        assert arrived.data_coding != 0  # also for whom the account does not say


async def test_another_alphabet_holds_for_connections_there_are(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    await process.accounts.change(world.resource, "customer", Settings(alphabet=Alphabet.UTF8))
    await until(lambda: [account.alphabet for account in process.listener.bound()] == [Alphabet.UTF8])
    client.submit("é".encode())
    await client.accepted()
    assert [row["body"] for row in await world.messages()] == ["é"]
