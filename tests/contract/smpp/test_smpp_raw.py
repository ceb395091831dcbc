"""The SMPP server for customers as their sockets see it: versions, states, and PDUs that nobody should send."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from uuid import uuid4

import pytest
from msgspec.structs import replace
from tests.support.patience import PATIENCE_S
from tests.support.product import Product
from tests.support.raw_esme import RawEsme
from tests.support.smpp_world import OURS, PHONE, until

from landline.engines.clock import DrivenClock
from landline.engines.smpp.listener import ListenerConfig, SmppListener
from landline.ports.esme_gateway import Delivered, ReportOut, ReportWish, TextOut
from landline.protocols.smpp import pdu, receipts, status
from landline.protocols.smpp.commands import ESM_UDH, RESPONSE, BindKind, Command, MessageState, Tag
from landline.protocols.smpp.framing import HEADER, HEADER_BYTES
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.states import State
from landline.store.database import Database

MESSAGE = ShortMessage(
    source_addr_ton=1,
    source_addr=OURS[1:],
    dest_addr_ton=1,
    destination_addr=PHONE[1:],
    short_message=b"hello",
)


class World:
    """A listener and its product."""

    def __init__(self, database: Database) -> None:
        self.clock = DrivenClock()
        self.product = Product()
        self.listener = SmppListener(ListenerConfig(port=0), self.product, database, self.clock)
        self.customers: list[RawEsme] = []

    async def customer(self) -> RawEsme:
        """Connected, not bound."""
        assert self.listener.port is not None
        customer = RawEsme()
        await customer.connect(self.listener.port)
        self.customers.append(customer)
        return customer

    async def deliver_report(self) -> list[Delivered]:
        now = self.clock.now()
        report = ReportOut(uuid4(), OURS, PHONE, MessageState.DELIVERED, now, now)
        return await self.listener.deliver(self.product.account, [report], now + timedelta(seconds=30))


@pytest.fixture
async def world(database: Database) -> AsyncGenerator[World]:
    world = World(database)
    await world.listener.start()
    yield world
    for customer in world.customers:
        customer.close()
    await world.listener.close()


@pytest.mark.parametrize("sender", ["John.Doe@mail.example.com", "+441234567890123456789", "0" * 64])
async def test_a_text_whose_sender_is_longer_than_an_address_is_brought_with_its_beginning(
    world: World, sender: str
) -> None:
    customer = await world.customer()
    await customer.bind()
    now = world.clock.now()
    text = TextOut(uuid4(), sender, OURS, "hello")
    delivering = asyncio.create_task(world.listener.deliver(world.product.account, [text], now + timedelta(seconds=30)))
    brought = await customer.next()
    await customer.say(pdu.encode(Command.DELIVER_SM | RESPONSE, pdu.MessageAnswer(), brought.sequence))
    assert await delivering == [Delivered.TAKEN]
    message = pdu.decode_message(bytes(16) + brought.body, strict=True)
    assert message.short_message == b"hello"
    assert message.source_addr == sender.removeprefix("+")[:20]


@pytest.mark.parametrize("version", [0x00, 0x33, 0x34, 0x50])
async def test_optional_parameters_go_to_those_only_who_know_them(world: World, version: int) -> None:
    customer = await world.customer()
    bound = await customer.bind(version=version)
    delivering = asyncio.create_task(world.deliver_report())
    brought = await customer.next()
    assert brought.command == Command.DELIVER_SM
    await customer.say(pdu.encode(Command.DELIVER_SM | RESPONSE, pdu.MessageAnswer(), brought.sequence))
    assert await delivering == [Delivered.TAKEN]
    message = pdu.decode_message(bytes(16) + brought.body, strict=True)
    read = receipts.parse(message.short_message)
    assert read is not None
    assert read.state is MessageState.DELIVERED
    tags = {tag for tag, _ in message.tlvs}
    if version < 0x34:  # §3.4
        assert bound.body == b"landline\0"
        assert tags == set()
    else:
        assert bound.body == b"landline\0" + pdu.encode_tlvs(((Tag.SC_INTERFACE_VERSION, b"\x34"),))
        assert tags == {Tag.RECEIPTED_MESSAGE_ID, Tag.MESSAGE_STATE}


async def test_a_text_in_short_message_and_payload_at_once_is_refused(world: World) -> None:
    customer = await world.customer()
    await customer.bind()
    for payload, state in ((b"hello", status.ESME_ROPTPARNOTALLWD), (b"", status.ESME_ROK)):
        double = replace(MESSAGE, tlvs=((Tag.MESSAGE_PAYLOAD, payload),))
        answer = await customer.asked(pdu.encode(Command.SUBMIT_SM, double, 2))
        assert answer[:3] == (Command.SUBMIT_SM | RESPONSE, state, 2)
    assert [given.text for given in world.product.taken] == ["hello"]


async def test_a_text_by_the_tables_of_its_language_is_taken_as_it_was_written(world: World) -> None:
    customer = await world.customer()
    await customer.bind()
    octets = bytes.fromhex("06 250101 240101") + bytes.fromhex("40 79 69 20 1b53")
    turkish = replace(MESSAGE, esm_class=ESM_UDH, short_message=octets)
    assert (await customer.asked(pdu.encode(Command.SUBMIT_SM, turkish, 2))).status == status.ESME_ROK
    assert [given.text for given in world.product.taken] == ["İyi Ş"]


async def test_closing_waits_for_the_answers_we_owe_and_not_for_who_answers_no_unbind(world: World) -> None:
    idle, busy, leaving = [await world.customer() for _ in range(3)]
    for customer in (idle, busy, leaving):
        await customer.bind()
    world.product.open.clear()
    for customer in (busy, leaving):
        await customer.say(pdu.encode(Command.SUBMIT_SM, MESSAGE, 2))
    await until(lambda: world.product.asked == 2)
    await leaving.say(pdu.encode(Command.UNBIND, None, 3))
    sessions = [connection.session for connection in world.listener._connections]
    await until(lambda: [session.state for session in sessions].count(State.UNBINDING) == 1)
    closing = asyncio.create_task(world.listener.close(2 * PATIENCE_S, unbind_s=0.0))
    assert (await idle.next()).command == Command.UNBIND
    world.product.open.set()
    assert (await busy.next())[:3] == (Command.SUBMIT_SM | RESPONSE, status.ESME_ROK, 2)
    assert (await busy.next()).command == Command.UNBIND
    assert [(await leaving.next())[:3] for _ in range(2)] == [
        (Command.SUBMIT_SM | RESPONSE, status.ESME_ROK, 2),
        (Command.UNBIND | RESPONSE, status.ESME_ROK, 3),
    ]
    async with asyncio.timeout(PATIENCE_S):
        await closing


async def test_closing_ends_though_an_answer_we_owe_never_comes(world: World) -> None:
    customer = await world.customer()
    await customer.bind()
    world.product.open.clear()
    await customer.say(pdu.encode(Command.SUBMIT_SM, MESSAGE, 2))
    await until(lambda: world.product.asked == 1)
    await world.listener.close(0.0)
    assert not await customer.lives()


def request(command: int, body: bytes = b"", sequence: int = 9) -> bytes:
    return HEADER.pack(HEADER_BYTES + len(body), command, 0, sequence) + body


SUBMIT_MULTI = 0x00000021
TEXT = pdu.encode_body(MESSAGE)
IN_PAYLOAD = pdu.encode_body(
    pdu.DataSm(
        source_addr_ton=1,
        source_addr=OURS[1:],
        dest_addr_ton=1,
        destination_addr=PHONE[1:],
        registered_delivery=1,
        tlvs=((Tag.MESSAGE_PAYLOAD, b"hello"),),
    )
)
NACK = Command.GENERIC_NACK
ODD = [
    (SUBMIT_MULTI, TEXT, NACK, status.ESME_RINVCMDID),
    (Command.OUTBIND, pdu.encode_body(pdu.Outbind("us", "secret")), NACK, status.ESME_RINVCMDID),
    (Command.ALERT_NOTIFICATION, pdu.encode_body(pdu.AlertNotification()), NACK, status.ESME_RINVCMDID),
    (Command.DELIVER_SM, TEXT, NACK, status.ESME_RINVCMDID),
    (0x00000112, b"", NACK, status.ESME_RINVCMDID),
    (0x7FFFFFFF, b"whatever", NACK, status.ESME_RINVCMDID),
    (Command.BIND_TRANSMITTER, pdu.encode_body(pdu.Bind()), Command.BIND_TRANSMITTER | RESPONSE, status.ESME_RALYBND),
    (Command.SUBMIT_SM, TEXT[:-1], Command.SUBMIT_SM | RESPONSE, status.ESME_RINVMSGLEN),
    (Command.SUBMIT_SM, TEXT[:10], Command.SUBMIT_SM | RESPONSE, status.ESME_RINVCMDLEN),
    (Command.SUBMIT_SM, b"", Command.SUBMIT_SM | RESPONSE, status.ESME_RINVCMDLEN),
    (Command.SUBMIT_SM, TEXT + b"\x04\x24\xff\xff", Command.SUBMIT_SM | RESPONSE, 0xC0),
    (Command.DATA_SM, b"", Command.DATA_SM | RESPONSE, status.ESME_RINVCMDLEN),
    (Command.QUERY_SM, b"\xff", Command.QUERY_SM | RESPONSE, status.ESME_RINVCMDLEN),
    (Command.QUERY_SM, pdu.encode_body(pdu.QuerySm("no id")), Command.QUERY_SM | RESPONSE, status.ESME_RQUERYFAIL),
    (Command.CANCEL_SM, pdu.encode_body(pdu.CancelSm()), Command.CANCEL_SM | RESPONSE, 0x11),
    (Command.REPLACE_SM, pdu.encode_body(pdu.ReplaceSm("no id")), Command.REPLACE_SM | RESPONSE, 0x13),
]
"""Command and body of a request, command and status of its answer (§3.3, §4.3, §5.1.3)."""


@pytest.mark.parametrize(("command", "body", "answered", "state"), ODD)
async def test_what_cannot_be_done_is_answered_as_the_specification_says(
    world: World, command: int, body: bytes, answered: int, state: int
) -> None:
    customer = await world.customer()
    await customer.bind()
    assert (await customer.asked(request(command, body)))[:3] == (answered, state, 9)
    assert await customer.lives()
    assert world.product.taken == []


@pytest.mark.parametrize(
    ("kind", "command", "body"),
    [
        (None, Command.SUBMIT_SM, TEXT),
        (None, Command.DATA_SM, IN_PAYLOAD),
        (None, Command.QUERY_SM, pdu.encode_body(pdu.QuerySm("1"))),
        (None, Command.UNBIND, b""),
        (BindKind.RECEIVER, Command.SUBMIT_SM, TEXT),
        (BindKind.RECEIVER, Command.DATA_SM, IN_PAYLOAD),
        (BindKind.RECEIVER, Command.QUERY_SM, pdu.encode_body(pdu.QuerySm("1"))),
        (BindKind.RECEIVER, Command.CANCEL_SM, pdu.encode_body(pdu.CancelSm("1"))),
        (BindKind.RECEIVER, Command.REPLACE_SM, pdu.encode_body(pdu.ReplaceSm("1"))),
    ],
)
async def test_what_this_state_does_not_allow_is_refused_and_the_session_goes_on(
    world: World, kind: BindKind | None, command: int, body: bytes
) -> None:
    customer = await world.customer()
    if kind is not None:
        await customer.bind(kind)
    answer = await customer.asked(request(command, body))
    assert answer[:3] == (command | RESPONSE, status.ESME_RINVBNDSTS, 9)  # table 2-1
    assert await customer.lives()
    assert world.product.taken == []


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("length", [0, 15, 70_001, 0x47455420, 0xFFFFFFFF])
async def test_what_is_no_smpp_is_answered_once_and_ends_the_session(world: World, bound: bool, length: int) -> None:
    customer = await world.customer()
    if bound:
        await customer.bind()
    await customer.say(length.to_bytes(4, "big") + bytes(60))
    assert (await customer.next())[:3] == (NACK, status.ESME_RINVCMDLEN, 0)
    assert not await customer.lives()


async def test_responses_that_nobody_waits_for_change_nothing(world: World) -> None:
    customer = await world.customer()
    await customer.bind()
    for command in (Command.DELIVER_SM | RESPONSE, NACK, 0x80000112):
        await customer.say(request(command))
    assert await customer.lives()


async def test_a_text_by_data_sm_is_taken_and_asked_about_as_one_by_submit_sm(world: World) -> None:
    customer = await world.customer()
    await customer.bind()
    answer = await customer.asked(request(Command.DATA_SM, IN_PAYLOAD))
    (taken,) = world.product.taken
    assert (taken.sender, taken.recipient, taken.text, taken.wish) == (OURS, PHONE, "hello", ReportWish.ALWAYS)
    told = taken.message_id.hex
    assert answer == (Command.DATA_SM | RESPONSE, status.ESME_ROK, 9, told.encode() + b"\0")
    found = await customer.asked(request(Command.QUERY_SM, pdu.encode_body(pdu.QuerySm(told))))
    assert found[:2] == (Command.QUERY_SM | RESPONSE, status.ESME_ROK)
