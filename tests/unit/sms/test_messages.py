"""Message states, ids and repeatability."""

from datetime import UTC, datetime, timedelta
from os import urandom
from uuid import RFC_4122, UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core import ids
from landline.core.errors import Invalid
from landline.services.sms.model import details, messages
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
    earlier = ids.many_time_ordered(NOW, urandom(500))
    later = ids.many_time_ordered(NOW + timedelta(milliseconds=1), urandom(500))
    assert max(earlier) < min(later)


@given(st.datetimes(min_value=datetime(2020, 1, 1), timezones=st.just(UTC)), st.binary(min_size=20, max_size=20))
def test_ids_are_uuids_of_version_7(at: datetime, entropy: bytes):
    many = ids.many_time_ordered(at, entropy)
    assert many == [ids.time_ordered(at, entropy[:10]), ids.time_ordered(at, entropy[10:])]
    assert [(each.version, each.variant) for each in many] == [(7, RFC_4122)] * 2


def test_new_ids_are_of_version_7_and_none_comes_twice_however_they_are_asked_for():
    made = [each for count in (1, 2, 511, 600, 0, 1, 1025) for each in ids.new_time_ordered(NOW, count)]
    assert len(set(made)) == len(made) == 2140
    assert {(each.version, each.variant, each.int >> 80) for each in made} == {
        (7, RFC_4122, int(NOW.timestamp() * 1000))
    }


@given(st.uuids())
def test_an_id_reads_the_same_in_every_form(value: UUID):
    for text in (str(value), value.hex, str(value).upper(), f"{{{value}}}", value.urn):
        assert ids.parse(text) == value
    assert ids.made(value.int) == value


@pytest.mark.parametrize("text", ["", "banana", "1" * 31, "1" * 33, "g" * 32, "\ud800" * 32, "{}"])
def test_what_is_no_uuid_is_refused(text: str):
    with pytest.raises(ValueError, match=r"UUID|base 16|codec"):
        ids.parse(text)


def test_a_repeatability_id_is_a_guid_sent_not_too_long_ago():
    guid = str(uuid4())
    assert messages.repeatability(None, None, NOW, WINDOW) is None
    assert messages.repeatability(guid, "Sat, 21 Nov 2026 01:53:14 GMT", NOW, WINDOW) == UUID(guid)
    for request_id, first_sent in [
        ("banana", "Sat, 21 Nov 2026 01:53:14 GMT"),
        (guid, None),
        (guid, "yesterday"),
        (guid, "Thu, 19 Nov 2026 01:53:14 GMT"),
        (guid, "Sat, 21 Nov 99999999999999 00:00:00 GMT"),
        (guid, "Sat, 21 Nov 2026 00:00:00 +99999999999999999999"),
    ]:
        with pytest.raises(Invalid):
            messages.repeatability(request_id, first_sent, NOW, WINDOW)


def test_when_it_was_first_sent_is_read_as_the_first_python_sdk_wrote_it():
    guid = str(uuid4())  # azure-communication-sms 1.0.0: str(datetime.utcnow())
    assert messages.repeatability(guid, "2026-11-21 01:53:14.225754", NOW, WINDOW) == UUID(guid)
    for long_ago in ("2026-11-19 01:53:14.225754", "2026-11-19 01:53:14", "2026-11-19T01:53:14Z"):
        with pytest.raises(Invalid, match="too far back"):
            messages.repeatability(guid, long_ago, NOW, WINDOW)
    with pytest.raises(Invalid, match="not an RFC 1123 date"):
        messages.repeatability(guid, "2026-13-19 01:53:14", NOW, WINDOW)


@pytest.mark.parametrize(
    ("code", "of_a_failure"), [(2000, False), (4006, True), (9999, True), (0, False), (1234, False)]
)
def test_a_failure_has_one_of_the_documented_codes(code: int, of_a_failure: bool):
    assert details.of_a_failure(code) is of_a_failure
    assert details.known(code) == (code if of_a_failure or code == 2000 else 9999)
