"""Time that goes on when the clock is set back."""

from hypothesis import given
from hypothesis import strategies as st

from landline.core.forward_time import ForwardTime

HOUR_S = 3600.0


def test_it_goes_on_from_where_it_was() -> None:
    forward = ForwardTime()
    assert [forward.read(at) for at in (10 * HOUR_S, 9 * HOUR_S, 9 * HOUR_S + 5, 8 * HOUR_S, 8 * HOUR_S + 5)] == [
        10 * HOUR_S, 10 * HOUR_S, 10 * HOUR_S + 5, 10 * HOUR_S + 5, 10 * HOUR_S + 10,
    ]  # fmt: skip


def test_instants_that_are_a_little_out_of_order_stay_what_they_are() -> None:
    forward = ForwardTime(unordered_s=30.0)
    assert [forward.read(at) for at in (100.0, 75.0, 101.0)] == [100.0, 75.0, 101.0]


@given(st.lists(st.floats(min_value=-HOUR_S, max_value=HOUR_S), max_size=50))
def test_it_never_goes_back_by_more_than_it_may(steps: list[float]) -> None:
    forward, now, last = ForwardTime(), 0.0, float("-inf")
    for step in steps:
        now += step
        at = forward.read(now)
        assert at >= last - 1.0 - 1e-6
        last = max(last, at)
