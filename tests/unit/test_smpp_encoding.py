"""Submissions as submit_sm bodies, and numbers as SMPP addresses and back."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from landline.engines.smpp.config import SmppConfig
from landline.engines.smpp.encoding import Encoder, address_of, number_of
from landline.engines.smpp.link import backoff
from landline.ports.sms_carrier import Submission
from landline.protocols.smpp import pdu, texts
from landline.protocols.smpp.commands import Command
from landline.protocols.smpp.framing import HEADER
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.texts import LongStyle

SUBMISSION = Submission(UUID(int=1), "+18005550100", "+14255550199", "hello", 1, True)


def encoder(**options: Any) -> Encoder:
    return Encoder(SmppConfig("north", "127.0.0.1", 2775, "me", "secret", **options))


def sent(submission: Submission, **options: Any) -> ShortMessage:
    """What a carrier reads of `submission`'s first part."""
    return read(encoder(**options).bodies(submission)[0])


def read(body: bytes) -> ShortMessage:
    return pdu.decode_message(HEADER.pack(16 + len(body), Command.SUBMIT_SM, 0, 1) + body)


@pytest.mark.parametrize(
    ("ton", "address", "number"),
    [
        (1, "14255550199", "+14255550199"),
        (1, "+14255550199", "+14255550199"),
        (1, "0014255550199", "+14255550199"),
        (1, "12345", "12345"),
        (1, "123456", "123456"),
        (1, "1234567", "+1234567"),
        (1, "07700900123", "07700900123"),
        (0, "14255550199", "+14255550199"),
        (0, "0014255550199", "+14255550199"),
        (0, "04255550199", "04255550199"),
        (0, "12345", "12345"),
        (0, "123456789", "123456789"),
        (0, "1234567890", "+1234567890"),
        (0, "0012345678", "+12345678"),
        (0, "001234567", "001234567"),
        (0, "00-SERVICE-00", "00-SERVICE-00"),
        (0, "SERVICE-1234", "SERVICE-1234"),
        (1, "00-SERVICE-00", "00-SERVICE-00"),
        (2, "4255550199", "4255550199"),
        (3, "12345", "12345"),
        (5, "BANK", "BANK"),
        (5, "0014255550199", "0014255550199"),
    ],
)
def test_an_address_of_a_deliver_sm_is_this_number(ton: int, address: str, number: str) -> None:
    assert number_of(ton, address) == number


@pytest.mark.parametrize(
    ("ton", "address", "country", "number"),
    [
        (2, "4255550199", "US", "+14255550199"),
        (2, "14255550199", "US", "+14255550199"),
        (2, "7700900123", "GB", "+447700900123"),
        (2, "07700900123", "GB", "+447700900123"),
        (0, "07700900123", "GB", "+447700900123"),
        (0, "00447700900123", "DE", "+447700900123"),
        (0, "447700900123", "GB", "+447700900123"),
        (1, "14255550199", "GB", "+14255550199"),
        (1, "07700900123", "GB", "+447700900123"),
        (1, "12345", "GB", "12345"),
        (2, "0612345678", "IT", "+390612345678"),
        (2, "3123456789", "IT", "+393123456789"),
        (0, "12345", "US", "12345"),
        (2, "12345", "US", "12345"),
        (3, "4255550199", "US", "4255550199"),
        (5, "LANDLINE", "US", "LANDLINE"),
        (2, "4255550199", None, "4255550199"),
        (0, "07700900123", None, "07700900123"),
    ],
)
def test_national_numbers_are_those_of_the_carriers_country(
    ton: int, address: str, country: str | None, number: str
) -> None:
    assert number_of(ton, address, country) == number


@pytest.mark.parametrize(
    ("number", "address"),
    [
        ("+14255550199", (1, 1, "14255550199")),
        ("12345", (3, 0, "12345")),
        ("BANK", (5, 0, "BANK")),
        ("04255550199", (0, 0, "04255550199")),  # what a phone's network made of it
    ],
)
def test_an_address_says_what_kind_of_number_it_is(number: str, address: tuple[int, int, str]) -> None:
    assert address_of(number) == address


_SUBMISSIONS = st.builds(
    Submission,
    st.just(UUID(int=1)),
    st.sampled_from(["+18005550100", "12345", "BANK"]),
    st.sampled_from(["+14255550199", "+447700900123"]),
    st.sampled_from(["hello", "мир", "x" * 160, "x" * 161, "é" * 300, "я" * 300]),
    st.just(1),
    st.booleans(),
    valid_until=st.sampled_from([None, datetime(2026, 11, 22, tzinfo=UTC)]),
)


