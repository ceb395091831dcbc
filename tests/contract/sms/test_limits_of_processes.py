"""What processes allow together: the guard and ACS's limits count what each of them lets pass, while they reach one
another; one that reaches nobody keeps its part."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from uuid import uuid4

import msgspec
import pytest
from tests.support.bus import nats_server, processes
from tests.support.cluster import eventually
from tests.support.still import StillClock

from landline.core.countries import country
from landline.core.errors import TooMany
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.engines.bus import MemoryBus
from landline.engines.clock import DrivenClock
from landline.engines.nats.bus import NatsBus
from landline.services.sms.guard import Guard
from landline.services.sms.limits import Limits
from landline.services.sms.model import settings as model
from landline.services.sms.model.guard import Rule
from landline.services.sms.model.settings import Rates, Sequential, SmsSettings, Velocity
from landline.store.database import Database


class Crowd(MemoryBus):
    """Counts what is said to the others."""

    together = True
    told = 0

    def publish(self, subject: str, data: bytes) -> None:
        self.told += 1


SHOP = ResourceId(uuid4())
OFF = Sequential(enabled=False)
PHONE, OTHER, SENDER = "+14255550100", "+14255550142", "+18005550100"


def guarded(
    per_recipient: int = 900, per_prefix: int = 900, sequential: Sequential = OFF, prefix_digits: int = 8
) -> SmsSettings:
    velocity = Velocity(
        enabled=True,
        prefix_digits=prefix_digits,
        per_recipient=Rates(minute=per_recipient, hour=900, day=900),
        per_prefix=Rates(minute=per_prefix, hour=900, day=900),
    )
    defaults = model.defaults(guarded=True, countries=("*",))
    return msgspec.structs.replace(defaults, velocity=velocity, sequential=sequential)


def blocked(guard: Guard, settings: SmsSettings, numbers: Sequence[str]) -> list[Rule | None]:
    verdicts = guard.judge(SHOP, numbers, settings, DrivenClock().now())
    return [None if verdict is None else verdict.rule for verdict in verdicts]


@pytest.fixture
async def buses() -> AsyncGenerator[list[NatsBus]]:
    async with nats_server() as server, processes(server.url, count=3) as made:
        yield made


@pytest.fixture
async def guards(database: Database, buses: list[NatsBus]) -> list[Guard]:
    """Those of three processes."""
    made = [Guard(database, DrivenClock(), country=country, share=lambda: 3, bus=bus) for bus in buses]
    for guard in made:
        await guard.start()
    return made


async def told(buses: Sequence[NatsBus], portions: int) -> None:
    """Until all have heard of so many portions but their own."""

    async def heard() -> bool:
        return all(bus.figures.heard + bus.figures.published >= portions for bus in buses)

    await eventually(heard)
    await asyncio.sleep(0)  # what was counted as it came in is heard in the next turn


async def test_a_recipients_limit_is_all_of_it_in_one_process_and_counts_in_the_others(
    guards: list[Guard], buses: list[NatsBus]
) -> None:
    settings = guarded(per_recipient=5)
    assert blocked(guards[0], settings, [PHONE] * 3) == [None] * 3
    await told(buses, 1)
    assert blocked(guards[0], settings, [PHONE] * 3) == [None] * 2 + [Rule.RECIPIENT]
    await told(buses, 2)
    assert [blocked(guard, settings, [PHONE]) for guard in guards] == [[Rule.RECIPIENT]] * 3


async def test_a_prefixs_limit_counts_what_all_processes_sent(guards: list[Guard], buses: list[NatsBus]) -> None:
    settings = guarded(per_prefix=60)
    own: list[int] = []
    for turn, guard in enumerate(guards):
        assert blocked(guard, settings, [f"+14255550{turn}{line:02d}" for line in range(0, 60, 3)]) == [None] * 20
        own.append(guard.size_bytes)
    await told(buses, 3)
    sizes = {guard.size_bytes for guard in guards}
    assert (len(sizes), sizes.pop() > 2 * own[0]) == (1, True), "what others sent takes memory, too"
    assert [blocked(guard, settings, ["+14255550999"]) for guard in guards] == [[Rule.PREFIX]] * 3


async def test_what_is_sent_as_prefixes_become_shorter_counts_by_the_length_that_held_for_it(
    guards: list[Guard], buses: list[NatsBus]
) -> None:
    longer, shorter = guarded(per_prefix=2), guarded(per_prefix=2, prefix_digits=6)
    assert blocked(guards[0], longer, ["+14255550100"]) == [None]
    assert blocked(guards[0], shorter, ["+14255560100", "+14255570100"]) == [None] * 2  # before the first was told
    await told(buses, 2)
    assert [blocked(guard, shorter, ["+14255580100"]) for guard in guards] == [[Rule.PREFIX]] * 3
    assert blocked(guards[1], longer, ["+14255550101", "+14255550102"]) == [None, Rule.PREFIX]


async def test_what_a_guard_that_ends_has_not_told_yet_is_told(guards: list[Guard], buses: list[NatsBus]) -> None:
    settings = guarded(per_recipient=1)
    assert blocked(guards[0], settings, [PHONE]) == [None]
    await guards[0].close()
    await buses[0].close()
    await told(buses[1:], 1)
    assert [blocked(guard, settings, [PHONE]) for guard in guards[1:]] == [[Rule.RECIPIENT]] * 2


async def test_much_is_told_at_once_and_no_message_by_itself(database: Database) -> None:
    bus = Crowd()
    guard = Guard(database, DrivenClock(), country=country, share=lambda: 3, bus=bus)
    campaign = [f"+1425{line:07d}" for line in range(0, 10_000_000, 5_000)]
    for turn in range(0, 1_900, 100):
        assert blocked(guard, guarded(), campaign[turn : turn + 100]) == [None] * 100
    assert bus.told == 0
    assert blocked(guard, guarded(), campaign[1_900:]) == [None] * 100
    assert bus.told == 1


async def test_numbers_in_a_row_are_seen_though_they_come_to_several_processes(
    guards: list[Guard], buses: list[NatsBus]
) -> None:
    settings = guarded(sequential=Sequential(enabled=True, run=10))
    row = [f"+1425555{line:04d}" for line in range(20)]
    for turn in range(9):
        assert blocked(guards[turn % 3], settings, [row[turn]]) == [None]
    await told(buses, 3)
    assert blocked(guards[0], settings, row[9:11]) == [Rule.SEQUENCE] * 2
    await told(buses, 4)
    assert blocked(guards[1], settings, [row[11]]) == [Rule.SEQUENCE], "what was asked for is told, too"


async def test_what_one_guard_let_pass_and_was_not_sent_counts_in_no_other(
    guards: list[Guard], buses: list[NatsBus]
) -> None:
    settings, now = guarded(per_recipient=2, per_prefix=5), DrivenClock().now()
    numbers = [PHONE, PHONE, OTHER]
    for _ in range(3):  # that they passed is told with it, or before
        assert guards[0].judge(SHOP, numbers, settings, now) == [None] * 3
        guards[0].undo(SHOP, [0, 1, 2], numbers, 1, settings, now)
    await told(buses, 1)
    assert guards[0].judge(SHOP, numbers, settings, now) == [None] * 3
    await told(buses, 2)
    assert guards[1].judge(SHOP, [PHONE], settings, now) != [None]
    guards[0].undo(SHOP, [0, 1, 2], numbers, 1, settings, now)
    await told(buses, 3)
    assert guards[2].judge(SHOP, [PHONE] * 2, settings, now) == [None] * 2
    await told(buses, 4)
    assert [blocked(guard, settings, [PHONE]) for guard in guards] == [[Rule.RECIPIENT]] * 3
    assert [blocked(guard, settings, [OTHER]) for guard in guards] == [[None]] * 3


async def test_a_guard_that_reaches_nobody_keeps_its_part(database: Database) -> None:
    guard = Guard(database, DrivenClock(), country=country, share=lambda: 2, bus=MemoryBus())
    await guard.start()
    assert blocked(guard, guarded(per_recipient=5), [PHONE] * 3) == [None, None, Rule.RECIPIENT]


async def test_a_guard_alone_counts_what_it_sent_once(database: Database) -> None:
    guard = Guard(database, DrivenClock(), country=country, share=lambda: 1, bus=MemoryBus())
    await guard.start()
    assert blocked(guard, guarded(per_recipient=5), [PHONE] * 6) == [None] * 5 + [Rule.RECIPIENT]


async def test_what_one_process_took_of_acs_limits_counts_in_the_others(buses: list[NatsBus]) -> None:
    nodes = [Limits(True, DrivenClock(), lambda: 3, bus) for bus in buses]
    for node in nodes:
        await node.start()
    nodes[0].take(SHOP, SENDER, SenderKind.TOLL_FREE, 100)
    nodes[1].take(SHOP, SENDER, SenderKind.TOLL_FREE, 50)
    await told(buses, 2)
    nodes[0].take(SHOP, SENDER, SenderKind.TOLL_FREE, 50)  # what it took itself counts once
    await told(buses, 3)
    for node in nodes:
        with pytest.raises(TooMany):
            node.take(SHOP, SENDER, SenderKind.TOLL_FREE, 1)
        node.take(SHOP, "+18005550101", SenderKind.TOLL_FREE, 1)


async def test_what_came_to_nothing_in_one_process_counts_in_no_other(buses: list[NatsBus]) -> None:
    nodes = [Limits(True, StillClock(), lambda: 3, bus) for bus in buses]
    for node in nodes:
        await node.start()
    counted_at = nodes[0].take_all(SHOP, [(SENDER, SenderKind.TOLL_FREE, 150)])
    assert counted_at is not None
    nodes[0].undo(SHOP, [(SENDER, SenderKind.TOLL_FREE, 150)], counted_at)
    await told(buses, 2)
    nodes[1].take(SHOP, SENDER, SenderKind.TOLL_FREE, 200)
    await told(buses, 3)
    for node in nodes:
        with pytest.raises(TooMany):
            node.take(SHOP, SENDER, SenderKind.TOLL_FREE, 1)
