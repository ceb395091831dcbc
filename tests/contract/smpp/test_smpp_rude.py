"""Carriers that bend the rules of SMPP: nothing is lost by it, and the carrier goes on."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from random import randbytes
from uuid import uuid4

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.support.bare_smsc import BareSmsc, deliver_sm, text
from tests.support.carrier_events import Recorder
from tests.support.patience import PATIENCE_S
from tests.support.smpp_world import OURS, PHONE, until, until_bound

from landline.engines.clock import DrivenClock
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import Binding, SmppConfig
from landline.ports.sms_carrier import Submission
from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import ESM_RECEIPT, ESM_UDH, RESPONSE, BindKind, Command, Tag
from landline.protocols.smpp.framing import HEADER
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.texts import LongStyle
from landline.store.database import Database


class World:
    """A bare SMSC and a carrier bound to it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.smsc = BareSmsc()
        self.events = Recorder()
        self.clock = DrivenClock()
        self.config: SmppConfig
        self.carrier: SmppCarrier

    async def start(self) -> None:
        self.config = SmppConfig("bare", "127.0.0.1", await self.smsc.start(), "us", "secret", backoff_first_s=0.01)
        await self.bind()

    async def bind(self) -> None:
        """Start a carrier, as after a restart."""
        self.carrier = SmppCarrier(self.config, self.database, self.clock)
        await self.carrier.start(self.events)
        await until_bound(self.carrier)


@pytest.fixture
async def world(database: Database) -> AsyncGenerator[World]:
    world = World(database)
    await world.start()
    yield world
    await world.carrier.close()
    await world.smsc.close()


async def test_deliveries_under_one_sequence_number_are_each_taken_and_answered(world: World) -> None:
    await world.smsc.say(deliver_sm(7, text(b"one")) + deliver_sm(7, text(b"two")))
    assert await world.smsc.answers(2) == [(status.ESME_ROK, 7)] * 2
    await world.smsc.say(deliver_sm(8, text(b"three")))
    assert await world.smsc.answers(1) == [(status.ESME_ROK, 8)]
    assert [arrival.text for arrival in world.events.arrivals] == ["one", "two", "three"]


async def test_a_sar_reference_of_any_size_is_read(world: World) -> None:
    parts = [
        text(
            words,
            tlvs=(
                (Tag.SAR_MSG_REF_NUM, b"\xff" * 6 + b"\1\2"),
                (Tag.SAR_TOTAL_SEGMENTS, b"\2"),
                (Tag.SAR_SEGMENT_SEQNUM, number),
            ),
        )
        for words, number in ((b"one ", b"\1"), (b"two", b"\2"))
    ]
    await world.smsc.say(deliver_sm(1, parts[0]) + deliver_sm(2, parts[1]))
    assert await world.smsc.answers(2) == [(status.ESME_ROK, 1), (status.ESME_ROK, 2)]
    assert [arrival.text for arrival in world.events.arrivals] == ["one two"]


async def test_a_text_by_the_tables_of_its_language_arrives_as_it_was_written(world: World) -> None:
    said = [
        bytes.fromhex("06 250101 240101") + bytes.fromhex("40 79 69 20 1b53"),
        bytes.fromhex("08 0003070201 250106") + bytes.fromhex("2f 42 4c"),
        bytes.fromhex("08 0003070202 250106") + bytes.fromhex("5f 27 59"),
    ]
    for number, octets in enumerate(said):
        await world.smsc.say(deliver_sm(number, text(octets, esm_class=ESM_UDH)))
        assert await world.smsc.answers(1) == [(status.ESME_ROK, number)]
    assert [(arrival.text, arrival.segments) for arrival in world.events.arrivals] == [("İyi Ş", 1), ("नमस्ते", 2)]


async def test_a_header_that_leaves_no_room_for_a_text_loses_none(world: World) -> None:
    header = bytes((0xFE, 0x25, 1, 6, 0x7F, 249, *bytes(249)))
    said = text(b"", esm_class=ESM_UDH, tlvs=((Tag.MESSAGE_PAYLOAD, header + b"/" * 40_000),))
    await world.smsc.say(deliver_sm(1, said))
    assert await world.smsc.answers(1) == [(status.ESME_ROK, 1)]
    [arrival] = world.events.arrivals
    assert (len(arrival.text), arrival.segments) == (40_000, 255)