@given(st.lists(_SUBMISSIONS, max_size=8), st.sampled_from(LongStyle))
def test_what_is_sent_is_the_same_whatever_was_sent_before(submissions: list[Submission], style: LongStyle) -> None:
    """But for the references of long texts, of which two in a row are never the same."""
    before, last = encoder(long_style=style), None
    for submission in submissions:
        references: set[int] = set()
        for ours, fresh in zip(before.bodies(submission), encoder(long_style=style).bodies(submission), strict=True):
            sent, alone = read(ours), read(fresh)
            piece, other = texts.read(sent), texts.read(alone)
            assert replace(sent, short_message=b"", tlvs=()) == replace(alone, short_message=b"", tlvs=())
            assert piece.octets == other.octets
            if piece.concatenation is not None and other.concatenation is not None:
                assert piece.concatenation.sequence == other.concatenation.sequence
                references.add(piece.concatenation.reference)
        assert len(references) <= 1
        assert not references or references != last
        last = references or last


def test_processes_do_not_begin_with_the_same_reference() -> None:
    long = replace(SUBMISSION, text="x" * 200)
    assert len({encoder().bodies(long)[0] for _ in range(20)}) > 1


@pytest.mark.parametrize(
    ("options", "source", "destination"),
    [
        ({}, (1, 1, "18005550100"), (1, 1, "14255550199")),
        ({"plus_sign": True}, (1, 1, "+18005550100"), (1, 1, "+14255550199")),
        ({"source_ton": 2, "destination_ton": 0}, (2, 1, "18005550100"), (0, 1, "14255550199")),
        ({"source_npi": 8, "destination_npi": 9}, (1, 8, "18005550100"), (1, 9, "14255550199")),
    ],
)
def test_addresses_are_sent_as_the_carrier_wants_them(
    options: dict[str, Any], source: tuple[int, int, str], destination: tuple[int, int, str]
) -> None:
    message = sent(SUBMISSION, **options)
    assert (message.source_addr_ton, message.source_addr_npi, message.source_addr) == source
    assert (message.dest_addr_ton, message.dest_addr_npi, message.destination_addr) == destination


@pytest.mark.parametrize(
    ("seconds", "time"),
    [
        (1, "000000000001000R"),
        (3599, "000000005959000R"),
        (3661, "000000010101000R"),
        (86399, "000000235959000R"),
        (86400 * 3 + 59, "000003000059000R"),
        (86400 * 365, "000099000000000R"),
    ],
)
def test_the_carriers_validity_is_relative(seconds: float, time: str) -> None:
    assert sent(SUBMISSION, validity_s=seconds).validity_period == time


def test_a_messages_own_validity_is_an_instant_in_utc() -> None:
    until = datetime(2026, 11, 22, 1, 30, 15, tzinfo=timezone(timedelta(hours=2)))
    assert sent(replace(SUBMISSION, valid_until=until)).validity_period == "261121233015000+"
    until = until.astimezone(UTC)
    assert sent(replace(SUBMISSION, valid_until=until), validity_s=60).validity_period == "261121233015000+"


@pytest.mark.parametrize(("wanted", "asked"), [(True, 17), (False, 0)])
def test_a_receipt_is_asked_for_where_one_is_wanted(wanted: bool, asked: int) -> None:
    submission = replace(SUBMISSION, report_wanted=wanted)
    assert sent(submission, registered_delivery=17).registered_delivery == asked


@pytest.mark.parametrize(
    "change",
    [
        {"text": "other"},
        {"sender": "+18005550101"},
        {"report_wanted": False},
        {"valid_until": datetime(2026, 11, 22, tzinfo=UTC)},
    ],
)
def test_what_differs_from_the_message_before_is_sent(change: dict[str, Any]) -> None:
    campaign, other = encoder(), replace(SUBMISSION, **change)
    first = campaign.bodies(SUBMISSION)
    assert campaign.bodies(other) == encoder().bodies(other)
    assert campaign.bodies(SUBMISSION) == first


def test_pauses_double_up_to_their_limit() -> None:
    assert [backoff(failures, 0.5, 10) for failures in (0, 1, 2, 4, 5, 1_000_000)] == [0.5, 1, 2, 8, 10, 10]
