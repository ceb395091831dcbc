"""Customers and strangers who say more than the SMPP server for customers can act on: others are heard all the same."""

import asyncio
import resource
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import replace

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.support.floods import ENQUIRE, heard_in_turn
from tests.support.patience import PATIENCE_S
from tests.support.product import Product
from tests.support.raw_esme import RawEsme
from tests.support.smpp_world import OURS, PHONE, until

from landline.engines.clock import DrivenClock
from landline.engines.smpp.listener import ListenerConfig, SmppListener
from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import ESM_UDH, BindKind, Command, Tag
from landline.protocols.smpp.framing import HEADER
from landline.protocols.smpp.pdu import ShortMessage
from landline.store.database import Database

BIND = pdu.encode(BindKind.TRANSCEIVER.value, pdu.Bind("customer", "secret"), 1)
LARGE = ShortMessage(
    source_addr_ton=1,
    source_addr=OURS[1:],
    dest_addr_ton=1,
    destination_addr=PHONE[1:],
    tlvs=((int(Tag.MESSAGE_PAYLOAD), b"x" * 60_000),),
)


class World:
    """A listener and its product."""

    def __init__(self, database: Database) -> None:
        self.product = Product()
        self.product.account = replace(self.product.account, window=1000)
        self.listener = SmppListener(ListenerConfig(port=0), self.product, database, DrivenClock())
        self.customers: list[RawEsme] = []
        self.sockets: list[socket.socket] = []

    @property
    def port(self) -> int:
        assert self.listener.port is not None
        return self.listener.port

    async def customer(self) -> RawEsme:
        """Connected, not bound."""
        customer = RawEsme()
        await customer.connect(self.port)
        self.customers.append(customer)
        return customer

    async def bound_socket(self) -> socket.socket:
        """That of a customer who says nothing while the loop runs."""
        line = socket.create_connection(("127.0.0.1", self.port))
        self.sockets.append(line)
        line.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(line, BIND)
        async with asyncio.timeout(PATIENCE_S):
            assert HEADER.unpack_from(await loop.sock_recv(line, 1000))[2] == status.ESME_ROK
        return line

    async def close(self) -> None:
        for customer in self.customers:
            customer.close()
        for line in self.sockets:
            line.close()
        await self.listener.close()


async def hear_all(customer: RawEsme) -> None:
    while True:
        await customer.next()


@pytest.fixture
async def world(database: Database) -> AsyncGenerator[World]:
    world = World(database)
    await world.listener.start()
    yield world
    await world.close()


@contextmanager
def files(most: int) -> Generator[None]:
    """Meanwhile the process may open so many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_connections_leave_half_of_the_files_to_others_and_the_log_tells_it_once(database: Database) -> None:
    with files(40):
        world = World(database)
    await world.listener.start()
    with capture_logs() as logs:
        for _ in range(30):
            await world.customer()
        customer = await world.customer()
        assert (await customer.bind()).status == status.ESME_ROK
    assert len(world.listener._connections) == 20
    assert [line["limit"] for line in logs if line["event"] == "smpp.too_many_connections"] == [20]
    await world.close()


async def test_a_customer_who_says_thousands_of_requests_at_once_lets_others_be_heard_meanwhile(world: World) -> None:
    rude, polite = await world.bound_socket(), await world.bound_socket()
    await heard_in_turn(rude, polite)


async def test_a_stranger_who_says_much_before_a_bind_is_cut(world: World) -> None:
    stranger, monitor = await world.customer(), await world.customer()
    await stranger.say(ENQUIRE * 1000)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await hear_all(stranger)
    for _ in range(20):  # as those do that watch ports
        assert await monitor.lives()
    assert (await monitor.bind()).status == status.ESME_ROK
    for _ in range(1000):
        assert await monitor.lives()


async def test_what_a_customer_submits_is_read_no_faster_than_it_is_taken(world: World) -> None:
    customer, other = await world.customer(), await world.customer()
    for each in (customer, other):
        assert (await each.bind()).status == status.ESME_ROK
    world.product.open.clear()
    saying = asyncio.create_task(
        customer.say(b"".join(pdu.encode(Command.SUBMIT_SM, LARGE, sequence) for sequence in range(1, 201)))
    )
    connection = next(iter(world.listener._connections))
    await until(lambda: connection.pump.octets > 1 << 20)
    for _ in range(100):  # turns in which it could be read
        assert await other.lives()
    assert connection.pump.octets < 1.5 * (1 << 20)
    world.product.open.set()
    answers = [await customer.next() for _ in range(200)]
    assert [answer.sequence for answer in answers] == list(range(1, 201))
    assert {answer.status for answer in answers} == {status.ESME_ROK}
    await saying


async def test_a_part_that_no_phone_could_be_sent_is_not_kept(world: World, database: Database) -> None:
    customer = await world.customer()
    assert (await customer.bind()).status == status.ESME_ROK
    sar = (
        (int(Tag.SAR_MSG_REF_NUM), b"\0\7"),
        (int(Tag.SAR_TOTAL_SEGMENTS), b"\xff"),
        (int(Tag.SAR_SEGMENT_SEQNUM), b"\1"),
    )
    header = ((int(Tag.MESSAGE_PAYLOAD), b"\5\0\3\7\xff\1" + b"x" * 60_000),)
    whole = ((int(Tag.MESSAGE_PAYLOAD), b"\5\0\3\7\xff\1" + b"x" * 248),)
    asked = [
        msgspec.structs.replace(LARGE, esm_class=ESM_UDH, tlvs=header),
        msgspec.structs.replace(LARGE, tlvs=(*LARGE.tlvs, *sar)),
        msgspec.structs.replace(LARGE, esm_class=ESM_UDH, tlvs=whole),
    ]
    found = [await customer.asked(pdu.encode(Command.SUBMIT_SM, each, n)) for n, each in enumerate(asked, start=1)]
    assert [each.status for each in found] == [status.ESME_RINVMSGLEN, status.ESME_RINVMSGLEN, status.ESME_ROK]
    rows = await database.fetch("SELECT length(octets) AS size FROM smpp_inbound_parts")
    assert [row["size"] for row in rows] == [248]