async def test_what_is_too_long_for_an_address_is_cut_and_its_text_is_taken(world: World) -> None:
    long = bytes(97 + octet % 26 for octet in randbytes(5000))
    parts = [
        deliver_sm(number, text(words, esm_class=ESM_UDH, source_addr_ton=5, source_addr="long"))
        for number, words in enumerate((b"\5\0\3\7\2\1one ", b"\5\0\3\7\2\2two"), start=1)
    ]
    for frame in parts:
        body = frame[16:].replace(b"long\0", long + b"\0")
        await world.smsc.say((16 + len(body)).to_bytes(4, "big") + frame[4:16] + body)
    assert sorted(await world.smsc.answers(2)) == [(status.ESME_ROK, 1), (status.ESME_ROK, 2)]
    assert [(each.text, each.sender) for each in world.events.arrivals] == [("one two", long[:64].decode())]


def sar(total: int, sequence: int) -> tuple[tuple[int, bytes], ...]:
    return (
        (Tag.SAR_MSG_REF_NUM, b"\0\1"),
        (Tag.SAR_TOTAL_SEGMENTS, bytes((total,))),
        (Tag.SAR_SEGMENT_SEQNUM, bytes((sequence,))),
    )


ODD_PARTS = [
    ([text(b"\5\0\3\7\1\1one", esm_class=ESM_UDH)], ["one"]),
    ([text(b"\5\0\3\7\2\0zero", esm_class=ESM_UDH)], ["zero"]),
    ([text(b"\5\0\3\7\2\3three", esm_class=ESM_UDH)], ["three"]),
    ([text(b"\5\0\3\7\0\0none", esm_class=ESM_UDH)], ["none"]),
    (
        [text(b"one", tlvs=sar(1, 1)), text(b"zero", tlvs=sar(2, 0)), text(b"more", tlvs=sar(2, 3))],
        ["one", "zero", "more"],
    ),
    ([text(b"Hello", esm_class=ESM_UDH)], ["Hello"]),
    ([text(b"Hello" * 20, esm_class=ESM_UDH)], ["Hello" * 20]),
    ([text(b"\5\0\3", esm_class=ESM_UDH)], ["é@¥"]),
    ([text(b"", esm_class=ESM_UDH)], [""]),
    ([text(b"\0empty", esm_class=ESM_UDH)], ["empty"]),
    ([text(b"\5\0\3\7\1\1", esm_class=ESM_UDH)], [""]),
    ([text(b"\0\0H\0i", esm_class=ESM_UDH, data_coding=8)], ["Hi"]),
    ([text(b"\0H\0i", esm_class=ESM_UDH, data_coding=8)], ["Hi"]),
    (
        [text(b"", esm_class=ESM_UDH, tlvs=((Tag.MESSAGE_PAYLOAD, b"\5\0\3\7\2\1" + b"large" * 1000),))],
        ["large" * 1000],
    ),
    (
        [
            text(b"\5\0\3\7\3\1one ", esm_class=ESM_UDH),
            text(b"\5\0\3\7\3\2\0t\0w\0o\xd8\x3d", esm_class=ESM_UDH, data_coding=8),
            text(b"\5\0\3\7\3\3\xde\0", esm_class=ESM_UDH, data_coding=8),
        ],
        ["one two\U0001f600"],
    ),
]
"""What an SMSC brings, and the texts it is."""


@pytest.mark.parametrize(("brought", "texts"), ODD_PARTS)
async def test_odd_parts_lose_nothing(world: World, brought: list[ShortMessage], texts: list[str]) -> None:
    await world.smsc.say(b"".join(deliver_sm(number, each) for number, each in enumerate(brought, start=1)))
    assert sorted(await world.smsc.answers(len(brought))) == [(0, number) for number in range(1, len(brought) + 1)]
    assert [arrival.text for arrival in world.events.arrivals] == texts


