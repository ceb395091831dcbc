"""The SMPP engine's way out, against the project's own SMSC: long texts, throttling, refusals, receipts."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs
from tests.support.patience import PATIENCE_S
from tests.support.smpp import crash
from tests.support.smpp_world import OURS, PHONE, World, until
from tests.support.still import StillClock

from landline.core.errors import Invalid, Unavailable
from landline.engines.smpp.config import Binding, MessageIds, SmppConfig
from landline.engines.smpp.slots import AllMine, Slots
from landline.ports.sms_carrier import CrashPolicy, Submission
from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.texts import LongStyle
from landline.testing.smsc import Conduct, ReceiptTime, Rule


@pytest.mark.parametrize("style", LongStyle)
@pytest.mark.parametrize("text", ["x€" * 200, "Grüße, мир 😀 " * 20, ""])
async def test_a_long_or_empty_text_arrives_whole_and_is_reported_once(
    world: World, style: LongStyle, text: str
) -> None:
    carrier = await world.start(long_style=style)
    await world.send(carrier, text, "short")
    await world.reported(2)
    assert {received.text for received in world.smsc.texts} == {text, "short"}
    assert {receipt.carrier_message_id for receipt in world.events.receipts} == {
        answer.carrier_message_id for answer in world.events.answers
    }
    parts = len(world.smsc.received) - 1
    folded = [receipt.segments_delivered for receipt in world.events.receipts if receipt.segments_delivered]
    assert folded == ([parts] if parts > 1 else [])


async def test_a_long_text_of_which_a_part_fails_has_failed(world: World) -> None:
    world.smsc.conduct.rules = [Rule(every=2, state=MessageState.UNDELIVERABLE, error=11)]
    carrier = await world.start(error_codes={"11": 4005})
    await world.send(carrier, "x" * 400)
    await world.reported(1)
    (receipt,) = world.events.receipts
    assert (receipt.delivered, receipt.code, receipt.segments_delivered) == (False, 4005, 2)


async def test_a_long_text_sent_before_a_crash_is_reported_after_it(world: World) -> None:
    carrier = await world.start()
    world.smsc.conduct.receipt_delay_s = 0.2
    await world.send(carrier, "x" * 400)
    await world.answered(1)
    await crash(carrier)
    await world.start()
    await world.reported(1)
    (receipt,) = world.events.receipts
    assert receipt.carrier_message_id == world.events.answers[0].carrier_message_id
    assert receipt.segments_delivered == 3


async def test_what_is_throttled_is_sent_again_more_slowly(world: World) -> None:
    world.smsc.conduct.rules = [
        Rule(every=7, status=status.ESME_RTHROTTLED),
        Rule(every=9, status=status.ESME_RMSGQFUL),
    ]
    carrier = await world.start()
    texts = [f"message {number}" for number in range(60)]
    with capture_logs() as logs:
        await world.send(carrier, *texts)
        await world.answered(60)
    assert all(answer.carrier_message_id for answer in world.events.answers)
    assert sorted(text.text for text in world.smsc.texts) == sorted(texts)
    assert carrier.counters()["outbox_throttled"] > 1
    said = {each["status"]: each["count"] for each in logs if each["event"] == "smpp.slowed_down"}
    assert said == {"ESME_RTHROTTLED": 1, "ESME_RMSGQFUL": 1}, "each once in a minute, however often it comes"


async def test_what_the_carrier_has_and_we_have_not_stored_is_bounded(world: World) -> None:
    """A crash sends it again: no more than the windows hold."""
    carrier = await world.start(window=10, binds=2)
    world.events.open.clear()
    await world.send(carrier, *(f"message {number}" for number in range(100)))
    await until(lambda: carrier.counters()["outbox_accepted"] == 20)
    assert carrier.counters()["outbox_submitted"] == len(world.smsc.received) == 20
    world.events.open.set()
    await world.answered(100)
    assert len({text.text for text in world.smsc.texts}) == len(world.smsc.texts) == 100


async def test_few_messages_wait_beside_the_window_of_a_slow_carrier(world: World) -> None:
    """What waits there cannot be taken back: an opt-out that comes meanwhile would not count."""
    carrier = await world.start(window=10)
    assert await carrier.room() == 20
    world.network.swallows = True
    await world.send(carrier, *(f"message {number}" for number in range(20)))
    waiting = asyncio.create_task(carrier.room())
    await asyncio.sleep(0)  # the task begins
    assert carrier.counters()["outbox_submitted"] == 10
    assert not waiting.done()
    carrier._binds.drain()
    world.network.cut()
    with pytest.raises(Unavailable):
        await waiting


async def test_as_many_messages_wait_beside_the_window_as_the_carrier_took_in_half_a_second_lately(
    world: World,
) -> None:
    world.clock = StillClock()
    carrier = await world.start(window=10)

    async def room_after(count: int) -> int:
        await world.send(carrier, *(["hello"] * count), report=False)
        await until(lambda: carrier.counters()["open"] == 0)
        return await carrier.room()

    assert await room_after(60) == 10 + 30
    await world.clock.advance(timedelta(seconds=1))
    assert await room_after(1) == 10 + 30, "this second has only begun"
    await world.clock.advance(timedelta(seconds=1))
    assert await room_after(1) == 10 + 10
    assert await room_after(39) == 10 + 20
    await world.clock.advance(timedelta(seconds=2))
    assert await room_after(1) == 10 + 10, "nothing was taken in the second before"


@pytest.mark.parametrize("policy", [CrashPolicy.UNKNOWN, CrashPolicy.QUERY])
async def test_none_wait_beside_the_window_where_a_crash_would_leave_them_in_doubt(
    world: World, policy: CrashPolicy
) -> None:
    carrier = await world.start(window=4, crash_policy=policy)
    assert await carrier.room() == carrier.at_once == 1
    world.network.swallows = True
    for number in range(4):
        await world.send(carrier, f"message {number}")
    waiting = asyncio.create_task(carrier.room())
    await asyncio.sleep(0)  # the task begins
    assert not waiting.done()
    world.network.cut()
    with pytest.raises(Unavailable):
        await waiting


async def test_throttling_without_end_is_answered_as_refused_for_now(world: World) -> None:
    world.smsc.conduct.rules = [Rule(status=status.ESME_RTHROTTLED)]
    carrier = await world.start(throttle_patience_s=10, throttle_pause_s=6)
    await world.send(carrier, "hello")
    for throttled in (1, 2):
        await until(lambda throttled=throttled: carrier.counters()["outbox_throttled"] == throttled)
        await world.clock.advance(timedelta(seconds=7))
    await world.answered(1)
    (answer,) = world.events.answers
    assert (answer.code, answer.temporary, answer.unknown) == (4008, True, False)


async def test_what_waits_for_a_slow_carrier_when_its_validity_ends_is_ended_then_and_never_sent(world: World) -> None:
    world.smsc.conduct.rules = [Rule(status=status.ESME_RTHROTTLED)]
    carrier = await world.start(throttle_patience_s=100, throttle_pause_s=30)
    begun, valid_until = world.clock.now(), world.clock.now() + timedelta(seconds=20)
    await carrier.submit(
        [
            Submission(uuid4(), OURS, PHONE, text, 1, report_wanted=True, valid_until=end)
            for text, end in (("short", valid_until), ("x" * 400, valid_until), ("lasting", None))
        ]
    )
    await until(lambda: carrier.counters()["outbox_throttled"] == carrier.counters()["outbox_submitted"])
    sent = carrier.counters()["outbox_submitted"]
    world.smsc.conduct.rules = []
    await world.clock.advance(timedelta(seconds=21))
    await world.answered(2)
    assert [(answer.code, answer.temporary, answer.unknown) for answer in world.events.answers] == [
        (5001, True, False)
    ] * 2
    assert {answer.reason for answer in world.events.answers} == {"its validity ended before it could be sent"}
    assert carrier.counters()["outbox_submitted"] == sent
    assert world.clock.now() < begun + timedelta(seconds=30)
    await world.clock.advance(timedelta(seconds=10))
    await world.answered(3)
    assert [text.text for text in world.smsc.texts] == ["lasting"]


async def test_a_long_text_that_was_begun_when_its_validity_ends_is_sent_whole(world: World) -> None:
    world.smsc.conduct.rules = [Rule(every=2, status=status.ESME_RTHROTTLED)]
    carrier = await world.start(window=1, throttle_patience_s=100, throttle_pause_s=30)
    valid_until = world.clock.now() + timedelta(seconds=20)
    await carrier.submit([Submission(uuid4(), OURS, PHONE, "x" * 400, 3, report_wanted=True, valid_until=valid_until)])
    await until(lambda: carrier.counters()["outbox_throttled"] == 1)
    world.smsc.conduct.rules = []
    await world.clock.advance(timedelta(seconds=21))
    assert (carrier.counters()["queued"], world.events.answers) == (2, [])
    await world.clock.advance(timedelta(seconds=10))
    await world.answered(1)
    assert [text.text for text in world.smsc.texts] == ["x" * 400]


REFUSALS = [
    (status.ESME_RINVDSTADR, 4002, False),
    (status.ESME_RINVSRCADR, 4001, False),
    (status.ESME_RSYSERR, 5001, True),
    (0x400, 9999, False),
]


@pytest.mark.parametrize(("state", "code", "temporary"), REFUSALS)
async def test_a_refusal_has_the_detail_code_of_its_status(
    world: World, state: int, code: int, temporary: bool
) -> None:
    world.smsc.conduct.rules = [Rule(status=state)]
    carrier = await world.start()
    await world.send(carrier, "hello", "x" * 400)
    await world.answered(2)
    assert len(world.events.answers) == 2
    for answer in world.events.answers:
        assert (answer.carrier_message_id, answer.code, answer.temporary) == (None, code, temporary)


async def test_what_smpp_cannot_carry_is_refused(world: World) -> None:
    carrier = await world.start()
    await carrier.submit([Submission(uuid4(), OURS, "+" + "1" * 30, "hello", 1, True)])
    await world.answered(1)
    assert world.events.answers[0].code == 5000


@pytest.mark.parametrize(
    "conduct",
    [
        Conduct(receipts=ReceiptTime.BEFORE),
        Conduct(receipt_copies=3),
        Conduct(receipts_backwards=True),
        Conduct(receipt_tlvs=False),
        Conduct(receipt_text=False),
    ],
)
async def test_receipts_may_come_early_again_backwards_and_in_either_form(world: World, conduct: Conduct) -> None:
    world.smsc.conduct = conduct
    carrier = await world.start()
    await world.send(carrier, *(f"message {number}" for number in range(20)), "x" * 200)
    await world.answered(21)
    ids = {answer.carrier_message_id for answer in world.events.answers}
    await world.events.until(lambda: {receipt.carrier_message_id for receipt in world.events.receipts} == ids)
    for message_id in ids:
        assert world.events.order.index(str(message_id)) < world.events.order.index(f"{message_id}!")
    assert all(receipt.delivered for receipt in world.events.receipts)


@pytest.mark.parametrize(
    ("style", "response", "receipt"),
    [
        (MessageIds.DEC_HEX, "{id:08X}", "{id:010}"),
        (MessageIds.HEX_DEC, "{id:010}", "{id:x}"),
        (MessageIds.DEC, "{id}", "{id:010}"),
        (MessageIds.HEX, "{id:08X}", "{id:x}"),
        (MessageIds.AS_IS, "{id} ", "{id}"),
    ],
)
async def test_ids_written_otherwise_are_matched(world: World, style: MessageIds, response: str, receipt: str) -> None:
    world.smsc.conduct = Conduct(response_id=response, receipt_id=receipt)
    carrier = await world.start(message_ids=style)
    await world.send(carrier, *(f"message {number}" for number in range(20)))
    await world.reported(20)
    assert {receipt.carrier_message_id for receipt in world.events.receipts} == {
        answer.carrier_message_id for answer in world.events.answers
    }


_AS_IS, _HEX, _DEC_HEX = MessageIds.AS_IS, MessageIds.HEX, MessageIds.DEC_HEX


@pytest.mark.parametrize("slots", [None, AllMine(1)])
@pytest.mark.parametrize(
    ("style", "response", "in_tlv", "in_text"),
    [
        (_AS_IS, "b{id}", "{id}", "b{id}"),
        (_AS_IS, "b{id}", "b{id}", "{id}"),
        (_AS_IS, "{id:x}", "{id:x}", "999{id}"),
        (_HEX, "0{id:x}", "other-{id}", "{id:X}"),
    ],
)
async def test_of_two_ids_in_a_receipt_the_one_that_is_known_counts(
    world: World, slots: Slots | None, style: MessageIds, response: str, in_tlv: str, in_text: str
) -> None:
    world.smsc.conduct = Conduct(response_id=response, receipt_id=in_text, receipt_tlv_id=in_tlv)
    carrier = await world.start(message_ids=style, slots=slots)
    for count in (3, 6):  # the second time it is known which of them counts
        await world.send(carrier, "one", "two", "long " * 60)
        await world.answered(count)
        await world.smsc.until(lambda sent=4 * (count // 3): world.smsc.counts.deliveries == sent)
        async with asyncio.timeout(PATIENCE_S):
            while len(world.events.receipts) < count:
                await world.clock.advance(timedelta(seconds=0.3))
    assert {receipt.carrier_message_id for receipt in world.events.receipts} == {
        answer.carrier_message_id for answer in world.events.answers
    }


async def test_two_ids_that_are_one_number_in_two_bases_are_no_two(world: World) -> None:
    """0x10 is 16: the message with the id 10 is another one."""
    world.smsc.conduct = Conduct(response_id="{id:x}", receipt_tlv_id="{id:x}", receipt_id="{id}")
    carrier = await world.start(message_ids=_DEC_HEX)
    await world.send(carrier, *(f"message {number}" for number in range(20)))
    await world.reported(20)
    assert sorted(receipt.carrier_message_id for receipt in world.events.receipts) == sorted(
        str(number) for number in range(1, 21)
    )


async def test_a_receipt_for_a_message_nobody_knows_is_passed_on_all_the_same(world: World) -> None:
    world.smsc.conduct = Conduct(receipt_id="other-{id}")
    carrier = await world.start()
    await world.send(carrier, "hello")
    await world.answered(1)
    await world.smsc.until(lambda: world.smsc.counts.deliveries == 1)
    await world.clock.advance(timedelta(seconds=2))
    await world.reported(1)
    assert world.events.receipts[0].carrier_message_id == "other-1"


async def test_receipts_of_what_another_system_sent_hold_up_nothing(world: World) -> None:
    """They come over the same account, and what comes after them has to wait until the SMSC's window is free."""
    world.smsc.limits = replace(world.smsc.limits, window=10)
    await world.start()
    said = [b"id:other%d stat:DELIVRD err:000" % number for number in range(100)]
    world.smsc.deliver("landline", [pdu.encode_body(ShortMessage(esm_class=4, short_message=each)) for each in said])
    world.smsc.text(PHONE, OURS, "hello")
    await world.arrived(1)
    assert len(world.events.receipts) >= 90


