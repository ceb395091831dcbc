"""The pure half of event delivery: filters, the ladder, what follows from a try, signatures."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.ids import ResourceId
from landline.services.events.model import (
    Again,
    Dead,
    Delivered,
    Delivery,
    Event,
    Outcome,
    Settings,
    State,
    Subscription,
    matches,
    retry_delay,
    signature,
    state_at,
    topic,
    verdict,
    verify_signature,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ID = UUID(int=7)
ASCII = st.text(st.characters(max_codepoint=127, min_codepoint=33), max_size=12)


def delivery(attempts: int = 0, since: datetime = NOW) -> Delivery:
    event = Event(ID, ResourceId(UUID(int=1)), "a.b", "/s", b"{}", NOW, None)
    return Delivery(event, UUID(int=9), since, attempts)


@given(ASCII, ASCII, ASCII)
def test_a_subject_made_of_what_is_asked_for_passes(begins: str, middle: str, ends: str) -> None:
    settings = Settings("https://x", subject_begins=begins, subject_ends=ends)
    assert matches(settings, "any", begins + middle + ends)
    assert matches(settings, "any", (begins + middle + ends).swapcase())


@given(ASCII, ASCII, ASCII)
def test_filters_are_prefix_and_suffix_when_case_counts(subject: str, begins: str, ends: str) -> None:
    settings = Settings("https://x", subject_begins=begins, subject_ends=ends, case_sensitive=True)
    assert matches(settings, "any", subject) == (subject.startswith(begins) and subject.endswith(ends))


@given(st.lists(ASCII, max_size=4), ASCII)
def test_types_are_matched_exactly(types: list[str], event_type: str) -> None:
    assert matches(Settings("https://x", types=tuple(types)), event_type, "/s") == (event_type in types)
    assert matches(Settings("https://x"), event_type, "/s")


@given(st.integers(1, 30), st.uuids(), st.uuids())
def test_a_retry_waits_its_step_and_at_most_a_twentieth_more(attempts: int, event: UUID, subscription: UUID) -> None:
    steps = [10, 30, 60, 300, 600, 1800, 3600, 10800, 21600] + [43200] * 21
    wait_s = retry_delay(attempts, event, subscription).total_seconds()
    assert steps[attempts - 1] <= wait_s <= steps[attempts - 1] * 1.05
    assert wait_s == retry_delay(attempts, event, subscription).total_seconds()


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204])
def test_success_ends_a_delivery(status: int) -> None:
    assert verdict(delivery(), Outcome(NOW, status), Settings("https://x")) == Delivered()


@pytest.mark.parametrize("status", [None, 205, 301, 302, 404, 408, 409, 429, 500, 503])
def test_anything_else_is_tried_again(status: int | None) -> None:
    ruling = verdict(delivery(), Outcome(NOW, status, None if status else "timeout"), Settings("https://x"))
    assert isinstance(ruling, Again)


def test_the_last_attempt_is_the_last() -> None:
    settings = Settings("https://x", max_attempts=5)
    assert isinstance(verdict(delivery(3), Outcome(NOW, 500), settings), Again)
    assert verdict(delivery(4), Outcome(NOW, 500), settings) == Dead("MaxDeliveryAttemptsExceeded")


def test_no_try_comes_after_the_time_to_live() -> None:
    settings = Settings("https://x", ttl_minutes=10)
    late = NOW + timedelta(minutes=9, seconds=50)
    assert verdict(delivery(0), Outcome(late, 500), settings) == Dead("TimeToLiveExceeded")


def test_an_unanswered_validation_fails_in_time() -> None:
    subscription = Subscription(
        ID, ResourceId(ID), "n", Settings("https://x"), State.VALIDATING, "waiting", NOW, NOW + timedelta(minutes=10)
    )
    assert state_at(subscription, NOW) == (State.VALIDATING, "waiting")
    assert state_at(subscription, NOW + timedelta(minutes=10))[0] is State.FAILED


@given(st.binary(max_size=200), st.text(min_size=16, max_size=40), st.text(min_size=16, max_size=40))
def test_a_signature_proves_body_secret_and_time(body: bytes, first: str, second: str) -> None:
    header = signature(body, [first, second], NOW)
    assert verify_signature(header, body, first, NOW)
    assert verify_signature(header, body, second, NOW + timedelta(minutes=4))
    assert not verify_signature(header, body, first, NOW + timedelta(minutes=6))
    assert not verify_signature(header, body, first, NOW - timedelta(minutes=6))
    assert not verify_signature(header, body + b"!", first, NOW)
    assert not verify_signature(header, body, first + second, NOW)


@pytest.mark.parametrize("header", ["", "t=", "t=1", "v1=00", "t=x,v1=00", "t=1,t=2,v1=00", "t=١,v1=é", "garbage"])
def test_a_malformed_signature_proves_nothing(header: str) -> None:
    assert not verify_signature(header, b"", "s" * 16, NOW)


def test_a_signature_is_what_the_guide_says() -> None:
    # printf '1700000000.{}' | openssl dgst -sha256 -hmac 'a-secret-of-mine'
    header = signature(b"{}", ["a-secret-of-mine"], datetime.fromtimestamp(1_700_000_000, UTC))
    assert header == f"t=1700000000,v1={EXPECTED}"


def test_the_topic_names_the_resource() -> None:
    assert topic(ResourceId(UUID(int=1)), "local") == (
        "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/landline"
        "/providers/Microsoft.Communication/communicationServices/local"
    )


EXPECTED = "049adc614abf5f63bf3d6e9a66c406cd5c4e6b6ddf3ed3364c9e6e2f6ac6dfc8"
