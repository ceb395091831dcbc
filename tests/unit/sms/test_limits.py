"""ACS's sending limits: never more than they say within any minute, and back exactly when they said."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.errors import TooMany
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.engines.bus import MemoryBus
from landline.engines.clock import SystemClock
from landline.services.sms.limits import Limits
from landline.services.sms.model.limits import WINDOW_S, SlidingWindow

OURS, THEIRS = ResourceId(UUID(int=1)), ResourceId(UUID(int=2))
LIMIT = 20
Taken = list[tuple[float, int]]

EIGHTHS = st.integers(min_value=0, max_value=8 * 90).map(lambda eighths: eighths / 8)
"""Seconds that floats hold exactly."""
REQUESTS = st.lists(st.tuples(EIGHTHS, st.integers(min_value=1, max_value=LIMIT)), max_size=60)


class StoodClock(SystemClock):
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@given(REQUESTS)
def test_no_minute_ever_has_more_than_the_limit(requests: list[tuple[float, int]]) -> None:
    window, now = SlidingWindow(), 0.0
    taken: Taken = []
    for pause_s, count in requests:
        now += pause_s
        if window.take(count, LIMIT, now) == 0:
            taken.append((now, count))
    for end, _ in taken:
        assert sum(count for at, count in taken if end - WINDOW_S < at <= end) <= LIMIT


@given(REQUESTS, st.integers(min_value=1, max_value=LIMIT))
def test_who_waits_as_told_is_taken_and_not_an_instant_before(requests: list[tuple[float, int]], wanted: int) -> None:
    window, now = SlidingWindow(), 0.0
    for pause_s, count in requests:
        now += pause_s
        window.take(count, LIMIT, now)
    wait_s = window.take(wanted, LIMIT, now)
    if wait_s > 0:
        assert window.take(wanted, LIMIT, now + wait_s - 1 / 8) > 0
        assert window.take(wanted, LIMIT, now + wait_s) == 0


@given(REQUESTS)
def test_a_refused_request_costs_nothing(requests: list[tuple[float, int]]) -> None:
    """A window that saw the refused requests too answers as one that saw only those that were taken."""
    one, other, now = SlidingWindow(), SlidingWindow(), 0.0
    for pause_s, count in requests:
        now += pause_s
        if one.take(count, LIMIT, now) == 0:
            assert other.take(count, LIMIT, now) == 0


@given(REQUESTS, st.data())
def test_what_came_to_nothing_counts_no_more_and_the_rest_as_before(
    requests: list[tuple[float, int]], data: st.DataObject
) -> None:
    window, now = SlidingWindow(), 0.0
    taken: Taken = []
    for pause_s, count in requests:
        now += pause_s
        if window.take(count, LIMIT, now) == 0:
            undone = data.draw(st.integers(min_value=0, max_value=count))
            window.undo(undone, now)
            taken.append((now, count - undone))
    for end, _ in taken:
        assert sum(count for at, count in taken if end - WINDOW_S < at <= end) <= LIMIT


def test_a_window_that_all_came_to_nothing_of_takes_a_whole_one_at_once() -> None:
    window = SlidingWindow()
    for at in range(0, 50, 7):
        assert window.take(LIMIT, LIMIT, at) == 0
        window.undo(LIMIT, at)
    window.undo(LIMIT, -1.0)
    assert window.take(LIMIT, LIMIT, 50) == 0
    assert window.take(1, LIMIT, 50) > 0


def test_more_than_the_limit_at_once_passes_and_keeps_to_the_rate_in_the_long_run() -> None:
    window, now, sent = SlidingWindow(), 0.0, 0
    for _ in range(1_200):
        sent += 100 if window.take(100, 40, now) == 0 else 0
        now += 1.0
    assert 40 * 20 - 100 <= sent <= 40 * 20 + 100


def test_a_window_stays_small_whatever_passes_through_it() -> None:
    window = SlidingWindow()
    for step in range(10_000):
        window.take(1, 6_000, step / 100)
    assert len(window._taken) <= 62


@pytest.fixture
def clock() -> StoodClock:
    return StoodClock()


def limits(clock: StoodClock, *, on: bool = True, share: int = 1) -> Callable[..., None]:
    return Limits(on, clock, lambda: share).take


@pytest.mark.parametrize(
    ("sender", "kind", "a_minute"),
    [
        ("+18005550100", SenderKind.TOLL_FREE, 200),
        ("55501", SenderKind.SHORT_CODE, 6_000),
        ("LANDLINE", SenderKind.ALPHANUMERIC, 600),
    ],
)
def test_each_kind_of_sender_has_its_limit_a_minute(
    clock: StoodClock, sender: str, kind: SenderKind, a_minute: int
) -> None:
    take = limits(clock)
    for _ in range(a_minute // 100):
        take(OURS, sender, kind, 100)
    clock.at += timedelta(seconds=15)
    with pytest.raises(TooMany) as refused:
        take(OURS, sender, kind, 1)
    assert refused.value.retry_after_s == 45.0
    take(THEIRS, sender, kind, 1)  # another's sender of the same name
    clock.at += timedelta(seconds=45)
    take(OURS, sender, kind, 1)


def test_the_sender_names_of_a_resource_share_one_limit(clock: StoodClock) -> None:
    names = Limits(True, clock, lambda: 1)
    names.take_all(OURS, [("SHOP", SenderKind.ALPHANUMERIC, 300), ("SHOP NEWS", SenderKind.ALPHANUMERIC, 300)])
    for name in ("SHOP", "SHOP NEWS", "OTHER"):
        with pytest.raises(TooMany):
            names.take(OURS, name, SenderKind.ALPHANUMERIC, 1)
    names.take(THEIRS, "SHOP", SenderKind.ALPHANUMERIC, 600)
    clock.at += timedelta(seconds=60)
    names.take(OURS, "A", SenderKind.ALPHANUMERIC, 400)
    with pytest.raises(TooMany):  # neither, though each alone would do
        names.take_all(OURS, [("B", SenderKind.ALPHANUMERIC, 150), ("C", SenderKind.ALPHANUMERIC, 150)])
    names.take(OURS, "D", SenderKind.ALPHANUMERIC, 200)


def test_a_request_over_what_is_left_is_refused_whole(clock: StoodClock) -> None:
    take = limits(clock)
    take(OURS, "+18005550100", SenderKind.TOLL_FREE, 101)
    with pytest.raises(TooMany):
        take(OURS, "+18005550100", SenderKind.TOLL_FREE, 100)
    take(OURS, "+18005550100", SenderKind.TOLL_FREE, 99)


def test_a_clock_that_is_set_back_makes_no_minute_longer(clock: StoodClock) -> None:
    kept = Limits(True, clock, lambda: 1)
    kept.take(OURS, "+18005550100", SenderKind.TOLL_FREE, 200)
    clock.at -= timedelta(hours=1)
    with pytest.raises(TooMany) as refused:
        kept.take(OURS, "+18005550100", SenderKind.TOLL_FREE, 1)
    assert refused.value.retry_after_s == 60.0
    clock.at += timedelta(seconds=60)
    kept.take(OURS, "+18005550100", SenderKind.TOLL_FREE, 200)


def test_a_geographic_number_has_no_limit_of_acs(clock: StoodClock) -> None:
    take = limits(clock)
    for _ in range(100):
        take(OURS, "+14255550100", SenderKind.GEOGRAPHIC, 100)


def test_the_resource_has_its_own_choice(clock: StoodClock) -> None:
    for on, choice, limited in ((False, None, False), (False, True, True), (True, False, False), (True, None, True)):
        take = limits(clock, on=on)
        take(OURS, "+18005550100", SenderKind.TOLL_FREE, 100, policy_on=choice)
        take(OURS, "+18005550100", SenderKind.TOLL_FREE, 100, policy_on=choice)
        if limited:
            with pytest.raises(TooMany):
                take(OURS, "+18005550100", SenderKind.TOLL_FREE, 1, policy_on=choice)
        else:
            take(OURS, "+18005550100", SenderKind.TOLL_FREE, 1, policy_on=choice)


def test_processes_share_the_limit(clock: StoodClock) -> None:
    take = limits(clock, share=4)
    take(OURS, "+18005550100", SenderKind.TOLL_FREE, 50)
    with pytest.raises(TooMany):
        take(OURS, "+18005550100", SenderKind.TOLL_FREE, 1)


def test_more_senders_than_are_remembered_are_no_more_memory(clock: StoodClock) -> None:
    kept = Limits(True, clock, lambda: 1)
    for number in range(20_000):
        kept.take(OURS, f"+1800555{number:04d}", SenderKind.TOLL_FREE, 1)
    assert len(kept._windows) == 10_000


def test_a_process_that_reaches_nobody_keeps_its_part(clock: StoodClock) -> None:
    limits = Limits(True, clock, lambda: 2, MemoryBus())
    limits.take(OURS, "+18005550100", SenderKind.TOLL_FREE, 100)
    with pytest.raises(TooMany):
        limits.take(OURS, "+18005550100", SenderKind.TOLL_FREE, 1)


def test_a_request_of_several_senders_is_taken_whole_or_not_at_all(clock: StoodClock) -> None:
    kept = Limits(True, clock, lambda: 1)
    free, busy = "+18005550100", "+18005550101"
    kept.take(OURS, busy, SenderKind.TOLL_FREE, 150)
    with pytest.raises(TooMany):
        kept.take_all(OURS, [(free, SenderKind.TOLL_FREE, 50), (busy, SenderKind.TOLL_FREE, 51)])
    kept.take_all(OURS, [(free, SenderKind.TOLL_FREE, 200), (busy, SenderKind.TOLL_FREE, 50)])
