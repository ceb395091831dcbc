"""What the port `SmsCarrier` promises, asked of every engine that fills it.

An engine joins by a class like `SimulatedSetting` and a line in `SETTINGS`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Protocol
from uuid import uuid4

import pytest
from tests.support.carrier_events import Recorder
from tests.support.patience import PATIENCE_S
from tests.support.smpp import crash

from landline.core.errors import Unavailable
from landline.engines.clock import SystemClock
from landline.engines.simulated.carrier import SimulatedCarrier
from landline.engines.simulated.intake import WINDOW
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import SmppConfig
from landline.ports.sms_carrier import SmsCarrier, Submission
from landline.store.database import Database
from landline.testing.smsc import Smsc

OURS = "+18005550100"
PHONE = "+14255550199"


class Setting(Protocol):
    """One engine with the world around it, which outlives the engine's process."""

    window: int
    """How many messages `submit` takes while the service answers none, give or take one call."""

    def unstarted(self) -> SmsCarrier:
        """The engine before its start."""
        ...

    async def start(self, events: Recorder) -> SmsCarrier:
        """The engine as a new process starts it."""
        ...

    async def crash(self) -> None:
        """The engine's process is gone, in the middle of whatever it did."""
        ...

    async def phone_texts(self, sender: str, recipient: str, text: str) -> None:
        """A phone texts one of our numbers."""
        ...

    async def close(self) -> None:
        """The test is over."""
        ...


class SimulatedSetting:
    """The simulated carrier on a database of its own."""

    window = WINDOW

    def __init__(self, database: Database) -> None:
        self._database = database
        self._carrier: SimulatedCarrier | None = None

    def unstarted(self) -> SmsCarrier:
        return SimulatedCarrier(self._database, SystemClock(), seed=1)

    async def start(self, events: Recorder) -> SmsCarrier:
        self._carrier = SimulatedCarrier(self._database, SystemClock(), seed=1)
        await self._carrier.start(events)
        return self._carrier

    async def crash(self) -> None:
        assert self._carrier is not None
        for worker in self._carrier._workers:
            worker.cancel()
        await asyncio.gather(*self._carrier._workers, return_exceptions=True)
        self._carrier = None

    async def phone_texts(self, sender: str, recipient: str, text: str) -> None:
        assert self._carrier is not None
        await self._carrier.text(sender, recipient, text)

    async def close(self) -> None:
        if self._carrier is not None:
            await self._carrier.close()


class SmppSetting:
    """The SMPP engine bound twice to an SMSC that goes on when the engine's process is gone."""

    window = 750  # 500, and what the call that passes it brings

    def __init__(self, database: Database) -> None:
        self._database = database
        self._smsc: Smsc | None = None
        self._carrier: SmppCarrier | None = None

    def unstarted(self) -> SmsCarrier:
        return SmppCarrier(SmppConfig("smpp", "127.0.0.1", 2775, "landline", "secret"), self._database, SystemClock())

    async def start(self, events: Recorder) -> SmsCarrier:
        if self._smsc is None:
            self._smsc = Smsc({"landline": "secret"})
            await self._smsc.start()
        config = SmppConfig("smpp", "127.0.0.1", self._smsc.port, "landline", "secret", binds=2, backoff_first_s=0.01)
        self._carrier = SmppCarrier(config, self._database, SystemClock())
        await self._carrier.start(events)
        return self._carrier

    async def crash(self) -> None:
        assert self._carrier is not None
        await crash(self._carrier)
        self._carrier = None

    async def phone_texts(self, sender: str, recipient: str, text: str) -> None:
        assert self._smsc is not None
        self._smsc.text(sender, recipient, text)

    async def close(self) -> None:
        if self._carrier is not None:
            await self._carrier.close()
        if self._smsc is not None:
            await self._smsc.close()


SETTINGS: dict[str, Callable[[Database], Setting]] = {"simulated": SimulatedSetting, "smpp": SmppSetting}


@pytest.fixture(params=SETTINGS)
async def setting(request: pytest.FixtureRequest, database: Database) -> AsyncGenerator[Setting]:
    setting = SETTINGS[request.param](database)
    yield setting
    await setting.close()


def submission(text: str = "hello", *, report_wanted: bool = True, recipient: str = PHONE) -> Submission:
    return Submission(uuid4(), OURS, recipient, text, 1, report_wanted)


async def test_each_submission_is_answered_once_with_an_id_of_its_own(setting: Setting) -> None:
    events = Recorder()
    carrier = await setting.start(events)
    submissions = [submission() for _ in range(457)]
    for start in range(0, len(submissions), 100):
        await carrier.submit(submissions[start : start + 100])
    await events.until(lambda: len(events.answers) >= len(submissions))
    await carrier.close()
    assert sorted(answer.key for answer in events.answers) == sorted(given.key for given in submissions)
    assert len({answer.carrier_message_id for answer in events.answers}) == len(submissions)


