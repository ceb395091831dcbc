"""Spend caps on a real database: exact over several processes and restarts, and said in the timeline."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from uuid import uuid4

import msgspec
import pytest
from tests.contract.sms.test_guard_caps import numbers, passed
from tests.support.gateway import Gateway
from tests.support.scripted import ScriptedCarrier

from landline.core.countries import country
from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.services.sms.guard import Guard
from landline.services.sms.model import settings as model
from landline.services.sms.model.prices import Price, PriceList
from landline.services.sms.model.settings import Caps, SmsSettings
from landline.services.sms.service import Options, To
from landline.store.database import Database

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
CENT = 10_000
SENDER = "+18005550100"
NewGuard = Callable[[], Guard]


def capped(per_day: str | None = None, per_month: str | None = None, *, messages: int | None = None) -> SmsSettings:
    day, month = (None if each is None else Decimal(each) for each in (per_day, per_month))
    caps = Caps(per_day=messages, spend_per_day=day, spend_per_month=month)
    return msgspec.structs.replace(model.defaults(guarded=False, countries=("*",)), caps=caps)


async def decide(
    guard: Guard, resource: ResourceId, costs: Sequence[int], settings: SmsSettings, at: datetime = NOON
) -> list[bool]:
    verdicts = await guard.decide(resource, numbers(len(costs)), 1, settings, at, costs)
    return [verdict is None for verdict in verdicts]


@pytest.fixture
def resource() -> ResourceId:
    return ResourceId(uuid4())


@pytest.fixture
async def guards(database: Database) -> AsyncGenerator[NewGuard]:
    """Makes the guards of processes that share one database; those running end with the test."""
    made: list[Guard] = []

    def make() -> Guard:
        share = lambda: max(1, len(made))  # noqa: E731
        made.append(Guard(database, DrivenClock(), country=country, share=share, currency="EUR"))
        return made[-1]

    yield make
    for guard in made:
        await guard.close()


async def used(database: Database, resource: ResourceId, period: str = "day") -> int:
    return await database.fetchval(
        "SELECT coalesce(sum(used), 0)::bigint FROM sms_caps WHERE resource_id = $1 AND period = $2 AND unit = 'spend'",
        resource,
        period,
    )


async def test_what_costs_more_than_is_left_is_blocked_and_said_so(guards: NewGuard, resource: ResourceId) -> None:
    guard, settings = guards(), capped("1.00")
    assert await decide(guard, resource, [50 * CENT, 60 * CENT, 40 * CENT, 0, 20 * CENT], settings) == [
        True, False, True, True, False,
    ]  # fmt: skip
    [verdict] = await guard.decide(resource, numbers(1), 1, settings, NOON, [11 * CENT])
    assert verdict is not None
    assert (verdict.code, verdict.reason) == (4008, "the cap of 1 EUR a day is reached")
    assert guard.counters()["spend"] == 3
    assert guard.counters()["cap"] == 0
    assert await decide(guard, resource, [10 * CENT], settings) == [True]


async def test_both_kinds_of_caps_hold_at_once_and_the_report_says_which(
    guards: NewGuard, resource: ResourceId
) -> None:
    guard, settings = guards(), capped("1.00", "1.50", messages=12)
    assert await decide(guard, resource, [10 * CENT] * 11, settings, NOON) == [True] * 10 + [False]
    assert await decide(guard, resource, [0] * 3, settings, NOON) == [True] * 2 + [False]
    [verdict] = await guard.decide(resource, numbers(1), 1, settings, NOON, [0])
    assert verdict is not None
    assert verdict.reason == "the cap of 12 messages a day is reached"
    await guard.close()  # which gives back what it holds of the month
    guard, yesterday = guards(), NOON - timedelta(days=1)
    assert await decide(guard, resource, [10 * CENT] * 6, settings, yesterday) == [True] * 5 + [False]
    [verdict] = await guard.decide(resource, numbers(1), 1, settings, yesterday, [CENT])
    assert verdict is not None
    assert verdict.reason == "the cap of 1.5 EUR a month is reached"


async def test_processes_on_one_database_never_spend_more_than_the_cap(
    guards: NewGuard, resource: ResourceId, database: Database
) -> None:
    settings, dice = capped("10.00", "100"), Random(3)
    running = [guards() for _ in range(3)]

    async def send(guard: Guard, costs: list[int]) -> int:
        return sum(
            cost for cost, sent in zip(costs, await decide(guard, resource, costs, settings), strict=True) if sent
        )

    requests = [[dice.choice([1, 7_500, 61_001, 0]) for _ in range(dice.choice([1, 5, 40]))] for _ in range(90)]
    spent = sum(await asyncio.gather(*(send(running[turn % 3], costs) for turn, costs in enumerate(requests))))
    assert 0 < spent <= 10_000_000
    for guard in running:
        await guard.close()
    assert await used(database, resource) == await used(database, resource, "month") == spent
    last = guards()
    while more := await send(last, [1_003] * 50):  # what was held is not lost
        spent += more
    assert 10_000_000 - 1_003 < spent <= 10_000_000


async def test_a_killed_process_costs_no_more_than_it_held(guards: NewGuard, resource: ResourceId) -> None:
    killed, settings = guards(), capped("8000")
    await decide(killed, resource, [CENT], settings)
    heir, spent = guards(), CENT
    while count := (await decide(heir, resource, [50 * CENT] * 100, settings)).count(True):
        spent += count * 50 * CENT
    assert 8_000_000_000 - 2_000 * CENT - 50 * CENT <= spent < 8_000_000_000


async def test_only_the_first_message_of_many_asks_the_database(
    guards: NewGuard, resource: ResourceId, database: Database
) -> None:
    guard, settings = guards(), capped("8000")
    await decide(guard, resource, [CENT], settings)
    held = await used(database, resource)
    for _ in range(1_999):
        assert await decide(guard, resource, [CENT], settings) == [True]
    assert await used(database, resource) == held == 2_000 * CENT


async def test_a_spend_cap_without_any_prices_asks_for_nothing(
    guards: NewGuard, resource: ResourceId, database: Database
) -> None:
    verdicts = await guards().decide(resource, numbers(3), 1, capped("0.01"), NOON, None)
    assert passed(verdicts) == 3
    assert passed(await guards().decide(resource, numbers(9), 1, capped("0.01", messages=5), NOON, None)) == 5
    assert await used(database, resource) == 0


async def test_a_changed_cap_holds_at_once(guards: NewGuard, resource: ResourceId) -> None:
    guard = guards()
    assert (await decide(guard, resource, [CENT] * 20, capped("0.10"))).count(True) == 10
    assert (await decide(guard, resource, [CENT] * 20, capped("0.25"))).count(True) == 15
    assert (await decide(guard, resource, [CENT] * 20, capped("0.30"))).count(True) == 5
    assert (await decide(guard, resource, [CENT] * 20, capped("0.10"))).count(True) == 0


async def test_a_message_over_a_spend_cap_ends_as_4008_with_its_cap_in_the_timeline(
    dsn: str, database: Database
) -> None:
    clock = DrivenClock()
    gateway = Gateway(dsn, database, clock, ScriptedCarrier(clock))
    gateway.prices = PriceList([Price("carrier", "+", 40_000), Price("carrier", "+49", 70_000)])
    await gateway.start()
    resource = await gateway.own()
    await gateway.settings.patch(resource, {"caps": {"spendPerDay": Decimal("0.15")}})
    recipients = ["+4915112345678", "+14255550100", "+4915112345679", "+14255550101"]
    text = "x" * 161  # two segments
    outcomes = await gateway.sms.send(resource, SENDER, [To(each) for each in recipients], text, Options())
    steps = [(await gateway.timelines.timeline([resource], outcome.message_id or ""))["steps"] for outcome in outcomes]
    blocked = [next((step for step in each if step["what"] == "blocked"), None) for each in steps]
    assert [step and (step["code"], step["reason"]) for step in blocked] == [
        None,
        (4008, "the cap of 0.15 USD a day is reached"),
        (4008, "the cap of 0.15 USD a day is reached"),
        (4008, "the cap of 0.15 USD a day is reached"),
    ]
    await gateway.guard.close()
    assert await used(database, resource) == 140_000
    await gateway.crash()
