"""What is under way to customers and carriers when the machine's clock is set."""

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self
from uuid import uuid4

import pytest
from tests.support.bare_smsc import BareSmsc, deliver_sm, text
from tests.support.carrier_events import Recorder
from tests.support.product import Product
from tests.support.smpp import crash
from tests.support.smpp_client import Client
from tests.support.smpp_world import OURS, PHONE, World, until

from landline.engines import clock as clock_engines
from landline.engines.clock import DrivenClock, SteadyClock, SystemClock
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import SmppConfig
from landline.engines.smpp.listener import ListenerConfig, SmppListener
from landline.ports.esme_gateway import Delivered, TextOut
from landline.ports.sms_carrier import Submission
from landline.protocols.smpp import pdu
from landline.protocols.smpp.commands import ESM_RECEIPT, RESPONSE, Command
from landline.store.database import Database


class AnHourLater(datetime):
    """What the machine's clock shows once it is set."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + timedelta(hours=1)


class AnHourEarlier(datetime):
    """Likewise, when it is set back."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) - timedelta(hours=1)


class HalfAMinuteEarlier(datetime):
    """Likewise, by little."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) - timedelta(seconds=30)


class Line(DrivenClock):
    """One that is not set."""

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.mark.parametrize("lives", [True, False])
async def test_a_text_said_again_to_another_process_is_another_text_also_after_the_clock_was_set_back(
    database: Database, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    world, line = World(database), Line()
    carrier = await world.start(line=line)
    await say(world, "STOP")
    monkeypatch.setattr(clock_engines, "datetime", AnHourEarlier)
    if lives:
        await say(world, "YES")
        for _ in range(3):  # its SMSC is asked whether it is there, and says so
            await line.advance(timedelta(seconds=2))
            await world.clock.advance(timedelta(seconds=2))
    for connection in list(world.smsc._connections):
        connection.freeze(True)  # from now on phones' texts come by the other process
    if not lives:
        await crash(carrier)
        await world.clock.advance(timedelta(minutes=3))
    await world.start(line=line)
    await say(world, world.events.arrivals[-1].text)
    before, again = world.events.arrivals[-2:]
    assert before.text == again.text
    assert before.key != again.key
    await world.close()


async def say(world: World, words: str) -> None:
    """A phone's text, and its acknowledgement."""
    before = world.smsc.counts.delivered
    world.smsc.text(PHONE, OURS, words)
    await world.smsc.until(lambda: world.smsc.counts.delivered == before + 1)


async def test_a_delivery_that_is_not_answered_yet_is_not_brought_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, product = DrivenClock(), Product()
    config = ListenerConfig(port=0, enquire_link_s=3_000.0, response_s=3_000.0)
    listener = SmppListener(config, product, database, clock, line=SteadyClock())
    await listener.start()
    client = Client()
    assert listener.port is not None
    await client.connect(listener.port)
    await client.bind()
    texts = [TextOut(uuid4(), PHONE, OURS, "hi")]
    until_then = clock.now() + timedelta(hours=9)
    delivering = asyncio.create_task(listener.deliver(product.account, texts, until_then))
    await until(lambda: len(client.events) == 1)
    monkeypatch.setattr(clock_engines, "datetime", AnHourLater)
    assert listener._alarm is not None
    listener._wakes_at = 0.0
    listener._alarm.ring()
    await until(lambda: listener._wakes_at > 0)  # it has looked at the time
    await client.arrival()
    assert await delivering == [Delivered.TAKEN]
    assert client.events == []
    client.pump.abort()
    await listener.close()


