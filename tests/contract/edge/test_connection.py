"""HTTP/1.1 as clients speak it, well and badly: kept connections, pipelines, slow senders, other protocols."""

import asyncio
import gc
import tracemalloc
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
from prometheus_client.registry import CollectorRegistry
from tests.support.front import HOST, Client
from tests.support.patience import PATIENCE_S

from landline.edge import answers, connection, server
from landline.edge.app import Edge
from landline.edge.gate import Gate
from landline.edge.http import Limits, Request, Response, json_response
from landline.edge.metrics import RequestMetrics
from landline.edge.routes import Access, Route

HEAD = f"host: {HOST}\r\n"
LIMITS = Limits(body_bytes=1000, header_bytes=2000, header_count=20, target_bytes=500)


@dataclass
class Handlers:
    """What is served: an echo, and an answer that waits until it is let go."""

    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: list[str] = field(default_factory=list[str])

    async def echo(self, request: Request) -> Response:
        return json_response(
            200,
            {
                "method": request.method,
                "target": request.target,
                "host": request.headers["host"],
                "body": request.body.decode("latin-1"),
            },
        )

    async def slow(self, request: Request) -> Response:
        self.begun.set()
        await self.let_go.wait()
        self.ended.append(request.target)
        return Response(200, b"at last")

    async def evil(self, _request: Request) -> Response:
        return Response(200, b"", {"x-answer": "a\r\nset-cookie: b"})

    def app(self, limits: Limits = LIMITS) -> Edge:
        routes = [
            Route(method, f"/{name}", handler, access=Access.NONE, versioned=False)
            for name, handler in (("echo", self.echo), ("slow", self.slow), ("evil", self.evil))
            for method in ("GET", "POST")
        ]
        return Edge(routes, Gate(), metrics=RequestMetrics(CollectorRegistry()), limits=limits)


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
async def client(handlers: Handlers) -> Client:
    return Client(handlers.app())


def send(client: Client, text: str) -> None:
    client.connection.data_received(text.encode("latin-1"))


async def said(client: Client, text: str) -> str:
    """The body of the answer to a request of `text`."""
    send(client, text)
    reply = await client.reply()
    assert reply.status == 200, reply
    return reply.json()["body"]


