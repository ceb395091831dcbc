"""WebSockets at the edge, over real sockets with a client that is not ours: who gets in, limits, frames, the end."""

import asyncio
from collections.abc import AsyncGenerator

import aiohttp
import pytest
from prometheus_client.registry import CollectorRegistry

from landline.core.errors import Unauthorized
from landline.edge.app import Edge
from landline.edge.cors import Cors
from landline.edge.gate import Gate
from landline.edge.http import Request
from landline.edge.metrics import RequestMetrics
from landline.edge.server import Listener, bind, listen
from landline.edge.websockets import LARGEST_MESSAGE, SocketRoute, WebSocket, text_frame

HERE = "https://here.example"


async def echo(request: Request, socket: WebSocket) -> None:
    await socket.accept()
    while True:
        text = await socket.receive()
        frame = text_frame(f"{request.params['name']} {text}".encode())
        socket.write(frame * 2)


async def refuse(_request: Request, _socket: WebSocket) -> None:
    raise Unauthorized("Who are you?")


async def broken(_request: Request, socket: WebSocket) -> None:
    await socket.accept()
    raise RuntimeError("secret inner state")


async def patient(_request: Request, socket: WebSocket) -> None:
    await socket.accept(lambda: socket.write(text_frame(b"go")))
    await socket.receive()


ROUTES = [
    SocketRoute("/echo/{name}", echo, "echo"),
    SocketRoute("/refuse", refuse, "refuse"),
    SocketRoute("/broken", broken, "broken"),
    SocketRoute("/patient", patient, "patient"),
]


class World:
    """A listener, and a client of it."""

    def __init__(self, listener: Listener, http: aiohttp.ClientSession) -> None:
        self.listener = listener
        self._http = http

    async def open(self, path: str, **headers: str) -> aiohttp.ClientWebSocketResponse:
        return await self._http.ws_connect(f"http://127.0.0.1:{self.listener.port}{path}", headers=headers)

    async def refusal(self, path: str, **headers: str) -> int:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await self.open(path, **headers)
        return refused.value.status


@pytest.fixture
async def world() -> AsyncGenerator[World]:
    metrics = RequestMetrics(CollectorRegistry())
    app = Edge([], Gate(), metrics=metrics, sockets=ROUTES, cors=Cors((HERE,)))
    listener = await listen(app, bind("127.0.0.1", 0))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
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
    async with await world.open("/patient") as socket:
        closing = asyncio.create_task(world.listener.close())
        assert await socket.receive_str() == "go"
        assert (await socket.receive()).data == 1012
        await closing
