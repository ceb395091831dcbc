"""What all connections may hold together, and who gives way: large bodies, strangers, a process out of files."""

import asyncio
import gc
import socket
import ssl
import tracemalloc
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry
from structlog.testing import capture_logs
from tests.support.front import HOST, Client

from landline.edge import server
from landline.edge.app import Edge
from landline.edge.gate import Gate
from landline.edge.http import Limits, Request, Response
from landline.edge.metrics import RequestMetrics
from landline.edge.room import Room
from landline.edge.routes import Access, Route

HEAD = f"host: {HOST}\r\n"
KIB = 1024
SIZE = 100 * KIB
LIMITS = Limits(body_bytes=SIZE, total_bytes=800 * KIB)
"""Room for eight bodies of the largest kind."""
FOUR = Limits(connections=4)


@dataclass
class House:
    """An application that answers the length of a body, waits with it, or breaks; and its clients."""

    limits: Limits = LIMITS
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        handlers = {"length": self.length, "slow": self.slow, "broken": self.broken}
        routes = [
            Route(method, f"/{name}", handler, access=Access.NONE, versioned=False)
            for name, handler in handlers.items()
            for method in ("GET", "POST")
        ]
        self.app = Edge(routes, Gate(), metrics=RequestMetrics(self.registry), limits=self.limits)

    async def length(self, request: Request) -> Response:
        return Response(200, str(len(request.body)).encode())

    async def slow(self, request: Request) -> Response:
        self.begun += 1
        await self.let_go.wait()
        return await self.length(request)

    async def broken(self, request: Request) -> Response:
        error = RuntimeError("a bug whose frame knows it")
        raise error

    def client(self) -> Client:
        client = Client(self.app)
        self.app.room.add(client.open)
        return client

    @property
    def held(self) -> int:
        return self.app.room.held_bytes