async def test_receipts_of_what_another_system_sent_hold_up_little_where_several_processes_send(world: World) -> None:
    """The first ones wait for what another process may not have stored yet."""
    world.smsc.limits = replace(world.smsc.limits, window=10)
    carrier = await world.start(slots=AllMine(1))
    said = [b"id:other%d stat:DELIVRD err:000" % number for number in range(100)]
    world.smsc.deliver("landline", [pdu.encode_body(ShortMessage(esm_class=4, short_message=each)) for each in said])
    world.smsc.text(PHONE, OURS, "hello")
    for count in (10, 20):
        await until(lambda count=count: carrier.counters()["inbox_receipts"] >= count)
        await world.clock.advance(timedelta(seconds=1.1))
    await world.arrived(1)
    assert carrier.counters()["inbox_receipts_early"] <= 30


async def test_passing_and_unreadable_receipts_are_acknowledged_and_not_passed_on(world: World) -> None:
    carrier = await world.start()
    bodies = [
        pdu.encode_body(ShortMessage(source_addr="1", destination_addr="2", esm_class=4, short_message=text))
        for text in (b"id:1 stat:ENROUTE", b"what?")
    ]
    world.smsc.deliver("landline", bodies)
    await world.smsc.until(lambda: world.smsc.counts.delivered == 2)
    assert world.events.receipts == []
    counters = carrier.counters()
    assert (counters["inbox_receipts_passing"], counters["inbox_receipts_unreadable"]) == (1, 1)


