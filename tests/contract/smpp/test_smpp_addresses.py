"""A carrier whose host has several addresses."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.bare_smsc import BareSmsc
from tests.support.carrier_events import Recorder
from tests.support.patience import PATIENCE_S
from tests.support.smpp_world import until

from landline.engines.clock import SystemClock
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import SmppConfig
from landline.store.database import Database

NAME = "smsc.example"


@pytest.fixture
def dropping() -> Iterator[Callable[[int], str]]:
    """An address that drops whatever is sent to a port, as a machine that is gone or a firewall does."""
    opened: list[socket.socket] = []

    def drop(port: int) -> str:
        full = socket.create_server(("127.0.0.2", port), backlog=0)
        opened.append(full)
        for _ in range(4):  # more than it keeps until they are accepted, which none is
            one = socket.socket()
            opened.append(one)
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        return "127.0.0.2"

    yield drop
    for each in opened:
        each.close()


def name_them(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    resolve = socket.getaddrinfo

    def found(host: Any, *arguments: Any, **options: Any) -> list[Any]:
        hosts = addresses if host == NAME else [host]
        return [each for one in hosts for each in resolve(one, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


async def bound(database: Database, port: int) -> None:
    """A carrier of that name comes up."""
    carrier = SmppCarrier(SmppConfig("named", NAME, port, "us", "secret", connect_s=2.0), database, SystemClock())
    starting = asyncio.create_task(carrier.start(Recorder()))
    await until(lambda: carrier.up)
    await starting
    await carrier.close()


async def test_an_address_that_answers_nothing_does_not_keep_us_from_the_next(
    database: Database, dropping: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    smsc = BareSmsc()
    port = await smsc.start()
    name_them(monkeypatch, dropping(port), "127.0.0.1")
    await bound(database, port)
    await smsc.close()


async def test_an_address_that_refuses_does_not_keep_us_from_the_next(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    smsc = BareSmsc()
    port = await smsc.start()
    name_them(monkeypatch, "127.0.0.3", "127.0.0.1")
    await bound(database, port)
    await smsc.close()


async def test_a_carrier_that_is_being_connected_to_ends_at_once(
    database: Database, dropping: Callable[[int], str]
) -> None:
    smsc = BareSmsc()
    port = await smsc.start()
    config = SmppConfig("named", dropping(port), port, "us", "secret", connect_s=2 * PATIENCE_S)
    carrier = SmppCarrier(config, database, SystemClock())
    starting = asyncio.create_task(carrier.start(Recorder()))
    await until(lambda: bool(carrier.links))
    await asyncio.sleep(0)  # it begins
    await asyncio.wait_for(carrier.close(), PATIENCE_S)
    assert carrier.counters()["link_connects_failed"] == 0
    await starting
    await smsc.close()
