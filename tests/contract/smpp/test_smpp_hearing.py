"""The SMPP engine's way in: texts of phones, joined, acknowledged after the service has them, never doubled."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from tests.support.smpp import crash
from tests.support.smpp_world import OURS, PHONE, World, until, until_bound

from landline.core.errors import Unavailable
from landline.engines.clock import DrivenClock
from landline.engines.smpp.inbox import Inbox, Sleep
from landline.engines.smpp.pump import Pump
from landline.engines.smpp.records import Look, Records, fingerprint
from landline.engines.smpp.slots import AllMine
from landline.engines.smpp.standstill import Standstill
from landline.ports.sms_carrier import Arrival, CarrierEvents, Receipt
from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import Command, Tag
from landline.protocols.smpp.events import MessageArrived
from landline.protocols.smpp.texts import Alphabet, LongStyle


async def test_nothing_is_acknowledged_before_the_service_has_it(world: World) -> None:
    await world.start()
    world.events.open.clear()
    world.smsc.text(PHONE, OURS, "hello")
    await world.smsc.until(lambda: world.smsc.counts.deliveries == 1)
    for _ in range(100):
        await asyncio.sleep(0)
    assert world.smsc.counts.delivered == 0
    world.events.open.set()
    await world.smsc.until(lambda: world.smsc.counts.delivered == 1)
    assert [arrival.text for arrival in world.events.arrivals] == ["hello"]


async def test_what_the_service_does_not_take_is_brought_again_with_its_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.smsc.conduct.deliver_retry_s = 0.01
    await world.start()
    keys: list[str] = []

    async def refuse(_carrier: str, arrivals: Sequence[Arrival]) -> None:
        keys.extend(arrival.key for arrival in arrivals)
        raise Unavailable("away", retry_after_s=0.01)

    with monkeypatch.context() as patched:
        patched.setattr(world.events, "arrived", refuse)
        world.smsc.text(PHONE, OURS, "hello")
        await world.smsc.until(lambda: status.ESME_RX_T_APPN in world.smsc.counts.delivery_refusals)
    await world.arrived(1)
    assert {arrival.key for arrival in world.events.arrivals} == set(keys)


async def test_a_text_over_which_the_service_stumbles_keeps_back_none_that_came_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.smsc.conduct.deliver_retry_s = 3600.0
    carrier, arrived, told = await world.start(), world.events.arrived, list[list[str]]()

    async def stumble(name: str, arrivals: Sequence[Arrival]) -> None:
        told.append([arrival.text for arrival in arrivals])
        if "bad" in told[-1]:
            raise ValueError("a bug")
        await arrived(name, arrivals)

    monkeypatch.setattr(world.events, "arrived", stumble)
    world.events.open.clear()
    world.smsc.text(PHONE, OURS, "hello")
    await until(lambda: told == [["hello"]])
    for text in ("one", "bad", "two"):
        world.smsc.text(PHONE, OURS, text)
    await until(lambda: carrier.counters()["inbox_texts"] == 4)
    world.events.open.set()
    await world.smsc.until(lambda: world.smsc.counts.delivered == 3)
    assert told == [["hello"], ["one", "bad", "two"], ["one"], ["bad"], ["two"]]
    assert world.smsc.counts.delivery_refusals == {status.ESME_RX_T_APPN: 1}
    assert carrier.counters()["inbox_put_off"] == 1


async def test_a_text_said_again_after_the_first_had_to_be_brought_again_arrives_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.smsc.conduct.deliver_retry_s = 0.01
    await world.start()

    async def refuse(_carrier: str, _arrivals: Sequence[Arrival]) -> None:
        raise Unavailable("away", retry_after_s=0.01)

    with monkeypatch.context() as patched:
        patched.setattr(world.events, "arrived", refuse)
        world.smsc.text(PHONE, OURS, "yes")
        await world.smsc.until(lambda: status.ESME_RX_T_APPN in world.smsc.counts.delivery_refusals)
    await world.smsc.until(lambda: world.smsc.counts.delivered == 1)
    await _say(world, "yes")
    first, second = world.events.arrivals
    assert first.key != second.key


async def test_what_waits_for_the_service_is_left_to_whom_it_is_brought_again_when_its_connection_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = await world.start()
    asked: list[Arrival] = []

    async def refuse(_carrier: str, arrivals: Sequence[Arrival]) -> None:
        asked.extend(arrivals)
        raise Unavailable("away", retry_after_s=5.0)

    monkeypatch.setattr(world.events, "arrived", refuse)
    world.smsc.text(PHONE, OURS, "hello")
    await until(lambda: len(asked) == 1)
    await world.smsc.stop_listening()
    world.smsc.cut()
    await until(lambda: carrier.bound == 0)
    await world.clock.advance(timedelta(seconds=6))
    assert len(asked) == 1


@pytest.mark.parametrize("style", LongStyle)
@pytest.mark.parametrize("alphabet", [Alphabet.GSM, Alphabet.UCS2])
async def test_a_long_text_is_joined_over_binds_and_in_any_order(
    world: World, style: LongStyle, alphabet: Alphabet
) -> None:
    await world.start(binds=3)
    text = "Grüße {von} hier. " * 20
    world.smsc.text(PHONE, OURS, text, style=style, alphabet=alphabet, order=reversed)
    world.smsc.text(PHONE, OURS, text.upper(), style=style, alphabet=alphabet)
    await world.arrived(2)
    assert {arrival.text for arrival in world.events.arrivals} == {text, text.upper()}


async def test_parts_taken_before_a_crash_are_joined_after_it(world: World) -> None:
    kept: list[bytes] = []

    def two(bodies: list[bytes]) -> list[bytes]:
        kept.extend(bodies)
        return bodies[:2]

    carrier = await world.start()
    world.smsc.text(PHONE, OURS, "x" * 400, order=two)
    await world.smsc.until(lambda: world.smsc.counts.delivered == 2)
    await crash(carrier)
    await world.start()
    world.smsc.deliver("landline", kept[2:])
    await world.arrived(1)
    assert (world.events.arrivals[0].text, world.events.arrivals[0].segments) == ("x" * 400, 3)


async def test_a_part_brought_again_after_its_text_is_no_new_text(world: World) -> None:
    kept: list[bytes] = []

    def all_of(bodies: list[bytes]) -> list[bytes]:
        kept.extend(bodies)
        return bodies

    await world.start()
    world.smsc.text(PHONE, OURS, "x" * 400, order=all_of)
    await world.arrived(1)
    world.smsc.deliver("landline", kept[1:2])
    await world.smsc.until(lambda: world.smsc.counts.delivered == 4)
    assert len({arrival.key for arrival in world.events.arrivals}) == 1


async def test_a_reference_used_again_begins_another_text(world: World) -> None:
    await world.start()
    for text in ("x" * 400, "y" * 400):
        bodies: list[bytes] = []
        world.smsc.text(PHONE, OURS, text, order=lambda made, bodies=bodies: bodies.extend(made) or ())
        same = [body.replace(b"\x05\x00\x03\x02", b"\x05\x00\x03\x01") for body in bodies]
        world.smsc.deliver("landline", same)
        await world.arrived(1 if text[0] == "x" else 2)
    assert [arrival.text[0] for arrival in world.events.arrivals] == ["x", "y"]
    assert len({arrival.key for arrival in world.events.arrivals}) == 2


async def test_a_reference_used_again_before_its_text_is_whole_mixes_no_texts(world: World) -> None:
    carrier = await world.start()
    for text in ("x" * 153 + "y" * 100, "z" * 153 + "!" * 100):
        bodies: list[bytes] = []
        world.smsc.text(PHONE, OURS, text, order=lambda made, bodies=bodies: bodies.extend(made) or ())
        same = [body.replace(b"\x05\x00\x03\x02", b"\x05\x00\x03\x01") for body in bodies]
        world.smsc.deliver("landline", same[:1] if text[0] == "x" else same)
        await world.smsc.until(lambda: world.smsc.counts.delivered >= 1)
    await world.arrived(2)
    assert [arrival.text for arrival in world.events.arrivals] == ["x" * 153, "z" * 153 + "!" * 100]
    assert carrier.counters()["inbox_incomplete"] == 1


async def test_a_text_whose_part_never_comes_is_passed_on_without_it(world: World) -> None:
    await world.start(join_patience_s=600)
    world.smsc.text(PHONE, OURS, "x" * 153 + "y" * 100, order=lambda bodies: bodies[1:])
    await world.smsc.until(lambda: world.smsc.counts.delivered == 1)
    await world.clock.advance(timedelta(seconds=20))
    assert world.events.arrivals == []
    for _ in range(35):
        await world.clock.advance(timedelta(seconds=20))
    await world.arrived(1)
    assert [arrival.text for arrival in world.events.arrivals] == ["y" * 100]


async def test_texts_whose_parts_never_come_are_all_passed_on_once_they_are_due(world: World) -> None:
    carrier = await world.start(join_patience_s=600)
    for _ in range(250):  # of all that came a part was lost
        world.smsc.text(PHONE, OURS, "x" * 153 + "y" * 100, order=lambda bodies: bodies[1:])
    await world.smsc.until(lambda: world.smsc.counts.delivered == 250)
    for _ in range(34):
        await world.clock.advance(timedelta(seconds=20))
    world.smsc.text(PHONE, OURS, "whole")
    await until(lambda: world.events.arrivals[-1].text == "whole")
    assert [arrival.text for arrival in world.events.arrivals] == ["y" * 100] * 250 + ["whole"]
    assert len({arrival.key for arrival in world.events.arrivals}) == 251
    assert carrier.counters()["inbox_incomplete"] == 250


async def test_a_text_said_twice_arrives_twice(world: World) -> None:
    await world.start()
    for count in (1, 2):
        world.smsc.text(PHONE, OURS, "yes")
        await world.smsc.until(lambda count=count: world.smsc.counts.delivered == count)
    first, second = world.events.arrivals
    assert first.key != second.key


async def test_a_text_whose_acknowledgement_was_lost_keeps_its_key(world: World) -> None:
    carrier = await world.start()
    held = world.smsc._connections
    world.smsc.text(PHONE, OURS, "yes")
    for connection in held:
        connection.pump.pause_reading()  # the acknowledgement is on the wire and never read
    await world.arrived(1)
    world.smsc.cut()
    await world.arrived(2)
    assert len({arrival.key for arrival in world.events.arrivals}) == 1
    assert carrier.counters()["inbox_repeated"] == 1


async def test_a_text_said_again_after_its_connection_was_lost_arrives_twice(world: World) -> None:
    carrier = await world.start()
    world.smsc.text(PHONE, OURS, "yes")
    await world.smsc.until(lambda: world.smsc.counts.delivered == 1)
    world.smsc.cut()
    await until(lambda: carrier.counters()["link_binds"] == 2)
    await world.clock.advance(timedelta(minutes=2))
    world.smsc.text(PHONE, OURS, "yes")
    await world.smsc.until(lambda: world.smsc.counts.delivered == 2)
    first, second = world.events.arrivals
    assert first.key != second.key


async def test_a_text_said_again_to_another_process_is_another_text(world: World) -> None:
    await world.start()
    await _say(world, "STOP")
    first = list(world.smsc._connections)
    while await world.database.fetch("SELECT FROM smpp_arrivals"):
        await world.clock.advance(timedelta(seconds=1))  # it is asked whether it is there, and says so
    for connection in first:
        connection.freeze(True)  # from now on phones' texts come by the other process
    await world.start()
    await _say(world, "STOP")
    stop, again = world.events.arrivals
    assert stop.key != again.key


async def test_a_text_said_again_is_another_text_though_the_connection_was_lost_that_had_brought_the_first(
    world: World,
) -> None:
    carrier = await world.start()
    await _say(world, "STOP")
    await world.clock.advance(timedelta(seconds=5))
    await world.send(carrier, "hello", report=False)
    await world.answered(1)  # over that connection: the acknowledgement has come before
    world.smsc.cut()
    await until(lambda: carrier.counters()["link_binds"] == 2)
    await _say(world, "STOP")
    stop, again = world.events.arrivals
    assert stop.key != again.key


async def test_a_text_whose_acknowledgement_was_lost_keeps_its_key_in_another_process(world: World) -> None:
    await world.start()
    held = list(world.smsc._connections)
    for connection in held:
        connection.pump.pause_reading()  # the acknowledgement is on the wire and never read
    world.smsc.text(PHONE, OURS, "STOP")
    await world.arrived(1)
    await world.clock.advance(timedelta(seconds=5))
    other = await world.start()
    await until(lambda: other.bound == 1)
    for connection in held:
        connection.pump.abort()
    await world.arrived(2)
    assert len({arrival.key for arrival in world.events.arrivals}) == 1


async def test_a_text_brought_again_as_its_acknowledgement_came_late_keeps_its_key(world: World) -> None:
    line = DrivenClock()
    await world.start(line=line)
    world.events.open.clear()  # as long as a commit takes
    world.smsc.text(PHONE, OURS, "yes")
    while not await world.database.fetch("SELECT FROM smpp_arrivals"):
        pass  # it is on its way to the service
    await line.advance(timedelta(seconds=9))
    world.smsc.text(PHONE, OURS, "yes")  # its SMSC waits for 8 s
    await world.smsc.until(lambda: world.smsc.counts.deliveries == 2)
    world.events.open.set()
    await world.arrived(2)
    assert len({arrival.key for arrival in world.events.arrivals}) == 1


async def test_a_text_brought_again_while_neither_was_looked_at_keeps_its_key(world: World) -> None:
    line = DrivenClock()
    carrier = await world.start(line=line)
    world.events.open.clear()  # as long as a database stands still
    world.smsc.text(PHONE, OURS, "hello")
    while not await world.database.fetch("SELECT FROM smpp_arrivals"):
        pass  # it is on its way to the service, and what comes now waits
    for count in (2, 3):
        world.smsc.text(PHONE, OURS, "yes")
        await until(lambda count=count: carrier.counters()["inbox_texts"] == count)
        await line.advance(timedelta(seconds=9))  # its SMSC waits for 8 s
    world.events.open.set()
    await world.arrived(3)
    assert [arrival.text for arrival in world.events.arrivals] == ["hello", "yes", "yes"]
    assert len({arrival.key for arrival in world.events.arrivals}) == 2


async def test_copies_that_were_not_looked_at_are_another_processs_text_though_the_database_was_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = DrivenClock()
    carrier = await world.start(line=line)
    world.events.open.clear()
    world.smsc.text(PHONE, OURS, "hello")
    while not await world.database.fetch("SELECT FROM smpp_arrivals"):
        pass  # it is on its way to the service, and what comes now waits
    for count in (2, 3):
        world.smsc.text(PHONE, OURS, "yes")
        await until(lambda count=count: carrier.counters()["inbox_texts"] == count)
        await line.advance(timedelta(seconds=9))
    now, yes = world.clock.now(), fingerprint(PHONE, OURS, "yes")
    there = Records(world.database, "smpp", uuid4(), Alphabet.GSM)
    assert await there.arrival_keys([Look(yes, "theirs", now)], now) == ["theirs"]
    ask = Records.arrival_keys

    async def away(_self: Records, _looks: Sequence[Look], _now: datetime) -> list[str]:
        monkeypatch.setattr(Records, "arrival_keys", ask)
        raise Unavailable("away", retry_after_s=1.0)

    monkeypatch.setattr(Records, "arrival_keys", away)
    world.events.open.set()
    while len(world.events.arrivals) < 3:
        await world.clock.advance(timedelta(seconds=1))
    assert [arrival.key for arrival in world.events.arrivals if arrival.text == "yes"] == ["theirs"] * 2


async def test_a_text_keeps_its_key_though_the_answer_was_lost_when_it_was_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have found that key by then."""
    await world.start()
    ask = Records.arrival_keys

    async def answer_is_lost(self: Records, looks: Sequence[Look], now: datetime) -> list[str]:
        monkeypatch.setattr(Records, "arrival_keys", ask)
        await ask(self, looks, now)
        raise Unavailable("gone", retry_after_s=1.0)

    monkeypatch.setattr(Records, "arrival_keys", answer_is_lost)
    world.smsc.text(PHONE, OURS, "yes")
    while not await world.database.fetch("SELECT FROM smpp_arrivals"):
        pass
    stored = await world.database.fetch("SELECT key FROM smpp_arrivals")
    while not world.events.arrivals:
        await world.clock.advance(timedelta(seconds=1))
    assert [arrival.key for arrival in world.events.arrivals] == [row["key"] for row in stored]