async def test_a_connection_is_kept_for_the_next_request(client: Client) -> None:
    for _ in range(3):
        assert await said(client, f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 2\r\n\r\nhi") == "hi"
    assert not client.closed.is_set()
    send(client, f"GET /echo HTTP/1.1\r\n{HEAD}connection: close\r\n\r\n")
    assert (await client.reply()).headers["connection"] == "close"
    await client.closed.wait()


async def test_an_older_client_is_told_whether_its_connection_is_kept(client: Client) -> None:
    send(client, f"GET /echo HTTP/1.0\r\n{HEAD}connection: keep-alive\r\n\r\n")
    assert (await client.reply()).headers["connection"] == "keep-alive"
    send(client, f"GET /echo HTTP/1.0\r\n{HEAD}\r\n")
    assert (await client.reply()).headers["connection"] == "close"


async def test_a_request_may_come_byte_by_byte(client: Client) -> None:
    for byte in f"POST /echo?a=1 HTTP/1.1\r\n{HEAD}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n":
        send(client, byte)
    assert (await client.reply()).json() == {"method": "POST", "target": "/echo?a=1", "host": HOST, "body": "hi"}


async def test_requests_sent_ahead_are_answered_in_order(handlers: Handlers, client: Client) -> None:
    text = "".join(f"GET /{path} HTTP/1.1\r\n{HEAD}\r\n" for path in ("slow?1", "echo?2", "slow?3", "echo?4"))
    send(client, text)
    await handlers.begun.wait()
    assert client.written == b""
    handlers.let_go.set()
    replies = [await client.reply() for _ in range(4)]
    assert [reply.body for reply in replies][::2] == [b"at last", b"at last"]
    assert [reply.json()["target"] for reply in replies[1::2]] == ["/echo?2", "/echo?4"]
    assert handlers.ended == ["/slow?1", "/slow?3"]


async def test_trailers_change_nothing_about_a_request(client: Client) -> None:
    trailers = "host: elsewhere\r\nauthorization: mine\r\n" + "a: b\r\n" * 50
    assert (
        await said(client, f"POST /echo HTTP/1.1\r\n{HEAD}transfer-encoding: chunked\r\n\r\n0\r\n{trailers}\r\n") == ""
    )


async def test_who_asks_before_it_sends_its_body_is_told_to_go_on(client: Client) -> None:
    send(client, f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 2\r\nexpect: 100-continue\r\n\r\n")
    assert (await client.reply()).status == 100
    assert await said(client, "hi") == "hi"


async def test_who_asks_while_another_request_is_answered_is_told_afterwards(
    handlers: Handlers, client: Client
) -> None:
    send(client, f"GET /slow HTTP/1.1\r\n{HEAD}\r\n")
    send(client, f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 2\r\nexpect: 100-continue\r\n\r\n")
    await handlers.begun.wait()
    assert client.written == b""
    handlers.let_go.set()
    assert [(await client.reply()).status for _ in range(2)] == [200, 100]
    assert await said(client, "hi") == "hi"


async def test_who_asks_for_what_is_refused_is_told_at_once(client: Client) -> None:
    send(client, f"POST /echo HTTP/1.1\r\n{HEAD}{HEAD}content-length: 2\r\nexpect: 100-continue\r\n\r\n")
    assert (await client.reply()).status == 400


async def test_an_older_client_is_not_told_to_go_on(client: Client) -> None:
    text = f"POST /echo HTTP/1.0\r\n{HEAD}content-length: 2\r\nexpect: 100-continue\r\n\r\n"
    assert await said(client, f"{text}hi") == "hi"


async def test_who_asks_with_too_much_to_send_is_not(client: Client) -> None:
    send(client, f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 1001\r\nexpect: 100-continue\r\n\r\n")
    assert (await client.reply()).status == 413


@pytest.mark.parametrize(
    "text",
    [
        "GET /echo\r\n\r\n",
        f"GET /echo HTTP/1.1\r\n{HEAD}a : b\r\n\r\n",
        f"GET /echo HTTP/1.1\r\n{HEAD}a: b\r\n c\r\n\r\n",
        f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 2\r\ncontent-length: 3\r\n\r\nhi",
        f"POST /echo HTTP/1.1\r\n{HEAD}content-length: -2\r\n\r\nhi",
        f"POST /echo HTTP/1.1\r\n{HEAD}content-length: {'9' * 30}\r\n\r\n",
        f"POST /echo HTTP/1.1\r\n{HEAD}transfer-encoding: chunked\r\n\r\nxyz\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        f"GE T /echo HTTP/1.1\r\n{HEAD}\r\n",
        f"BR(EW /echo HTTP/1.1\r\n{HEAD}\r\n",
    ],
)
async def test_what_is_no_request_gets_an_error_of_the_wire_and_the_end(client: Client, text: str) -> None:
    send(client, text)
    reply = await client.reply()
    assert (reply.status, reply.json()["error"]["code"]) == (400, "BadRequest")
    assert (reply.headers["connection"], reply.headers["x-ms-error-code"]) == ("close", "BadRequest")
    send(client, f"GET /echo HTTP/1.1\r\n{HEAD}\r\n")
    assert client.written.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("line", ["BREW /echo", "get /echo", "CONNECT a.example:443"])
async def test_a_method_that_nothing_here_knows_is_one_all_the_same(client: Client, line: str) -> None:
    """RFC 9110 §9.1: 501, where a method that other paths have is 405 (§15.5.6)."""
    send(client, f"{line} HTTP/1.1\r\n{HEAD}\r\n")
    reply = await client.reply()
    assert (reply.status, reply.json()["error"]["code"]) == (501, "NotImplemented")
    assert (reply.headers["connection"], reply.headers["x-ms-error-code"]) == ("close", "NotImplemented")


@pytest.mark.parametrize(
    "text",
    [
        f"GET /echo HTTP/1.1\r\n{HEAD}" + "".join(f"h{number}: x\r\n" for number in range(25)) + "\r\n",
        f"GET /echo HTTP/1.1\r\n{HEAD}big: {'x' * 2100}\r\n\r\n",
        f"GET /echo HTTP/1.1\r\n{HEAD}never-ending: {'x' * 3000}",
        f"GET /echo?{'x' * 600} HTTP/1.1\r\n{HEAD}\r\n",
        f"GET /echo?{'x' * 6000}",
        f"POST /echo HTTP/1.1\r\n{HEAD}transfer-encoding: chunked\r\n\r\n3f0\r\n{'x' * 1008}\r\n",
        f"POST /echo HTTP/1.1\r\n{HEAD}transfer-encoding: chunked\r\n\r\n0\r\na: {'x' * 12_000}",
        f"POST /echo HTTP/1.1\r\n{HEAD}transfer-encoding: chunked\r\n\r\n1;{'x' * 12_000}",
    ],
)
async def test_what_is_too_large_is_refused_as_soon_as_that_is_known(client: Client, text: str) -> None:
    send(client, text)
    reply = await client.reply()
    assert (reply.status, reply.headers["connection"]) == (414 if "?" in text else 413, "close")


async def test_a_body_in_small_chunks_takes_no_more_room_than_it_has_bytes(handlers: Handlers) -> None:
    client = Client(handlers.app(Limits()))
    send(client, f"POST /echo HTTP/1.1\r\n{HEAD}transfer-encoding: chunked\r\n\r\n")
    tracemalloc.start()
    try:
        for _ in range(10):
            send(client, "2\r\nab\r\n" * 10_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 400_000
    assert await said(client, "0\r\n\r\n") == "ab" * 100_000


@pytest.mark.parametrize("piece", ["1\r\nx\r\n", "0\r\n" + "a: \r\n" * 10])
async def test_a_body_that_is_framing_for_the_most_part_is_refused_long_before_its_end(
    handlers: Handlers, piece: str
) -> None:
    """A stranger can send it, and what parses it is kept from all others."""
    client = Client(handlers.app(Limits()))
    send(client, f"POST /echo HTTP/1.1\r\n{HEAD}transfer-encoding: chunked\r\n\r\n")
    send(client, piece)
    for _ in range(20):
        send(client, piece.removeprefix("0\r\n") * (10_000 // len(piece)))
    reply = await client.reply()
    assert (reply.status, reply.headers["connection"]) == (413, "close")


async def test_who_sends_much_at_once_is_read_on_when_others_had_their_turn(handlers: Handlers) -> None:
    client, size = Client(handlers.app(Limits())), 300_000
    send(client, f"POST /echo HTTP/1.1\r\n{HEAD}content-length: {size}\r\n\r\n")
    for _ in range(3):
        assert client.is_read
        send(client, "x" * (size // 3))
        assert not client.is_read
        await asyncio.sleep(0)
    assert (await client.reply()).json()["body"] == "x" * size
    assert client.is_read


async def test_names_that_clients_make_up_are_not_remembered(handlers: Handlers) -> None:
    async def ask(number: int) -> None:
        client = Client(handlers.app(Limits()))
        send(client, f"GET /echo HTTP/1.1\r\n{HEAD}n{number}{'x' * 30_000}: y\r\n\r\n")
        assert (await client.reply()).status == 200

    tracemalloc.start()
    try:
        for number in range(50):
            await ask(number)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000


async def test_a_request_that_never_ends_is_given_up(handlers: Handlers) -> None:
    client = Client(handlers.app(Limits(body_timeout_s=0.01)))
    send(client, f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 2\r\n\r\nh")
    reply = await client.reply()
    assert (reply.status, reply.json()["error"]["code"]) == (408, "RequestTimeout")


async def test_a_request_that_begins_behind_the_end_of_another_is_given_up_too(handlers: Handlers) -> None:
    client = Client(handlers.app(Limits(body_timeout_s=0.01)))
    send(client, f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 2\r\n\r\n")
    send(client, "hiGET /ec")
    assert [(await client.reply()).status for _ in range(2)] == [200, 408]


async def test_a_request_that_is_not_read_because_others_wait_is_not_given_up(handlers: Handlers) -> None:
    client = Client(handlers.app(Limits(body_timeout_s=0)))
    send(client, "".join(f"GET /{path} HTTP/1.1\r\n{HEAD}\r\n" for path in ("slow", "echo?2")))
    send(client, "GET /echo?3 HTTP/1.1\r\n")
    await handlers.begun.wait()
    for _ in range(10):  # turns of the loop, at each of which its time is up
        await asyncio.sleep(0)
    send(client, f"{HEAD}\r\n")
    handlers.let_go.set()
    assert [(await client.reply()).status for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize("ending", ["connection: close\r\n", ""])
async def test_who_never_reads_its_last_answer_is_cut(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(answers, "PIECE_TIMEOUT_S", 0.01)
    monkeypatch.setattr(connection, "KEEP_ALIVE_S", 0.01)
    client = Client(handlers.app())
    client.unread = 1
    send(client, f"GET /echo HTTP/1.1\r\n{HEAD}{ending}\r\n")
    async with asyncio.timeout(PATIENCE_S):
        await client.aborted.wait()


async def test_a_refusal_is_at_once_seen_to_be_all(client: Client) -> None:
    send(client, f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 1001\r\n\r\n")
    assert (await client.reply()).status == 413
    assert (client.ended, client.closed.is_set()) == (True, False)


async def test_who_has_sent_all_is_not_waited_for_when_refused(client: Client) -> None:
    send(client, f"POST /echo HTTP/1.1\r\n{HEAD}{HEAD}connection: close\r\ncontent-length: 2\r\n\r\nhi")
    assert (await client.reply()).status == 400
    assert client.closed.is_set()


async def test_a_connection_on_which_nothing_comes_is_closed(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE_S", 0.01)
    client = Client(handlers.app())
    await client.closed.wait()
    assert client.written == b""


async def test_a_client_that_leaves_in_the_middle_of_its_request_leaves_nothing(client: Client) -> None:
    send(client, f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 10\r\n\r\nabc")
    client.connection.connection_lost(None)
    assert client.open == set()


@pytest.mark.parametrize(
    "text",
    [
        f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 10\r\n\r\nabc",
        f"POST /echo HTTP/1.1\r\n{HEAD}{HEAD}content-length: 3\r\n\r\nabc",
        f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 2000\r\n\r\nabc",
        f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 3\r\n\r\nabc",
    ],
)
async def test_a_connection_that_is_over_leaves_nothing_to_the_collector_of_cycles(client: Client, text: str) -> None:
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(each, Request) for each in gc.get_objects())
        send(client, text)
        if not text.endswith("10\r\n\r\nabc"):
            await client.reply()
        client.connection.connection_lost(None)
        await client.open.emptied()
        await asyncio.sleep(0)  # the task that answered is let go in the next turn
        over = weakref.ref(client.connection)
        del client.connection
        assert over() is None
        assert sum(isinstance(each, Request) for each in gc.get_objects()) == before
    finally:
        gc.enable()


async def test_an_operation_goes_on_without_its_client(handlers: Handlers, client: Client) -> None:
    send(client, f"POST /slow HTTP/1.1\r\n{HEAD}\r\n")
    await handlers.begun.wait()
    client.connection.connection_lost(None)
    assert client.open == {client.connection}
    handlers.let_go.set()
    await client.open.emptied()
    assert handlers.ended == ["/slow"]


async def test_offers_of_other_protocols_are_not_taken_up(client: Client) -> None:
    offer = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
    assert await said(client, f"POST /echo HTTP/1.1\r\n{HEAD}{offer}content-length: 2\r\n\r\nhi") == "hi"
    assert await said(client, f"GET /echo HTTP/1.1\r\n{HEAD}{offer}\r\n") == ""
    assert await said(client, f"POST /echo HTTP/1.1\r\n{HEAD}content-length: 3\r\n\r\nyou") == "you"


@pytest.mark.parametrize(
    ("target", "host"),
    [("http://{}/echo?a=%2F#part", HOST), ("https://me:and@[::1]:5/echo?a=%2F", "[::1]:5"), ("/echo?a=%2F#b", HOST)],
)
async def test_the_target_may_name_the_server(client: Client, target: str, host: str) -> None:
    send(client, f"GET {target.format(HOST)} HTTP/1.1\r\n{HEAD}\r\n")
    answer = (await client.reply()).json()
    assert (answer["target"], answer["host"]) == ("/echo?a=%2F", host)


async def test_the_server_as_a_whole_has_options(client: Client) -> None:
    send(client, f"OPTIONS * HTTP/1.1\r\n{HEAD}\r\n")
    assert (await client.reply()).status == 204


@pytest.mark.parametrize(
    ("version", "coding"),
    [("1.1", "gzip, chunked"), ("1.1", "gzip\r\ntransfer-encoding: chunked"), ("1.0", "chunked"), ("0.9", "chunked")],
)
async def test_no_other_coding_than_chunks_is_read(client: Client, version: str, coding: str) -> None:
    text = f"POST /echo HTTP/{version}\r\n{HEAD}transfer-encoding: {coding}\r\nconnection: keep-alive\r\n\r\n"
    send(client, f"{text}2\r\nhi\r\n0\r\n\r\nGET /echo HTTP/1.1\r\n{HEAD}\r\n")
    reply = await client.reply()
    assert (reply.status, reply.headers["connection"]) == (501, "close")
    assert client.written.count(b"HTTP/1.1") == 1


async def test_an_older_client_gets_no_socket(client: Client) -> None:
    offer = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    send(client, f"GET /echo HTTP/1.0\r\n{HEAD}{offer}sec-websocket-key: {'A' * 22}==\r\n\r\n")
    assert (await client.reply()).status == 200


async def test_no_header_of_an_answer_can_hold_another(client: Client) -> None:
    send(client, f"GET /evil HTTP/1.1\r\n{HEAD}\r\n")
    await client.closed.wait()
    assert b"set-cookie" not in client.written


@pytest.fixture
async def listener(handlers: Handlers) -> AsyncGenerator[server.Listener]:
    listening = await server.listen(handlers.app(), server.bind("127.0.0.1", 0))
    yield listening
    await listening.close()


async def test_a_server_that_stops_answers_what_it_has_begun(handlers: Handlers, listener: server.Listener) -> None:
    idle_reader, idle = await asyncio.open_connection("127.0.0.1", listener.port)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(f"GET /slow HTTP/1.1\r\n{HEAD}\r\n".encode())
    await handlers.begun.wait()
    closing = asyncio.create_task(listener.close())
    assert await idle_reader.read() == b""
    handlers.let_go.set()
    answer = await reader.read()
    assert answer.endswith(b"at last")
    assert b"connection: close" in answer
    await closing
    writer.close()
    idle.close()


async def test_who_has_said_all_is_still_answered(handlers: Handlers, listener: server.Listener) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(f"GET /slow HTTP/1.1\r\n{HEAD}\r\n".encode())
    writer.write_eof()
    await handlers.begun.wait()
    handlers.let_go.set()
    assert (await reader.read()).endswith(b"at last")
    writer.close()


async def test_a_server_that_stops_does_not_wait_for_ever(
    handlers: Handlers, listener: server.Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DRAIN_S", 0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(f"GET /slow HTTP/1.1\r\n{HEAD}\r\n".encode())
    await handlers.begun.wait()
    await listener.close()
    assert await reader.read() == b""
    assert handlers.ended == []
    writer.close()