class Lazy(Client):
    """A client that reads nothing of an answer of 100 KiB."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self.unread = SIZE
        self.connection.pause_writing()


@pytest.fixture
def house() -> House:
    return House()


def send(client: Client, data: str, path: str = "length", *, of: int | None = None) -> None:
    """A request with `data` as its body, or as the first of `of` bytes."""
    head = f"POST /{path} HTTP/1.1\r\n{HEAD}content-length: {len(data) if of is None else of}\r\n\r\n"
    client.connection.data_received((head + data).encode())


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def no_room(reply: Any) -> None:
    assert (reply.status, reply.json()["error"]["code"]) == (503, "ServiceUnavailable")
    assert int(reply.headers["retry-after"]) > 0


async def test_of_large_bodies_that_do_not_end_the_first_gives_way(house: House) -> None:
    clients = [house.client() for _ in range(30)]
    with capture_logs() as logs:
        for client in clients:
            send(client, "x" * (SIZE - 1), of=SIZE)
            assert house.held <= house.app.room.most_bytes
        no_room(await clients[0].reply())
    assert [each["event"] for each in logs] == ["edge.too_many_bytes"]  # once for all
    clients[-1].connection.data_received(b"x")
    assert (await clients[-1].reply()).body == str(SIZE).encode()
    assert [client.written == b"" for client in clients].count(True) >= 4


async def test_many_open_bodies_hold_no_more_than_the_room() -> None:
    house = House(Limits(total_bytes=8 << 20))
    clients = [house.client() for _ in range(100)]
    tracemalloc.start()
    try:
        for client in clients:
            send(client, "x" * ((1 << 20) - 1), of=1 << 20)
        await turns()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 12 << 20


async def test_heads_that_do_not_end_count_too() -> None:
    house = House(Limits(total_bytes=1 << 20, body_bytes=KIB))
    clients = [house.client() for _ in range(100)]
    for number, client in enumerate(clients):
        client.connection.data_received(f"POST /length HTTP/1.1\r\n{HEAD}big: {'x' * 30_000}".encode())
        assert 0 < house.held <= 1 << 20, number
    no_room(await clients[0].reply())
    assert clients[-1].written == b""


async def test_a_head_behind_the_end_of_another_request_counts_too(house: House) -> None:
    client = house.client()
    ahead = f"POST /length HTTP/1.1\r\n{HEAD}content-length: 0\r\n\r\n"
    client.connection.data_received(f"{ahead}POST /length HTTP/1.1\r\nbig: {'x' * 20_000}".encode())
    assert house.held > 20_000


async def test_small_requests_pass_while_large_ones_take_all_the_room(house: House) -> None:
    for _ in range(20):
        send(house.client(), "x" * (SIZE - 1), of=SIZE)
    for _ in range(20):
        client = house.client()
        send(client, "x" * 2000, of=4000)
        client.connection.data_received(b"x" * 2000)
        assert (await client.reply()).body == b"4000"


async def test_what_came_whole_goes_before_what_has_not_ended(house: House) -> None:
    open_ones = [house.client() for _ in range(7)]
    for client in open_ones:
        send(client, "x" * (SIZE - 1), of=SIZE)
    client = house.client()
    send(client, "x" * SIZE)
    assert (await client.reply()).status == 200
    no_room(await open_ones[0].reply())


async def test_small_unfinished_ones_stay_when_large_ones_can_go(house: House) -> None:
    small = house.client()
    send(small, "x" * 9000, of=10_000)
    for _ in range(20):
        send(house.client(), "x" * (SIZE - 1), of=SIZE)
    small.connection.data_received(b"x" * 1000)
    assert (await small.reply()).body == b"10000"


async def test_requests_in_hand_keep_their_room_and_give_it_back(house: House) -> None:
    busy = [house.client() for _ in range(8)]
    for client in busy:
        send(client, "x" * SIZE, "slow")
    late, small = house.client(), house.client()
    send(late, "x" * SIZE)
    no_room(await late.reply())
    send(small, "x" * 100)
    assert (await small.reply()).body == b"100"
    house.let_go.set()
    assert [(await client.reply()).status for client in busy] == [200] * 8
    assert house.held == 0
    send(late, "x" * SIZE)
    assert (await late.reply()).status == 200


@pytest.mark.parametrize("ending", ["whole", "lost", "refused", "lost while others wait", "handler breaks", "cut"])
async def test_nothing_is_counted_of_what_is_over(house: House, ending: str) -> None:
    client = house.client()
    match ending:
        case "lost while others wait":
            for _ in range(3):
                send(client, "x" * SIZE, "slow")
            await turns()
        case "handler breaks":
            send(client, "x" * SIZE, "broken")
            assert (await client.reply()).status == 500
        case _:
            send(client, "x" * 20_000, of=SIZE)
            assert house.held > 20_000
    match ending:
        case "whole":
            client.connection.data_received(b"x" * (SIZE - 20_000))
            await client.reply()
        case "refused":
            client.connection.give_way(house.app.room._refused(0.0))  # pyright: ignore[reportPrivateUsage]
            await client.reply()
        case "cut":
            client.connection.abort()
            client.connection.connection_lost(None)
        case _:
            client.connection.connection_lost(None)
    house.let_go.set()
    await turns()
    assert house.held == 0


async def test_a_body_that_nobody_asked_for_takes_no_room_while_its_request_waits(house: House) -> None:
    for _ in range(20):
        client = house.client()
        text = f"GET /slow HTTP/1.1\r\n{HEAD}content-length: {SIZE}\r\n\r\n{'x' * SIZE}"
        client.connection.data_received(text.encode())
        await turns()
    assert (house.begun, house.held) == (20, 0)


async def test_of_many_answers_that_nobody_reads_the_first_is_given_up() -> None:
    house = House(Limits(body_bytes=SIZE, total_bytes=800 * KIB))
    clients = [Lazy(house.app) for _ in range(10)]
    for client in clients:
        send(client, "")
        await turns()
    assert [client.aborted.is_set() for client in clients] == [True] * 2 + [False] * 8
    for client in clients:
        client.connection.resume_writing()
    await turns()
    assert house.app.room.unread_bytes == 0


async def test_requests_sent_ahead_are_not_read_without_end(house: House) -> None:
    client = house.client()
    for _ in range(300):
        send(client, "", "slow")
    await turns()
    house.let_go.set()
    replies = [(await client.reply()).status for _ in range(66)]
    assert replies == [200] * 65 + [429]
    await turns()
    assert client.ended
    assert house.begun == 65


async def test_of_too_many_connections_the_first_that_asked_for_nothing_goes() -> None:
    house = House(FOUR)
    asked = house.client()
    send(asked, "")
    await asked.reply()
    silent = [house.client() for _ in range(3)]
    newcomer = house.client()
    assert [client.aborted.is_set() for client in (asked, *silent, newcomer)] == [False, True, False, False, False]


async def test_when_all_have_asked_the_one_that_is_idle_for_longest_goes() -> None:
    house = House(FOUR)
    clients = [house.client() for _ in range(4)]
    for client in clients[1:]:
        send(client, "")
        await client.reply()
    send(clients[0], "", "slow")
    newcomer = house.client()
    assert [client.aborted.is_set() for client in (*clients, newcomer)] == [False, True, False, False, False]


async def test_a_connection_too_many_is_cut_when_all_others_are_busy() -> None:
    house = House(FOUR)
    clients = [house.client() for _ in range(4)]
    for client in clients:
        send(client, "", "slow")
    newcomer = house.client()
    assert newcomer.aborted.is_set()
    newcomer.connection.connection_lost(None)
    house.let_go.set()
    assert [(await client.reply()).status for client in clients] == [200] * 4
    clients[0].connection.connection_lost(None)
    again = house.client()
    send(again, "hi")
    assert (await again.reply()).body == b"2"


async def test_strangers_have_a_bound_of_their_own() -> None:
    house = House(Limits(strangers=2))
    clients = [house.client() for _ in range(3)]
    assert [client.aborted.is_set() for client in clients] == [True, False, False]


async def test_a_process_whose_files_run_out_lets_strangers_go_for_a_while(house: House) -> None:
    room = Room(Limits(), descriptors=100)
    clients = [house.client() for _ in range(23)]
    entered = set[object]()
    room.add(entered)
    for number, client in enumerate(clients):
        assert room.enter(client.connection, 95 if number == 20 else number + 20, float(number))
        entered.add(client)
        if number == 21:
            entered.clear()  # they are all gone, and a minute later it is forgotten
    cut = [number for number, client in enumerate(clients) if client.aborted.is_set()]
    assert cut == [0, 1, 2]


async def test_with_files_run_out_for_other_things_some_connections_are_let_in(house: House) -> None:
    room = Room(Limits(), descriptors=100)
    assert room.enter(house.client().connection, 95, 0.0)
    assert room.cut_connections == 0


async def test_a_listener_out_of_room_serves_who_comes_after() -> None:
    house = House(FOUR)
    listening = await server.listen(house.app, server.bind("127.0.0.1", 0))
    try:
        crowd = [await asyncio.open_connection("127.0.0.1", listening.port) for _ in range(40)]
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        writer.write(f"POST /length HTTP/1.1\r\n{HEAD}content-length: 2\r\n\r\nhi".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await crowd[0][0].read() == b""
        for _, each in (*crowd, (reader, writer)):
            each.close()
    finally:
        await listening.close()


async def test_who_agrees_on_no_tls_gives_way_to_who_does() -> None:
    house, authority = House(FOUR), trustme.CA()
    ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    authority.configure_trust(theirs)
    listening = await server.listen(house.app, server.bind("127.0.0.1", 0), ours)
    silent = [await asyncio.open_connection("127.0.0.1", listening.port) for _ in range(40)]
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port, ssl=theirs)
    writer.write(f"POST /length HTTP/1.1\r\n{HEAD}content-length: 2\r\n\r\nhi".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert house.app.room.cut_connections > 30
    assert await silent[0][0].read() == b""
    assert not silent[-1][0].at_eof()
    _, broken = await asyncio.open_connection("127.0.0.1", listening.port)
    broken.write(b"GET / HTTP/1.1\r\n\r\n")
    writer.close()
    with capture_logs() as logs:
        await listening.close()
    assert (logs, house.app.room.connections) == ([], 0)
    for _, each in (*silent, (reader, broken)):
        each.close()


async def test_a_server_that_stops_does_not_wait_for_who_keeps_a_tls_connection_and_does_not_look_at_it() -> None:
    house, authority = House(FOUR), trustme.CA()
    ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    authority.configure_trust(theirs)
    listening = await server.listen(house.app, server.bind("127.0.0.1", 0), ours)

    def keep() -> ssl.SSLSocket:
        pooled = theirs.wrap_socket(
            socket.create_connection(("127.0.0.1", listening.port)), server_hostname="127.0.0.1"
        )
        pooled.sendall(f"POST /length HTTP/1.1\r\n{HEAD}content-length: 2\r\n\r\nhi".encode())
        assert pooled.recv(4096).startswith(b"HTTP/1.1 200")
        return pooled

    with await asyncio.to_thread(keep) as pooled:
        with capture_logs() as logs:
            await listening.close()
        assert (logs, house.app.room.connections) == ([], 0)
        assert await asyncio.to_thread(pooled.recv, 4096) == b""


async def test_what_there_was_no_room_for_is_counted() -> None:
    house = House(Limits(body_bytes=SIZE, total_bytes=800 * KIB, connections=9))
    for _ in range(10):
        send(house.client(), "x" * (SIZE - 1), of=SIZE)
    shown = generate_latest(house.registry).decode()
    assert f"landline_http_held_bytes {float(house.held)}" in shown
    assert f'landline_http_no_room_total{{what="request"}} {float(house.app.room.refused_requests)}' in shown
    assert 'landline_http_no_room_total{what="connection_cut"} 1.0' in shown
    assert 'landline_http_no_room_total{what="connection"} 0.0' in shown
    assert "landline_http_connections 10.0" in shown  # the one that was cut is not gone yet
    assert house.app.room.refused_requests > 0


async def test_a_bug_does_not_keep_its_request_alive(house: House) -> None:
    client = house.client()
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(each, Request) for each in gc.get_objects())
        send(client, "hi", "broken")
        assert (await client.reply()).status == 500
        await turns()
        assert sum(isinstance(each, Request) for each in gc.get_objects()) == before
    finally:
        gc.enable()