async def test_a_pair_sends_on_one_bind_and_hears_on_the_other(world: World) -> None:
    carrier = await world.start(binding=Binding.PAIR)
    assert carrier.bound == 2
    await world.send(carrier, "hello")
    await world.reported(1)


@pytest.mark.parametrize(
    ("sender", "ton", "npi", "address"),
    [(OURS, 1, 1, "18005550100"), ("12345", 3, 0, "12345"), ("Contoso", 5, 0, "Contoso")],
)
async def test_senders_have_the_type_of_their_kind(world: World, sender: str, ton: int, npi: int, address: str) -> None:
    carrier = await world.start(service_type="VMA", validity_s=93784)
    await world.send(carrier, "hello", sender=sender, report=False)
    await world.answered(1)
    (received,) = world.smsc.received
    assert (received.source_ton, received.source_npi, received.sender) == (ton, npi, address)
    assert (received.recipient, received.registered_delivery) == (PHONE[1:], 0)
    assert (received.service_type, received.validity_period) == ("VMA", "000001020304000R")


async def test_a_message_can_be_asked_for(world: World) -> None:
    carrier = await world.start(crash_policy=CrashPolicy.QUERY)
    await world.send(carrier, "hello")
    await world.answered(1)
    assert carrier.crash_policy is CrashPolicy.QUERY
    found = await carrier.query("1", OURS)
    assert found is not None
    assert (found.carrier_message_id, found.delivered, found.code) == ("1", True, 2000)
    assert await carrier.query("99", OURS) is None
    assert await carrier.query("?" * 65, OURS) is None


