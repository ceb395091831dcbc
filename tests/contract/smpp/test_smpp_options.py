"""What an operator sets about a carrier, and what is kept of its texts and for how long."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.support.bare_smsc import BareSmsc, deliver_sm, text
from tests.support.carrier_events import Recorder
from tests.support.patience import PATIENCE_S
from tests.support.smpp_world import OURS, PHONE, World, until, until_bound
from tests.support.still import StillClock

from landline.core.errors import Unavailable
from landline.engines.clock import DrivenClock
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import Binding, MessageIds, SmppConfig
from landline.engines.smpp.records import KEPT, REPEAT, SENT_KEPT, Look, Records
from landline.ports.sms_carrier import CrashPolicy, Submission
from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import RESPONSE, BindKind, Command
from landline.protocols.smpp.framing import HEADER
from landline.protocols.smpp.joiner import GroupKey, TextPart
from landline.protocols.smpp.texts import Alphabet
from landline.store.database import Database

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def receipt(done: datetime, state: str = "DELIVRD", error: str = "000", *, message_id: str = "7") -> bytes:
    body = text(f"id:{message_id} done date:{done:%y%m%d%H%M} stat:{state} err:{error}".encode(), esm_class=4)
    return deliver_sm(1, body)


@pytest.mark.parametrize(
    ("offset_minutes", "ahead", "shifted"),
    [
        (120, timedelta(hours=1), timedelta(hours=-1)),
        (-60, timedelta(hours=-3), timedelta(hours=-2)),
        (0, timedelta(hours=1), timedelta(0)),
        (None, timedelta(hours=-3), timedelta(0)),
    ],
)
async def test_when_a_message_was_delivered_is_read_in_the_carriers_zone_and_never_ahead_of_us(
    database: Database, offset_minutes: int | None, ahead: timedelta, shifted: timedelta
) -> None:
    smsc, clock, events = BareSmsc(), DrivenClock(), Recorder()
    config = SmppConfig(
        "bare", "127.0.0.1", await smsc.start(), "us", "secret", receipt_utc_offset_minutes=offset_minutes
    )
    carrier = SmppCarrier(config, database, clock)
    await carrier.start(events)
    now = clock.now()
    await smsc.say(receipt(now + ahead))
    await until(lambda: carrier.counters()["inbox_receipts"] == 1)
    await clock.advance(timedelta(seconds=2))
    await events.until(lambda: bool(events.receipts))
    expected = now + shifted
    if shifted:
        expected = expected.replace(second=0, microsecond=0)
    assert timedelta(0) <= events.receipts[0].at - expected < timedelta(seconds=2)
    await carrier.close()
    await smsc.close()


async def test_a_bind_says_what_its_smsc_wants_to_know(database: Database) -> None:
    smsc, other = BareSmsc(), BareSmsc()
    config = SmppConfig(
        "bare",
        "127.0.0.1",
        await smsc.start(),
        "a-system-id-longer-than-smpp-has",
        "a-password-longer-than-smpp-has",
        "VMA",
        interface_version=0x33,
        bind_ton=1,
        bind_npi=8,
        address_range="^18005550100$",
        binding=Binding.PAIR,
        receiver_port=await other.start(),
    )
    carrier = SmppCarrier(config, database, DrivenClock())
    await carrier.start(Recorder())
    await until_bound(carrier, 2)
    said = pdu.Bind(config.system_id, config.password, "VMA", 0x33, 1, 8, "^18005550100$")
    assert smsc.binds == [(BindKind.TRANSMITTER, said)]
    assert other.binds == [(BindKind.RECEIVER, said)]
    await carrier.close()
    await smsc.close()
    await other.close()


@pytest.mark.parametrize(("words", "esm_class"), [("hello", 0x03), ("long " * 40, 0x43)])
async def test_submissions_say_what_their_smsc_wants_to_know(database: Database, words: str, esm_class: int) -> None:
    smsc = BareSmsc()
    config = SmppConfig(
        "bare", "127.0.0.1", await smsc.start(), "us", "secret", esm_class=3, protocol_id=64, priority_flag=1
    )
    carrier = SmppCarrier(config, database, DrivenClock())
    await carrier.start(Recorder())
    await until_bound(carrier)
    await carrier.submit([Submission(uuid4(), OURS, PHONE, words, 1, True)])
    await until(lambda: bool(smsc.frames))
    said = pdu.decode_message(smsc.frames[0])
    assert (said.esm_class, said.protocol_id, said.priority_flag) == (esm_class, 64, 1)
    smsc.cut()
    await carrier.close()
    await smsc.close()


@pytest.mark.parametrize("offset_minutes", [60, 0, -60])
@pytest.mark.parametrize("done", ["00010101000000", "99991231235959"])
async def test_a_date_that_no_clock_shows_does_not_say_when_a_message_ended(
    database: Database, offset_minutes: int, done: str
) -> None:
    smsc, clock, events = BareSmsc(), DrivenClock(), Recorder()
    config = SmppConfig(
        "bare", "127.0.0.1", await smsc.start(), "us", "secret", receipt_utc_offset_minutes=offset_minutes
    )
    carrier = SmppCarrier(config, database, clock)
    await carrier.start(events)
    now = clock.now()
    await smsc.say(deliver_sm(1, text(f"id:7 done date:{done} stat:UNDELIV err:001".encode(), esm_class=4)))
    await until(lambda: carrier.counters()["inbox_receipts"] == 1)
    await clock.advance(timedelta(seconds=2))
    await events.until(lambda: bool(events.receipts))
    assert timedelta(0) <= events.receipts[0].at - now < timedelta(seconds=2)
    await carrier.close()
    await smsc.close()


async def test_the_carriers_error_says_why_a_message_failed(database: Database) -> None:
    smsc, clock, events = BareSmsc(), DrivenClock(), Recorder()
    codes = {"27": 4004, "00b": 4005}
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret", error_codes=codes)
    carrier = SmppCarrier(config, database, clock)
    await carrier.start(events)
    said = [("UNDELIV", "027"), ("UNDELIV", "27"), ("UNDELIV", "0B"), ("UNDELIV", "1"), ("DELIVRD", "027")]
    await smsc.say(b"".join(receipt(clock.now(), *each, message_id=str(at)) for at, each in enumerate(said)))
    await until(lambda: carrier.counters()["inbox_receipts"] == len(said))
    await clock.advance(timedelta(seconds=2))
    await events.until(lambda: len(events.receipts) == len(said))
    found = {receipt.carrier_message_id: receipt.code for receipt in events.receipts}
    assert [found[str(at)] for at in range(len(said))] == [4004, 4004, 4005, 4006, 2000]
    await carrier.close()
    await smsc.close()


async def test_a_receipt_that_says_neither_when_nor_why_ends_its_message(database: Database) -> None:
    smsc, clock, events = BareSmsc(), DrivenClock(), Recorder()
    options = {"error_codes": {"27": 4004}, "receipt_utc_offset_minutes": 120}
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret", **options)
    carrier = SmppCarrier(config, database, clock)
    await carrier.start(events)
    now = clock.now()
    await smsc.say(deliver_sm(1, text(b"id:7 stat:UNDELIV", esm_class=4)))
    await until(lambda: carrier.counters()["inbox_receipts"] == 1)
    await clock.advance(timedelta(seconds=2))
    assert await smsc.answers(1) == [(status.ESME_ROK, 1)]
    [told] = events.receipts
    assert (told.carrier_message_id, told.delivered, told.code) == ("7", False, 4006)
    assert timedelta(0) <= told.at - now < timedelta(seconds=2)
    await carrier.close()
    await smsc.close()


async def test_a_binds_rate_is_kept_to(world: World) -> None:
    world.clock = StillClock()
    began = world.clock.now()
    carrier = await world.start(rate_per_s=20)
    await world.send(carrier, *(f"message {number}" for number in range(30)))
    async with asyncio.timeout(PATIENCE_S):
        while len(world.events.answers) < 30:
            submitted = carrier.counters()["outbox_submitted"]
            elapsed_s = (world.clock.now() - began).total_seconds()
            assert submitted <= 2 + 20 * elapsed_s + 0.01
            await world.clock.advance(timedelta(seconds=0.1))


@pytest.mark.parametrize(("window", "binds"), [(1, 1), (3, 1), (40, 2)])
@pytest.mark.parametrize("policy", [CrashPolicy.UNKNOWN, CrashPolicy.QUERY])
async def test_where_a_crash_leaves_messages_in_doubt_no_more_are_taken_than_can_be_on_their_way(
    world: World, policy: CrashPolicy, window: int, binds: int
) -> None:
    carrier = await world.start(window=window, binds=binds, crash_policy=policy)
    assert 1 <= carrier.at_once <= window * binds
    assert 1 <= await carrier.room() <= carrier.at_once


async def test_what_was_throttled_is_sent_before_what_came_after_it(world: World) -> None:
    smsc, events = BareSmsc(), Recorder()
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret", window=1)
    carrier = SmppCarrier(config, world.database, world.clock)
    await carrier.start(events)
    await world.send(carrier, "one", "two", "three")
    sent: list[bytes] = []
    for state in (status.ESME_RTHROTTLED, status.ESME_ROK, status.ESME_RMSGQFUL, status.ESME_ROK, status.ESME_ROK):
        while not smsc.frames:
            await world.clock.advance(timedelta(seconds=1))
        sent.append(pdu.decode_message(smsc.frames[0]).short_message)
        _, sequence = await smsc.request()
        answer = pdu.MessageAnswer(str(sequence)) if state == status.ESME_ROK else None
        await smsc.say(pdu.encode(Command.SUBMIT_SM | RESPONSE, answer, sequence, state))
    assert sent == [b"one", b"one", b"two", b"two", b"three"]
    await carrier.close()
    await smsc.close()


async def test_a_silent_smsc_is_given_up_long_before_its_answers_are(world: World) -> None:
    carrier = await world.start(response_s=60, enquire_link_s=5)
    world.network.swallows = True
    seconds = 0
    async with asyncio.timeout(PATIENCE_S):
        while not carrier.counters()["link_losses"]:
            await world.clock.advance(timedelta(seconds=1))
            seconds += 1
    assert seconds >= 15


async def test_nul_octets_of_texts_are_left_out(world: World) -> None:
    smsc, events = BareSmsc(), Recorder()
    carrier = SmppCarrier(
        SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret"), world.database, world.clock
    )
    await carrier.start(events)
    parts = [text(b"\5\0\3\1\2" + number + b"\0a\0b\0\0", esm_class=0x40, data_coding=8) for number in (b"\1", b"\2")]
    await smsc.say(deliver_sm(1, text(b"a\0", data_coding=3)) + deliver_sm(2, parts[0]) + deliver_sm(3, parts[1]))
    assert [state for state, _ in await smsc.answers(3)] == [0, 0, 0]
    assert [arrival.text for arrival in events.arrivals] == ["a", "abab"]
    await carrier.close()
    await smsc.close()


async def test_what_is_kept_of_texts_is_forgotten_in_time(database: Database) -> None:
    records = Records(database, "north", uuid4(), Alphabet.GSM)
    key = GroupKey(PHONE, OURS, 1, 1, False)
    await records.remember_sent([["1", "2"]], AT)
    await records.keep_parts([TextPart(key, 1, 0, b"a")], AT)
    await records.finish([key])
    await records.arrival_keys([Look(b"print", "key", AT)], AT)
    tables = ("smpp_sent_parts", "smpp_inbound_parts", "smpp_arrivals")
    left: list[list[int]] = []
    for kept in (KEPT, KEPT + timedelta(seconds=1), SENT_KEPT, SENT_KEPT + timedelta(seconds=1)):
        await records.overdue(AT + kept, timedelta(hours=1))
        left.append([len(await database.fetch(f"SELECT 1 FROM {table}")) for table in tables])
    assert left == [[2, 1, 1], [2, 0, 0], [2, 0, 0], [0, 0, 0]]


async def _key(records: Records, key: str, at: datetime, *, text: bytes = b"print", other: str = "") -> str:
    (found,) = await records.arrival_keys([Look(text, key, at, other)], at)
    return found


async def test_a_text_that_comes_to_two_processes_is_one_for_a_while(database: Database) -> None:
    here, there = (Records(database, "north", uuid4(), Alphabet.GSM) for _ in range(2))
    assert await _key(here, "first", AT) == "first"
    assert await _key(here, "said again", AT) == "said again"
    assert await _key(there, "another", AT, text=b"other") == "another"
    later = AT + REPEAT
    assert await _key(there, "x", later) != "x"
    third = Records(database, "north", uuid4(), Alphabet.GSM)
    assert await _key(third, "much later", later + REPEAT + timedelta(seconds=1)) == "much later"
    elsewhere = Records(database, "south", uuid4(), Alphabet.GSM)
    assert await _key(elsewhere, "by another carrier", AT) == "by another carrier"


async def test_a_text_said_twice_that_comes_to_another_process_twice_is_two_texts(database: Database) -> None:
    here, there = (Records(database, "north", uuid4(), Alphabet.GSM) for _ in range(2))
    said = [Look(b"print", "first", AT), Look(b"print", "second", AT)]
    assert await here.arrival_keys(said, AT) == ["first", "second"]
    again = [Look(b"print", "x", AT), Look(b"print", "y", AT), Look(b"print", "third", AT)]
    assert sorted(await there.arrival_keys(again, AT)) == ["first", "second", "third"]
    one_by_one = Records(database, "north", uuid4(), Alphabet.GSM)
    before = await _key(one_by_one, "x", AT)
    assert await _key(one_by_one, "y", AT, other=before) not in (before, "y")


async def test_a_text_acknowledged_late_is_known_to_whom_it_came_before_that(database: Database) -> None:
    """Though he looks at it much later, as after a database that stood still."""
    here, there = (Records(database, "north", uuid4(), Alphabet.GSM) for _ in range(2))
    assert await _key(here, "first", AT) == "first"
    await here.settled([], ["first"], AT + timedelta(seconds=11))
    (same,) = await there.arrival_keys([Look(b"print", "x", AT + timedelta(seconds=10))], AT + timedelta(seconds=20))
    assert same == "first"
    assert await _key(there, "said again", AT + timedelta(seconds=11)) == "said again"


async def test_a_text_that_two_processes_look_at_in_the_same_moment_is_one(database: Database) -> None:
    """As after a database that stood still for longer than the SMSC's patience."""
    here, there = (Records(database, "north", uuid4(), Alphabet.GSM) for _ in range(2))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.TaskGroup() as both, database.transaction() as connection:
        await connection.execute("LOCK TABLE smpp_arrivals IN ACCESS EXCLUSIVE MODE")
        keys = [
            both.create_task(each.arrival_keys([Look(b"print", name, AT)], AT))
            for each, name in ((here, "a"), (there, "b"))
        ]
        while await database.fetchval(waiting) < len(keys):
            await asyncio.sleep(0)
    assert keys[0].result() == keys[1].result()