async def test_a_message_that_is_not_answered_yet_does_not_count_as_unanswered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    smsc, events = BareSmsc(), Recorder()
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret", response_s=3_000.0)
    carrier = SmppCarrier(config, database, DrivenClock(), line=SteadyClock())
    await carrier.start(events)
    await until(lambda: carrier.up)
    await carrier.submit([Submission(uuid4(), OURS, PHONE, "hi", 1, True)])
    command, sequence = await smsc.request()
    assert command == Command.SUBMIT_SM
    monkeypatch.setattr(clock_engines, "datetime", AnHourLater)
    for link in carrier._links:
        link._alarm.ring()
    await carrier.submit([Submission(uuid4(), OURS, PHONE, "hi", 1, True)])
    _, second = await smsc.request()
    for number in (sequence, second):
        answer = pdu.MessageAnswer(str(number))
        await smsc.say(pdu.encode(Command.SUBMIT_SM | RESPONSE, answer, number))
    await events.until(lambda: len(events.answers) == 2)
    assert [answer.unknown for answer in events.answers] == [False, False]
    await carrier.close()
    await smsc.close()


async def test_a_text_whose_part_never_comes_waits_no_longer_for_a_clock_that_was_set_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(database)
    await world.start(join_patience_s=600)
    await say(world, "before")
    monkeypatch.setattr(clock_engines, "datetime", AnHourEarlier)
    world.smsc.text(PHONE, OURS, "x" * 153 + "y" * 100, order=lambda bodies: bodies[1:])
    await world.smsc.until(lambda: world.smsc.counts.delivered == 2)
    for _ in range(35):
        await world.clock.advance(timedelta(seconds=20))
    await world.arrived(2)
    assert world.events.arrivals[-1].text == "y" * 100
    await world.close()


@pytest.mark.parametrize("back", [AnHourEarlier, HalfAMinuteEarlier])
async def test_a_receipt_whose_answer_is_not_known_yet_waits_no_longer_for_a_clock_that_was_set_back(
    database: Database, monkeypatch: pytest.MonkeyPatch, back: type[datetime]
) -> None:
    smsc, events = BareSmsc(), Recorder()
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret")
    clock, line = DrivenClock(), Line()
    carrier = SmppCarrier(config, database, clock, line=line, several=lambda: True)
    await carrier.start(events)
    await until(lambda: carrier.up)
    words = b"id:theirs sub:001 dlvrd:001 submit date:2611231200 done date:2611231200 stat:DELIVRD err:000 text:"
    await smsc.say(deliver_sm(7, text(words, esm_class=ESM_RECEIPT)))
    await until(lambda: carrier.counters()["inbox_receipts_early"] == 1)
    monkeypatch.setattr(clock_engines, "datetime", back)
    await line.advance(timedelta(seconds=1))
    await smsc.say(deliver_sm(8, text(b"hello")))
    await events.until(lambda: len(events.receipts) == 1)
    await carrier.close()
    await smsc.close()


async def test_what_customers_left_incomplete_is_looked_for_no_later_for_a_clock_that_was_set_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = DrivenClock()
    listener = SmppListener(ListenerConfig(port=0), Product(), database, clock)
    await listener.start()
    await until(lambda: listener._gives_up_at > 0)
    monkeypatch.setattr(clock_engines, "datetime", AnHourEarlier)
    assert listener._overdue is not None
    listener._overdue.ring()
    await until(lambda: listener._gives_up_at < clock.now().timestamp() + 61)
    await listener.close()


async def test_answers_that_the_service_could_not_store_are_told_again_though_the_clock_was_set_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    smsc, events = BareSmsc(), Recorder()
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret")
    carrier = SmppCarrier(config, database, SystemClock(), line=SteadyClock())
    await carrier.start(events)
    await until(lambda: carrier.up)
    events.away = True
    await carrier.submit([Submission(uuid4(), OURS, PHONE, "hi", 1, True)])
    _, sequence = await smsc.request()
    await smsc.say(pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer("theirs"), sequence))
    await events.until(lambda: events.refused == 1)
    monkeypatch.setattr(clock_engines, "datetime", AnHourEarlier)
    events.away = False
    await events.until(lambda: len(events.answers) == 1)
    await carrier.close()
    await smsc.close()
