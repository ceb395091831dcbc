"""What becomes of the tasks of SMPP's parts when there is a bug in one: the process hears of it."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.support.patience import PATIENCE_S
from tests.support.product import Product
from tests.support.smpp_world import World

from landline.engines.clock import DrivenClock
from landline.engines.smpp.inbox import Inbox
from landline.engines.smpp.leases import Leases
from landline.engines.smpp.listener import ListenerConfig, SmppListener, given_up
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.watched import FAILED


class Bug(Exception):
    """Something nobody expects."""


@pytest.fixture
async def failed() -> "AsyncGenerator[asyncio.Future[str]]":
    """The name of the task that failed first."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[str] = loop.create_future()

    def told(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        assert isinstance(context["exception"], Bug | ExceptionGroup)
        if not heard.done():
            heard.set_result(context[FAILED])

    loop.set_exception_handler(told)
    yield heard
    loop.set_exception_handler(None)


def _bug(*_: object) -> Any:
    raise Bug


async def test_of_the_listener(
    database: Database, monkeypatch: pytest.MonkeyPatch, failed: "asyncio.Future[str]"
) -> None:
    monkeypatch.setattr(given_up, "sweep", _bug)
    listener = SmppListener(ListenerConfig(port=0), Product(), database, DrivenClock())
    await listener.start()
    assert await asyncio.wait_for(failed, PATIENCE_S) == "smpp overdue"
    await listener.close()


async def test_of_a_carrier(world: World, monkeypatch: pytest.MonkeyPatch, failed: "asyncio.Future[str]") -> None:
    monkeypatch.setattr(Inbox, "deadline", _bug)
    await world.start()
    assert await asyncio.wait_for(failed, PATIENCE_S) == "smpp smpp"


async def test_of_leases(
    world: World, dsn: str, monkeypatch: pytest.MonkeyPatch, failed: "asyncio.Future[str]"
) -> None:
    changes = Changes(dsn)
    await changes.start()
    await world.start(slots=Leases(world.database, changes, world.clock, uuid4(), "smpp", 2))
    monkeypatch.setattr(Leases, "_look", _bug)
    await world.clock.advance(timedelta(seconds=60))
    assert await asyncio.wait_for(failed, PATIENCE_S) == "smpp leases"
    await changes.close()
