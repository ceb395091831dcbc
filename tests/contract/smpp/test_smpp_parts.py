"""Which texts the parts are of that phones send: a reference comes again soon, and an SMSC brings parts again."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.support.smpp_world import OURS, PHONE, World, until

from landline.engines.smpp.records import KEPT, Records
from landline.protocols.smpp.joiner import GroupKey, TextPart
from landline.protocols.smpp.texts import Alphabet
from landline.store.database import Database

OTHER = "+14255550143"
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def heard(database: Database, total: int, brought: Sequence[tuple[float, str]]) -> list[str]:
    """The texts that were told of, where `brought` has the instants and the parts that came then, such as `A1 A2`."""
    records = Records(database, "north", uuid4(), Alphabet.GSM)
    key = GroupKey(PHONE, OURS, 7, total, False)
    told: dict[str, str] = {}
    for second, names in brought:
        now = AT + timedelta(seconds=second)
        parts = [TextPart(key, int(name[1]), 0, f"{name} ".encode()) for name in names.split()]
        found = await records.overdue(now, timedelta(hours=1))
        found += await records.interrupted(parts)
        await records.finish([whole.joined.key for whole in found])
        found += await records.keep_parts(parts, now)
        told |= {whole.key: whole.joined.text.strip() for whole in found}
        await records.finish([whole.joined.key for whole in found])
    found = await records.overdue(AT + timedelta(hours=2), timedelta(hours=1))
    await records.finish([whole.joined.key for whole in found])
    return [*told.values(), *(f"{whole.joined.text.strip()} incomplete" for whole in found)]


FIRST = [(0.0, "A1"), (1.0, "A2")]


@pytest.mark.parametrize(
    ("brought", "texts"),
    [
        # What SMSCs bring again makes no text.
        ([(5, "A1"), (5, "A2")], ["A1 A2"]),
        ([(5, "A1 A2")], ["A1 A2"]),
        ([(5, "A2")], ["A1 A2"]),
        ([(5, "A1 A2"), (9, "A1"), (9, "A2"), (40, "A2 A1")], ["A1 A2"]),
        # A new text has nothing in common,
        ([(5, "B1"), (6, "B2")], ["A1 A2", "B1 B2"]),
        ([(5, "B2"), (6, "B1")], ["A1 A2", "B1 B2"]),
        # though the first was brought again, whole or in part.
        ([(5, "A1 A2"), (6, "B1"), (7, "B2")], ["A1 A2", "B1 B2"]),
        ([(5, "A1"), (5, "A2"), (6, "B2"), (7, "B1")], ["A1 A2", "B1 B2"]),
        ([(5, "A1 A2"), (6, "B2"), (7, "B1")], ["A1 A2", "B1 B2"]),
        ([(5, "A2"), (6, "B1"), (7, "B2")], ["A1 A2", "B1 B2"]),
        ([(5, "A1"), (6, "B1"), (7, "B2")], ["A1 A2", "B1 B2"]),
        ([(5, "A1"), (120, "B2"), (121, "B1")], ["A1 A2", "B1 B2"]),
        # A new text begins as the first did.
        ([(5, "A1"), (6, "B2")], ["A1 A2", "A1 B2"]),
        ([(5, "A1 B2")], ["A1 A2", "A1 B2"]),
        ([(5, "B2"), (6, "A1")], ["A1 A2", "A1 B2"]),
        ([(5, "A1"), (50, "B2")], ["A1 A2", "A1 B2"]),
        ([(5, "A1 A2"), (20, "A1"), (21, "B2")], ["A1 A2", "A1 B2"]),
        ([(5, "A1"), (6, "B2"), (9, "A1"), (10, "B2"), (11, "A1 B2")], ["A1 A2", "A1 B2"]),
        ([(5, "A1"), (6, "A1"), (7, "B2"), (12, "A1"), (13, "C2")], ["A1 A2", "A1 B2", "A1 C2"]),
        ([(KEPT.total_seconds() - 1, "A1"), (KEPT.total_seconds() + 3, "B2")], ["A1 A2", "A1 B2"]),
    ],
)
async def test_a_text_that_begins_as_the_one_before_with_its_reference_is_whole_and_a_repeated_one_is_none(
    database: Database, brought: Sequence[tuple[float, str]], texts: list[str]
) -> None:
    assert await heard(database, 2, [*FIRST, *brought]) == texts


@pytest.mark.parametrize(
    ("brought", "texts"),
    [
        ([(5, "A1"), (6, "A2"), (7, "B3")], ["A1 A2 A3", "A1 A2 B3"]),
        ([(5, "A1"), (6, "B3"), (7, "A2")], ["A1 A2 A3", "A1 A2 B3"]),
        ([(5, "A1"), (6, "B2"), (7, "A3")], ["A1 A2 A3", "A1 B2 A3"]),
        ([(5, "A1"), (6, "B2"), (7, "B3")], ["A1 A2 A3", "A1 B2 B3"]),
        ([(5, "A1 A2 A3"), (9, "A1"), (10, "B3"), (11, "B2")], ["A1 A2 A3", "A1 B2 B3"]),
        ([(5, "A3"), (9, "A1"), (10, "A2"), (11, "B3")], ["A1 A2 A3", "A1 A2 B3"]),
    ],
)
async def test_so_is_one_of_three_parts(
    database: Database, brought: Sequence[tuple[float, str]], texts: list[str]
) -> None:
    assert await heard(database, 3, [(0, "A1"), (1, "A2"), (2, "A3"), *brought]) == texts


@pytest.mark.parametrize("again", ["B1 B2", "A1 B2"])
async def test_a_reference_that_is_used_again_says_nothing_of_other_phones_and_carriers(
    database: Database, again: str
) -> None:
    """A text of each is done, and another is not whole yet."""
    north, south = (Records(database, name, uuid4(), Alphabet.GSM) for name in ("north", "south"))
    senders = [(records, GroupKey(phone, OURS, 7, 2, False)) for records in (north, south) for phone in (PHONE, OTHER)]
    waiting = [(records, GroupKey(key.sender, OURS, 8, 2, False)) for records, key in senders]

    async def bring(to: Records, key: GroupKey, names: str, second: int) -> list[str]:
        now = AT + timedelta(seconds=second)
        found = await to.interrupted(parts := [TextPart(key, int(name[1]), 0, name.encode()) for name in names.split()])
        found += await to.keep_parts(parts, now)
        await to.finish([whole.joined.key for whole in found])
        return [whole.joined.text for whole in found]

    for to, key in senders:
        assert await bring(to, key, "A1 A2", 0) == ["A1A2"]
    for to, key in waiting:
        assert await bring(to, key, "A1", 1) == []
    assert await bring(*senders[0], "A1", 5) == []
    assert await bring(*senders[0], again, 6) == [again.replace(" ", "")]
    for to, key in senders[1:]:
        assert await bring(to, key, "A2 A1", 7) == []
    for to, key in waiting:
        assert await bring(to, key, "A2", 8) == ["A1A2"]


async def test_what_is_kept_of_a_text_is_forgotten_at_once(database: Database) -> None:
    """Or else what is left of it would keep those of a new text from being told of."""
    records = Records(database, "north", uuid4(), Alphabet.GSM)
    key = GroupKey(PHONE, OURS, 7, 2, False)
    await records.keep_parts([TextPart(key, 1, 0, b"a")], AT)
    await records.keep_parts([TextPart(key, 2, 0, b"b")], AT + timedelta(seconds=5))
    await records.finish([key])
    left: list[int] = []
    for after in (timedelta(seconds=1), timedelta(seconds=6)):
        await records.overdue(AT + KEPT + after, timedelta(hours=1))
        left.append(await database.fetchval("SELECT count(*) FROM smpp_inbound_parts"))
    assert left == [2, 0]


async def test_phones_texts_with_one_reference_and_one_beginning_all_arrive_whole(world: World) -> None:
    carrier = await world.start()
    texts = ["x" * 153 + end * 20 for end in "abc"]
    for count, text in enumerate(texts):
        bodies: list[bytes] = []
        world.smsc.text(PHONE, OURS, text, order=lambda made, bodies=bodies: bodies.extend(made) or ())
        for body in bodies:
            delivered = world.smsc.counts.delivered
            same = body.replace(bytes((5, 0, 3, count + 1)), bytes((5, 0, 3, 1)))
            world.smsc.deliver("landline", [same])
            await world.smsc.until(lambda before=delivered: world.smsc.counts.delivered > before)
    await world.arrived(3)
    assert [arrival.text for arrival in world.events.arrivals] == texts
    counters = carrier.counters()
    assert (counters["inbox_parts"], counters["inbox_incomplete"]) == (6, 0)


def _bodies(world: World) -> dict[str, bytes]:
    """The deliver_sm of three texts of two parts, all with one reference."""
    bodies: dict[str, bytes] = {}
    for count, name in enumerate("ABC", 1):
        made: list[bytes] = []
        world.smsc.text(PHONE, OURS, name * 173, order=lambda each, made=made: made.extend(each) or ())
        for at, body in enumerate(made, 1):
            bodies[f"{name}{at}"] = body.replace(bytes((5, 0, 3, count)), bytes((5, 0, 3, 1)))
    return bodies


@pytest.mark.parametrize(
    ("order", "texts"),
    [
        ("A1 A2 B1 B2", ["A1 A2", "B1 B2"]),
        ("A2 A1 B2 B1", ["A1 A2", "B1 B2"]),
        ("A1 A2 A1 B2", ["A1 A2", "A1 B2"]),
        ("A1 A2 A1 A2 B1 B2 C1 C1 C2", ["A1 A2", "B1 B2", "C1 C2"]),
    ],
)
async def test_texts_with_one_reference_that_come_at_once_all_arrive_whole(
    world: World, order: str, texts: list[str]
) -> None:
    """Of a sender whose texts all have the same one, after their SMSC was away."""
    carrier = await world.start()
    bodies = _bodies(world)
    world.smsc.deliver("landline", [bodies[name] for name in order.split()])
    await world.smsc.until(lambda: world.smsc.counts.delivered == len(order.split()))
    arrived = [arrival.text for arrival in world.events.arrivals]
    assert arrived == [text[0] * 153 + text[3] * 20 for text in texts]
    assert carrier.counters()["inbox_incomplete"] == 0


async def test_texts_with_one_reference_that_come_at_once_wait_together_for_a_service_that_is_away(
    world: World,
) -> None:
    world.smsc.conduct.deliver_retry_s = 0.5
    carrier = await world.start()
    bodies = _bodies(world)
    world.events.away = True
    world.smsc.deliver("landline", [bodies[f"{name}{at}"] for name in "ABC" for at in (1, 2)])
    await until(lambda: carrier.counters()["inbox_put_off"] == 6)
    assert world.events.refused == 3  # tries, of all of them
    world.events.away = False
    await world.arrived(3)