async def test_a_message_is_asked_for_over_a_bind_that_may_submit(world: World) -> None:
    world.smsc.conduct.rules = [Rule(silent=True)]
    carrier = await world.start(binding=Binding.PAIR, window=2)
    await world.send(carrier, "not answered")
    assert await carrier.query("99", OURS) is None
    await world.send(carrier, "nor this one")
    with pytest.raises(Unavailable, match="cannot be asked now"):
        await carrier.query("99", OURS)


@pytest.mark.parametrize("written", ["a{id:03x}", "A{id:03X}", "{id:08x}", "00A{id:05X}", "{id}"])
@pytest.mark.parametrize("style", [MessageIds.HEX, MessageIds.DEC_HEX])
async def test_a_message_is_asked_for_by_the_id_that_its_carrier_wrote(
    world: World, written: str, style: MessageIds
) -> None:
    carrier = await world.start(crash_policy=CrashPolicy.QUERY, message_ids=style)
    world.smsc.conduct.response_id = written
    await world.send(carrier, "hello", report=False)
    await world.answered(1)
    (answer,) = world.events.answers
    stored = str(int(written.format(id=1), 16))
    assert answer.carrier_message_id == stored
    found = await carrier.query(stored, OURS)
    assert found is not None
    assert (found.carrier_message_id, found.delivered) == (stored, True)


