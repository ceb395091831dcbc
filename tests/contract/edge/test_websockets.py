"""WebSockets at the edge, over real sockets with a client that is not ours: who gets in, limits, frames, the end."""

import asyncio
import json
import os
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from prometheus_client.registry import CollectorRegistry
from tests.support.patience import PATIENCE_S

from landline.core.errors import Unauthorized
from landline.edge.app import Edge
from landline.edge.cors import Cors
from landline.edge.gate import Gate
from landline.edge.http import Request
from landline.edge.metrics import RequestMetrics
from landline.edge.server import Listener, bind, listen
from landline.edge.websockets import LARGEST_MESSAGE, SocketRoute, WebSocket
from landline.protocols.websocket.frames import text_frame

HERE = "https://here.example"


class Echo:
    """Says twice what it hears, and when the server stops."""

    def __init__(self, socket: WebSocket, name: str) -> None:
        self._socket = socket
        self._name = name
        self.losses = 0

    def received(self, text: str) -> None:
        if text == "raise":
            raise RuntimeError("secret inner state")
        if text == "leave":
            self._socket.close(4000)
            self._socket.write(text_frame(b"too late"))
        frame = text_frame(f"{self._name} {text}".encode())
        self._socket.write(frame * 2)

    def stopping(self) -> None:
        self._socket.write(text_frame(b"go"))

    def lost(self) -> None:
        self.losses += 1
        LOST.append(self)


LOST: list[Echo] = []
OPENED: list[WebSocket] = []


async def echo(request: Request, socket: WebSocket) -> None:
    OPENED.append(socket)
    socket.accept(Echo(socket, request.params["name"]))


async def refuse(_request: Request, _socket: WebSocket) -> None:
    raise Unauthorized("Who are you?")


async def broken(_request: Request, socket: WebSocket) -> None:
    socket.accept(Echo(socket, ""))
    raise RuntimeError("secret inner state")


async def silent(_request: Request, _socket: WebSocket) -> None:
    pass


ROUTES = [
    SocketRoute("/echo/{name}", echo, "echo"),
    SocketRoute("/refuse", refuse, "refuse"),
    SocketRoute("/broken", broken, "broken"),
    SocketRoute("/silent", silent, "silent"),
]


