"""Caps: what processes take ahead never adds up to more than the cap, and towards its end leaves something for all."""

from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from landline.services.sms.model.caps import MOST_AHEAD, Period, portion, purses
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
    day, month = purses(Caps(per_day=10, per_month=100, unit="segments"), at)
    assert (day.words, month.words) == ("10 segments a day", "100 segments a month")
    assert purses(Caps(), at) == ()