async def test_an_id_that_is_no_number_is_asked_for_as_it_is(world: World) -> None:
    carrier = await world.start(crash_policy=CrashPolicy.QUERY, message_ids=MessageIds.HEX)
    world.smsc.conduct.response_id = "north-{id}"
    await world.send(carrier, "hello", report=False)
    await world.answered(1)
    found = await carrier.query("north-1", OURS)
    assert found is not None
    assert (found.carrier_message_id, found.delivered) == ("north-1", True)


async def test_the_trace_has_headers_and_no_bodies(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    carrier = await world.start(trace=True)
    await world.send(carrier, "a-secret-code")
    await world.reported(1)
    shown = capsys.readouterr().out
    for command, direction in (("00000004", "out"), ("80000004", "in"), ("00000005", "in")):
        assert f"command={command} direction={direction}" in shown
    assert "a-secret-code" not in shown
    assert PHONE not in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"system_id": "x" * 65},
        {"password": "x" * 65},
        {"address_range": "x" * 41},
        {"window": 0},
        {"binds": 0},
        {"response_s": 0.0},
        {"receiver_port": 2776},
        {"esm_class": 4},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        SmppConfig(**{"name": "x", "host": "h", "port": 1, "system_id": "a", "password": "b", **wrong})


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(SmppConfig("x", "h", 1, "a", "secret"))


async def test_nothing_is_remembered_of_a_long_text_without_a_report_once_it_is_told(world: World) -> None:
    carrier = await world.start()
    await world.send(carrier, "long " * 60, report=False)
    await world.answered(1)
    await until(lambda: carrier.counters()["open"] == 0)
    assert carrier._outbox.untold == set()
