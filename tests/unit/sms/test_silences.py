"""Hand-overs that were not answered in time, as long as they are remembered."""

from datetime import UTC, datetime
from uuid import UUID

from landline.core.ids import ResourceId
from landline.ports.sms_carrier import Submission
from landline.services.sms.handover import Pending
from landline.services.sms.silences import Silences

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def unanswered(number: int, *, doubt: int = 0, marked: bool = False) -> Pending:
    submission = Submission(UUID(int=number), "+18005550100", "+14255550123", "hi", 1, report_wanted=True)
    resource, block = ResourceId(UUID(int=1)), UUID(int=2)
    return Pending(resource, block, "north", submission, NOW, NOW, doubt=doubt, marked=marked)


def test_the_oldest_is_forgotten_first() -> None:
    silences = Silences(limit=2)
    for number in range(3):
        silences.keep("north", unanswered(number))
    assert [silences.of("north", UUID(int=number)) is None for number in range(3)] == [True, False, False]
    assert silences.of("south", UUID(int=2)) is None


def test_a_hand_over_that_was_written_down_beforehand_counts_once() -> None:
    silences = Silences()
    silences.keep("north", unanswered(1, doubt=1, marked=False))
    silences.keep("north", unanswered(2, doubt=1, marked=True))
    found = [silences.of("north", UUID(int=number)) for number in (1, 2)]
    assert [silence.doubt for silence in found if silence] == [2, 1]
