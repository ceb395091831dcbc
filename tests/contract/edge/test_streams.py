"""Answers in pieces: whole for who reads them, visibly cut when they break off, and closed whatever happens."""

import asyncio
import http.client
from asyncio import to_thread
from collections.abc import AsyncGenerator, Callable

import pytest
from prometheus_client.registry import CollectorRegistry
from structlog.testing import capture_logs
from tests.support.front import HOST, Client, call
from tests.support.patience import PATIENCE_S

from landline.edge import server
from landline.edge.app import Edge
from landline.edge.gate import Gate
from landline.edge.http import Request, Response
from landline.edge.metrics import RequestMetrics
from landline.edge.routes import Access, Route

PIECES = [bytes([65 + at]) * 500_000 for at in range(20)]  # more than the sockets between us buffer


class Source:
    """A handler whose answer is `PIECES`, or breaks off after the third; it knows whether it was closed."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.breaks = breaks
        self.open = 0
        self.closed = asyncio.Event()

    async def answer(self, _request: Request) -> Response:
        pieces = self._pieces()
        return Response(200, await anext(pieces), {"content-type": "text/plain"}, stream=pieces)

    async def _pieces(self) -> AsyncGenerator[bytes]:
        self.open += 1
        try:
            for at, piece in enumerate(PIECES):
                if self.breaks and at == 3:
                    raise RuntimeError("the rest is lost")
                yield piece
        finally:
            self.open -= 1
            self.closed.set()


def app(source: "Source | Endless") -> Edge:
    route = Route("GET", "/pieces", source.answer, access=Access.NONE, versioned=False)
    return Edge([route], Gate(), metrics=RequestMetrics(CollectorRegistry()))


def fetch(port: int, *, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, "/pieces")
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


async def test_pieces_arrive_in_order_over_a_socket() -> None:
    source = Source()
    listener = await server.listen(app(source), server.bind("127.0.0.1", 0))
    try:
        response, body = await to_thread(fetch, listener.port)
        assert (response.status, response.headers["transfer-encoding"]) == (200, "chunked")
        assert "content-length" not in response.headers
        assert response.headers["x-ms-request-id"]
        assert body == b"".join(PIECES)
        response, body = await to_thread(fetch, listener.port, method="HEAD")
        assert (response.status, body, source.open) == (200, b"", 0)
    finally:
        await listener.close()


async def test_an_answer_that_breaks_off_is_seen_to() -> None:
    source = Source(breaks=True)
    listener = await server.listen(app(source), server.bind("127.0.0.1", 0))
    try:
        with capture_logs() as logs, pytest.raises((http.client.IncompleteRead, ConnectionError)):
            await to_thread(fetch, listener.port)
        assert "edge.stream_cut" in [entry["event"] for entry in logs]
        assert source.open == 0
    finally:
        await listener.close()


async def test_a_reader_that_leaves_has_the_stream_closed() -> None:
    source = Source()
    listener = await server.listen(app(source), server.bind("127.0.0.1", 0))
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, limit=1024)
    writer.write(f"GET /pieces HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    await reader.readexactly(1024)
    assert source.open == 1
    writer.transport.abort()
    await source.closed.wait()
    await listener.close()


class Endless:
    """A handler whose answer waits until its reader is gone; fills `Live`."""

    def __init__(self) -> None:
        self.waits, self.left = asyncio.Event(), asyncio.Event()

    async def answer(self, _request: Request) -> Response:
        pieces = self._pieces()
        return Response(200, await anext(pieces), stream=pieces, live=self)

    async def _pieces(self) -> AsyncGenerator[bytes]:
        yield b"first"
        self.waits.set()
        await self.left.wait()

    def begun(self, cut: Callable[[], None]) -> None:
        self.cut = cut

    def gone(self) -> None:
        self.left.set()

    stopping = gone


async def test_nothing_more_is_written_to_a_reader_that_left() -> None:
    endless = Endless()
    client = Client(app(endless))
    client.connection.data_received(f"GET /pieces HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    await endless.waits.wait()
    client.connection.connection_lost(None)
    with capture_logs() as logs:
        await client.open.emptied()
    assert (client.written[-7:], logs) == (b"first\r\n", [])


async def test_a_stream_may_cut_its_reader_at_once() -> None:
    endless = Endless()
    client = Client(app(endless))
    client.connection.data_received(f"GET /pieces HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    await endless.waits.wait()
    endless.cut()
    assert client.aborted.is_set()


async def test_a_stream_for_who_left_before_it_begins_is_closed_unread() -> None:
    source = Source()
    client = Client(app(source))
    client.connection.data_received(f"GET /pieces HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    client.connection.connection_lost(None)
    await client.open.emptied()
    assert (client.written, source.closed.is_set(), source.open) == (b"", True, 0)


async def test_an_answer_to_head_is_closed_unread() -> None:
    source = Source()
    reply = await call(app(source), "HEAD", "/pieces", {"host": HOST})
    assert (reply.status, reply.body, source.open) == (200, b"", 0)
