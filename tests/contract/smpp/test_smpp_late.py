"""An SMSC that answers submissions after the response timer: it has the messages, and says so too late."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.cluster import eventually
from tests.support.gateway import Gateway
from tests.support.smpp_world import OURS, PHONE, World, until

from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import SmppConfig
from landline.ports.sms_carrier import CrashPolicy
from landline.protocols.smpp import status
from landline.protocols.smpp.commands import MessageState
from landline.services.sms.service import Options, To
from landline.testing.smsc import ReceiptTime, Rule, Smsc

LONG = "long " * 60


async def start(world: World, *, answers_after_s: float, **options: Any) -> SmppCarrier:
    """A carrier whose SMSC shares its clock, which goes on by itself, too: the times are far apart."""
    world.smsc = Smsc({"landline": "secret"}, clock=world.clock)
    world.smsc.conduct.response_delay_s = answers_after_s
    return await world.start(response_s=100, enquire_link_s=3600, **options)


async def test_a_late_answer_is_told_after_the_one_it_follows(world: World) -> None:
    carrier = await start(world, answers_after_s=120)
    await world.send(carrier, "hello")
    await world.smsc.until(lambda: world.smsc.counts.submits == 1)
    await world.clock.advance(timedelta(seconds=110))
    await world.answered(1)
    (answer,) = world.events.answers
    assert (answer.carrier_message_id, answer.unknown) == (None, True)
    await world.clock.advance(timedelta(seconds=20))
    await world.reported(1)
    (late,) = world.events.late
    assert (late.key, late.carrier_message_id) == (answer.key, "1")
    assert world.events.order == ["", "1 late", "1!"]
    assert (carrier.counters()["open"], carrier.counters()["outbox_late"]) == (0, 1)


async def test_an_smsc_that_answers_nothing_is_in_the_log_and_a_lost_connection_only_as_such(world: World) -> None:
    carrier = await start(world, answers_after_s=0)
    world.smsc.conduct.rules = [Rule(silent=True)]
    await world.send(carrier, "one", "two", "three")
    await world.smsc.until(lambda: world.smsc.counts.submits == 3)
    with capture_logs() as logs:
        await world.clock.advance(timedelta(seconds=110))
        await world.answered(3)
    said = [each for each in logs if each["event"] == "smpp.not_answered"]
    assert [(each["carrier"], each["after_s"], each["count"]) for each in said] == [("smpp", 100, 1)]
    with capture_logs() as logs:
        await world.send(carrier, "four")
        await world.smsc.until(lambda: world.smsc.counts.submits == 4)
        await world.clock.advance(timedelta(seconds=70))
        world.network.cut()
        await world.answered(4)
    assert "smpp.not_answered" not in [each["event"] for each in logs]


async def test_it_is_told_in_that_order_when_both_waited_for_the_service(world: World) -> None:
    carrier = await start(world, answers_after_s=0)
    world.events.away = True
    await world.send(carrier, "in time")
    await world.events.until(lambda: world.events.refused > 0)
    world.smsc.conduct.response_delay_s = 120
    await world.send(carrier, "late")
    await world.smsc.until(lambda: world.smsc.counts.submits == 2)
    await world.clock.advance(timedelta(seconds=110))
    await world.clock.advance(timedelta(seconds=20))
    await until(lambda: carrier.counters()["outbox_late"] == 1)
    world.events.away = False
    await world.clock.advance(timedelta(seconds=20))
    await world.reported(2)
    told = [each for each in world.events.order if not each.endswith("!")]
    assert told == ["1", "", "2 late"]
    assert world.events.late[0].key == world.events.answers[1].key


async def test_a_late_refusal_changes_nothing(world: World) -> None:
    carrier = await start(world, answers_after_s=120)
    world.smsc.conduct.rules = [Rule(status=status.ESME_RSYSERR)]
    await world.send(carrier, "hello")
    await world.smsc.until(lambda: world.smsc.counts.submits == 1)
    await world.clock.advance(timedelta(seconds=130))
    await until(lambda: carrier.counters()["outbox_late"] == 1)
    assert [answer.unknown for answer in world.events.answers] == [True]
    assert world.events.late == []
    assert carrier.counters()["open"] == 0


async def test_a_long_message_is_taken_when_all_its_parts_are(world: World) -> None:
    carrier = await start(world, answers_after_s=120)
    await world.send(carrier, LONG)
    await world.smsc.until(lambda: world.smsc.counts.submits == 2)
    await world.clock.advance(timedelta(seconds=110))
    await world.answered(1)
    await world.clock.advance(timedelta(seconds=20))
    await world.reported(1)
    assert len(world.events.answers) == 1
    assert [late.carrier_message_id for late in world.events.late] == ["1"]
    (receipt,) = world.events.receipts
    assert (receipt.carrier_message_id, receipt.segments_delivered) == ("1", 2)


async def test_receipts_long_before_their_responses_are_those_of_a_long_messages_parts(world: World) -> None:
    carrier = await start(world, answers_after_s=50)
    world.smsc.conduct.receipts = ReceiptTime.BEFORE
    await world.send(carrier, LONG)
    await until(lambda: carrier.counters()["inbox_receipts"] == 2)
    await world.clock.advance(timedelta(seconds=40))
    assert world.events.receipts == [], "nobody knows yet what they are of"
    await world.clock.advance(timedelta(seconds=20))
    await world.reported(1)
    (receipt,) = world.events.receipts
    assert (receipt.carrier_message_id, receipt.segments_delivered) == ("1", 2)


async def test_parts_answered_in_time_count_with_late_ones(world: World) -> None:
    carrier = await start(world, answers_after_s=0)
    world.smsc.conduct.rules = [Rule(response_delay_s=120, every=2)]
    await world.send(carrier, LONG)
    await world.smsc.until(lambda: world.smsc.counts.submits == 2)
    await world.clock.advance(timedelta(seconds=110))
    await world.answered(1)
    assert [answer.unknown for answer in world.events.answers] == [True]
    await world.clock.advance(timedelta(seconds=20))
    await world.events.until(lambda: len(world.events.late) == 1)
    assert world.events.late[0].carrier_message_id == "1"


async def test_a_part_that_is_answered_never_keeps_the_message_from_being_taken(world: World) -> None:
    carrier = await start(world, answers_after_s=120)
    world.smsc.conduct.rules = [Rule(silent=True, every=2)]
    await world.send(carrier, LONG)
    await world.smsc.until(lambda: world.smsc.counts.submits == 2)
    await world.clock.advance(timedelta(seconds=130))
    await until(lambda: carrier.counters()["outbox_late"] == 1)
    assert [answer.unknown for answer in world.events.answers] == [True]
    assert world.events.late == []


async def test_a_part_that_was_never_sent_keeps_the_message_from_being_taken(world: World) -> None:
    carrier = await start(world, answers_after_s=120, window=1)
    await world.send(carrier, LONG)
    await world.smsc.until(lambda: world.smsc.counts.submits == 1)
    await world.clock.advance(timedelta(seconds=130))
    await until(lambda: carrier.counters()["outbox_late"] == 1)
    assert world.events.late == []
    assert world.smsc.counts.submits == 1


async def test_a_part_that_the_smsc_may_have_leaves_its_message_in_doubt_when_the_carrier_closes(world: World) -> None:
    carrier = await start(world, answers_after_s=0, window=2)
    world.smsc.conduct.rules = [Rule(silent=True)]
    await world.send(carrier, "first")
    await world.send(carrier, LONG, "never sent")  # one part of LONG is in the window, the other waits
    await world.smsc.until(lambda: world.smsc.counts.submits == 2)
    closing = asyncio.create_task(carrier.close())
    await world.answered(2)
    assert [(answer.temporary, answer.unknown) for answer in world.events.answers] == [(True, True), (True, False)]
    world.network.cut()
    await closing


@pytest.mark.parametrize(
    ("policy", "end"), [(CrashPolicy.RESEND, (8, 2000)), (CrashPolicy.UNKNOWN, (9, 9999))], ids=["resend", "unknown"]
)
@pytest.mark.parametrize("text", ["hello", LONG], ids=["short", "long"])
async def test_a_congested_smsc_gets_each_message_once(
    world: World, dsn: str, policy: CrashPolicy, end: tuple[int, int], text: str
) -> None:
    """It answers 12 s after each submission: that is too late by 2 s, and 3 s before the retry."""
    world.smsc = Smsc({"landline": "secret"}, clock=world.clock)
    await world.smsc.start()
    await world.network.start(world.smsc.port)
    account = ("smpp", "127.0.0.1", world.network.port, "landline", "secret")
    config = SmppConfig(*account, crash_policy=policy, response_s=10)
    carrier = SmppCarrier(config, world.database, world.clock)
    gateway = await Gateway(dsn, world.database, world.clock, carrier).start()
    world.smsc.conduct.response_delay_s = 12
    parts = 1 if text == "hello" else 2
    await gateway.sms.send(await gateway.own(), OURS, [To(PHONE)], text, Options(report_wanted=True))
    await world.smsc.until(lambda: world.smsc.counts.submits == parts)
    await world.clock.advance(timedelta(seconds=11))
    await eventually(lambda: _message(world, "doubt = 1 OR EXISTS (SELECT FROM sms_submissions)"))
    await world.clock.advance(timedelta(seconds=2))
    await eventually(lambda: _message(world, "state >= 8 AND EXISTS (SELECT FROM sms_submissions)"))
    await world.smsc.until(lambda: world.smsc.counts.delivered == parts)
    row = await world.database.fetchrow("SELECT state, code FROM sms_messages")
    assert row is not None
    assert (row["state"], row["code"]) == end
    await world.clock.advance(timedelta(minutes=2))
    assert world.smsc.counts.submits == parts
    assert await world.database.fetchval("SELECT count(*) FROM sms_parked_receipts") == 0
    await gateway.crash()
    await carrier.close()


@pytest.mark.parametrize(("fails", "end"), [(False, (8, 2000, 2)), (True, (9, 4006, 1))], ids=["delivered", "failed"])
async def test_receipts_of_parts_wait_for_answers_that_come_too_late(
    world: World, dsn: str, fails: bool, end: tuple[int, int, int]
) -> None:
    """By then the response timer has ended, and what the receipts were of was unknown as they came."""
    world.smsc = Smsc({"landline": "secret"}, clock=world.clock)
    await world.smsc.start()
    await world.network.start(world.smsc.port)
    config = SmppConfig("smpp", "127.0.0.1", world.network.port, "landline", "secret", response_s=10)
    carrier = SmppCarrier(config, world.database, world.clock)
    gateway = await Gateway(dsn, world.database, world.clock, carrier).start()
    world.smsc.conduct.response_delay_s = 12
    world.smsc.conduct.receipts = ReceiptTime.BEFORE
    if fails:
        world.smsc.conduct.rules = [Rule(state=MessageState.UNDELIVERABLE, every=2, response_delay_s=12)]
    await gateway.sms.send(await gateway.own(), OURS, [To(PHONE)], LONG, Options(report_wanted=True))
    await world.smsc.until(lambda: world.smsc.counts.submits == 2)
    await world.clock.advance(timedelta(seconds=11))
    await world.smsc.until(lambda: world.smsc.counts.delivered == 2)
    await world.clock.advance(timedelta(seconds=2))
    await eventually(lambda: _message(world, "state >= 8"))
    row = await world.database.fetchrow("SELECT state, code, segments_delivered FROM sms_messages")
    assert row is not None
    assert (row["state"], row["code"], row["segments_delivered"]) == end
    assert await world.database.fetchval("SELECT count(*) FROM sms_parked_receipts") == 0
    assert world.smsc.counts.submits == 2
    await gateway.crash()
    await carrier.close()


async def _message(world: World, condition: str) -> bool:
    return await world.database.fetchval(f"SELECT count(*) FROM sms_messages WHERE {condition}") == 1
