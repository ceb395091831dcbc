"""Host names of webhooks and carriers whose servers do not answer: other names are looked up all the same."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager
from threading import Event

import pytest
from tests.support.patience import PATIENCE_S
from tests.support.smpp_world import until

from landline.engines.callout import HttpCallout
from landline.engines.names import Address, Names, look_up
from landline.ports.callout import CalloutFailed


class Servers:
    """Of names: they answer for `.dead` once they are `back`, and of all others what the machine knows."""

    def __init__(self) -> None:
        self.back = Event()
        self.asked: list[str] = []

    def look(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        if host.endswith(".dead"):
            self.back.wait(PATIENCE_S)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up(host, port)


@pytest.fixture
def servers() -> Generator[Servers]:
    servers = Servers()
    yield servers
    servers.back.set()


@asynccontextmanager
async def endpoint() -> AsyncGenerator[int]:
    """The port of one that says 204."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def test_names_whose_servers_do_not_answer_hold_up_no_other(servers: Servers) -> None:
    names = Names(servers.look)
    callout = HttpCallout(resolve=names.addresses, loopback_open=True)
    async with asyncio.timeout(PATIENCE_S), endpoint() as port, asyncio.TaskGroup() as tasks:
        dead = [
            tasks.create_task(_reason(callout, f"https://webhook{number}.dead/{path}"))
            for number in range(50)
            for path in range(4)
        ]
        await until(lambda: len(servers.asked) == 50)
        assert (await callout.request("GET", f"http://localhost:{port}/", headers={})).status == 204
        assert not any(one.done() for one in dead)
        servers.back.set()
    assert {one.result() for one in dead} == {"connection"}
    assert len(servers.asked) == 51
    await callout.close()


async def test_addresses_are_looked_up_nowhere(servers: Servers) -> None:
    names = Names(servers.look)
    assert [each.host for each in await names.addresses("127.0.0.1", 80)] == ["127.0.0.1"]
    assert [each.sockaddr[:2] for each in await names.addresses("::1", 443)] == [("::1", 443)]
    assert servers.asked == []


async def test_more_names_than_are_looked_up_at_once_wait_for_their_turn(servers: Servers) -> None:
    names = Names(servers.look, at_once=2)
    asked = [asyncio.create_task(names.addresses(f"{number}.dead", 443)) for number in range(5)]
    await until(lambda: len(servers.asked) == 2)
    servers.back.set()
    async with asyncio.timeout(PATIENCE_S):
        failures = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(failure) for failure in failures] == [socket.gaierror] * 5
    assert sorted(servers.asked) == [f"{number}.dead" for number in range(5)]


async def test_names_that_nobody_answered_for_leave_room_for_others_when_they_are_asked_for_again(
    servers: Servers,
) -> None:
    now = 0.0
    names = Names(servers.look, at_once=4, time=lambda: now)
    async with asyncio.timeout(PATIENCE_S):
        dead = [asyncio.create_task(names.addresses(f"{number}.dead", 443)) for number in range(4)]
        await until(lambda: len(servers.asked) == 4)
        now += 30.0
        servers.back.set()
        await asyncio.gather(*dead, return_exceptions=True)
        servers.back.clear()
        servers.asked.clear()
        dead = [asyncio.create_task(names.addresses(f"{number}.dead", 443)) for number in range(4)]
        await until(lambda: len(servers.asked) == 2)
        assert await names.addresses("localhost", 443)
        assert servers.asked == ["0.dead", "1.dead", "localhost"]
        servers.back.set()
        await asyncio.gather(*dead, return_exceptions=True)
        servers.asked.clear()
        dead = [asyncio.create_task(names.addresses(f"{number}.dead", 443)) for number in range(4)]
        await asyncio.gather(*dead, return_exceptions=True)
        assert sorted(servers.asked) == [f"{number}.dead" for number in range(4)]


async def test_a_name_is_looked_up_anew_after_an_answer_and_for_others_when_one_gives_up(servers: Servers) -> None:
    names = Names(servers.look)
    impatient, patient = (asyncio.create_task(names.addresses("one.dead", 443)) for _ in range(2))
    await until(lambda: servers.asked == ["one.dead"])
    impatient.cancel()
    servers.back.set()
    with pytest.raises(socket.gaierror):
        await patient
    with pytest.raises(socket.gaierror):
        await names.addresses("one.dead", 443)
    assert servers.asked == ["one.dead"] * 2


async def _reason(callout: HttpCallout, url: str) -> str:
    with pytest.raises(CalloutFailed) as caught:
        await callout.request("GET", url, headers={})
    return caught.value.reason
