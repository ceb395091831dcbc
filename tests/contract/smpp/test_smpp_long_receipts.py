"""Long texts whose parts their carrier does not report one by one."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.support.bare_smsc import BareSmsc, deliver_sm, text
from tests.support.carrier_events import Recorder
from tests.support.smpp_world import OURS, PHONE, until, until_bound

from landline.engines.clock import DrivenClock
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import LongReceipts, SmppConfig
from landline.engines.smpp.records import Records
from landline.ports.sms_carrier import Receipt, Submission
from landline.protocols.smpp import pdu
from landline.protocols.smpp.commands import RESPONSE, Command
from landline.protocols.smpp.texts import Alphabet
from landline.store.database import Database

THREE = "long " * 80


class Sent:
    """A text of three parts, taken by a bare SMSC."""

    def __init__(self, smsc: BareSmsc, clock: DrivenClock, events: Recorder, carrier: SmppCarrier) -> None:
        self._smsc, self._clock, self._carrier, self.events = smsc, clock, carrier, events

    async def report(self, message_id: str, state: str) -> None:
        """The SMSC brings a receipt, which is acknowledged."""
        await self._smsc.say(deliver_sm(1, text(f"id:{message_id} stat:{state} err:000".encode(), esm_class=4)))
        while not self._smsc.frames:
            await self._clock.advance(timedelta(seconds=1))  # nobody may know it
        await self._smsc.answers(1)

    async def next(self) -> list[str]:
        """What is reported of the next such text, whose parts are 4, 5 and 6, when each of them is delivered."""
        before = len(self.events.receipts)
        await self.send("456")
        for number in "456":
            await self.report(number, "DELIVRD")
        await self.events.until(lambda: len(self.events.receipts) > before)
        return [each.carrier_message_id for each in self.events.receipts[before:]]

    async def send(self, ids: str) -> None:
        before = len(self.events.answers)
        await self._carrier.submit([Submission(uuid4(), OURS, PHONE, THREE, 3, True)])
        for given in ids:
            _, sequence = await self._smsc.request()
            await self._smsc.say(pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer(given), sequence))
        await self.events.until(lambda: len(self.events.answers) > before)
        await until(lambda: self._carrier.counters()["open"] == 0)


@asynccontextmanager
async def sent(database: Database, ids: str, long_receipts: LongReceipts = LongReceipts.EACH) -> AsyncGenerator[Sent]:
    """The SMSC gives the parts these ids, of one character each."""
    smsc, clock, events = BareSmsc(), DrivenClock(), Recorder()
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret", long_receipts=long_receipts)
    carrier = SmppCarrier(config, database, clock)
    await carrier.start(events)
    await until_bound(carrier)
    world = Sent(smsc, clock, events, carrier)
    await world.send(ids)
    yield world
    await carrier.close()
    await smsc.close()


@pytest.mark.parametrize(("state", "delivered"), [("DELIVRD", True), ("UNDELIV", False)])
async def test_a_text_whose_parts_have_one_id_ends_with_the_first_receipt(
    database: Database, state: str, delivered: bool
) -> None:
    async with sent(database, "777") as world:
        assert [each.carrier_message_id for each in world.events.answers] == ["7"]
        await world.report("7", state)
        await world.events.until(lambda: bool(world.events.receipts))
        assert [(each.carrier_message_id, each.delivered) for each in world.events.receipts] == [("7", delivered)]
        for _ in range(2):  # it may report it as often as it had parts
            await world.report("7", state)
        assert await world.next() == ["4"]


async def test_a_text_of_which_two_parts_have_one_id_ends_with_the_receipts_of_both_ids(database: Database) -> None:
    async with sent(database, "778") as world:
        await world.report("8", "DELIVRD")
        assert not world.events.receipts
        await world.report("7", "DELIVRD")
        await world.events.until(lambda: bool(world.events.receipts))
        assert [each.carrier_message_id for each in world.events.receipts] == ["7"]


@pytest.mark.parametrize("reported", ["1", "2", "3"])
@pytest.mark.parametrize(("state", "code", "segments"), [("DELIVRD", 2000, 1), ("UNDELIV", 4006, 0)])
async def test_a_carrier_that_reports_one_part_of_each_text_reports_the_text(
    database: Database, reported: str, state: str, code: int, segments: int
) -> None:
    async with sent(database, "123", LongReceipts.ONE) as world:
        await world.report(reported, state)
        await world.events.until(lambda: bool(world.events.receipts))
        (receipt,) = world.events.receipts
        assert (receipt.carrier_message_id, receipt.code, receipt.segments_delivered) == ("1", code, segments)


async def test_a_text_of_which_each_part_is_to_be_reported_waits_for_all(database: Database) -> None:
    async with sent(database, "123") as world:
        for number in "12":
            await world.report(number, "DELIVRD")
        assert not world.events.receipts
        assert await world.next() == ["4"]
        await world.report("3", "DELIVRD")
        await world.events.until(lambda: len(world.events.receipts) == 2)
        assert world.events.receipts[1].segments_delivered == 3


async def test_ids_that_two_carriers_give_alike_are_of_two_messages(database: Database) -> None:
    """What one reports of them, or gives them to later, is nothing to the other."""
    north, south = (Records(database, name, uuid4(), Alphabet.GSM) for name in ("north", "south"))
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def receipts(*ids: str) -> list[Receipt]:
        return [Receipt(each, True, 2000, now) for each in ids]

    for to in (north, south):
        await to.remember_sent([["1", "2"]], now)
    assert await north.fold(receipts("1"), now) == []
    assert await south.fold(receipts("2"), now) == []
    (whole,) = await north.fold(receipts("2"), now)
    assert (whole.carrier_message_id, whole.delivered) == ("1", True)
    await north.remember_sent([["1", "3"]], now + timedelta(hours=1))  # it counts its ids anew
    assert await north.sent_parts(["1", "2", "3"]) == {"1", "3"}
    assert await south.sent_parts(["1", "2", "3"]) == {"1", "2"}
    (whole,) = await south.fold(receipts("1"), now)
    assert whole.carrier_message_id == "1"
    assert await north.fold(receipts("1"), now) == []


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("codes", [(5000, 2000), (2000, 5000)])
async def test_a_part_of_which_a_failure_is_taken_back_is_delivered(
    database: Database, codes: tuple[int, int], together: bool
) -> None:
    """As a text of one part is, of two receipts that come together, and as long as the others are waited for."""
    records, now = Records(database, "bare", uuid4(), Alphabet.GSM), datetime(2026, 11, 21, 12, tzinfo=UTC)
    await records.remember_sent([["1", "2"]], now)
    told = [Receipt("1", code == 2000, code, now) for code in codes]
    for receipts in [told] if together else [[each] for each in told]:
        assert await records.fold(receipts, now) == []
    (whole,) = await records.fold([Receipt("2", True, 2000, now)], now)
    assert (whole.delivered, whole.code, whole.segments_delivered) == (True, 2000, 2)


async def test_of_two_failures_of_a_part_the_first_is_told(database: Database) -> None:
    records, now = Records(database, "bare", uuid4(), Alphabet.GSM), datetime(2026, 11, 21, 12, tzinfo=UTC)
    await records.remember_sent([["1", "2"]], now)
    assert await records.fold([Receipt("1", False, code, now) for code in (5000, 4004)], now) == []
    (whole,) = await records.fold([Receipt("1", False, 4006, now), Receipt("2", True, 2000, now)], now)
    assert (whole.delivered, whole.code, whole.segments_delivered) == (False, 5000, 1)


async def test_a_carrier_that_reports_one_part_of_each_text_may_report_several_at_once(database: Database) -> None:
    records = Records(database, "bare", uuid4(), Alphabet.GSM, one_receipt=True)
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    await records.remember_sent([["1", "2", "3"]], now)
    (whole,) = await records.fold([Receipt(each, True, 2000, now) for each in "23"], now)
    assert (whole.carrier_message_id, whole.delivered) == ("1", True)


async def test_what_is_remembered_once_more_keeps_what_was_reported_meanwhile(database: Database) -> None:
    """Where the answer to the first was lost, another process may have been brought receipts since."""
    records, now = Records(database, "bare", uuid4(), Alphabet.GSM), datetime(2026, 11, 21, 12, tzinfo=UTC)
    await records.remember_sent([["1", "2"]], now)
    assert await records.fold([Receipt("1", True, 2000, now)], now) == []
    await records.remember_sent([["1", "2"]], now)
    (whole,) = await records.fold([Receipt("2", True, 2000, now)], now)
    assert (whole.carrier_message_id, whole.segments_delivered) == ("1", 2)
