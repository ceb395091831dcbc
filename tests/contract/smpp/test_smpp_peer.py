"""Interoperability with an SMPP implementation that is not ours: smpp34 (Rust), as codec, as SMSC and as ESME."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st
from tests.support.carrier_events import Recorder
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port
from tests.support.smpp_world import OURS, PHONE

from landline.engines.clock import SystemClock
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import SmppConfig
from landline.ports.sms_carrier import Submission
from landline.protocols.smpp import pdu, receipts
from landline.protocols.smpp.commands import ESM_RECEIPT, Command, MessageState
from landline.protocols.smpp.pdu import ShortMessage
from landline.store.database import Database
from landline.testing.smsc import Smsc

FIELDS = [name for name in ShortMessage.__struct_fields__ if name != "tlvs"]

_octet = st.integers(0, 255)
_address = st.from_regex(r"[0-9A-Za-z+]{0,20}", fullmatch=True)
_messages = st.builds(
    ShortMessage,
    service_type=st.from_regex(r"[A-Z]{0,5}", fullmatch=True),
    source_addr_ton=st.integers(0, 6),
    source_addr=_address,
    dest_addr_npi=st.integers(0, 1),
    destination_addr=_address,
    esm_class=_octet,
    protocol_id=_octet,
    registered_delivery=_octet,
    data_coding=_octet,
    short_message=st.binary(max_size=254),
    tlvs=st.lists(st.tuples(st.integers(0x1400, 0x3FFF), st.binary(max_size=30)), max_size=3).map(tuple),
)


@pytest.mark.parametrize(
    ("command", "kind"), [(Command.SUBMIT_SM, smpp34.SubmitSm), (Command.DELIVER_SM, smpp34.DeliverSm)]
)
@given(message=_messages)
def test_both_codecs_agree(command: Command, kind: type, message: ShortMessage) -> None:
    theirs: Any = smpp34.decode(pdu.encode(command, message, 7))
    assert isinstance(theirs, kind)
    for name in FIELDS:
        assert getattr(theirs, name) == getattr(message, name), name
    assert tuple((tlv.tag, tlv.value) for tlv in theirs.tlvs) == message.tlvs
    assert pdu.decode(theirs.encode()) == message


@pytest.fixture
async def smsc() -> AsyncGenerator[tuple[smpp34.Server, int]]:
    port = free_port()
    server = smpp34.Server("127.0.0.1", port, system_id="theirs")
    await server.start()
    yield server, port
    await server.stop()


async def test_our_engine_speaks_with_their_smsc(smsc: tuple[smpp34.Server, int], database: Database) -> None:
    server, port = smsc
    events = Recorder()
    carrier = SmppCarrier(SmppConfig("theirs", "127.0.0.1", port, "us", "pw"), database, SystemClock())
    await carrier.start(events)
    async with asyncio.timeout(PATIENCE_S):
        esme = await server.next()
        assert isinstance(esme, smpp34.Esme)
        await carrier.submit([Submission(uuid4(), OURS, PHONE, "hello €", 1, True)])
        taken = await server.next()
        assert isinstance(taken, smpp34.SubmitSmEvent)
        assert (taken.destination_addr, taken.short_message) == (PHONE[1:], b"hello \x1be")
        taken.accept("their-id")
        await events.until(lambda: bool(events.answers))
        receipt = (
            b"id:their-id sub:001 dlvrd:001 submit date:2611201200 done date:2611201201 stat:DELIVRD err:000 text:"
        )
        answered = await esme.deliver_sm(OURS[1:], receipt, source_addr=PHONE[1:], esm_class=ESM_RECEIPT)
        assert answered.is_success
    assert [answer.carrier_message_id for answer in events.answers] == ["their-id"]
    assert [(report.carrier_message_id, report.code) for report in events.receipts] == [("their-id", 2000)]
    await carrier.close()


async def test_their_client_speaks_with_our_smsc() -> None:
    smsc = Smsc({"them": "pw"})
    await smsc.start()
    async with asyncio.timeout(PATIENCE_S):
        client = smpp34.Client("127.0.0.1", smsc.port, "them", "pw", bind_type="TRX")
        session = await client.connect()
        answer = await session.submit_sm(PHONE[1:], b"hello", source_addr=OURS[1:], registered_delivery=1)
        assert answer.is_success
        event = await session.next()
        assert isinstance(event, smpp34.DeliverSmEvent)
        read = receipts.parse(event.short_message)
        assert read is not None
        assert (read.message_id, read.state) == (answer.message_id, MessageState.DELIVERED)
        await session.unbind()
        await client.stop()
    await smsc.close()