async def test_a_text_acknowledged_late_is_told_apart_by_when_it_came_to_another_process(world: World) -> None:
    line = DrivenClock()
    await world.start(line=line)
    world.events.open.clear()
    world.smsc.text(PHONE, OURS, "yes")
    while not await world.database.fetch("SELECT FROM smpp_arrivals"):
        pass  # it is on its way to the service
    await line.advance(timedelta(seconds=9))
    brought_again = world.clock.now()
    world.events.open.set()
    await world.arrived(1)
    while not (rows := await world.database.fetch("SELECT * FROM smpp_arrivals WHERE settled_at IS NOT NULL")):
        await line.advance(timedelta(seconds=1))
        await world.clock.advance(timedelta(seconds=1))
    other = Records(world.database, rows[0]["carrier"], uuid4(), Alphabet.GSM)
    looks = [Look(rows[0]["fingerprint"], "new", at) for at in (brought_again, world.clock.now())]
    assert await other.arrival_keys(looks, world.clock.now()) == [world.events.arrivals[0].key, "new"]


@pytest.mark.parametrize("several", [False, True])
async def test_of_a_text_that_was_brought_again_while_its_process_stood_still_both_copies_are_one(
    world: World, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """Both are read at once. Where there are other processes another one may have told it, and have forgotten that."""
    world.smsc.conduct.deliver_retry_s = 3600.0
    await world.start(slots=AllMine(1) if several else None)
    await until(lambda: world.smsc.bound() == 1)
    with monkeypatch.context() as patched:
        patched.setattr(Standstill, "seconds", lambda _self: 12.0)
        for _ in range(2):
            world.smsc.text(PHONE, OURS, "yes")
        if several:
            await world.smsc.until(lambda: world.smsc.counts.delivery_refusals.get(status.ESME_RX_T_APPN) == 2)
        else:
            await world.smsc.until(lambda: world.smsc.counts.delivered == 2)
    if several:
        assert world.events.arrivals == []
        await _say(world, "yes")
    assert len({arrival.key for arrival in world.events.arrivals}) == 1


async def test_a_text_over_which_its_process_stood_still_is_not_passed_on_but_brought_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have had it meanwhile, and have forgotten that."""
    line, add = DrivenClock(), Inbox.add
    world.smsc.conduct.deliver_retry_s = 3600.0
    await world.start(slots=AllMine(1), line=line)
    await _say(world, "hello")

    def stands_still(self: Inbox, pump: Pump, event: MessageArrived, now: float, line_now: float) -> None:
        add(self, pump, event, now, line_now)
        line._offset += timedelta(seconds=3)

    with monkeypatch.context() as patched:
        patched.setattr(Inbox, "add", stands_still)
        world.smsc.text(PHONE, OURS, "yes")
        await world.smsc.until(lambda: status.ESME_RX_T_APPN in world.smsc.counts.delivery_refusals)
    assert [arrival.text for arrival in world.events.arrivals] == ["hello"]
    await _say(world, "yes")
    assert [arrival.text for arrival in world.events.arrivals] == ["hello", "yes"]


@pytest.mark.parametrize("where", ["in hand", "waiting", "elsewhere"])
async def test_a_copy_over_which_its_process_stood_still_is_that_texts_where_anybody_has_it(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Refused, it would be brought again so late after the first one's acknowledgement that it is taken for another."""
    line, counts = DrivenClock(), world.smsc.counts
    world.smsc.conduct.deliver_retry_s = 3600.0
    carrier = await world.start(slots=AllMine(1), line=line)
    await until_bound(carrier)
    now = world.clock.now()
    if where == "elsewhere":
        other = Records(world.database, "smpp", uuid4(), Alphabet.GSM)
        look = Look(fingerprint(PHONE, OURS, "hello"), "theirs", now - timedelta(seconds=12))
        await other.settled([], await other.arrival_keys([look], now), now)
    world.events.open.clear()  # it stands still with a text in hand
    first = {"in hand": ["hello"], "waiting": ["first", "hello"], "elsewhere": ["first"]}[where]
    for count, words in enumerate(first):
        world.smsc.text(PHONE, OURS, words)
        await until(lambda count=count: carrier.counters()["inbox_texts"] == count + 1)
        while not await world.database.fetch("SELECT FROM smpp_arrivals WHERE key <> 'theirs'"):
            pass  # the first is on its way to the service
    await line.advance(timedelta(seconds=12))
    with monkeypatch.context() as patched:
        patched.setattr(Standstill, "seconds", lambda _self: 12.0)
        for words in ("hello", "hello", "another"):
            world.smsc.text(PHONE, OURS, words)
        texts = len(first) + 3
        await until(lambda: carrier.counters()["inbox_texts"] == texts)
        world.events.open.set()
        await world.smsc.until(lambda: counts.delivered + sum(counts.delivery_refusals.values()) == texts)
    keys = {arrival.key for arrival in world.events.arrivals if arrival.text == "hello"}
    assert len(keys) == 1
    assert where != "elsewhere" or keys == {"theirs"}
    assert counts.delivery_refusals == {status.ESME_RX_T_APPN: 1}


async def test_a_text_over_whose_key_its_process_stood_still_is_not_passed_on_but_brought_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has had it meanwhile, and has forgotten that."""
    line, ask = DrivenClock(), Records.arrival_keys
    world.smsc.conduct.deliver_retry_s = 3600.0
    await world.start(slots=AllMine(1), line=line)
    other = Records(world.database, "smpp", uuid4(), Alphabet.GSM)

    async def stands_still(self: Records, looks: Sequence[Look], now: datetime) -> list[str]:
        monkeypatch.setattr(Records, "arrival_keys", ask)
        line._offset += timedelta(seconds=12)
        await other.settled(await ask(other, looks, now), [], now)
        return await ask(self, looks, now)

    monkeypatch.setattr(Records, "arrival_keys", stands_still)
    world.smsc.text(PHONE, OURS, "yes")
    await world.smsc.until(lambda: bool(world.smsc.counts.delivered or world.smsc.counts.delivery_refusals))
    assert world.events.arrivals == []
    await _say(world, "yes")  # had no other process told it
    assert [arrival.text for arrival in world.events.arrivals] == ["yes"]


@pytest.mark.parametrize("late", [False, True])
async def test_a_text_said_again_is_told_though_the_first_was_put_off_here_and_brought_again_to_another_process(
    world: World, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    line = DrivenClock()
    world.smsc.conduct.deliver_retry_s = 3600.0
    await world.start(slots=AllMine(1), line=line)

    async def refuse(_carrier: str, _arrivals: Sequence[Arrival]) -> None:
        raise Unavailable("away", retry_after_s=0.0)

    with monkeypatch.context() as patched:
        patched.setattr(world.events, "arrived", refuse)
        world.smsc.text(PHONE, OURS, "yes")
        await world.smsc.until(lambda: status.ESME_RX_T_APPN in world.smsc.counts.delivery_refusals)
    now = world.clock.now()
    other = Records(world.database, "smpp", uuid4(), Alphabet.GSM)
    theirs = await other.arrival_keys([Look(fingerprint(PHONE, OURS, "yes"), "new", now)], now)
    assert theirs != ["new"]
    await other.settled([] if late else theirs, theirs if late else [], now)
    for _ in range(10):
        await line.advance(timedelta(seconds=1))
        await world.clock.advance(timedelta(seconds=1))
    await _say(world, "yes")
    await _say(world, "yes")
    assert len({*theirs, *(arrival.key for arrival in world.events.arrivals)}) == 3


async def _say(world: World, words: str) -> None:
    """A phone's text, and its acknowledgement."""
    before = world.smsc.counts.delivered
    world.smsc.text(PHONE, OURS, words)
    await world.smsc.until(lambda: world.smsc.counts.delivered == before + 1)


async def test_a_text_in_hand_at_a_crash_has_the_same_key_after_it(world: World) -> None:
    carrier = await world.start()
    world.events.open.clear()
    world.smsc.text(PHONE, OURS, "no")
    keys: list[str] = []
    while not keys:
        keys = [row["key"] for row in await world.database.fetch("SELECT key FROM smpp_arrivals")]
    await crash(carrier)
    world.events.open.set()
    await world.start()
    await world.arrived(1)
    assert [arrival.key for arrival in world.events.arrivals] == keys


async def test_a_data_sm_is_a_text_too(world: World) -> None:
    await world.start()
    (connection,) = world.smsc._connections
    payload = ((Tag.MESSAGE_PAYLOAD, b"by another road"),)
    body = pdu.DataSm(
        source_addr_ton=1, source_addr=PHONE[1:], dest_addr_ton=1, destination_addr=OURS[1:], tlvs=payload
    )
    connection.session.request(0x103, body, b"", world.smsc.now())
    connection.pump.flush()
    await world.smsc.until(lambda: world.smsc.counts.delivered == 1)
    (arrival,) = world.events.arrivals
    assert (arrival.sender, arrival.recipient, arrival.text) == (PHONE, OURS, "by another road")


async def test_texts_between_national_numbers_are_those_of_the_carriers_country(world: World) -> None:
    await world.start(country="US")
    (connection,) = world.smsc._connections
    body = pdu.ShortMessage(
        source_addr_ton=2, source_addr=PHONE[2:], dest_addr_ton=2, destination_addr=OURS[2:], short_message=b"hi"
    )
    connection.session.request(Command.DELIVER_SM, body, b"", world.smsc.now())
    connection.pump.flush()
    await world.smsc.until(lambda: world.smsc.counts.delivered == 1)
    (arrival,) = world.events.arrivals
    assert (arrival.sender, arrival.recipient) == (PHONE, OURS)


async def test_receipts_are_passed_on_while_others_are_being_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = await world.start()
    stored, held = asyncio.Event(), asyncio.Event()
    reported = world.events.reported

    async def slow_once(name: str, receipts: Sequence[Receipt]) -> None:
        monkeypatch.setattr(world.events, "reported", reported)
        held.set()
        await stored.wait()
        await reported(name, receipts)

    monkeypatch.setattr(world.events, "reported", slow_once)
    await world.send(carrier, "one")
    await held.wait()
    await world.send(carrier, "two", "three")
    await world.smsc.until(lambda: world.smsc.counts.delivered == 2)
    assert len(world.events.receipts) == 2
    stored.set()
    await world.smsc.until(lambda: world.smsc.counts.delivered == 3)


async def test_fewer_receipts_than_are_being_stored_wait_for_those(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit of their own would cost as much as one of all."""
    carrier = await world.start()
    stored = asyncio.Event()
    passed_on: list[int] = []
    reported = world.events.reported

    async def slow(name: str, receipts: Sequence[Receipt]) -> None:
        passed_on.append(len(receipts))
        await stored.wait()
        await reported(name, receipts)

    monkeypatch.setattr(world.events, "reported", slow)
    await world.send(carrier, "one")
    await until(lambda: passed_on == [1])
    await world.send(carrier, "two")
    await until(lambda: carrier.counters()["inbox_receipts"] == 2)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert passed_on == [1]
    stored.set()
    await world.smsc.until(lambda: world.smsc.counts.delivered == 2)
    assert passed_on == [1, 1]


async def test_a_receipt_whose_answer_is_being_stored_is_not_looked_at_all_the_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the database asked: there a slow one would cost a core."""
    looks = 0
    bring = Inbox.bring

    async def counted(self: Inbox, carrier: str, events: CarrierEvents, now: float, sleep: Sleep) -> bool:
        nonlocal looks
        looks += 1
        return await bring(self, carrier, events, now, sleep)

    monkeypatch.setattr(Inbox, "bring", counted)
    carrier = await world.start(slots=AllMine(1))
    await world.send(carrier, "one")
    await world.reported(1)
    world.events.open.clear()
    await world.send(carrier, "two")
    await until(lambda: carrier.counters()["inbox_receipts"] == 2)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert looks < 10
    world.events.open.set()
    await world.reported(2)


async def test_a_backlog_is_not_sent_off_while_its_receipts_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    carrier = await world.start()
    stored = asyncio.Event()
    waiting: list[int] = []
    reported = world.events.reported

    async def held_back(name: str, receipts: Sequence[Receipt]) -> None:
        waiting.append(len(receipts))
        await stored.wait()
        await reported(name, receipts)

    monkeypatch.setattr(world.events, "reported", held_back)

    async def send_all() -> None:
        for _ in range(30):
            await world.send(carrier, *["text"] * 100)

    sending = asyncio.create_task(send_all())
    await world.events.until(lambda: len(waiting) >= 2 and len(world.events.answers) >= 400)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not sending.done()
    assert world.smsc.counts.submits < 3000
    stored.set()
    await sending
    await world.reported(3000)


async def test_what_one_connection_brought_is_not_lost_with_another(world: World) -> None:
    carrier = await world.start(binds=2)
    await until_bound(carrier, 2)
    world.events.open.clear()
    world.smsc.text(PHONE, OURS, "what is being passed on")
    await world.smsc.until(lambda: world.smsc.counts.deliveries == 1)
    await until(lambda: carrier.counters()["inbox_texts"] == 1)
    whole = "half of it by each. " * 60
    world.smsc.text(PHONE, OURS, whole)
    await until(lambda: carrier.counters()["inbox_parts"] == 8)
    carrier._links[0].abort()
    await until(lambda: carrier.bound == 1)
    world.events.open.set()
    await world.arrived(2)
    await world.smsc.until(lambda: world.smsc.counts.delivered == 9)
    assert [arrival.text for arrival in world.events.arrivals if arrival.segments > 1] == [whole]
    assert len({arrival.key for arrival in world.events.arrivals}) == 2


@pytest.mark.parametrize(("text", "segments"), [("hi", 1), ("x" * 161, 2)])
async def test_how_many_segments_a_text_had_is_told_though_it_came_in_one_piece(
    world: World, text: str, segments: int
) -> None:
    await world.start()
    world.smsc.text(PHONE, OURS, text, style=LongStyle.PAYLOAD)
    await world.arrived(1)
    assert [(arrival.text, arrival.segments) for arrival in world.events.arrivals] == [(text, segments)]


async def test_a_text_said_again_while_the_first_takes_long_to_store_arrives_twice(world: World) -> None:
    line = DrivenClock()
    carrier = await world.start(line=line)
    world.events.open.clear()  # as long as a commit takes
    world.smsc.text(PHONE, OURS, "yes")
    while not await world.database.fetch("SELECT FROM smpp_arrivals"):
        pass  # it is on its way to the service
    world.smsc.text(PHONE, OURS, "yes")  # its SMSC waits for an answer to the first for longer than this
    await until(lambda: carrier.counters()["inbox_texts"] == 2)
    await line.advance(timedelta(seconds=9))
    world.events.open.set()
    await world.arrived(2)
    first, second = world.events.arrivals
    assert first.key != second.key


async def test_a_text_said_twice_at_once_arrives_twice_though_the_service_was_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start()
    asked: list[Arrival] = []

    async def refuse(_carrier: str, arrivals: Sequence[Arrival]) -> None:
        asked.extend(arrivals)
        raise Unavailable("away", retry_after_s=1.0)

    with monkeypatch.context() as patched:
        patched.setattr(world.events, "arrived", refuse)
        world.smsc.text(PHONE, OURS, "yes")
        world.smsc.text(PHONE, OURS, "yes")
        await until(lambda: len(asked) == 2)
    await world.clock.advance(timedelta(seconds=1))
    await world.arrived(2)
    first, second = world.events.arrivals
    assert first.key != second.key
    assert {first.key, second.key} == {arrival.key for arrival in asked}
