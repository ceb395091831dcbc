"""Receipts that a carrier does not mark as such."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from tests.support.bare_smsc import BareSmsc, deliver_sm, text
from tests.support.carrier_events import Recorder
from tests.support.smpp_world import until_bound

from landline.engines.clock import DrivenClock
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import SmppConfig
from landline.protocols.smpp import status
from landline.protocols.smpp.commands import ESM_INTERMEDIATE, ESM_RECEIPT, Tag
from landline.protocols.smpp.pdu import ShortMessage
from landline.store.database import Database

RECEIPT = b"id:42 sub:001 dlvrd:001 submit date:2611220000 done date:2611220000 stat:UNDELIV err:001 text:hi"
RECEIPTS = [
    text(RECEIPT),
    text(RECEIPT.swapcase()),
    text(b"stat:UNDELIV err:001 id:42"),
    text(b"", tlvs=((Tag.MESSAGE_PAYLOAD, RECEIPT),)),
    text(RECEIPT.decode().encode("utf-16"), data_coding=8),  # with a byte order mark
]
WORDS = [b"id: is what I forgot", b"My id:42, stat:DELIVRD", b"id:42", b"stat: fine"]


class Bound:
    """A bare SMSC and a carrier bound to it."""

    def __init__(self, smsc: BareSmsc, clock: DrivenClock, events: Recorder) -> None:
        self._smsc, self._clock, self.events = smsc, clock, events

    async def bring(self, message: ShortMessage) -> None:
        """A deliver_sm, which is acknowledged."""
        await self._smsc.say(deliver_sm(1, message))
        while not self._smsc.frames:
            await self._clock.advance(timedelta(seconds=1))  # nobody may know it
        assert await self._smsc.answers(1) == [(status.ESME_ROK, 1)]


@asynccontextmanager
async def bound(database: Database, *, unmarked_receipts: bool = False) -> AsyncGenerator[Bound]:
    smsc, clock, events = BareSmsc(), DrivenClock(), Recorder()
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret", unmarked_receipts=unmarked_receipts)
    carrier = SmppCarrier(config, database, clock)
    await carrier.start(events)
    await until_bound(carrier)
    yield Bound(smsc, clock, events)
    await carrier.close()
    await smsc.close()


@pytest.mark.parametrize("message", RECEIPTS)
async def test_what_is_written_as_a_receipt_is_one_where_the_carrier_marks_none(
    database: Database, message: ShortMessage
) -> None:
    async with bound(database, unmarked_receipts=True) as carrier:
        await carrier.bring(message)
        await carrier.events.until(lambda: bool(carrier.events.receipts))
        assert [(each.carrier_message_id, each.delivered) for each in carrier.events.receipts] == [("42", False)]
        assert not carrier.events.arrivals


async def test_what_phones_write_is_a_text_where_the_carrier_marks_none(database: Database) -> None:
    async with bound(database, unmarked_receipts=True) as carrier:
        for words in WORDS:
            await carrier.bring(text(words))
        await carrier.events.until(lambda: len(carrier.events.arrivals) == len(WORDS))
        assert not carrier.events.receipts


async def test_a_text_that_is_written_as_a_receipt_is_a_text_else_and_told_of_once(database: Database) -> None:
    async with bound(database) as carrier:
        with capture_logs() as logs:
            for message in RECEIPTS:
                await carrier.bring(message)
            await carrier.events.until(lambda: len(carrier.events.arrivals) == len(RECEIPTS))
        assert not carrier.events.receipts
        assert [each["carrier"] for each in logs if each["event"] == "smpp.text_looks_like_receipt"] == ["bare"]


@pytest.mark.parametrize("esm_class", [0x08, 0x10])
async def test_a_receipt_that_calls_itself_an_acknowledgement_is_one(database: Database, esm_class: int) -> None:
    async with bound(database) as carrier:
        await carrier.bring(text(RECEIPT, esm_class=esm_class))
        await carrier.events.until(lambda: bool(carrier.events.receipts))
        await carrier.bring(text(b"I have read it", esm_class=esm_class))
        await carrier.events.until(lambda: bool(carrier.events.arrivals))
        assert [each.text for each in carrier.events.arrivals] == ["I have read it"]


async def test_an_intermediate_notification_of_a_failure_ends_no_message(database: Database) -> None:
    async with bound(database) as carrier:
        await carrier.bring(text(RECEIPT, esm_class=ESM_INTERMEDIATE))
        await carrier.bring(text(RECEIPT.replace(b"UNDELIV", b"DELIVRD"), esm_class=ESM_RECEIPT))
        await carrier.events.until(lambda: bool(carrier.events.receipts))
        assert [(each.carrier_message_id, each.delivered) for each in carrier.events.receipts] == [("42", True)]
        assert not carrier.events.arrivals
