"""What becomes of the tasks of SMPP's parts when there is a bug in one: the process hears of it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.contract.smpp.test_smpp_rude import World as BareWorld
from tests.support.bare_smsc import deliver_sm, text
from tests.support.patience import PATIENCE_S
from tests.support.product import Product
from tests.support.smpp_client import Client
from tests.support.smpp_world import OURS, PHONE, World, until, until_bound

from landline.engines.clock import DrivenClock
from landline.engines.smpp import reading
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.inbox import Inbox
from landline.engines.smpp.leases import Leases
from landline.engines.smpp.link import Link
from landline.engines.smpp.listener import ListenerConfig, SmppListener, given_up
from landline.engines.smpp.listener.connection import Connection
from landline.engines.smpp.outbox import Outbox, Part
from landline.ports.esme_gateway import Delivered, TextOut
from landline.ports.sms_carrier import Submission, Submitted
from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import RESPONSE, Command
from landline.protocols.smpp.events import Answered
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


@pytest.fixture
async def bare(database: Database) -> "AsyncGenerator[BareWorld]":
    world = BareWorld(database)
    await world.start()
    yield world
    await world.carrier.close()
    await world.smsc.close()


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


async def test_over_one_answer_keeps_none_of_the_others_that_came_with_it(
    bare: BareWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message of the one it met may have been taken or not, and the connection is made again."""
    submissions = [Submission(uuid4(), OURS, PHONE, "hi", 1, True) for _ in range(3)]
    await bare.carrier.submit(submissions)
    asked = [await bare.smsc.request() for _ in submissions]
    assert [command for command, _ in asked] == [Command.SUBMIT_SM] * 3
    take = Outbox.answered

    def taken(outbox: Outbox, link: Link, event: Answered, now: float) -> None:
        if event.message_id == "2":
            raise Bug
        take(outbox, link, event, now)

    with monkeypatch.context() as bug:
        bug.setattr(Outbox, "answered", taken)
        await bare.smsc.say(b"".join(response(sequence, str(number)) for number, (_, sequence) in enumerate(asked, 1)))
        await bare.events.until(lambda: len(bare.events.answers) == 3)
    told = {answer.key: answer for answer in bare.events.answers}
    assert [told[each.key].carrier_message_id for each in submissions] == ["1", None, "3"]
    assert [told[each.key].unknown for each in submissions] == [False, True, False]
    await until(lambda: bare.carrier.counters()["link_binds"] == 2)
    assert bare.carrier.counters()["link_failures"] == 1
    assert bare.carrier.counters()["open"] == 0


async def test_over_one_message_of_a_lost_connection_keeps_none_of_the_others(
    bare: BareWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    submissions = [Submission(uuid4(), OURS, PHONE, "hi", 1, True) for _ in range(3)]
    await bare.carrier.submit(submissions)
    for _ in submissions:
        await bare.smsc.request()
    tell, met = Outbox.unanswered, list[Part]()

    def told(outbox: Outbox, context: object, now: float | None) -> None:
        assert isinstance(context, Part)
        if context.outgoing.key == submissions[0].key:
            met.append(context)
            raise Bug
        tell(outbox, context, now)

    with monkeypatch.context() as bug:
        bug.setattr(Outbox, "unanswered", told)
        bare.smsc.cut()
        await bare.events.until(lambda: len(bare.events.answers) == 2)
    assert {each.key for each in bare.events.answers} == {each.key for each in submissions[1:]}
    tell(bare.carrier._outbox, met[0], None)  # or the carrier would wait for it at its end
    await until(lambda: bare.carrier.bound == 1)


async def test_over_one_text_puts_that_off_and_keeps_nothing_else(
    bare: BareWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "number_of", lambda ton, address, country: address if ton else _bug())
    await bare.carrier.submit([Submission(uuid4(), OURS, PHONE, "hi", 1, True)])
    _, sequence = await bare.smsc.request()
    said = [text(b"one"), text(b"bad", source_addr_ton=0), text(b"two")]
    pdus = [deliver_sm(number, message) for number, message in enumerate(said, 7)]
    await bare.smsc.say(b"".join([*pdus, response(sequence, "theirs")]))
    await bare.events.until(lambda: len(bare.events.arrivals) == 2 and len(bare.events.answers) == 1)
    assert [arrival.text for arrival in bare.events.arrivals] == ["one", "two"]
    assert bare.events.answers[0].carrier_message_id == "theirs"
    assert sorted(await bare.smsc.answers(3), key=lambda answer: answer[1]) == [
        (status.ESME_ROK, 7),
        (status.ESME_RX_T_APPN, 8),
        (status.ESME_ROK, 9),
    ]
    assert bare.carrier.counters()["link_failures"] == 0


async def test_in_what_follows_a_read_ends_the_connection(bare: BareWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    await bare.carrier.submit([Submission(uuid4(), OURS, PHONE, "hi", 1, True)])
    _, sequence = await bare.smsc.request()
    with monkeypatch.context() as bug:
        bug.setattr(Outbox, "fill", _bug)
        await bare.smsc.say(response(sequence, "theirs"))
        await until(lambda: bare.carrier.counters()["link_failures"] == 1)
    await bare.events.until(lambda: len(bare.events.answers) == 1)
    assert bare.events.answers[0].carrier_message_id == "theirs"
    await until(lambda: bare.carrier.bound == 1)


async def test_in_a_customers_answer_ends_its_connection_and_what_it_was_brought_is_brought_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, product = DrivenClock(), Product()
    listener = SmppListener(ListenerConfig(port=0), product, database, clock)
    await listener.start()
    assert listener.port is not None
    first, second = Client(), Client()
    for client in (first, second):
        await client.connect(listener.port)
    await first.bind()
    texts = [TextOut(uuid4(), PHONE, OURS, "hi") for _ in range(3)]
    delivering = asyncio.create_task(listener.deliver(product.account, texts, clock.now() + timedelta(seconds=30)))
    await until(lambda: len(first.events) == 3)
    await second.bind()
    with monkeypatch.context() as bug:
        bug.setattr(Connection, "_learn", _bug)
        for _ in texts:
            await first.arrival()
        await until(lambda: first.closed)
    for _ in texts:
        await second.arrival()
    assert await delivering == [Delivered.TAKEN] * 3
    await listener.close()


def response(sequence: int, message_id: str) -> bytes:
    return pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer(message_id), sequence)
