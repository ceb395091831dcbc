"""SMPP's times (3.4 §7.1.1) and the instants they mean."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.protocols.smpp import times

NOW = datetime(2026, 11, 22, 5, 30, 15, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("time", "instant"),
    [
        ("261122060000000+", datetime(2026, 11, 22, 6, tzinfo=UTC)),
        ("261122060000900+", datetime(2026, 11, 22, 6, 0, 0, 900_000, tzinfo=UTC)),
        ("261122060000004+", datetime(2026, 11, 22, 5, tzinfo=UTC)),  # 4 quarter hours advanced of UTC
        ("261122060000048-", datetime(2026, 11, 22, 18, tzinfo=UTC)),
        ("991231235959900+", datetime(2099, 12, 31, 23, 59, 59, 900_000, tzinfo=UTC)),
        ("000101000000048+", datetime(1999, 12, 31, 12, tzinfo=UTC)),
        ("000000000000000R", NOW),
        ("000000000001000R", NOW + timedelta(seconds=1)),
        ("020610233429000R", NOW + timedelta(days=2 * 365 + 6 * 30 + 10, hours=23, minutes=34, seconds=29)),
        ("999999999999000R", NOW + timedelta(days=99 * 365 + 99 * 30 + 99, hours=99, minutes=99, seconds=99)),
    ],
)
def test_a_time_means_this_instant(time: str, instant: datetime) -> None:
    assert times.read(time, NOW) == instant


@pytest.mark.parametrize(
    "time",
    [
        "",
        "261122060000000",  # whose zone?
        "261122060000000+0",
        " 261122060000000+",
        "261122060000049+",  # §7.1.1.1: 00 to 48
        "261322060000000+",
        "260230060000000+",
        "261122240000000+",
        "261122060060000+",
        "26112206000000\u0661+",
        "tomorrow, please",
    ],
)
def test_what_is_no_time_means_none(time: str) -> None:
    assert times.read(time, NOW) is None


@given(
    st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30)),
    st.integers(-48, 48).map(lambda quarters: timezone(timedelta(minutes=15 * quarters))),
)
def test_an_instant_is_read_as_it_was_written_to_the_tenth(at: datetime, zone: timezone) -> None:
    at = at.replace(tzinfo=zone)
    written = times.write(at)
    assert len(written) == 16
    assert times.read(written, NOW) == at - timedelta(microseconds=at.microsecond % 100_000)
