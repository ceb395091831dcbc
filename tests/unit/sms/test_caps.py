"""Caps: what processes take ahead never adds up to more than the cap, and towards its end leaves something for all."""

from datetime import UTC, date, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from landline.services.sms.model.caps import MOST_AHEAD, SPEND, Budget, Needs, Period, Purse, portion, purses
from landline.services.sms.model.settings import Caps


@given(st.integers(1, 10_000), st.lists(st.integers(1, 500), max_size=100), st.integers(min_value=1, max_value=8))
def test_portions_never_add_up_to_more_than_the_cap(limit: int, wishes: list[int], share: int) -> None:
    used = 0
    for needed in wishes:
        part = portion(limit, used, needed, share)
        assert part >= min(needed, limit - used)
        used += part
    assert used <= limit


@given(st.integers(0, 1_000_000), st.integers(0, 2_000_000), st.integers(1, 8))
def test_one_process_takes_at_most_a_part_of_what_remains_ahead(limit: int, used: int, share: int) -> None:
    ahead = portion(limit, used, 0, share)
    assert 0 <= ahead <= min(MOST_AHEAD, max(0, limit - used) / (8 * share))


def test_periods_are_those_of_the_calendar() -> None:
    at = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)
    assert Period.DAY.begins_on(at) == date(2026, 2, 28)
    assert Period.MONTH.begins_on(at) == date(2026, 2, 1)


def test_there_is_a_purse_for_each_cap_and_it_says_which() -> None:
    at = datetime(2026, 2, 28, tzinfo=UTC)
    caps = Caps(
        per_day=10, per_month=100, unit="segments", spend_per_day=Decimal("2.5"), spend_per_month=Decimal("0.000001")
    )
    assert [purse.words for purse in purses(caps, at, "EUR")] == [
        "10 segments a day",
        "100 segments a month",
        "2.5 EUR a day",
        "0.000001 EUR a month",
    ]
    assert [purse.limit for purse in purses(caps, at, "EUR")] == [10, 100, 2_500_000, 1]
    assert purses(Caps(), at, "EUR") == ()


def of(unit: str, left: int) -> Purse:
    return Purse(Period.DAY, unit, date(2026, 2, 28), 100, left)


def sent(budget: Budget, count: int) -> list[int]:
    """Which of so many messages, one after the other, are sent."""
    found: list[int] = []
    for index in range(count):
        if budget.full(index) is None:
            budget.take(index)
            found.append(index)
    return found


def test_each_message_takes_what_it_costs_and_a_cheaper_one_may_still_be_sent() -> None:
    spend = of(SPEND, 10)
    budget = Budget([spend], Needs(5, 1, [6, 5, 4, 0, 1]))
    assert sent(budget, 5) == [0, 2, 3]
    assert spend.left == 0
    assert budget.full(4) is spend


def test_of_several_purses_each_must_have_enough() -> None:
    messages, spend = of("segments", 6), of(SPEND, 100)
    assert sent(Budget([messages, spend], Needs(4, 2, [30, 90, 30, 30])), 4) == [0, 2, 3]
    assert (messages.left, spend.left) == (0, 10)


@given(
    st.integers(0, 200), st.integers(0, 20), st.integers(1, 3), st.lists(st.integers(0, 50), min_size=1, max_size=12)
)
def test_no_purse_is_ever_overdrawn_and_whoever_is_refused_would_have_overdrawn_one(
    spend_left: int, messages_left: int, units: int, costs: list[int]
) -> None:
    messages, spend = of("messages", messages_left), of(SPEND, spend_left)
    budget = Budget([messages, spend], Needs(len(costs), units, costs))
    for index, cost in enumerate(costs):
        before = messages.left, spend.left
        full = budget.full(index)
        assert (full is None) == (before[0] >= units and before[1] >= cost)
        if full is None:
            budget.take(index)
    assert messages.left >= 0
    assert spend.left >= 0
