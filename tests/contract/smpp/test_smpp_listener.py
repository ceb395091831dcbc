"""The SMPP server for customers, with our own SMPP engine as the customer, and raw sessions for what it never does."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.support.carrier_events import Recorder
from tests.support.patience import PATIENCE_S
from tests.support.product import Product
from tests.support.smpp_client import Client
from tests.support.smpp_world import OURS, PHONE, until
from tests.support.still import StillClock

from landline.core.errors import Invalid, TooMany, Unavailable
from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import Binding, SmppConfig
from landline.engines.smpp.listener import ListenerConfig, SmppListener
from landline.ports.esme_gateway import (
    Account,
    Cancellation,
    CustomerSubmission,
    Delivered,
    ReportOut,
    ReportWish,
    TextOut,
)
from landline.ports.sms_carrier import Submission
from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import ESM_UDH, RESPONSE, BindKind, Command, MessageState
from landline.protocols.smpp.events import Answered, BindRefused, Bound, MessageArrived, Unbound
from landline.protocols.smpp.framing import HEADER
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.states import State
from landline.protocols.smpp.texts import Alphabet, LongStyle
from landline.store.database import Database

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class World:
    """A listener and its product; customers that are our own engine."""

    def __init__(self, database: Database, clock: DrivenClock | None = None) -> None:
        self.database = database
        self.clock = clock or DrivenClock()
        self.product = Product()
        self.listener = SmppListener(ListenerConfig(port=0, connections=20), self.product, database, self.clock)
        self.events = Recorder()
        self.carriers: list[SmppCarrier] = []
        self.clients: list[Client] = []

    @property
    def port(self) -> int:
        assert self.listener.port is not None
        return self.listener.port

    async def customer(self, **options: Any) -> SmppCarrier:
        config = SmppConfig("theirs", "127.0.0.1", self.port, "customer", "secret", **options)
        carrier = SmppCarrier(config, self.database, self.clock)
        self.carriers.append(carrier)
        await carrier.start(self.events)
        return carrier

    async def client(self) -> Client:
        client = Client()
        await client.connect(self.port)
        self.clients.append(client)
        return client

    async def close(self) -> None:
        for carrier in self.carriers:
            await carrier.close()
        for client in self.clients:
            client.pump.abort()
        await self.listener.close()


@pytest.fixture
async def world(database: Database, request: pytest.FixtureRequest) -> AsyncGenerator[World]:
    """Its clock is a `DrivenClock`, where a test gives no other one."""
    world = World(database, getattr(request, "param", DrivenClock)())
    await world.listener.start()
    yield world
    await world.close()


def submission(text: str, report: bool = True) -> Submission:
    return Submission(uuid4(), OURS, PHONE, text, 1, report)


async def deliver(world: "World", *deliveries: ReportOut | TextOut) -> list[Delivered]:
    return await world.listener.deliver(world.product.account, deliveries, world.clock.now() + timedelta(seconds=30))


def text(words: str) -> TextOut:
    return TextOut(uuid4(), PHONE, OURS, words)


def report(given: CustomerSubmission, state: MessageState = MessageState.DELIVERED) -> ReportOut:
    return ReportOut(given.message_id, given.sender, given.recipient, state, AT, AT, given.parts)


@pytest.mark.parametrize("style", LongStyle)
async def test_what_a_customer_submits_is_taken_whole_and_reported(world: World, style: LongStyle) -> None:
    customer = await world.customer(long_style=style, binds=2)
    texts = ["hello", "Grüße {x} " * 40, "мир " * 60]
    await customer.submit([submission(text) for text in texts])
    await world.events.until(lambda: len(world.events.answers) == 3)
    assert {given.text for given in world.product.taken} == set(texts)
    assert all(given.sender == OURS and given.recipient == PHONE for given in world.product.taken)
    assert await deliver(world, *map(report, world.product.taken)) == [Delivered.TAKEN] * 3
    wanted = {answer.carrier_message_id for answer in world.events.answers}
    # The last two parts of one message may both find that all have come.
    await world.events.until(lambda: {receipt.carrier_message_id for receipt in world.events.receipts} >= wanted)
    assert {receipt.carrier_message_id for receipt in world.events.receipts} == wanted


async def test_a_failed_message_is_reported_as_failed(world: World) -> None:
    customer = await world.customer()
    await customer.submit([submission("hello")])
    await world.events.until(lambda: len(world.events.answers) == 1)
    await deliver(world, report(world.product.taken[0], MessageState.REJECTED))
    await world.events.until(lambda: len(world.events.receipts) == 1)
    assert world.events.receipts[0].code == 4005


async def test_a_text_of_a_phone_is_brought_to_the_receiver(world: World) -> None:
    await world.customer(binding=Binding.PAIR)
    assert world.product.binds == 2
    assert await deliver(world, text("hi"), text("Grüße " * 60)) == [Delivered.TAKEN] * 2
    assert {arrival.text for arrival in world.events.arrivals} == {"hi", "Grüße " * 60}


@pytest.mark.parametrize("alphabet", list(Alphabet))
async def test_a_text_that_takes_more_parts_than_there_may_be_comes_as_several(
    world: World, alphabet: Alphabet
) -> None:
    world.product.account = replace(world.product.account, alphabet=alphabet)
    await world.customer(alphabet=alphabet)
    words = "".join(f"ş{number:05}" for number in range(10_000))  # a part may have 67 of these where it had 153 before
    assert await deliver(world, text(words)) == [Delivered.TAKEN]
    assert len(world.events.arrivals) > 1
    assert "".join(sorted(arrival.text for arrival in world.events.arrivals)) == words


async def test_nothing_is_delivered_to_whoever_is_not_bound_to_receive(world: World) -> None:
    assert await deliver(world, text("hi")) == [Delivered.GONE]
    client = await world.client()
    assert isinstance(await client.bind(kind=BindKind.TRANSMITTER), Bound)
    assert await deliver(world, text("hi")) == [Delivered.GONE]


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (status.ESME_ROK, Delivered.TAKEN),
        (status.ESME_RX_T_APPN, Delivered.LATER),
        (status.ESME_RINVBNDSTS, Delivered.LATER),
        (status.ESME_RX_P_APPN, Delivered.TAKEN),
    ],
)
async def test_the_customers_answer_says_what_came_of_a_delivery(world: World, state: int, outcome: Delivered) -> None:
    client = await world.client()
    await client.bind()
    delivering = asyncio.create_task(deliver(world, text("hi")))
    arrived = await client.next()
    assert isinstance(arrived, MessageArrived)
    client.session.answer(arrived.sequence, state)
    client.pump.flush()
    assert await delivering == [outcome]


async def test_a_customer_that_answers_nothing_is_left_alone_after_a_while(world: World) -> None:
    client = await world.client()
    await client.bind()
    more_than_the_window = [text("hi")] * 60
    delivering = asyncio.create_task(deliver(world, *more_than_the_window))
    await until(lambda: len(client.events) == 10)
    for _ in range(5):
        client.session.enquire(0.0)
        client.pump.flush()
        await world.clock.advance(timedelta(seconds=11))
    assert await delivering == [Delivered.LATER] * 60


async def test_a_customer_that_answers_too_late_gets_fewer_at_once(world: World) -> None:
    client = await world.client()
    await client.bind()
    delivering = asyncio.create_task(deliver(world, *[text("hi")] * 12))
    await until(lambda: len(client.events) == 10)
    await world.clock.advance(timedelta(seconds=11))
    for at_once in (11, 1, 3, 6, 1):  # the first ten are late: they come once more after the other two
        await until(lambda: len(client.events) == at_once)  # noqa: B023
        answer_all(client)
    assert await delivering == [Delivered.TAKEN] * 12


def answer_all(client: Client) -> int:
    """Acknowledge what has arrived; how many."""
    arrived = [event for event in client.events if isinstance(event, MessageArrived)]
    for event in arrived:
        client.session.answer(event.sequence)
    client.pump.flush()
    client.events.clear()
    return len(arrived)


async def test_deliveries_are_spread_over_the_receivers(world: World) -> None:
    clients = [await world.client() for _ in range(2)]
    for client in clients:
        await client.bind()
    delivering = asyncio.create_task(deliver(world, *[text("hi")] * 16))
    await until(lambda: [len(client.events) for client in clients] == [8, 8])
    assert [answer_all(client) for client in clients] == [8, 8]
    assert await delivering == [Delivered.TAKEN] * 16


async def test_a_receiver_that_is_slow_gets_no_more_than_it_answers_in_time(world: World) -> None:
    client = await world.client()
    await client.bind()
    (connection,) = world.listener._connections
    delivering = asyncio.create_task(deliver(world, *[text("hi")] * 60))
    for number in range(1, 61):
        arrived = await client.next()
        assert isinstance(arrived, MessageArrived)
        assert arrived.sequence == number
        await world.clock.advance(timedelta(seconds=0.4))
        client.session.answer(number)
        client.pump.flush()
        await until(lambda: number not in connection.session._pending)  # noqa: B023
    assert await delivering == [Delivered.TAKEN] * 60
    assert client.events == []  # nothing came twice


async def test_a_receiver_that_is_quick_gets_more_at_once(world: World) -> None:
    client = await world.client()
    await client.bind()
    delivering = asyncio.create_task(deliver(world, *[text("hi")] * 100))
    for at_once in (10, 20, 40):
        await until(lambda: len(client.events) == at_once)  # noqa: B023
        answer_all(client)
    await until(lambda: len(client.events) == 30)
    answer_all(client)
    assert await delivering == [Delivered.TAKEN] * 100


async def test_a_receiver_that_answers_nothing_keeps_nothing_from_one_that_does(world: World) -> None:
    dead, lively = [await world.client() for _ in range(2)]
    for client in (dead, lively):
        await client.bind()
    delivering = asyncio.create_task(deliver(world, *[text("hi")] * 20))
    await until(lambda: [len(dead.events), len(lively.events)] == [10, 10])
    answer_all(lively)
    await until(lambda: sum(found.session.in_flight for found in world.listener._connections) == 10)
    await world.clock.advance(timedelta(seconds=11))
    await until(lambda: len(lively.events) == 10)
    answer_all(lively)
    assert await delivering == [Delivered.TAKEN] * 20
    delivering = asyncio.create_task(deliver(world, *[text("hi")] * 20))
    await until(lambda: len(lively.events) == 20)
    answer_all(lively)
    assert await delivering == [Delivered.TAKEN] * 20
    assert answer_all(dead) == 10, "too late: they went to the other"
    lively.pump.abort()
    await until(lambda: world.listener.receivers("customer") == 1)
    delivering = asyncio.create_task(deliver(world, text("hi")))
    await until(lambda: len(dead.events) == 1)  # there is nobody else
    answer_all(dead)
    assert await delivering == [Delivered.TAKEN]
    another = await world.client()
    await another.bind()
    delivering = asyncio.create_task(deliver(world, *[text("hi")] * 4))
    await until(lambda: len(dead.events) == len(another.events) == 2)
    for client in (dead, another):
        answer_all(client)
    assert await delivering == [Delivered.TAKEN] * 4


async def test_a_receiver_that_takes_more_than_half_of_its_time_gets_fewer_at_once(world: World) -> None:
    client = await world.client()
    await client.bind()
    delivering = asyncio.create_task(deliver(world, *[text("hi")] * 24))
    for at_once, took_s in ((10, 4), (10, 6), (1, 4), (1, 1), (2, 0)):
        await until(lambda: len(client.events) == at_once)  # noqa: B023
        await world.clock.advance(timedelta(seconds=took_s))
        answer_all(client)
    assert await delivering == [Delivered.TAKEN] * 24


async def test_a_customer_stays_bound_while_time_is_driven(world: World) -> None:
    listener = SmppListener(ListenerConfig(port=0), world.product, world.database, world.clock, line=StillClock())
    await listener.start()
    assert listener.port is not None
    client = Client()
    await client.connect(listener.port)
    await client.bind()
    until_then = world.clock.now() + timedelta(minutes=1)
    waiting = asyncio.create_task(listener.deliver(world.product.account, [text("hi")] * 60, until_then))
    await until(lambda: len(client.events) == 10)
    await world.clock.advance(timedelta(hours=3))
    client.session.enquire(0.0)
    client.pump.flush()
    await until(lambda: client.session._enquired_at is None)
    assert listener.receivers("customer") == 1
    client.pump.abort()
    assert await waiting == [Delivered.ENDED] + [Delivered.GONE] * 59
    await listener.close()


async def test_a_delivery_under_way_when_the_connection_ends_goes_to_the_next(world: World) -> None:
    first = await world.client()
    await first.bind()
    delivering = asyncio.create_task(deliver(world, text("hi")))
    await first.next()
    second = await world.client()
    await second.bind()
    first.pump.abort()
    arrived = await second.next()
    assert isinstance(arrived, MessageArrived)
    second.session.answer(arrived.sequence)
    second.pump.flush()
    assert await delivering == [Delivered.TAKEN]


async def test_a_submission_is_answered_only_once_it_is_durable(world: World) -> None:
    client = await world.client()
    await client.bind()
    world.product.open.clear()
    client.submit()
    for _ in range(100):
        await asyncio.sleep(0)
    assert client.events == []
    world.product.open.set()
    assert await client.status() == 0


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (Unavailable("away"), status.ESME_RSYSERR),
        (TooMany("slowly"), status.ESME_RTHROTTLED),
        (Invalid("long", target="message"), status.ESME_RINVMSGLEN),
        (ValueError("a bug"), status.ESME_RSYSERR),
    ],
)
async def test_what_the_product_does_not_take_is_refused(world: World, failure: Exception, state: int) -> None:
    client = await world.client()
    await client.bind()
    world.product.failure = failure
    client.submit()
    assert await client.status() == state


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"source_addr": ""}, status.ESME_RINVSRCADR),
        ({"source_addr_ton": 2, "source_addr": "42555501"}, status.ESME_RINVSRCADR),
        ({"destination_addr": "12"}, status.ESME_RINVDSTADR),
        ({"destination_addr": "1425555012345"}, status.ESME_RINVDSTADR),  # country code 1 has ten digits more at most
        ({"text": b"refuse me"}, status.ESME_RSUBMITFAIL),
        ({"data_coding": 4}, status.ESME_RSUBMITFAIL),
        ({"data_coding": 0xF5}, status.ESME_RSUBMITFAIL),
        ({"data_coding": 0x0A}, status.ESME_RSUBMITFAIL),
        ({"data_coding": 0x14}, status.ESME_RSUBMITFAIL),
        ({"esm_class": ESM_UDH, "text": b"\x06\x05\x04\x23\xf4\0\0BEGIN:VCARD"}, status.ESME_RSUBMITFAIL),
        ({"esm_class": ESM_UDH, "text": b"\x04\x04\x02\xf0\0hello"}, status.ESME_RSUBMITFAIL),
        ({"esm_class": ESM_UDH, "text": b"\x0b\0\x03\1\2\1\x05\x04\x23\xf4\0\0part"}, status.ESME_RSUBMITFAIL),
        ({"tlvs": ((0x020B, b"\x23\xf4"),)}, status.ESME_RSUBMITFAIL),
        ({"tlvs": ((0x020B, b"\0\0"), (0x020A, b"\0\5"))}, 0),
        ({"esm_class": ESM_UDH, "text": b"\x06\x05\x04\0\0\x23\xf4hello"}, 0),
        ({"dest_addr_ton": 2}, status.ESME_RINVDSTADR),
        ({"schedule_delivery_time": "200101000000000+"}, 0x61),
        ({"schedule_delivery_time": "soon"}, 0x61),
        ({"schedule_delivery_time": "000001000000000R", "validity_period": "000000010000000R"}, 0x62),
        ({"validity_period": "tomorrow"}, 0x62),
        ({"validity_period": "200101000000000+"}, 0x62),
        ({"sm_default_msg_id": 1}, 0x63),
    ],
)
async def test_refusals_have_statuses_of_their_own(world: World, fields: dict[str, Any], state: int) -> None:
    client = await world.client()
    await client.bind()
    client.submit(**fields)
    assert await client.status() == state


@pytest.mark.parametrize(
    ("fields", "sender", "words"),
    [
        ({"source_addr_ton": 5, "source_addr": "LANDLINE"}, "LANDLINE", "hello"),
        ({"source_addr_ton": 3, "source_addr": "55501"}, "55501", "hello"),
        ({"source_addr_ton": 0}, OURS, "hello"),
        ({"source_addr_ton": 2}, OURS, "hello"),  # as Kannel has it unless told otherwise
        ({"source_addr_ton": 1, "source_addr": "55501"}, "55501", "hello"),
        ({"text": "мир".encode("utf-16-be"), "data_coding": 0x18}, OURS, "мир"),  # flash
        ({"text": "Grüße".encode("latin-1"), "data_coding": 3}, OURS, "Grüße"),
        ({"text": "мир".encode("utf-16-be"), "data_coding": 8}, OURS, "мир"),
        ({"text": b"", "tlvs": ((0x0424, b"x" * 500),)}, OURS, "x" * 500),
        ({"text": b"", "tlvs": ()}, OURS, ""),
    ],
)
async def test_senders_and_codings_are_read(world: World, fields: dict[str, Any], sender: str, words: str) -> None:
    client = await world.client()
    await client.bind()
    client.submit(**fields)
    assert await client.status() == 0
    assert [(given.sender, given.recipient, given.text) for given in world.product.taken] == [(sender, PHONE, words)]


async def test_the_wish_for_a_receipt_and_the_validity_are_passed_on(world: World) -> None:
    client = await world.client()
    await client.bind()
    for wish in ReportWish:
        client.submit(registered_delivery=0x10 | wish, validity_period="000000000500000R")
        assert await client.status() == 0
    assert [given.wish for given in world.product.taken] == list(ReportWish)
    for given in world.product.taken:
        assert given.valid_until is not None
        assert timedelta(minutes=4) < given.valid_until - world.clock.now() <= timedelta(minutes=5)


@pytest.mark.parametrize("password", ["", "wrong"])
async def test_a_wrong_password_is_refused_and_the_third_time_the_connection_ends(world: World, password: str) -> None:
    client = await world.client()
    for _ in range(3):
        refused = await client.bind(password)
        assert refused == BindRefused(status.ESME_RINVPASWD)
    await until(lambda: client.closed)


async def test_a_connection_that_fails_is_cut_and_no_other(world: World) -> None:
    other, failing = await world.client(), await world.client()
    assert isinstance(await other.bind(), Bound)
    world.product.failure = RuntimeError("a defect")
    failing.begin_bind()
    await until(lambda: failing.closed)
    world.product.failure = None
    other.submit()
    assert await other.accepted()
    assert isinstance(await (await world.client()).bind(), Bound)


async def test_an_account_has_so_many_binds(world: World) -> None:
    world.product.account = Account("customer", ResourceId(uuid4()), binds=1)
    first, second = await world.client(), await world.client()
    assert isinstance(await first.bind(), Bound)
    assert await second.bind() == BindRefused(status.ESME_RALYBND)
    first.session.unbind(0.0)
    first.pump.flush()
    await until(lambda: first.closed)
    assert isinstance(await second.bind(), Bound)


async def test_a_bind_whose_password_was_changed_meanwhile_is_refused_and_counts_for_nothing(world: World) -> None:
    now = Account("customer", ResourceId(uuid4()), binds=2, generation=2)
    for account, expected in (
        (now, Bound),
        (replace(now, generation=1), BindRefused(status.ESME_RINVPASWD)),
        (now, Bound),
        (now, BindRefused(status.ESME_RALYBND)),
    ):
        world.product.account = account
        answer = await (await world.client()).bind()
        assert isinstance(answer, Bound) if expected is Bound else answer == expected


async def test_an_account_has_a_window(world: World) -> None:
    world.product.account = Account("customer", ResourceId(uuid4()), window=2)
    client = await world.client()
    await client.bind()
    world.product.open.clear()
    for _ in range(3):
        client.submit()
    assert await client.status() == status.ESME_RTHROTTLED
    world.product.open.set()
    assert [await client.status(), await client.status()] == [0, 0]


async def test_more_submissions_than_may_be_in_hand_are_refused_for_now(database: Database) -> None:
    product = Product()
    product.account = Account("customer", ResourceId(uuid4()), binds=3)
    listener = SmppListener(ListenerConfig(port=0, submissions=2), product, database, DrivenClock())
    await listener.start()
    clients = [Client() for _ in range(3)]
    for client in clients:
        assert listener.port is not None
        await client.connect(listener.port)
        await client.bind()
    product.open.clear()
    for number, client in enumerate(clients[:2], start=1):
        client.submit()
        await until(lambda number=number: product.asked == number)
    clients[2].submit()
    assert await clients[2].status() == status.ESME_RMSGQFUL
    product.open.set()
    assert [await client.status() for client in clients[:2]] == [0, 0]
    clients[2].submit()
    assert await clients[2].status() == 0
    for client in clients:
        client.pump.abort()
    await listener.close()


async def test_submissions_under_one_sequence_number_are_each_answered(world: World) -> None:
    client = await world.client()
    await client.bind()
    world.product.open.clear()
    for _ in range(3):
        client.session._sequence = 7
        client.session._pending.clear()
        client.submit()
    world.product.open.set()
    await until(lambda: len(world.product.taken) == 3)
    assert await client.status() == 0
    client.submit(b"after")
    assert await client.status() == 0
    assert world.product.taken[-1].text == "after"


@pytest.mark.parametrize("world", [StillClock], indirect=True)
async def test_an_account_has_a_rate(world: World) -> None:
    world.product.account = Account("customer", ResourceId(uuid4()), rate_per_s=10.0)
    client = await world.client()
    await client.bind()
    for seconds, submitted, taken in ((0, 15, 10), (0.52, 5, 5), (0.52, 6, 5), (5, 12, 10)):
        await world.clock.advance(timedelta(seconds=seconds))
        for _ in range(submitted):
            client.submit()
        statuses = [await client.status() for _ in range(submitted)]
        assert statuses == [0] * taken + [status.ESME_RTHROTTLED] * (submitted - taken)


async def test_a_connection_that_does_not_bind_is_cut(world: World) -> None:
    client = await world.client()
    await until(lambda: len(world.listener._connections) == 1)
    await world.clock.advance(timedelta(seconds=11))
    await until(lambda: client.closed)


async def test_more_connections_than_allowed_are_cut(world: World) -> None:
    world.product.account = Account("customer", ResourceId(uuid4()), binds=30)
    clients = [await world.client() for _ in range(20)]
    for client in clients:
        assert isinstance(await client.bind(), Bound)
    refused = await world.client()
    await until(lambda: refused.closed)
    assert not any(client.closed for client in clients)


async def test_connections_that_do_not_bind_keep_no_customer_out(world: World) -> None:
    bound = await world.client()
    assert isinstance(await bound.bind(), Bound)
    strangers = [await world.client() for _ in range(19)]
    await until(lambda: len(world.listener._connections) == 20)
    late = [await world.client() for _ in range(2)]
    for client in late:
        assert isinstance(await client.bind(), Bound)
    await until(lambda: sum(client.closed for client in strangers) == 2)
    assert [client.closed for client in [bound, *strangers[:3]]] == [False, True, True, False]


async def test_a_connection_that_is_made_after_it_was_given_up_ends(world: World) -> None:
    client = Client()
    client.session.close()
    await client.connect(world.port)
    await until(lambda: client.closed)


async def test_a_message_can_be_asked_for_but_not_replaced(world: World) -> None:
    client = await world.client()
    await client.bind()
    client.submit()
    taken = await client.next()
    assert isinstance(taken, Answered)
    client.session.request(Command.QUERY_SM, pdu.QuerySm(taken.message_id), None, 0.0)
    client.session.request(Command.QUERY_SM, pdu.QuerySm("nonsense"), None, 0.0)
    client.session.request(Command.REPLACE_SM, pdu.ReplaceSm(taken.message_id), None, 0.0)
    client.pump.flush()
    known, unknown, replaced = [await client.next() for _ in range(3)]
    assert isinstance(known, Answered)
    assert known.body == pdu.QueryAnswer(taken.message_id, "", MessageState.ENROUTE)
    assert isinstance(unknown, Answered)
    assert unknown.status == status.ESME_RQUERYFAIL
    assert isinstance(replaced, Answered)
    assert replaced.status == 0x13


@pytest.mark.parametrize(
    ("asked", "passed"),
    [
        ({"message_id": "0" * 31 + "7"}, Cancellation(UUID(int=7))),
        ({"message_id": "0" * 31 + "7-2", "source_addr": "55501"}, Cancellation(UUID(int=7), "55501")),
        (
            {"source_addr_ton": 1, "source_addr": OURS[1:], "dest_addr_ton": 1, "destination_addr": PHONE[1:]},
            Cancellation(None, OURS, PHONE),
        ),
        ({"message_id": "nonsense"}, None),
        ({"source_addr": "55501"}, None),
        ({}, None),
    ],
)
async def test_what_a_cancel_sm_names_is_passed_on(
    world: World, asked: dict[str, Any], passed: Cancellation | None
) -> None:
    client = await world.client()
    await client.bind()
    client.session.request(Command.CANCEL_SM, pdu.CancelSm(**asked), None, 0.0)  # nothing waits yet
    client.submit()
    client.session.request(Command.CANCEL_SM, pdu.CancelSm(**asked), None, 0.0)
    client.pump.flush()
    statuses = [await client.status() for _ in range(3)]
    assert statuses == [0x11, 0, 0 if passed else 0x11]
    assert world.product.cancellations == ([passed] * 2 if passed else [])
    world.product.failure = Unavailable("away")
    client.session.request(Command.CANCEL_SM, pdu.CancelSm(**asked), None, 0.0)
    client.pump.flush()
    assert await client.status() == (status.ESME_RSYSERR if passed else 0x11)


async def test_a_part_sent_again_does_not_send_its_text_twice(world: World) -> None:
    client = await world.client()
    await client.bind()
    parts = [b"\x05\x00\x03\x01\x02\x01" + b"x" * 100, b"\x05\x00\x03\x01\x02\x02" + b"y" * 100]

    async def send(part: bytes) -> int:
        message = ShortMessage(
            source_addr_ton=1, source_addr=OURS[1:], dest_addr_ton=1, destination_addr=PHONE[1:], esm_class=0x40,
            short_message=part,
        )  # fmt: skip
        client.session.submit(pdu.encode_body(message), None, 0.0)
        client.pump.flush()
        return await client.status()

    assert [await send(part) for part in [*parts, parts[1]]] == [0, 0, 0]
    assert [given.text for given in world.product.taken] == ["x" * 100 + "y" * 100]
    other = [part.replace(b"x", b"z") for part in parts]
    assert [await send(part) for part in other] == [0, 0]
    assert [given.text[0] for given in world.product.taken] == ["x", "z"]
    assert len({given.message_id for given in world.product.taken}) == 2


async def test_texts_under_one_reference_that_come_at_once_are_all_taken(world: World) -> None:
    client = await world.client()
    await client.bind()
    world.product.open.clear()
    client.submit(b"first, so that the others wait")
    for words in (b"one", b"two", b"one"):
        for number in (1, 2):
            client.submit(bytes((5, 0, 3, 7, 2, number)) + words, esm_class=0x40)
    world.product.open.set()
    await client.accepted()
    ids = [await client.accepted() for _ in range(6)]
    assert [given.text for given in world.product.taken[1:]] == ["oneone", "twotwo", "oneone"]
    assert len({each.partition("-")[0] for each in ids}) == 3


async def test_a_receipt_comes_though_two_binds_at_once_made_its_text_whole(world: World) -> None:
    first, second = [await world.client() for _ in range(2)]
    await first.bind()
    await second.bind(kind=BindKind.TRANSMITTER)
    first.submit(b"\5\0\3\7\2\1one", esm_class=0x40)
    message_id = UUID((await first.accepted()).partition("-")[0])
    world.product.open.clear()
    ended = ReportOut(message_id, OURS, PHONE, MessageState.REJECTED, AT, AT)
    deliveries: list[asyncio.Task[list[Delivered]]] = []
    for number, client in enumerate((first, second), start=1):
        client.submit(b"\5\0\3\7\2\2two", esm_class=0x40)
        await until(lambda asked=number: world.product.asked == asked)
        deliveries.append(asyncio.create_task(deliver(world, ended)))
    await asyncio.sleep(0)
    assert first.events == []
    world.product.open.set()
    for client in (first, second):
        await client.accepted()
    for _ in deliveries:
        await first.receipt()
    assert [await delivering for delivering in deliveries] == [[Delivered.TAKEN]] * 2


async def test_what_came_before_its_connection_ended_and_was_not_begun_is_not_taken(world: World) -> None:
    client = await world.client()
    await client.bind()
    world.product.open.clear()
    client.submit(b"one")
    await until(lambda: world.product.asked == 1)
    client.submit(b"two")
    client.session.request(Command.QUERY_SM, pdu.QuerySm(uuid4().hex), None, 0.0)
    client.submit(b"three")
    (connection,) = world.listener._connections
    await until(lambda: len(connection.session._owed) == 4)
    world.product.open.set()  # for the first
    world.product.open.clear()
    await until(lambda: world.product.asked == 2)
    client.pump.abort()
    await until(lambda: world.listener.receivers("customer") == 0)
    world.product.open.set()
    await until(lambda: not world.listener._connections)
    assert [given.text for given in world.product.taken] == ["one", "two"]


async def test_a_receiver_that_binds_beside_one_that_answers_gets_its_share(world: World) -> None:
    first = await world.client()
    await first.bind()
    delivering = asyncio.create_task(deliver(world, text("hi")))
    await until(lambda: len(first.events) == 1)
    answer_all(first)
    assert await delivering == [Delivered.TAKEN]
    second = await world.client()
    await second.bind()
    delivering = asyncio.create_task(deliver(world, *[text("hi")] * 4))
    await until(lambda: [len(first.events), len(second.events)] == [2, 2])
    answer_all(first)
    answer_all(second)
    assert await delivering == [Delivered.TAKEN] * 4


@pytest.mark.parametrize("kind", list(BindKind))
async def test_closing_unbinds_the_customers(world: World, kind: BindKind) -> None:
    client = await world.client()
    await client.bind(kind=kind)
    await world.listener.close()
    await until(lambda: client.closed)
    assert client.session.ended


async def test_who_is_unbound_has_the_answers_to_what_it_submitted(world: World) -> None:
    idle, busy = await world.client(), await world.client()
    for client in (idle, busy):
        await client.bind()
    world.product.open.clear()
    busy.submit()
    await until(lambda: world.product.asked == 1)
    closing = asyncio.create_task(world.listener.close())
    await until(lambda: idle.closed)
    world.product.open.set()
    await closing
    await until(lambda: busy.closed)
    assert [type(event) for event in busy.events] == [Answered, Unbound]


async def test_several_processes_listen_on_one_socket(database: Database) -> None:
    bound = socket.create_server(("127.0.0.1", 0))
    listeners = [SmppListener(ListenerConfig(port=None), Product(), database, DrivenClock()) for _ in range(2)]
    for listener in listeners:
        await listener.start([bound.dup()])
        assert listener.port == bound.getsockname()[1]
    await listeners[0].close()
    client = Client()
    await client.connect(bound.getsockname()[1])
    assert isinstance(await client.bind(), Bound)
    await listeners[1].close()
    bound.close()


async def test_what_is_in_hand_is_answered_before_the_customer_is_unbound(world: World) -> None:
    """Most answer an unbind at once and are gone: what they hear nothing of they would submit again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)

    async def read() -> tuple[int, int, int]:
        head = await reader.readexactly(16)
        size, command, state, sequence = HEADER.unpack(head)
        await reader.readexactly(size - 16)
        return command, state, sequence

    body = ShortMessage(source_addr_ton=1, source_addr=OURS[1:], dest_addr_ton=1, destination_addr=PHONE[1:])
    writer.write(pdu.encode(Command.BIND_TRANSMITTER, pdu.Bind("customer", "secret"), 1))
    assert await read() == (Command.BIND_TRANSMITTER | RESPONSE, 0, 1)
    world.product.open.clear()
    writer.write(pdu.encode(Command.SUBMIT_SM, body, 2))
    await until(lambda: world.listener._in_hand == 1)
    closing = asyncio.create_task(world.listener.close())
    await until(lambda: all(each.session.state is State.UNBINDING for each in world.listener._connections))
    writer.write(pdu.encode(Command.SUBMIT_SM, body, 3))
    world.product.open.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await read() == (Command.SUBMIT_SM | RESPONSE, 0, 2)
        assert (await read())[0] == Command.UNBIND
        assert await read() == (Command.SUBMIT_SM | RESPONSE, status.ESME_RSYSERR, 3)
        writer.write(pdu.encode(Command.UNBIND | RESPONSE, None, 1))
        assert await reader.read() == b""
        await closing
    assert len(world.product.taken) == 1
    writer.close()
