"""Message states, ids and repeatability."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.errors import Invalid
from landline.services.sms.model import messages
from landline.services.sms.model.messages import FINAL, NEXT, State

NOW = datetime(2026, 11, 21, 3, 54, tzinfo=UTC)
WINDOW = timedelta(hours=24)


def test_nothing_leads_out_of_a_final_state():
    assert not [change for change in NEXT if change[0] in FINAL]


def test_every_state_leads_to_an_end():
    for state in set(State) - FINAL:
        reached = {state}
        while more := {after for (before, _), after in NEXT.items() if before in reached} - reached:
            reached |= more
        assert reached & FINAL


@given(st.uuids(), st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_a_public_id_names_its_message(message_id: UUID, at: datetime):
    assert messages.parse_public_id(messages.outgoing_id(message_id, at)) == message_id
    assert messages.parse_public_id(messages.incoming_id(message_id, at)) == message_id


@pytest.mark.parametrize(
    "text",
    ["", "Outgoing_", "Outgoing_202611210354", "Outgoing_2026112103541234", "x8113448a-6d74-49d9-886c-681ad0ec313a"],
)
def test_what_is_no_public_id_names_nothing(text):
    assert messages.parse_public_id(text) is None


def test_ids_made_later_sort_later():
    earlier = messages.new_ids(NOW, 50, bytes(500))
    later = messages.new_ids(NOW + timedelta(milliseconds=1), 50, bytes(500))
    assert max(earlier) < min(later)


def test_a_repeatability_id_is_a_guid_sent_not_too_long_ago():
    guid = str(uuid4())
    assert messages.repeatability(None, None, NOW, WINDOW) is None
    assert messages.repeatability(guid, None, NOW, WINDOW) == UUID(guid)
    assert messages.repeatability(guid, "Sat, 21 Nov 2026 01:53:14 GMT", NOW, WINDOW) == UUID(guid)
    for request_id, first_sent in [
        ("banana", None),
        (guid, "yesterday"),
        (guid, "Thu, 19 Nov 2026 01:53:14 GMT"),
    ]:
        with pytest.raises(Invalid):
            messages.repeatability(request_id, first_sent, NOW, WINDOW)
