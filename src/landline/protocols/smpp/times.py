"""SMPP's times (3.4 §7.1.1): absolute ones with tenths and quarter hours, and relative ones from now."""

import re
from datetime import UTC, datetime, timedelta

_TIME = re.compile(r"(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d)(\d{2})([+\-R])", re.ASCII)
_QUARTERS_MOST = 48


def read(time: str, now: datetime) -> datetime | None:
    """The instant that `time` (`YYMMDDhhmmsstnnp`) means at `now`, or None when it is no time.

    Relative years count 365 days and months 30, as §7.1.1.2 does not say; the SMSC may set its own limits.
    """
    match = _TIME.fullmatch(time)
    if match is None:
        return None
    year, month, day, hour, minute, second, tenth, quarters = (int(digits) for digits in match.groups()[:8])
    if match[9] == "R":
        days = year * 365 + month * 30 + day
        return now + timedelta(days=days, hours=hour, minutes=minute, seconds=second)
    if quarters > _QUARTERS_MOST:
        return None
    offset = timedelta(minutes=15 * quarters) * (-1 if match[9] == "+" else 1)
    try:
        return datetime(2000 + year, month, day, hour, minute, second, tenth * 100_000, tzinfo=UTC) + offset
    except ValueError:
        return None


def write(at: datetime) -> str:
    """`at` as an absolute time in UTC."""
    return at.astimezone(UTC).strftime("%y%m%d%H%M%S") + f"{at.microsecond // 100_000}00+"
