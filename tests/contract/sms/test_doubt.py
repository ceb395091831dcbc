"""Messages that may have reached a carrier which did not answer: handed over once more, or never, as its operator chose
(docs/design/gateway.md)."""

import asyncio
from datetime import timedelta

import pytest
from tests.support.gateway import Gateway
from tests.support.patience import PATIENCE_S
from tests.support.scripted import Fate, ScriptedCarrier

from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import CrashPolicy, Receipt, Submission
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, PHONE = "+18005550100", "+14255550142"


class World:
    """One message at a time through one process after another, over one carrier that outlives them."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.dsn = dsn
        self.database = database
        self.clock = DrivenClock()

    async def start(self, carrier: ScriptedCarrier) -> None:
        self.carrier = carrier
        self.gateway = await Gateway(self.dsn, self.database, self.clock, carrier).start()

    async def send(self, options: Options | None = None) -> None:
        resource = await self.gateway.own()
        await self.gateway.sms.send(resource, SENDER, [To(PHONE)], "hello", options or Options(report_wanted=True))
        await self.clock.advance(timedelta(milliseconds=1))

    async def send_to(self, count: int) -> None:
        to = [To(f"+1425555{number:04}") for number in range(count)]
        await self.gateway.sms.send(await self.gateway.own(), SENDER, to, "hello", Options(report_wanted=True))
        await self.clock.advance(timedelta(milliseconds=1))

    async def crash(self) -> None:
        await self.gateway.crash()
        self.gateway = await Gateway(self.dsn, self.database, self.clock, self.carrier).start()
        await self.clock.advance(timedelta(seconds=1))

    async def ends(self) -> list[tuple[int, int]]:
        rows = await self.database.fetch("SELECT state, code FROM sms_messages")
        return [(row["state"], row["code"]) for row in rows]


@pytest.fixture
async def world(dsn: str, database: Database):
    world = World(dsn, database)
    yield world
    await world.gateway.crash()


def in_turn(*fates: Fate):
    """The first submission gets the first fate, and so on; further ones the last."""
    left = list(fates)

    def fate(_submission: Submission) -> Fate:
        return left.pop(0) if len(left) > 1 else left[0]

    return fate


async def test_after_a_silence_it_is_handed_over_once_more(world: World):
    await world.start(ScriptedCarrier(world.clock, in_turn(Fate.SILENCE, Fate.DELIVERED)))
    await world.send()
    await world.clock.advance(timedelta(minutes=1))
    assert len(world.carrier.submissions) == 2
    assert await world.ends() == [(8, 2000)]


async def test_after_a_second_silence_it_ends_as_unknown(world: World):
    await world.start(ScriptedCarrier(world.clock, Fate.SILENCE))
    await world.send()
    await world.clock.advance(timedelta(hours=13))
    assert len(world.carrier.submissions) == 2
    assert await world.ends() == [(9, 9999)]


@pytest.mark.parametrize("policy", [CrashPolicy.UNKNOWN, CrashPolicy.QUERY])
async def test_at_most_once_ends_at_the_first_silence(world: World, policy: CrashPolicy):
    await world.start(ScriptedCarrier(world.clock, Fate.SILENCE, policy=policy))
    await world.send()
    await world.clock.advance(timedelta(hours=13))
    assert len(world.carrier.submissions) == 1
    assert await world.ends() == [(9, 9999)]


async def test_a_refusal_is_no_silence(world: World):
    """However often a carrier says that it is busy, nothing is in doubt."""
    busy = [Fate.BUSY] * 5
    await world.start(ScriptedCarrier(world.clock, in_turn(*busy, Fate.DELIVERED), policy=CrashPolicy.UNKNOWN))
    await world.send()
    await world.clock.advance(timedelta(hours=2))
    assert await world.ends() == [(8, 2000)]


async def test_a_crash_counts_as_a_silence(world: World):
    await world.start(ScriptedCarrier(world.clock, in_turn(Fate.LOST, Fate.DELIVERED)))
    await world.send()
    await world.crash()
    assert len(world.carrier.submissions) == 2
    assert await world.ends() == [(8, 2000)]


async def test_after_a_second_crash_it_ends_as_unknown(world: World):
    await world.start(ScriptedCarrier(world.clock, Fate.LOST))
    await world.send()
    for _ in range(4):
        await world.crash()
    assert len(world.carrier.submissions) == 2
    assert await world.ends() == [(9, 9999)]


async def test_at_most_once_is_not_handed_over_again_after_a_crash(world: World):
    await world.start(ScriptedCarrier(world.clock, Fate.LOST, policy=CrashPolicy.UNKNOWN))
    await world.send()
    await world.crash()
    assert len(world.carrier.submissions) == 1
    assert await world.ends() == [(9, 9999)]


@pytest.mark.parametrize("policy", [CrashPolicy.RESEND, CrashPolicy.UNKNOWN])
async def test_what_crashes_ended_says_so_in_its_timeline(world: World, policy: CrashPolicy):
    await world.start(ScriptedCarrier(world.clock, Fate.LOST, policy=policy))
    await world.send()
    for _ in range(3):
        await world.crash()
    [message] = await world.database.fetch("SELECT resource_id, message_id FROM sms_messages")
    timeline = await world.gateway.timelines.timeline([message["resource_id"]], str(message["message_id"]))
    unanswered, reported = timeline["steps"][-2:]
    assert (unanswered["what"], unanswered["code"], unanswered["temporary"]) == ("unanswered", 9999, False)
    assert unanswered["carrier"] == timeline["carrier"]
    assert unanswered["reason"] == "it was handed over before a crash, and no answer to that is known"
    assert (reported["what"], reported["code"]) == ("reported", 9999)


@pytest.mark.parametrize("policy", [CrashPolicy.RESEND, CrashPolicy.UNKNOWN])
async def test_what_was_never_handed_over_is_sent_after_crashes(world: World, policy: CrashPolicy):
    await world.start(ScriptedCarrier(world.clock, Fate.DELIVERED, policy=policy))
    world.carrier.up = False
    await world.send()
    for _ in range(3):
        await world.crash()
    assert world.carrier.submissions == []
    world.carrier.up = True
    await world.clock.advance(timedelta(minutes=1))
    assert len(world.carrier.submissions) == 1
    assert await world.ends() == [(8, 2000)]


async def test_hand_overs_that_were_not_made_make_up_for_none_that_was(world: World):
    await world.start(ScriptedCarrier(world.clock, Fate.LOST, policy=CrashPolicy.UNKNOWN))
    world.carrier.up = False
    await world.send()
    world.carrier.up = True
    for _ in range(2):
        await world.crash()
    assert len(world.carrier.submissions) == 1
    assert await world.ends() == [(9, 9999)]


async def test_a_carrier_that_knows_repeated_keys_is_given_them_again(world: World):
    await world.start(
        ScriptedCarrier(world.clock, in_turn(*[Fate.LOST] * 4, Fate.DELIVERED), policy=CrashPolicy.REPEATABLE)
    )
    await world.send()
    for _ in range(4):
        await world.crash()
    assert len({submission.key for submission in world.carrier.submissions}) == 1
    assert await world.ends() == [(8, 2000)]


async def test_what_was_taken_is_not_handed_over_again(world: World):
    await world.start(ScriptedCarrier(world.clock, Fate.TAKEN))
    await world.send()
    for _ in range(3):
        await world.crash()
    assert len(world.carrier.submissions) == 1
    await world.clock.advance(timedelta(hours=13))
    assert await world.ends() == [(9, 5002)]


async def test_a_carrier_is_asked_for_what_it_never_reported(world: World):
    await world.start(ScriptedCarrier(world.clock, Fate.TAKEN, policy=CrashPolicy.QUERY))
    await world.send()
    world.carrier.reports["carrier1"] = Receipt("carrier1", True, 2000, world.clock.now())
    await world.clock.advance(timedelta(hours=13))
    assert await world.ends() == [(8, 2000)]


async def test_a_carrier_that_does_not_know_leaves_it_unreported(world: World):
    await world.start(ScriptedCarrier(world.clock, Fate.TAKEN, policy=CrashPolicy.QUERY))
    await world.send()
    await world.clock.advance(timedelta(hours=13))
    assert await world.ends() == [(9, 5002)]


async def test_carriers_are_asked_for_several_at_once(world: World):
    await world.start(ScriptedCarrier(world.clock, Fate.TAKEN, policy=CrashPolicy.QUERY))
    asked, all_asked = set[str](), asyncio.Event()

    async def query(carrier_message_id: str, _sender: str) -> Receipt | None:
        asked.add(carrier_message_id)
        if len(asked) == 3:
            all_asked.set()
        async with asyncio.timeout(PATIENCE_S):
            await all_asked.wait()
        return Receipt(carrier_message_id, True, 2000, world.clock.now())

    world.carrier.query = query  # type: ignore[method-assign]
    await world.send_to(3)
    await world.clock.advance(timedelta(hours=13))
    assert await world.ends() == [(8, 2000)] * 3


async def test_no_more_are_asked_for_at_once_than_the_carrier_is_given(world: World):
    await world.start(ScriptedCarrier(world.clock, Fate.TAKEN, policy=CrashPolicy.QUERY))
    world.carrier.at_once = 2
    at_once, most = 0, 0

    async def query(_carrier_message_id: str, _sender: str) -> Receipt | None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return None

    world.carrier.query = query  # type: ignore[method-assign]
    await world.send_to(5)
    await world.clock.advance(timedelta(hours=13))
    assert await world.ends() == [(9, 5002)] * 5
    assert most <= 2
