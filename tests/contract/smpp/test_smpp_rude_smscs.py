"""SMSCs that say more than a carrier's bind can act on, or read nothing: other carriers are heard all the same, memory
is bounded, and answers that came are taken."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence

import pytest
from tests.support.bare_smsc import BareSmsc, deliver_sm, text
from tests.support.carrier_events import Recorder
from tests.support.floods import ENQUIRE, heard_in_turn
from tests.support.patience import PATIENCE_S
from tests.support.smpp_pair import BODY
from tests.support.smpp_world import until, until_bound

from landline.engines.clock import DrivenClock
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import SmppConfig
from landline.engines.smpp.pump import Pump
from landline.ports.sms_carrier import Arrival, Receipt
from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import ESM_RECEIPT, RESPONSE, BindKind, Command, Tag
from landline.protocols.smpp.events import Answered, Event
from landline.protocols.smpp.framing import HEADER
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import Role
from landline.store.database import Database

UNREAD = 1 << 20


class Portions(Recorder):
    """Also how much it was told at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    async def arrived(self, carrier: str, arrivals: Sequence[Arrival]) -> None:
        self.sizes.append(len(arrivals))
        await super().arrived(carrier, arrivals)

    async def reported(self, carrier: str, receipts: Sequence[Receipt]) -> None:
        self.sizes.append(len(receipts))
        await super().reported(carrier, receipts)