async def test_texts_and_receipts_may_come_by_data_sm(world: World) -> None:
    await world.carrier.submit([Submission(uuid4(), OURS, PHONE, "hello", 1, True)])
    _, sequence = await world.smsc.request()
    await world.smsc.say(pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer("42"), sequence))
    await world.events.until(lambda: bool(world.events.answers))
    addresses = {"source_addr_ton": 1, "source_addr": PHONE[1:], "dest_addr_ton": 1, "destination_addr": OURS[1:]}
    texts = pdu.DataSm(**addresses, tlvs=((Tag.MESSAGE_PAYLOAD, b"hi"),))
    receipt = pdu.DataSm(
        **addresses, esm_class=4, tlvs=((Tag.RECEIPTED_MESSAGE_ID, b"42\0"), (Tag.MESSAGE_STATE, b"\2"))
    )
    passing = pdu.DataSm(
        **addresses, esm_class=4, tlvs=((Tag.RECEIPTED_MESSAGE_ID, b"42\0"), (Tag.MESSAGE_STATE, b"\1"))
    )
    for number, body in ((7, texts), (8, passing), (9, receipt)):
        await world.smsc.say(pdu.encode(Command.DATA_SM, body, number))
        await until(lambda: bool(world.smsc.frames))
        assert world.smsc.frames.pop() == HEADER.pack(17, Command.DATA_SM | RESPONSE, 0, number) + b"\0"  # §4.7.2
    assert [arrival.text for arrival in world.events.arrivals] == ["hi"]
    assert [(each.carrier_message_id, each.delivered) for each in world.events.receipts] == [("42", True)]
    await world.smsc.say(HEADER.pack(16, Command.DATA_SM, 0, 10))
    await until(lambda: bool(world.smsc.frames))
    assert world.smsc.frames.pop() == HEADER.pack(17, Command.DATA_SM | RESPONSE, 2, 10) + b"\0"


async def test_texts_and_receipts_in_gsm_may_call_themselves_ascii(world: World) -> None:
    """As npm's smpp writes them: `_` is 0x11, `@` is 0."""
    await world.carrier.submit([Submission(uuid4(), OURS, PHONE, "hello", 1, True)])
    _, sequence = await world.smsc.request()
    await world.smsc.say(pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer("msg_1"), sequence))
    await world.events.until(lambda: bool(world.events.answers))
    text = b"id:msg\x111 sub:001 dlvrd:001 submit date:2611201200 done date:2611201201 stat:DELIVRD err:000 text:"
    from_phone = ShortMessage(
        source_addr_ton=1, source_addr=PHONE[1:], destination_addr=OURS[1:], data_coding=1, short_message=b"a\x11b\0c"
    )
    receipt = msgspec.structs.replace(from_phone, esm_class=4, short_message=text)
    await world.smsc.say(deliver_sm(1, from_phone) + deliver_sm(2, receipt))
    assert sorted(await world.smsc.answers(2)) == [(0, 1), (0, 2)]
    assert [arrival.text for arrival in world.events.arrivals] == ["a_b@c"]
    assert [(each.carrier_message_id, each.delivered) for each in world.events.receipts] == [("msg_1", True)]


async def test_message_ids_of_any_size_keep_no_other_answer(world: World) -> None:
    await world.carrier.submit([Submission(uuid4(), OURS, PHONE, "x" * 200, 2, True)])
    for _ in range(2):
        _, sequence = await world.smsc.request()
        huge = randbytes(6000).hex().encode() + b"\0"
        await world.smsc.say(HEADER.pack(16 + len(huge), Command.SUBMIT_SM | RESPONSE, 0, sequence) + huge)
    await world.carrier.submit([Submission(uuid4(), OURS, PHONE, "short", 1, True)])
    _, sequence = await world.smsc.request()
    await world.smsc.say(pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer("1"), sequence))
    await world.events.until(lambda: "1" in [answer.carrier_message_id for answer in world.events.answers])
    assert len(world.events.answers) == 2
    assert all(len(answer.carrier_message_id or "") <= 255 for answer in world.events.answers)


@pytest.mark.parametrize("given", ["", "0"])
async def test_messages_without_ids_of_their_own_are_told_apart(world: World, given: str) -> None:
    world.events.open.clear()
    await world.carrier.submit([Submission(uuid4(), OURS, PHONE, "hello", 1, True) for _ in range(3)])
    with capture_logs() as logs:
        for _ in range(3):
            _, sequence = await world.smsc.request()
            await world.smsc.say(pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer(given), sequence))
        world.events.open.set()
        await world.events.until(lambda: len(world.events.answers) == 3)
    said = [each["event"] for each in logs if each["event"].startswith("smpp.")]
    assert said == ["smpp.message_id_again" if given else "smpp.no_message_id"]
    ids = {answer.carrier_message_id for answer in world.events.answers}
    assert len(ids) == 3
    assert "" not in ids


