"""What becomes of the tasks of SMPP's parts when there is a bug in one: the process hears of it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.support.patience import PATIENCE_S
from tests.support.product import Product
from tests.support.smpp_world import World, until, until_bound

from landline.engines.clock import DrivenClock
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.inbox import Inbox
from landline.engines.smpp.leases import Leases
from landline.engines.smpp.link import Link
from landline.engines.smpp.listener import ListenerConfig, SmppListener, given_up
from landline.ports.sms_carrier import Submitted
from landline.protocols.smpp.session import Session
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.watched import FAILED
from landline.testing.smsc import Rule


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


async def test_of_the_service_about_one_answer_keeps_none_from_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = world.events.submitted
    together: list[int] = []

    async def submitted(carrier: str, answers: Sequence[Submitted]) -> None:
        await world.events.open.wait()
        together.append(len(answers))
        if any(answer.carrier_message_id == "3" for answer in answers):
            raise Bug
        await told(carrier, answers)

    monkeypatch.setattr(world.events, "submitted", submitted)
    carrier = await world.start()
    world.events.open.clear()
    await world.send(carrier, "told alone")
    await until(lambda: carrier.counters()["outbox_accepted"] == 1)
    await world.send(carrier, "told", "not told", "told")
    await until(lambda: carrier.counters()["outbox_accepted"] == 4)
    world.events.open.set()
    await until(lambda: carrier.counters()["open"] == 0)
    assert together == [1, 3, 1, 1, 1]
    assert {answer.carrier_message_id for answer in world.events.answers} == {"1", "2", "4"}


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


async def test_of_a_bind_ends_its_connection_and_not_the_bind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.smsc.conduct.rules = [Rule(silent=True)]
    carrier = await world.start()
    await world.send(carrier, "on its way")
    await world.smsc.until(lambda: world.smsc.counts.submits == 1)
    with monkeypatch.context() as bug:
        bug.setattr(Session, "expire", _bug)
        await world.clock.advance(timedelta(seconds=31))
        await world.answered(1)
    assert world.events.answers[0].unknown
    world.smsc.conduct.rules = []
    await until_bound(carrier)
    assert len(carrier.links) == 1
    await world.send(carrier, "hello")
    await world.reported(1)
    counters = carrier.counters()
    assert (counters["link_failures"], counters["link_binds"]) == (counters["link_losses"], 1 + counters["link_losses"])


async def test_of_a_bind_again_and_again_is_met_with_growing_pauses(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = await world.start(backoff_first_s=1, backoff_limit_s=8)
    monkeypatch.setattr(SmppCarrier, "changed", _bug)  # each time it is bound
    await world.clock.advance(timedelta(seconds=31))
    for failures in range(1, 5):
        await until(lambda failures=failures: carrier.counters()["link_failures"] == failures and not carrier.bound)
        await world.clock.advance(timedelta(seconds=8))
    assert carrier.counters()["link_binds"] >= 4, "it could bind each time"
    await until(lambda: carrier.counters()["link_failures"] == 5 and not carrier.bound)
    assert carrier.links[0].trouble == "a bug ended it (Bug), which the log has"
    await world.clock.advance(timedelta(seconds=3.9))
    assert carrier.counters()["link_failures"] == 5, "the pause is 8 s by now, or half of it"
    monkeypatch.undo()
    await world.clock.advance(timedelta(seconds=8))
    await until_bound(carrier)


async def test_of_what_a_lost_connection_is_told_to(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    carrier = await world.start()
    with monkeypatch.context() as bug:
        bug.setattr(SmppCarrier, "lost", _bug)
        world.network.cut()
        await until(lambda: bool(carrier.counters()["link_failures"]))
    await until_bound(carrier)


async def test_of_who_keeps_the_binds(
    world: World, monkeypatch: pytest.MonkeyPatch, failed: "asyncio.Future[str]"
) -> None:
    monkeypatch.setattr(Link, "run", _bug)
    starting = asyncio.create_task(world.start())
    assert await asyncio.wait_for(failed, PATIENCE_S) == "smpp smpp/0/transceiver"
    starting.cancel()
