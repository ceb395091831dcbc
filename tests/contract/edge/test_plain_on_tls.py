"""Clients that speak something else than their port: plain HTTP where TLS is spoken is told so, on every event loop."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme
import uvloop
from prometheus_client.registry import CollectorRegistry
from structlog.testing import capture_logs

from landline.edge import handshake, server
from landline.edge.app import Edge
from landline.edge.gate import Gate
from landline.edge.http import Request, Response
from landline.edge.metrics import RequestMetrics
from landline.edge.routes import Access, Route

PATIENCE_S = 20
HEAD = "host: 127.0.0.1\r\n"
LOOPS = pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
AUTHORITY = trustme.CA()
Loop = Callable[[], asyncio.AbstractEventLoop]


@dataclass
class Site:
    """A server over TLS and what came to its handlers."""

    port: int = 0
    asked: list[str] = field(default_factory=list[str])
    app: Any = None

    async def ask(self, request: Request) -> Response:
        self.asked.append(request.target)
        return Response(200, b"over TLS")

    async def connect(self, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, **more)

    async def answered(self, *pieces: str | bytes) -> bytes:
        """All that comes back when `pieces` are sent, each when the one before is on its way."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece if isinstance(piece, bytes) else piece.encode())
            await writer.drain()
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def site(*, over_tls: bool = True) -> AsyncGenerator[Site]:
    """It stops with nobody left in it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    found = Site()
    routes = [Route("GET", "/acs", found.ask, access=Access.NONE, versioned=False)]
    found.app = Edge(routes, Gate(), metrics=RequestMetrics(CollectorRegistry()))
    listening = await server.listen(found.app, server.bind("127.0.0.1", 0), context if over_tls else None)
    found.port = listening.port
    try:
        yield found
    finally:
        await listening.close()
        assert found.app.room.connections == 0


def run(loop: Loop, test: Callable[[Site], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        async with asyncio.timeout(PATIENCE_S), site() as found:
            await test(found)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(all_of_it())


def told(answer: bytes) -> tuple[bytes, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    return head.partition(b"\r\n")[0], json.loads(body)


@LOOPS
def test_plain_http_is_told_that_the_port_speaks_https(loop: Loop) -> None:
    async def test(found: Site) -> None:
        for request in (
            f"GET /acs?a=1 HTTP/1.1\r\n{HEAD}\r\n",
            f"POST /a HTTP/1.1\r\n{HEAD}content-length: 2\r\n\r\nhi",
        ):
            with capture_logs() as logs:
                status, error = told(await found.answered(request))
            assert status == b"HTTP/1.1 400 Bad Request"
            assert error["error"]["code"] == "BadRequest"
            assert "https://" in error["error"]["message"]
            assert [each["reason"] for each in logs] == [error["error"]["message"]]
        assert found.asked == []

    run(loop, test)


@LOOPS
@pytest.mark.parametrize(
    "more",
    [
        "content-length: 100\r\nexpect: 100-continue\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n",
        "connection: upgrade\r\nupgrade: h2c\r\n",
        "transfer-encoding: chunked\r\n",
    ],
    ids=["expect", "websocket", "h2c", "chunked"],
)
def test_it_is_told_so_before_its_body_is_asked_for_or_read(loop: Loop, more: str) -> None:
    async def test(found: Site) -> None:
        status, error = told(await found.answered(f"GET /acs HTTP/1.1\r\n{HEAD}{more}\r\n"))
        assert status == b"HTTP/1.1 400 Bad Request"
        assert "https://" in error["error"]["message"]

    run(loop, test)


@LOOPS
def test_it_may_come_byte_by_byte(loop: Loop) -> None:
    async def test(found: Site) -> None:
        status, _ = told(await found.answered("G", "E", "T ", f"/acs HTTP/1.1\r\n{HEAD}", "\r\n"))
        assert status == b"HTTP/1.1 400 Bad Request"

    run(loop, test)


@LOOPS
def test_tls_may_come_byte_by_byte(loop: Loop) -> None:
    async def test(found: Site) -> None:
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        reader, writer = await found.connect()

        async def until_done(act: Callable[[], Any]) -> Any:
            while True:
                try:
                    done = act()
                except ssl.SSLWantReadError:
                    done = None
                for byte in outgoing.read():
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0)
                if done is not None:
                    return done
                incoming.write(await reader.read(65_536))

        await until_done(lambda: (client.do_handshake(), True))
        client.write(f"GET /acs HTTP/1.1\r\n{HEAD}\r\n".encode())
        assert (await until_done(lambda: client.read(4096))).startswith(b"HTTP/1.1 200")
        assert found.asked == ["/acs"]
        writer.close()

    run(loop, test)


@LOOPS
def test_what_is_neither_is_cut(loop: Loop) -> None:
    async def test(found: Site) -> None:
        smpp = bytes.fromhex("00000010 00000015 00000000 00000001")
        for data in (smpp, b"\x16garbage that is no hello", b"\x80\x2e\x01\x00\x02"):
            assert not (await found.answered(data)).startswith(b"HTTP")
        status, error = told(await found.answered("EHLO client.example.com\r\n"))
        assert (status, error["error"]["code"]) == (b"HTTP/1.1 400 Bad Request", "BadRequest")

    run(loop, test)


@LOOPS
@pytest.mark.parametrize(
    "said",
    [b"", b"\x16", b"\x16\x03\x01\x02", b"G", b"GET /acs HTTP/1.1\r\na: "],
    ids=["nothing", "a byte of TLS", "some of TLS", "a byte of HTTP", "some of HTTP"],
)
def test_who_does_not_go_on_is_cut_when_the_time_to_agree_is_over(
    loop: Loop, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "HANDSHAKE_S", 0.05)

    async def test(found: Site) -> None:
        with capture_logs() as logs:
            assert not (await found.answered(said)).startswith(b"HTTP/1.1 2")
        assert [each["event"] for each in logs if each["event"] != "edge.request"] == []

    run(loop, test)


@LOOPS
def test_who_leaves_before_saying_anything_is_forgotten(loop: Loop) -> None:
    async def test(found: Site) -> None:
        for said in (b"", b"\x16", b"G"):
            reader, writer = await found.connect()
            writer.write(said)
            writer.write_eof()
            await reader.read()
            writer.close()
        while found.app.room.connections:
            await asyncio.sleep(0)

    run(loop, test)


async def test_tls_that_comes_to_a_port_of_plain_http_is_told_to_the_operator() -> None:
    context = ssl.create_default_context()
    async with site(over_tls=False) as found:
        with capture_logs() as logs, pytest.raises(ssl.SSLError):
            await found.connect(ssl=context, server_hostname="127.0.0.1")
        assert [(each["event"], each["status"], each["client"]) for each in logs] == [
            ("edge.request", 400, "127.0.0.1")
        ]
        assert "TLS" in logs[0]["reason"]