async def test_a_long_text_whose_parts_have_ids_that_another_ones_had_is_reported_by_its_own_receipts(
    world: World,
) -> None:
    await _send(world, "x" * 200, ids=["1", "2"])
    await _report(world, "1", "DELIVRD")
    await _report(world, "2", "UNDELIV")
    await world.clock.advance(timedelta(seconds=1))
    await _send(world, "x" * 200, ids=["1", "2"])  # the SMSC was restarted, and counts anew
    await _report(world, "1", "DELIVRD")
    assert [(each.carrier_message_id, each.delivered) for each in world.events.receipts] == [("1", False)]
    await _report(world, "2", "DELIVRD")
    assert [(each.carrier_message_id, each.delivered) for each in world.events.receipts[1:]] == [("1", True)]


async def test_a_short_text_with_an_id_that_a_long_ones_part_had_is_reported_after_a_restart(world: World) -> None:
    await _send(world, "x" * 200, ids=["1", "2"])
    await _report(world, "1", "DELIVRD")
    await _report(world, "2", "UNDELIV")
    await world.carrier.close()
    await world.clock.advance(timedelta(hours=7))
    await world.bind()
    await _send(world, "short", ids=["2"])  # the SMSC was restarted, and counts anew
    await world.carrier.close()
    await world.bind()
    await _report(world, "2", "DELIVRD")
    last = world.events.receipts[-1]
    assert (last.carrier_message_id, last.delivered) == ("2", True)


async def _send(world: World, text: str, *, ids: list[str]) -> None:
    """Send `text`, whose parts the SMSC gives `ids`; until that is stored."""
    before = len(world.events.answers)
    await world.carrier.submit([Submission(uuid4(), OURS, PHONE, text, len(ids), True)])
    for given in ids:
        _, sequence = await world.smsc.request()
        await world.smsc.say(pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer(given), sequence))
    await world.events.until(lambda: len(world.events.answers) > before)


async def _report(world: World, message_id: str, state: str) -> None:
    """The SMSC brings a receipt, which is acknowledged."""
    words = f"id:{message_id} sub:001 dlvrd:001 submit date:2611220000 done date:2611220000 stat:{state} err:000 text:"
    await world.smsc.say(deliver_sm(1, text(words.encode(), esm_class=ESM_RECEIPT)))
    while len(world.smsc.frames) < 1:
        await world.clock.advance(timedelta(seconds=1))  # nobody may know it
    assert await world.smsc.answers(1) == [(status.ESME_ROK, 1)]


async def test_what_an_smsc_answers_after_its_unbind_counts(world: World) -> None:
    await world.carrier.submit([Submission(uuid4(), OURS, PHONE, "hello", 1, True)])
    _, sequence = await world.smsc.request()
    answer = pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer("1"), sequence)
    await world.smsc.say(HEADER.pack(16, Command.UNBIND, 0, 77))
    await world.smsc.say(answer)
    await world.events.until(lambda: bool(world.events.answers))
    assert [answer.carrier_message_id for answer in world.events.answers] == ["1"]
    assert await world.smsc.answers(1) == [(status.ESME_ROK, 77)]