class World:
    """Carriers, each bound to an SMSC that is a socket which says and reads nothing by itself."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.events = Recorder()
        self.clock = DrivenClock()
        self.carriers: list[SmppCarrier] = []
        self.sockets: list[socket.socket] = []

    async def bound(self) -> tuple[SmppCarrier, socket.socket]:
        loop = asyncio.get_running_loop()
        listening = socket.create_server(("127.0.0.1", 0))
        self.sockets.append(listening)
        listening.setblocking(False)
        name, port = f"carrier{len(self.carriers)}", listening.getsockname()[1]
        carrier = SmppCarrier(SmppConfig(name, "127.0.0.1", port, "us", "secret"), self.database, self.clock)
        self.carriers.append(carrier)
        starting = asyncio.create_task(carrier.start(self.events))
        line, _ = await loop.sock_accept(listening)
        self.sockets.append(line)
        _, command, _, sequence = HEADER.unpack_from(await loop.sock_recv(line, 1000))
        await loop.sock_sendall(line, pdu.encode(command | RESPONSE, pdu.BindAnswer("rude"), sequence))
        await starting
        await until_bound(carrier)
        return carrier, line

    async def close(self) -> None:
        for line in self.sockets:
            line.close()
        for carrier in self.carriers:
            await carrier.close()


async def _say_often(line: socket.socket, octets: bytes, times: int) -> None:
    for _ in range(times):
        await asyncio.get_running_loop().sock_sendall(line, octets)


@pytest.fixture
async def world(database: Database) -> AsyncGenerator[World]:
    world = World(database)
    yield world
    await world.close()


async def test_an_smsc_that_says_thousands_of_requests_at_once_lets_other_carriers_be_heard_meanwhile(
    world: World,
) -> None:
    (_, rude), (_, polite) = await world.bound(), await world.bound()
    await heard_in_turn(rude, polite)


async def test_an_smsc_that_asks_and_reads_no_answers_is_not_heard_further_until_it_does(world: World) -> None:
    carrier, rude = await world.bound()
    loop, pump = asyncio.get_running_loop(), carrier.links[0].pump
    assert pump is not None
    transport = pump._transport
    assert transport is not None
    for end in (rude, transport.get_extra_info("socket")):  # what is not read is soon ours to keep
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF if end is rude else socket.SO_SNDBUF, 1 << 16)
    flood = ENQUIRE * 4096
    asking = asyncio.create_task(_say_often(rude, flood, 60))
    held = 0
    async with asyncio.timeout(PATIENCE_S):
        while held <= UNREAD or transport.is_reading():
            held = transport.get_write_buffer_size()
            assert held < UNREAD + (1 << 18)
            await asyncio.sleep(0)
        for _ in range(100):  # turns in which more could be read
            await asyncio.sleep(0)
        assert transport.get_write_buffer_size() == held
        answered = 0
        while answered < 60 * len(flood):
            answered += len(await loop.sock_recv(rude, len(flood)))
    await asking
    assert carrier.bound == 1


async def test_texts_of_64_kib_that_cannot_be_stored_yet_are_put_off_before_they_fill_the_memory(
    database: Database,
) -> None:
    smsc, events = BareSmsc(), Recorder()
    large = text(b"", tlvs=((int(Tag.MESSAGE_PAYLOAD), b"x" * 60_000),))
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret")
    carrier = SmppCarrier(config, database, DrivenClock())
    await carrier.start(events)
    await until_bound(carrier)
    events.open.clear()
    for sequence in range(1, 201):
        await smsc.say(deliver_sm(sequence, large))
    await smsc.say(deliver_sm(201, text(b"small")))
    put_off = await smsc.answers(200 - (8 << 20) // 60_100)
    assert {state for state, _ in put_off} == {status.ESME_RX_T_APPN}
    events.open.set()
    taken = await smsc.answers(201 - len(put_off))
    assert {state for state, _ in taken} == {status.ESME_ROK}
    assert 201 in [sequence for _, sequence in taken]
    await smsc.say(deliver_sm(202, large))
    assert await smsc.answers(1) == [(status.ESME_ROK, 202)]
    await carrier.close()
    await smsc.close()


async def test_thousands_of_texts_and_receipts_are_passed_on_in_portions(database: Database) -> None:
    smsc, events = BareSmsc(), Portions()
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret")
    carrier = SmppCarrier(config, database, DrivenClock())
    await carrier.start(events)
    await until_bound(carrier)
    events.open.clear()
    receipt = text(b"id:7 stat:DELIVRD", esm_class=ESM_RECEIPT)
    await smsc.say(b"".join(deliver_sm(n, text(b"text %d" % n)) for n in range(1, 3001)))
    await smsc.say(b"".join(deliver_sm(n, receipt) for n in range(3001, 6001)))
    counters = carrier.counters
    await until(lambda: (counters()["inbox_texts"], counters()["inbox_receipts"]) == (3000, 3000))
    events.open.set()
    assert {state for state, _ in await smsc.answers(6000)} == {status.ESME_ROK}
    assert [arrival.text for arrival in events.arrivals] == [f"text {n}" for n in range(1, 3001)]
    assert max(events.sizes) <= 500
    await carrier.close()
    await smsc.close()


async def test_answers_that_came_before_the_connection_was_lost_are_all_taken() -> None:
    smsc = BareSmsc()
    heard: list[Event] = []
    lost = asyncio.Event()

    def happened(events: list[Event]) -> None:
        heard.extend(events)
        if any(isinstance(event, Answered) for event in events):
            pump.abort()

    session = Session(Role.ESME, 0.0, Limits(window=3000))
    pump = Pump(session, lambda: 0.0, happened, lost.set, unread_bytes=UNREAD)
    await asyncio.get_running_loop().create_connection(lambda: pump, "127.0.0.1", await smsc.start())
    session.bind(BindKind.TRANSCEIVER, pdu.Bind("us", "secret"), 0.0)
    pump.flush()
    await until(lambda: session.can_submit)
    sequences = [session.submit(BODY, number, 0.0) for number in range(3000)]
    pump.flush()
    await smsc.say(b"".join(pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer(str(n)), n) for n in sequences))
    await lost.wait()
    assert len([event for event in heard if isinstance(event, Answered)]) < 3000
    pump.finish()
    assert [event.context for event in heard if isinstance(event, Answered)] == list(range(3000))
    await smsc.close()
