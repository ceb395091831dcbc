"""How the callout engine treats its connections: what it keeps, what it tries again, and what ends a request."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.support.patience import PATIENCE_S
from tests.support.peers import OK, Peer, Script, Talk, always, peer

from landline.engines import callout as engine
from landline.engines.callout import HttpCallout
from landline.engines.callout_dial import Address
from landline.ports.callout import Answer, CalloutFailed, Headers

CLOSING = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
async def callout() -> AsyncGenerator[HttpCallout]:
    one = HttpCallout(loopback_open=True)
    yield one
    await one.close()


async def post(callout: HttpCallout, to: Peer, body: bytes = b"{}", **given: Any) -> Answer:
    return await callout.request("POST", to.url, headers={}, body=body, **given)


async def failure(callout: HttpCallout, to: Peer, **given: Any) -> str:
    with pytest.raises(CalloutFailed) as caught:
        await post(callout, to, **given)
    return caught.value.reason


def one_by_one(*scripts: Script) -> Script:
    """The first connection follows the first script, and so on; the last one is for all that follow."""
    left = list(scripts)

    async def script(talk: Talk) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(talk)

    return script


async def out_of_time(callout: HttpCallout, *scripts: Script, before: int, requests: int) -> Peer:
    """A peer that follows the scripts, and answers `before` requests before the one whose time is up; `requests` have
    come in all. A machine that is too slow to send them in a short time is given more."""
    for timeout_s in (0.1, 1.0, 10.0):
        async with peer(one_by_one(*scripts)) as server:
            for _ in range(before):
                await post(callout, server)
            assert await failure(callout, server, timeout_s=timeout_s) == "timeout"
            await server.until(lambda server=server: server.open == 0)  # the connection went with it
            if len(server.requests) == requests:
                return server
    raise AssertionError(f"{len(server.requests)} requests came")


async def hangs(talk: Talk) -> None:
    await talk.heard()
    await talk.client_gone()


async def hears_and_leaves(talk: Talk) -> None:
    await talk.heard()


async def test_a_connection_is_used_again_and_again(callout: HttpCallout) -> None:
    async with peer(always()) as server:
        for _ in range(5):
            assert (await post(callout, server)).body == b"ok"
        assert (server.connections, len(server.requests)) == (1, 5)


async def test_a_request_is_not_repeated_when_a_new_connection_is_lost(callout: HttpCallout) -> None:
    async with peer(hears_and_leaves) as server:
        assert await failure(callout, server) == "connection"
        assert len(server.requests) == 1


async def test_a_request_is_repeated_once_and_no_more(callout: HttpCallout) -> None:
    async def answers_once(talk: Talk) -> None:
        await talk.answer()
        await talk.heard()

    async with peer(one_by_one(answers_once, hears_and_leaves)) as server:
        await post(callout, server)
        assert await failure(callout, server) == "connection"
        assert (server.connections, len(server.requests)) == (2, 3)


async def test_a_request_is_not_repeated_once_its_answer_has_begun(callout: HttpCallout) -> None:
    async def breaks_off(talk: Talk) -> None:
        await talk.answer()
        await talk.answer(b"H")

    async with peer(breaks_off) as server:
        await post(callout, server)
        assert await failure(callout, server) == "protocol"
        assert len(server.requests) == 2


async def test_a_request_is_not_repeated_when_its_time_is_up(callout: HttpCallout) -> None:
    async def answers_once(talk: Talk) -> None:
        await talk.answer()
        await hangs(talk)

    server = await out_of_time(callout, answers_once, before=1, requests=2)
    assert server.connections == 1


async def test_the_repeated_request_has_the_time_that_is_left(callout: HttpCallout) -> None:
    async def answers_once(talk: Talk) -> None:
        await talk.answer()
        await talk.heard()

    await out_of_time(callout, answers_once, hangs, before=1, requests=3)


async def test_a_connection_closed_by_the_server_is_not_used(callout: HttpCallout) -> None:
    async with peer(Talk.answer) as server:
        for _ in range(3):
            await post(callout, server)
            await server.until(lambda: server.open == 0)
        assert (server.connections, len(server.requests)) == (3, 3)


@pytest.mark.parametrize("answer", [CLOSING, b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"])
async def test_a_connection_that_will_close_is_not_kept(callout: HttpCallout, answer: bytes) -> None:
    async with peer(always(answer)) as server:
        for _ in range(2):
            assert (await post(callout, server)).body == b"ok"
        assert server.connections == 2
        await server.until(lambda: server.open == 0)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
async def test_half_an_answer_is_none(callout: HttpCallout, answer: bytes) -> None:
    async def half(talk: Talk) -> None:
        await talk.answer(answer)

    async with peer(half) as server:
        assert await failure(callout, server) == "protocol"
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nx-late: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nx-empty:\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    ],
)
@pytest.mark.parametrize("cut", [False, True])
async def test_a_whole_answer_keeps_its_connection(callout: HttpCallout, answer: bytes, cut: bool) -> None:
    async def script(talk: Talk) -> None:
        while True:
            await talk.heard()
            for at in range(len(answer)) if cut else ():
                await talk.say(answer[at : at + 1])
                await asyncio.sleep(0)
            await talk.say(b"" if cut else answer)

    async with peer(script) as server:
        for _ in range(2):
            got = await post(callout, server)
            assert (got.status, got.body) == (200, b"ok")
            assert not {"link", "x-late"} & got.headers.keys()
        assert server.connections == 1


async def test_an_answer_without_length_ends_with_its_connection(callout: HttpCallout) -> None:
    async def script(talk: Talk) -> None:
        await talk.answer(b"HTTP/1.1 201 Created\r\n\r\none ")
        await talk.say(b"two")

    async with peer(script) as server:
        got = await post(callout, server)
        assert (got.status, got.body) == (201, b"one two")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
        b"HTTP/1.1 200 OK\r\n" + b"x-long: " + b"x" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x-many: 1\r\n" * 3000 + b"content-length: 0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
async def test_what_is_no_answer_is_not_taken_for_one(callout: HttpCallout, answer: bytes) -> None:
    async with peer(always(answer)) as server:
        assert await failure(callout, server) == "protocol"
        await server.until(lambda: server.open == 0)


@pytest.mark.parametrize(
    "begin", [b"HTTP/1.1 200 OK\r\nx-endless: ", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;"]
)
async def test_an_answer_that_never_comes_to_its_body_is_given_up(callout: HttpCallout, begin: bytes) -> None:
    async def script(talk: Talk) -> None:
        await talk.answer(begin)
        while True:
            await talk.say(b"x" * 4096)

    async with peer(script) as server:
        assert await failure(callout, server, answer_limit_bytes=1024) == "protocol"


async def test_a_slow_body_has_the_time_of_the_whole_request(callout: HttpCallout) -> None:
    async def drips(talk: Talk) -> None:
        await talk.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while True:
            await talk.say(b"x")
            await asyncio.sleep(0.01)

    await out_of_time(callout, drips, before=0, requests=1)


async def test_a_little_more_than_asked_for_is_read_to_keep_the_connection(callout: HttpCallout) -> None:
    async with peer(always(b"HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n" + b"x" * 3000)) as server:
        for _ in range(2):
            assert (await post(callout, server, answer_limit_bytes=1000)).body == b"x" * 1000
        assert server.connections == 1


async def test_what_follows_an_answer_is_never_taken_for_the_next(callout: HttpCallout) -> None:
    forged = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    for surplus in (forged, forged[:12], b"x"):
        async with peer(always(OK + surplus)) as server:
            for _ in range(2):
                assert (await post(callout, server)).status == 200
            assert server.connections == 2


async def test_what_comes_on_an_idle_connection_ends_it(callout: HttpCallout) -> None:
    go = asyncio.Event()

    async def talkative(talk: Talk) -> None:
        await talk.answer()
        await go.wait()
        await talk.say(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await talk.client_gone()

    async with peer(one_by_one(talkative, always())) as server:
        await post(callout, server)
        go.set()
        await server.until(lambda: server.open == 0)
        assert (await post(callout, server)).status == 200
        assert len(server.requests) == 2


async def test_an_answer_that_comes_too_early_ends_its_connection(callout: HttpCallout) -> None:
    async def impatient(talk: Talk) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await talk.client_gone()

    async with peer(one_by_one(impatient, always())) as server:
        assert (await post(callout, server, b"x" * 20_000_000)).status == 413
        assert (await post(callout, server)).status == 200
        assert server.connections == 2


async def test_an_endpoint_that_answers_and_never_reads_the_request_holds_no_place() -> None:
    over = asyncio.Event()

    async def deaf(talk: Talk) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")  # and no more than fits its buffer
        await talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await over.wait()

    callout = HttpCallout(loopback_open=True, connections=1)
    async with peer(deaf) as server, peer(always()) as other:
        assert (await post(callout, server, b"x" * 20_000_000)).status == 200
        assert (await post(callout, other)).status == 200
        over.set()
    await callout.close()


async def test_a_cancelled_request_takes_its_connection_along(callout: HttpCallout) -> None:
    async def answers_once(talk: Talk) -> None:
        await talk.answer()
        await hangs(talk)

    for script in (hangs, answers_once):
        async with peer(script) as server:
            if script is answers_once:
                await post(callout, server)
            asked = len(server.requests)
            request = asyncio.create_task(post(callout, server))
            await server.until(lambda server=server, asked=asked: len(server.requests) > asked)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            await server.until(lambda server=server: server.open == 0)


async def test_a_host_gets_so_many_connections_and_the_rest_wait_their_turn() -> None:
    go = asyncio.Event()

    async def waits(talk: Talk) -> None:
        while True:
            await talk.heard()
            await go.wait()
            await talk.say(OK)

    callout = HttpCallout(loopback_open=True, connections_per_host=3)
    async with peer(waits) as server:
        requests = [asyncio.create_task(post(callout, server)) for _ in range(20)]
        await server.until(lambda: len(server.requests) == 3)
        assert await failure(callout, server, timeout_s=0.05) == "timeout"  # it gives its turn back
        for request in requests[-5:]:
            request.cancel()
        go.set()
        assert {(await request).status for request in requests[:15]} == {200}
        assert (server.most_open, server.connections, len(server.requests)) == (3, 3, 15)
    await callout.close()


async def test_connections_that_close_make_room_for_those_who_wait() -> None:
    async def answers_and_closes(talk: Talk) -> None:
        await talk.answer(CLOSING)  # and has closed before this is read: it counts none that its client has let go

    callout = HttpCallout(loopback_open=True, connections_per_host=2)
    async with peer(answers_and_closes) as server:
        answers = await asyncio.gather(*[post(callout, server) for _ in range(12)])
        assert {answer.status for answer in answers} == {200}
        assert (server.most_open, server.connections) == (2, 12)
    await callout.close()


async def test_all_hosts_together_get_so_many_connections() -> None:
    callout = HttpCallout(loopback_open=True, connections=2)
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(peer(always())) for _ in range(6)]
        answers = await asyncio.gather(*[post(callout, server) for server in servers * 4])
        assert {answer.status for answer in answers} == {200}
        assert {len(server.requests) for server in servers} == {4}
        await callout.close()
        for server in servers:
            await server.until(lambda server=server: server.open == 0)


async def test_many_endpoints_are_served_side_by_side(callout: HttpCallout) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(peer(always())) for _ in range(60)]
        for _ in range(3):
            answers = await asyncio.gather(*[post(callout, server) for server in servers])
            assert {answer.status for answer in answers} == {200}
        assert {(server.connections, len(server.requests)) for server in servers} == {(1, 3)}


async def test_dead_endpoints_do_not_delay_others() -> None:
    callout = HttpCallout(loopback_open=True, connections_per_host=128)
    async with peer(hangs) as dead, peer(always()) as alive:
        stuck = [asyncio.create_task(post(callout, dead, timeout_s=600)) for _ in range(200)]
        await dead.until(lambda: len(dead.requests) == 128)  # as many as a host gets
        for _ in range(50):
            assert (await post(callout, alive)).status == 200
        assert not any(request.done() for request in stuck)
        await callout.close()
        for ended in await asyncio.gather(*stuck, return_exceptions=True):
            assert isinstance(ended, CalloutFailed)


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answers_when_all_are_there(talk: Talk) -> None:
        await talk.heard()
        await talk.peer.until(lambda: talk.peer.most_open == 3)
        await talk.say(OK)
        await talk.client_gone()

    monkeypatch.setattr(engine, "_KEEP_ALIVE_S", 0.03)
    callout = HttpCallout(loopback_open=True)
    async with peer(answers_when_all_are_there) as server:
        await asyncio.gather(*[post(callout, server) for _ in range(3)])
        await server.until(lambda: server.open == 0)
        await post(callout, server)
        assert server.most_open == 3
        await server.until(lambda: server.open == 0)
    await callout.close()


async def test_closing_ends_what_is_idle_and_what_is_under_way() -> None:
    callout = HttpCallout(loopback_open=True)
    async with peer(always()) as idle, peer(hangs) as busy:
        await post(callout, idle)
        request = asyncio.create_task(post(callout, busy))
        await busy.until(lambda: len(busy.requests) == 1)
        await callout.close()
        with pytest.raises(CalloutFailed) as caught:
            await request
        assert caught.value.reason == "connection"
        for server in (idle, busy):
            await server.until(lambda server=server: server.open == 0)


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async def resolve(_host: str, port: int) -> list[Address]:
        return [Address(socket.AF_INET, (host, port)) for host in ("127.0.0.2", "127.0.0.1")]

    callout = HttpCallout(loopback_open=True, resolve=resolve)
    async with peer(always(), name="localhost") as server:
        assert (await post(callout, server)).status == 200
    assert await failure(callout, server) == "connection"
    await callout.close()


class Authority:
    """A certificate authority, and servers of its names."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.bundle = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.bundle))
        self.asked: list[str | None] = []

    def server(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(context)
        context.sni_callback = lambda _socket, name, _context: self.asked.append(name)
        return context


async def test_tls_names_the_host_and_keeps_its_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def resolve(_host: str, port: int) -> list[Address]:
        return [Address(socket.AF_INET, (host, port)) for host in ("10.0.0.1", "127.0.0.1", "::ffff:10.0.0.1")]

    callout = HttpCallout(allowed_hosts=["127.0.0.1/32"], ca_bundle=authority.bundle, resolve=resolve)
    async with peer(always(), tls=authority.server("hook.example"), name="HOOK.example.") as server:
        for _ in range(3):
            assert (await post(callout, server)).status == 200
        assert server.connections == 1
        assert authority.asked == ["hook.example"]
        assert server.requests[0].startswith(b"POST / HTTP/1.1\r\nhost: hook.example:%d\r\n" % server.port)
    await callout.close()


async def test_a_certificate_of_another_name_or_authority_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    ours, other = Authority(tmp_path), Authority(tmp_path / "other")
    for context in (ours.server("elsewhere.example"), other.server("localhost")):
        callout = HttpCallout(loopback_open=True, ca_bundle=ours.bundle)
        async with peer(always(), tls=context, name="localhost") as server:
            assert await failure(callout, server) == "tls"
            assert not server.requests
        await callout.close()


async def test_a_server_without_tls_or_without_a_word_is_no_endpoint() -> None:
    async def silent(talk: Talk) -> None:
        await talk.client_gone()

    async def plain(talk: Talk) -> None:
        await talk.say(OK)
        await talk.client_gone()

    for script, connect_s, reason in ((plain, PATIENCE_S, "tls"), (silent, 0.1, "timeout")):
        callout = HttpCallout(loopback_open=True, connect_s=connect_s)
        async with peer(script) as server:
            server.url = server.url.replace("http:", "https:")
            assert await failure(callout, server) == reason
            await server.until(lambda server=server: server.open == 0)
        await callout.close()


async def test_headers_made_once_go_with_many_requests(callout: HttpCallout) -> None:
    headers = Headers({"x-one": "1"})
    async with peer(always()) as server:
        await callout.request("POST", server.url, headers=headers, body=b"a")
        await callout.request("POST", server.url, headers=headers.with_one("x-two", "2"), body=b"b")
        assert server.requests[0].endswith(b"\r\nx-one: 1\r\ncontent-length: 1\r\n\r\na")
        assert server.requests[1].endswith(b"\r\nx-one: 1\r\nx-two: 2\r\ncontent-length: 1\r\n\r\nb")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("a b", "c"), ("", "c"), ("a\r\nb", "c"), ("a", "b\nc"), ("a", "b\0"), ("a", "\u20ac"), ("a\n", "b")],
        *[("Host", "evil.example"), ("Transfer-Encoding", "chunked"), ("content-length", "0"), ("connection", "close")],
    ],
)
def test_a_header_that_could_break_the_request_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        Headers({name: value})