async def test_each_message_with_a_report_wanted_is_reported_after_its_answer(setting: Setting) -> None:
    events = Recorder()
    carrier = await setting.start(events)
    wanted, quiet = [submission() for _ in range(50)], [submission(report_wanted=False) for _ in range(50)]
    await carrier.submit([given for pair in zip(wanted, quiet, strict=True) for given in pair])
    ids = {answer.key: answer.carrier_message_id for answer in events.answers}
    await events.until(lambda: len(events.receipts) >= len(wanted))
    ids = {answer.key: answer.carrier_message_id for answer in events.answers}
    assert {receipt.carrier_message_id for receipt in events.receipts} == {ids[given.key] for given in wanted}
    for receipt in events.receipts:
        assert (receipt.delivered, receipt.code) == (True, 2000)
        assert receipt.at <= datetime.now(UTC)
        assert events.order.index(receipt.carrier_message_id) < events.order.index(f"{receipt.carrier_message_id}!")


async def test_what_is_unavailable_is_brought_again(setting: Setting) -> None:
    events = Recorder()
    carrier = await setting.start(events)
    events.away = True
    await carrier.submit([submission()])
    await events.until(lambda: events.refused >= 2)
    events.away = False
    await events.until(lambda: len(events.receipts) == 1)
    assert len(events.answers) == 1
    assert events.receipts[0].carrier_message_id == events.answers[0].carrier_message_id


async def test_a_receipt_not_taken_before_a_crash_comes_after_it(setting: Setting) -> None:
    events = Recorder()
    carrier = await setting.start(events)
    events.open.clear()
    await carrier.submit([submission() for _ in range(3)])
    events.open.set()
    await events.until(lambda: len(events.answers) == 3)
    events.away = True
    await setting.crash()
    again = Recorder()
    await setting.start(again)
    ids = {answer.carrier_message_id for answer in events.answers}
    taken = {receipt.carrier_message_id for receipt in events.receipts}
    await again.until(lambda: taken | {receipt.carrier_message_id for receipt in again.receipts} == ids)


async def test_a_message_handed_over_again_after_a_crash_is_answered_and_reported_again(setting: Setting) -> None:
    events = Recorder()
    carrier = await setting.start(events)
    given = submission()
    await carrier.submit([given])
    await events.until(lambda: len(events.receipts) == 1)
    await setting.crash()
    again = Recorder()
    carrier = await setting.start(again)
    await carrier.submit([given])
    await again.until(lambda: bool(again.answers and again.receipts))
    assert [answer.key for answer in again.answers] == [given.key]
    assert again.receipts[0].carrier_message_id == again.answers[0].carrier_message_id


async def test_submit_waits_while_the_window_is_full(setting: Setting) -> None:
    events = Recorder()
    carrier = await setting.start(events)
    events.open.clear()
    taken = 0

    async def submit_for_ever() -> None:
        nonlocal taken
        while taken < 2 * setting.window:
            await carrier.submit([submission(report_wanted=False) for _ in range(250)])
            taken += 250

    submitting = asyncio.create_task(submit_for_ever())
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not submitting.done()
    assert 0 < taken <= setting.window
    asking = asyncio.create_task(carrier.room())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asking.done()
    events.open.set()
    await asyncio.wait_for(submitting, PATIENCE_S)
    assert await asyncio.wait_for(asking, PATIENCE_S) > 0
    await events.until(lambda: len(events.answers) == taken)


async def test_a_text_is_brought_whole_and_texts_have_keys_of_their_own(setting: Setting) -> None:
    events = Recorder()
    await setting.start(events)
    await setting.phone_texts(PHONE, OURS, "STOP")
    await setting.phone_texts(PHONE, OURS, "Grüße 😀 " * 30)
    await events.until(lambda: len({arrival.key for arrival in events.arrivals}) == 2)
    first, second = {arrival.key: arrival for arrival in events.arrivals}.values()
    assert (first.sender, first.recipient, first.text, first.segments) == (PHONE, OURS, "STOP", 1)
    assert (second.text, second.segments) == ("Grüße 😀 " * 30, 5)


async def test_closing_answers_what_was_taken_and_takes_no_more(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landline.engines.simulated.carrier._DRAIN_S", PATIENCE_S)
    events = Recorder()
    carrier = await setting.start(events)
    await carrier.submit([submission() for _ in range(10)])
    await carrier.close()
    assert len(events.answers) == 10
    for asked in (carrier.submit([submission()]), carrier.room()):
        with pytest.raises(Unavailable):
            await asked


async def test_before_the_start_nothing_is_taken(setting: Setting) -> None:
    carrier = setting.unstarted()
    for asked in (carrier.submit([submission()]), carrier.room()):
        with pytest.raises(Unavailable):
            await asked


async def test_a_carrier_is_up_from_its_start_to_its_close(setting: Setting) -> None:
    assert not setting.unstarted().up
    carrier = await setting.start(Recorder())
    assert carrier.up
    await carrier.close()
    assert not carrier.up
