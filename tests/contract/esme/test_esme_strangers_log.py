"""What strangers and customers can have the log told as often as they like."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from structlog.testing import capture_logs
from tests.contract.esme.test_esme_messages import nothing_waits
from tests.support.esme import EsmeWorld, Process
from tests.support.smpp_client import Client
from tests.support.smpp_world import OURS, PHONE, until

from landline.protocols.smpp import status
from landline.protocols.smpp.events import BindRefused


async def bind(world: EsmeWorld, process: Process, password: str, system_id: str) -> object:
    return await (await world.connect(process)).bind(password, system_id=system_id)


def lines(logs: Sequence[Any], event: str, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(line[name] for name in names) for line in logs if line["event"] == event]


async def test_refused_binds_of_a_stranger_are_told_once_a_minute_and_once_each(world: EsmeWorld) -> None:
    process = await world.process()
    await world.account(process, "shop")
    with capture_logs() as logs:
        for number in range(10):
            assert await bind(world, process, "guess", f"made-up-{number}") == BindRefused(status.ESME_RINVPASWD)
        for _ in range(3):
            await bind(world, process, "guess", "shop")
        await world.clock.advance(timedelta(seconds=61))
        await bind(world, process, "guess", "made-up")
    assert lines(logs, "sms.esme_refused", "system_id", "reason", "count") == [
        ("made-up-0", "wrong system id or password", 1),
        ("shop", "wrong system id or password", 1),  # an account of somebody's, who may look for why it cannot bind
        ("made-up", "wrong system id or password", 10),
    ]
    assert lines(logs, "smpp.customer_refused", "system_id") == []


async def test_an_address_that_is_not_allowed_is_told_once_a_minute(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process, "shop", addresses=["10.0.0.0/8"])
    with capture_logs() as logs:
        for _ in range(4):
            await bind(world, process, password, "shop")
        await world.clock.advance(timedelta(seconds=61))
        await bind(world, process, password, "shop")
    assert lines(logs, "sms.esme_address_not_allowed", "system_id", "count") == [("shop", 1), ("shop", 4)]


async def test_binds_beyond_an_accounts_are_told_once_a_minute(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process, "shop", binds=1)
    await world.client(process, password, "shop")
    with capture_logs() as logs:
        for _ in range(4):
            assert await bind(world, process, password, "shop") == BindRefused(status.ESME_RALYBND)
        await world.clock.advance(timedelta(seconds=61))
        await bind(world, process, password, "shop")
    told = lines(logs, "smpp.customer_refused", "system_id", "status", "count")
    assert told == [("shop", "ESME_RALYBND", 1), ("shop", "ESME_RALYBND", 4)]


async def test_what_strangers_say_that_is_no_smpp_is_told_once_a_minute(world: EsmeWorld) -> None:
    process = await world.process()
    with capture_logs() as logs:
        for _ in range(5):
            await say_http(await world.connect(process))
        await until(lambda: not process.listener._connections)
        await world.clock.advance(timedelta(seconds=61))
        await say_http(await world.connect(process))
        await until(lambda: not process.listener._connections)
    assert lines(logs, "smpp.peer_lost", "peer", "count") == [("127.0.0.1", 1), ("127.0.0.1", 5)]


async def test_a_customer_that_is_lost_is_told_by_its_name(world: EsmeWorld) -> None:
    process = await world.process()
    clients = [await world.client(process, await world.account(process, name), name) for name in ("one", "two")]
    with capture_logs() as logs:
        await asyncio.gather(*map(say_http, clients))
        await until(lambda: not process.listener._connections)
    assert sorted(lines(logs, "smpp.peer_lost", "system_id", "count")) == [("one", 1), ("two", 1)]


async def test_what_a_customer_refuses_for_good_is_told_once_a_minute(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process, texts=["*"]))
    with capture_logs() as logs:
        for number in range(4):
            await world.text(process, f"{number}", OURS, PHONE)
            await client.arrival(status.ESME_RX_P_APPN)
        await nothing_waits(world)
        await world.clock.advance(timedelta(seconds=61))
        await world.text(process, "one more", OURS, PHONE)
        await client.arrival(status.ESME_RX_P_APPN)
        await nothing_waits(world)
    told = lines(logs, "smpp.customer_refuses", "system_id", "status", "count")
    assert told == [("customer", "ESME_RX_P_APPN", 1), ("customer", "ESME_RX_P_APPN", 4)]


async def say_http(client: Client) -> None:
    assert client.pump._transport is not None
    client.pump._transport.write(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: client.closed)