async def test_a_query_without_an_answer_ends(world: World) -> None:
    carrier = await world.start(enquire_link_s=1000)
    world.network.swallows = True
    asked = asyncio.create_task(carrier.query("1", OURS))
    await asyncio.sleep(0)  # the task begins
    await world.clock.advance(timedelta(seconds=10.1))
    with pytest.raises(Unavailable, match="did not answer"):
        await asked
    world.network.swallows = False


async def test_a_carrier_is_asked_by_an_id_that_only_looks_like_a_number(world: World) -> None:
    smsc = BareSmsc()
    config = SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret", message_ids=MessageIds.DEC_HEX)
    carrier = SmppCarrier(config, world.database, world.clock)
    await carrier.start(Recorder())
    await until_bound(carrier)
    asked = asyncio.create_task(carrier.query("²", OURS))
    _, sequence = await smsc.request()
    body = b"\xb2\0\0\x02\0"
    await smsc.say(HEADER.pack(16 + len(body), Command.QUERY_SM | RESPONSE, 0, sequence) + body)
    found = await asked
    assert found is not None
    assert found.delivered
    await carrier.close()
    await smsc.close()


async def test_a_message_that_has_not_ended_is_not_told_as_ended(world: World) -> None:
    smsc, events = BareSmsc(), Recorder()
    carrier = SmppCarrier(
        SmppConfig("bare", "127.0.0.1", await smsc.start(), "us", "secret"), world.database, world.clock
    )
    await carrier.start(events)
    await until_bound(carrier)
    told: list[bool | None] = []
    for refusal, state in ((0, 0), (0, 1), (0, 2), (0, 5), (0, 6), (0, 9), (0, 99), (0x67, 2)):
        asked = asyncio.create_task(carrier.query("7", OURS))
        command, sequence = await smsc.request()
        assert command == Command.QUERY_SM
        body = b"7\0\0" + bytes((state, 0))
        await smsc.say(HEADER.pack(16 + len(body), Command.QUERY_SM | RESPONSE, refusal, sequence) + body)
        found = await asked
        told.append(None if found is None else found.delivered)
    assert told == [None, None, True, False, None, False, None, None]
    await carrier.close()
    await smsc.close()