class World:
    """A listener, and a client of it."""

    def __init__(self, listener: Listener, http: aiohttp.ClientSession) -> None:
        self.listener = listener
        self._http = http

    async def open(self, path: str, **headers: str) -> aiohttp.ClientWebSocketResponse:
        return await self._http.ws_connect(f"http://127.0.0.1:{self.listener.port}{path}", headers=headers)

    @asynccontextmanager
    async def raw(self, path: str, **changes: str) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection on which the handshake was sent, with some of its headers changed."""
        headers = {
            "host": "here",
            "connection": "keep-alive, Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "MDEyMzQ1Njc4OWFiY2RlZg==",
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in (headers | changes).items())]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        writer.write("\r\n".join([*lines, "", ""]).encode())
        yield reader, writer
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()

    async def refusal(self, path: str, **headers: str) -> int:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await self.open(path, **headers)
        return refused.value.status


@pytest.fixture
async def world() -> AsyncGenerator[World]:
    metrics = RequestMetrics(CollectorRegistry())
    app = Edge([], Gate(), metrics=metrics, sockets=ROUTES, cors=Cors((HERE,)))
    listener = await listen(app, bind("127.0.0.1", 0))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as http:
        yield World(listener, http)
    await listener.close()


async def test_texts_come_and_frames_go(world: World) -> None:
    async with await world.open("/echo/ann") as socket:
        for text in ("hi", "é" * 100, "x" * 60_000):
            await socket.send_str(text)
            assert [await socket.receive_str() for _ in range(2)] == [f"ann {text}"] * 2


async def test_a_frame_may_be_longer_than_16_bits_tell(world: World) -> None:
    async with await world.open("/echo/ann") as socket:
        await socket.send_str("é" * 32_765)
        assert await socket.receive_str() == "ann " + "é" * 32_765


async def test_pages_of_other_origins_get_no_socket(world: World) -> None:
    assert await world.refusal("/echo/ann", Origin="https://elsewhere.example") == 403
    async with await world.open("/echo/ann", Origin=HERE) as socket:
        assert not socket.closed


async def test_a_refusal_before_the_socket_opens_has_its_status(world: World) -> None:
    assert await world.refusal("/refuse") == 401
    assert await world.refusal("/nowhere") == 404
    assert await world.refusal("/echo/ann", **{f"x-{number}": "x" for number in range(120)}) == 413


async def test_a_handler_that_breaks_closes_its_socket(world: World) -> None:
    async with await world.open("/broken") as socket:
        assert (await socket.receive()).data == 1011


async def test_a_message_over_the_limit_ends_the_socket(world: World) -> None:
    async with await world.open("/echo/ann") as socket:
        await socket.send_str("x" * (LARGEST_MESSAGE + 1))
        assert (await socket.receive()).data == 1009


async def test_bytes_end_the_socket(world: World) -> None:
    async with await world.open("/echo/ann") as socket:
        await socket.send_bytes(b"x")
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_a_server_that_stops_says_so_before_it_closes(world: World) -> None:
    async with await world.open("/echo/ann") as socket:
        closing = asyncio.create_task(world.listener.close())
        assert await socket.receive_str() == "go"
        assert (await socket.receive()).data == 1012
        await closing


async def lost(count: int) -> list[Echo]:
    while len(LOST) < count:
        await asyncio.sleep(0)
    found = list(LOST)
    LOST.clear()
    return found


@pytest.mark.parametrize(("said", "code"), [("leave", 4000), ("raise", 1011)])
async def test_a_receiver_may_end_its_socket_and_is_told_once(world: World, said: str, code: int) -> None:
    LOST.clear()
    async with await world.open("/echo/ann") as socket:
        await socket.send_str(said)
        assert (await socket.receive()).data == code
    assert [each.losses for each in await lost(1)] == [1]


async def test_a_client_that_leaves_is_answered_and_lost(world: World) -> None:
    LOST.clear()
    socket = await world.open("/echo/ann")
    await socket.close(code=4711)
    assert socket.close_code == 4711
    assert [each.losses for each in await lost(1)] == [1]


async def test_a_client_that_is_cut_off_is_lost(world: World) -> None:
    LOST.clear()
    async with world.raw("/echo/ann") as (reader, _):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert [each.losses for each in await lost(1)] == [1]


async def test_what_came_of_a_message_goes_with_its_connection(world: World) -> None:
    beginning = b"\x01\xfe" + (50_000).to_bytes(2, "big") + bytes(4) + b"x" * 50_000
    ping = b"\x89\x80" + bytes(4)
    LOST.clear()
    tracemalloc.start()
    try:
        for _ in range(10):
            async with world.raw("/echo/ann") as (reader, writer):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(beginning + ping)
                assert await reader.readexactly(2) == b"\x8a\x00"
        remembered = await lost(10)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(remembered), held < 250_000) == (10, True)


async def test_a_client_that_says_thousands_of_frames_at_once_lets_others_be_heard_meanwhile(world: World) -> None:
    count = 20_000
    async with asyncio.timeout(PATIENCE_S), world.raw("/echo/ann") as rude, world.raw("/echo/ben") as polite:
        for reader, _ in (rude, polite):
            await reader.readuntil(b"\r\n\r\n")
        ping = b"\x89\x80" + bytes(4)
        for (_, writer), said in ((rude, ping * count), (polite, ping)):
            line = writer.get_extra_info("socket")
            assert os.write(line.fileno(), said) == len(said)  # both have come when the loop looks next
        assert await polite[0].readexactly(2) == b"\x8a\x00"
        first = await rude[0].read(2 * count)
        assert len(first) < count
        assert first + await rude[0].readexactly(2 * count - len(first)) == b"\x8a\x00" * count
        rude[1].write(b"\x81\x82\0\0\0\0hi")
        assert await rude[0].readuntil(b"ann hi")


async def test_what_a_client_says_too_early_waits(world: World) -> None:
    async with world.raw("/echo/ann") as (reader, writer):
        writer.write(b"\x81\x82\0\0\0\0hi")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x81\x82\0\0\0\0ho")
        assert await reader.readuntil(b"ann ho")


async def test_a_ping_is_answered(world: World) -> None:
    async with world.raw("/echo/ann") as (reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x89\x82\0\0\0\0hi")
        assert await reader.readexactly(4) == b"\x8a\x02hi"


async def test_who_answers_no_ping_gives_no_sign_of_life(world: World) -> None:
    async with world.raw("/echo/ann") as (reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x81\x82\0\0\0\0hi")
        assert await reader.readuntil(b"ann hi")
        socket = OPENED[-1]
        assert socket.ping()
        assert not socket.ping()
        writer.write(b"\x8a\x80\0\0\0\0")
        async with asyncio.timeout(PATIENCE_S):
            while not socket.ping():
                await asyncio.sleep(0)


async def test_a_writer_waits_for_who_reads_slowly(world: World) -> None:
    async with world.raw("/echo/ann") as (reader, _):
        await reader.readuntil(b"\r\n\r\n")
        socket = OPENED[-1]
        await socket.drained()
        socket.write(text_frame(b"x" * 60_000) * 500)  # more than the kernel takes
        waiting = asyncio.create_task(socket.drained())
        await asyncio.sleep(0)
        assert not waiting.done()
        while not waiting.done():
            await reader.read(1 << 20)
        socket.write(text_frame(b"x" * 60_000) * 500)
        waiting = asyncio.create_task(socket.drained())
        socket.abort()
        await waiting


async def test_a_handler_that_does_nothing_ends_the_connection(world: World) -> None:
    async with world.raw("/silent") as (reader, _):
        assert await reader.read() == b""


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"sec-websocket-version": "8"}, (426, "UpgradeRequired")),
        ({"sec-websocket-key": "short"}, (400, "BadRequest")),
        ({"sec-websocket-key": "*" * 24}, (400, "BadRequest")),
    ],
)
async def test_what_is_no_handshake_is_refused(world: World, changes: dict[str, str], refusal: tuple[int, str]) -> None:
    async with world.raw("/echo/ann", **changes) as (reader, _):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert (int(head.split()[1]), json.loads(body)["error"]["code"]) == refusal
    told = {name.lower(): value for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])}
    assert told[b"x-ms-request-id"]
    assert told[b"date"].endswith(b" GMT")
    assert (told[b"upgrade"], told[b"connection"]) == (b"websocket", b"upgrade, close")


async def test_a_server_that_stops_does_not_wait_for_who_does_not_answer(world: World) -> None:
    LOST.clear()
    async with world.raw("/echo/ann") as (reader, _):
        await reader.readuntil(b"\r\n\r\n")
        await world.listener.close()
        assert await reader.read() == text_frame(b"go") + b"\x88\x02\x03\xf4"
    assert [each.losses for each in await lost(1)] == [1]