async def test_an_smsc_that_unbinds_and_answers_nothing_is_bound_again_soon(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.carrier.submit([Submission(uuid4(), OURS, PHONE, "hello", 1, True)])
    await world.smsc.request()
    await world.smsc.say(HEADER.pack(16, Command.UNBIND, 0, 77))
    await until(lambda: not world.carrier.up)
    await world.clock.advance(timedelta(seconds=10.1))
    assert await world.smsc.answers(1) == [(status.ESME_ROK, 77)]
    await world.events.until(lambda: bool(world.events.answers))
    assert [answer.unknown for answer in world.events.answers] == [True]
    await until(lambda: world.carrier.counters()["link_losses"] == 1)
    assert "the SMSC unbound" in capsys.readouterr().out
    async with asyncio.timeout(PATIENCE_S):
        while not world.carrier.bound:
            await world.clock.advance(timedelta(seconds=1))


async def test_we_unbind_once_what_is_in_flight_is_answered(world: World) -> None:
    await world.carrier.submit([Submission(uuid4(), OURS, PHONE, "hello", 1, True)])
    _, sequence = await world.smsc.request()
    closing = asyncio.create_task(world.carrier.close())
    await until(lambda: not world.carrier.up)
    await world.smsc.say(pdu.encode(Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer("1"), sequence))
    await closing
    assert [answer.carrier_message_id for answer in world.events.answers] == ["1"]


async def test_closing_while_the_smsc_unbinds_ends(world: World) -> None:
    await world.carrier.submit([Submission(uuid4(), OURS, PHONE, "hello", 1, True)])
    _, sequence = await world.smsc.request()
    await world.smsc.say(HEADER.pack(16, Command.UNBIND, 0, 77))
    await until(lambda: not world.carrier.up)
    world.carrier._binds.links[0].close()
    await world.smsc.say(HEADER.pack(16, Command.SUBMIT_SM | RESPONSE, 0, sequence))
    await world.carrier.close()
    assert [answer.unknown for answer in world.events.answers] == [False]


async def test_a_lost_connection_is_logged_with_its_link_and_what_it_leaves_unanswered(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.carrier.submit([Submission(uuid4(), OURS, PHONE, "hello", 1, True)])
    await world.smsc.request()
    world.smsc.cut()
    await world.events.until(lambda: bool(world.events.answers))
    [line] = [line for line in capsys.readouterr().out.splitlines() if "smpp.connection_lost" in line]
    assert "bare/0/transceiver" in line
    assert "unanswered=1" in line


@pytest.mark.parametrize(
    ("style", "version", "warned"),
    [
        (LongStyle.UDH8, None, False),
        (LongStyle.SAR, 0x34, False),
        (LongStyle.SAR, None, True),
        (LongStyle.PAYLOAD, 0x33, True),
    ],
)
async def test_an_operator_is_told_of_an_smsc_that_may_know_no_tlvs(
    database: Database, capsys: pytest.CaptureFixture[str], style: LongStyle, version: int | None, warned: bool
) -> None:
    smsc = BareSmsc(version)
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret", long_style=style)
    carrier = SmppCarrier(config, database, DrivenClock())
    await carrier.start(Recorder())
    await until_bound(carrier)
    assert ("smpp.smsc_may_know_no_tlvs" in capsys.readouterr().out) is warned
    await carrier.close()
    await smsc.close()


async def test_an_operator_is_told_once_of_what_an_smsc_says_where_it_cannot_be_taken(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    smsc = BareSmsc()
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret", binding=Binding.PAIR)
    carrier = SmppCarrier(config, database, DrivenClock())
    await carrier.start(Recorder())
    await until_bound(carrier, 2)
    await smsc.say_to(BindKind.TRANSMITTER, deliver_sm(7, text(b"one")) + deliver_sm(8, text(b"two")))
    assert await smsc.answers(2) == [(status.ESME_RINVBNDSTS, 7), (status.ESME_RINVBNDSTS, 8)]
    [line] = [line for line in capsys.readouterr().out.splitlines() if "smpp.pdu_refused" in line]
    for said in ("warning", "link=bare/0/transmitter", "command=deliver_sm", "reason=ESME_RINVBNDSTS"):
        assert said in line
    await carrier.close()
    await smsc.close()


async def test_an_operator_is_told_once_a_minute_of_receipts_that_cannot_be_read(world: World) -> None:
    receipts = b"".join(deliver_sm(number, text(b"gone", esm_class=ESM_RECEIPT)) for number in range(1, 51))
    with capture_logs() as logs:
        await world.smsc.say(receipts)
        assert len(await world.smsc.answers(50)) == 50
        await world.clock.advance(timedelta(minutes=1))
        await world.smsc.say(receipts)
        assert len(await world.smsc.answers(50)) == 50
    assert [line["count"] for line in logs if line["event"] == "smpp.receipt_unreadable"] == [1, 50]


async def test_a_host_that_dns_cannot_hold_is_no_crash(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    config = SmppConfig("odd", "smsc..example", 2775, "us", "secret")
    carrier = SmppCarrier(config, database, DrivenClock())
    await carrier.start(Recorder())
    assert carrier.counters()["link_connects_failed"] == 1
    assert "smpp.connect_failed" in capsys.readouterr().out
    await carrier.close()


async def test_hundreds_of_receipts_that_are_due_at_once_are_all_passed_on_and_answered(world: World) -> None:
    ids = [str(number) for number in range(450)]
    said = [text(f"id:{each} stat:DELIVRD err:000".encode(), esm_class=4) for each in ids]
    await world.smsc.say(b"".join(deliver_sm(number, each) for number, each in enumerate(said, start=1)))
    await until(lambda: world.carrier.counters()["inbox_receipts"] == len(ids))
    await world.clock.advance(timedelta(seconds=2))  # none is of a message of ours: they were waited for
    await world.events.until(lambda: len(world.events.receipts) == len(ids))
    assert sorted(receipt.carrier_message_id for receipt in world.events.receipts) == sorted(ids)
    assert sorted(await world.smsc.answers(450)) == [(status.ESME_ROK, number) for number in range(1, 451)]
