"""What is looked at after a rest, when the machine's clock is set back."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from landline.services.sms.overheard import REST, Overheard

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_a_block_rests_no_longer_for_a_clock_that_was_set_back() -> None:
    overheard = Overheard()
    assert overheard.quiet(NOON) == []
    block = uuid4()
    overheard.add(block)
    earlier = NOON - timedelta(hours=1)
    assert overheard.quiet(earlier) == []
    assert overheard.quiet(earlier + REST) == [block]
