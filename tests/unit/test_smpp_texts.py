"""Texts in short messages: written in each style and read back, parts joined in any order; and pacing."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.protocols.smpp import texts
from landline.protocols.smpp.commands import ESM_UDH, Tag
from landline.protocols.smpp.joiner import Joined, Joiner, part_of
from landline.protocols.smpp.pace import Pace
from landline.protocols.smpp.pdu import ShortMessage, Tlvs
from landline.protocols.smpp.texts import Alphabet, LongStyle
from landline.protocols.smstext import Concatenation, segments


def message(part: texts.Part) -> ShortMessage:
    return ShortMessage(
        source_addr="49151", destination_addr="12345", esm_class=part.esm_class, data_coding=part.data_coding,
        short_message=part.short_message, tlvs=part.tlvs,
    )  # fmt: skip


def read_back(parts: list[texts.Part], default: Alphabet, seed: int = 0) -> list[str]:
    joiner = Joiner(default=default)
    whole: list[str] = []
    for part in random.Random(seed).sample(parts, len(parts)):
        got = texts.read(message(part))
        if got.concatenation is None:
            whole.append(texts.decode(got.data_coding, got.octets, default))
        else:
            add = part_of("49151", "12345", got.concatenation, got.data_coding, got.octets)
            whole += [joined.text for joined in joiner.add(add, 0)]
    return whole


GSM_TEXT = st.text("abc €{}[]äöü@£ \n", max_size=700)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1b"), max_size=400)


@pytest.mark.parametrize("style", LongStyle)
@pytest.mark.parametrize("alphabet", Alphabet)
@given(text=GSM_TEXT | ANY_TEXT, seed=st.integers(0, 99))
def test_a_text_comes_back_whole(style: LongStyle, alphabet: Alphabet, text: str, seed: int) -> None:
    default = alphabet if alphabet in (Alphabet.UCS2, Alphabet.UTF8) else Alphabet.GSM
    parts = texts.write(text, style, alphabet, 0xABCD)
    assert read_back(parts, default, seed) == [text]
    assert all(len(part.short_message) <= 254 for part in parts)


@given(GSM_TEXT | ANY_TEXT)
def test_a_text_has_as_many_parts_as_segments(text: str) -> None:
    assert len(texts.write(text, LongStyle.UDH8, Alphabet.GSM, 1)) == segments(text).count


@pytest.mark.parametrize("style", [LongStyle.UDH8, LongStyle.UDH16])
@pytest.mark.parametrize("alphabet", Alphabet)
@pytest.mark.parametrize("text", ["x" * 400, "€" * 200, "é" * 400, "я" * 200, "😀" * 100])
def test_a_part_fits_one_short_message_with_its_header(style: LongStyle, alphabet: Alphabet, text: str) -> None:
    for part in texts.write(text, style, alphabet, 0xABCD):
        header = part.short_message[0] + 1
        units, bits = len(part.short_message) - header, 8
        if part.data_coding == 0 and alphabet is Alphabet.GSM:
            header, bits = header * 8, 7
            header = -(-header // 7)  # in septets
        assert header + units <= 140 * 8 // bits


@pytest.mark.parametrize(("text", "parts"), [("x" * 306, 3), ("x" * 304, 2), ("я" * 134, 3), ("я" * 132, 2)])
def test_a_wide_reference_takes_a_character_of_each_part(text: str, parts: int) -> None:
    assert len(texts.write(text, LongStyle.UDH16, Alphabet.GSM, 1)) == parts


SAR = (
    (Tag.SAR_MSG_REF_NUM, b"\x01\x02"),
    (Tag.SAR_TOTAL_SEGMENTS, b"\x03"),
    (Tag.SAR_SEGMENT_SEQNUM, b"\x02"),
)
PORTS = bytes.fromhex("05040b8423f0")
CONCATENATION = bytes.fromhex("0003070201")


@pytest.mark.parametrize(
    ("elements", "tlvs", "part"),
    [
        (PORTS, (), None),
        (PORTS, SAR, Concatenation(0x0102, 3, 2, wide=True)),
        (PORTS + CONCATENATION, (), Concatenation(7, 2, 1)),
        (CONCATENATION, SAR, Concatenation(7, 2, 1)),
    ],
)
def test_which_part_it_is_stands_in_the_header_or_in_the_tlvs(
    elements: bytes, tlvs: Tlvs, part: Concatenation | None
) -> None:
    user_data = bytes((len(elements),)) + elements + b"words"
    piece = texts.read(ShortMessage(esm_class=ESM_UDH, short_message=user_data, tlvs=tlvs))
    assert (piece.octets, piece.concatenation) == (b"words", part)


def test_a_header_that_cannot_be_read_counts_as_text() -> None:
    piece = texts.read(ShortMessage(esm_class=ESM_UDH, short_message=b"\xff\x00abc"))
    assert (piece.octets, piece.concatenation) == (b"\xff\x00abc", None)


@pytest.mark.parametrize(
    ("coding", "octets", "text"),
    [
        (0x00, b"\x00\x1be", "@€"),
        (0x01, b"@", "@"),
        (0x01, b"\xe9", "é"),
        (0x10, b"\x00", "@"),
        (0x14, b"\x80", "\x80"),
        (0x18, b"\x00\xe9", "é"),
        (0x48, b"\x00\xe9", "é"),
        (0x03, b"\xe9", "é"),
        (0x08, b"\x00\xe9", "é"),
        (0x06, b"\xb0", "А"),
        (0xF0, b"\x00", "@"),
        (0xF5, b"\x80", "\x80"),
        (0x02, b"\x80", "\x80"),
    ],
)
def test_data_codings(coding: int, octets: bytes, text: str) -> None:
    assert texts.decode(coding, octets) == text


@pytest.mark.parametrize(("octets", "text"), [(b"@ \xc3\xa9", "@ é"), (b"@ \xe9", "@ é")])
def test_a_default_alphabet_of_utf8_is_read_and_what_is_none_is_latin1(octets: bytes, text: str) -> None:
    assert texts.decode(0x00, octets, Alphabet.UTF8) == text


def test_the_codings_that_are_text() -> None:
    read = {coding for coding in range(256) if texts.is_text(coding)}
    assert {coding for coding in read if coding < 0x10} == {0, 1, 3, 5, 6, 7, 8, 0xD, 0xE}
    assert {coding for coding in read if 0x10 <= coding < 0x40} == {0x10, 0x11, 0x12, 0x13, 0x18, 0x19, 0x1A, 0x1B}
    assert not any(0x80 <= coding < 0xC0 for coding in read)
    assert {coding for coding in read if coding >= 0xF0} == {*range(0xF0, 0xF4), *range(0xF8, 0xFC)}


def parts(text: str, reference: int = 7) -> list[texts.Part]:
    return texts.write(text, LongStyle.UDH8, Alphabet.GSM, reference)


def add(joiner: Joiner, part: texts.Part, now: float) -> list[Joined]:
    piece = texts.read(message(part))
    assert piece.concatenation is not None
    return joiner.add(part_of("a", "b", piece.concatenation, piece.data_coding, piece.octets), now)


def test_a_repeated_part_changes_nothing() -> None:
    joiner = Joiner()
    first, second = parts("x" * 200)
    assert add(joiner, first, 0) == []
    assert add(joiner, first, 0) == []
    (joined,) = add(joiner, second, 0)
    assert (joined.text, joined.parts, joined.missing) == ("x" * 200, 2, 0)


def test_what_is_not_whole_in_time_is_given_up_as_it_is() -> None:
    joiner = Joiner(patience_s=60)
    add(joiner, parts("x" * 153 + "y" * 20)[1], 100)
    assert joiner.deadline() == 160
    assert joiner.expire(159) == []
    (joined,) = joiner.expire(160)
    assert (joined.text, joined.missing) == ("y" * 20, 1)
    assert joiner.deadline() is None


def test_the_oldest_group_gives_way_when_there_are_too_many_parts() -> None:
    joiner = Joiner(limit=2)
    for reference in (1, 2):
        assert add(joiner, parts("x" * 200, reference)[0], reference) == []
    (pushed,) = add(joiner, parts("x" * 200, 3)[0], 3)
    assert (pushed.key.reference, pushed.missing) == (1, 1)


def test_pace_is_free_until_it_is_throttled() -> None:
    pace = Pace(0.0)
    assert pace.allowance(0.0) is None
    assert pace.resumes_at(0.0) is None


def test_throttling_pauses_then_slows_then_recovers() -> None:
    pace = Pace(0.0, pause_s=1.0)
    pace.sent(100, 0.0)
    pace.throttled(0.5)
    assert pace.allowance(0.6) == 0
    assert pace.rate_per_s == pytest.approx(70)
    assert pace.resumes_at(0.6) == pytest.approx(1.5, abs=0.01)
    pace.throttled(0.7)
    assert pace.rate_per_s == pytest.approx(70), "answers within one pause count once"
    assert pace.allowance(1.6) == 7, "at most a tenth of a second's messages at once"
    pace.sent(7, 1.6)
    assert pace.allowance(1.6) == 0
    assert pace.allowance(2.6) == 7
    pace.throttled(3.0)
    slower = pace.rate_per_s
    assert slower is not None
    assert slower < 70
    for second in range(5, 60):
        pace.allowance(float(second))
    assert pace.rate_per_s is None


def test_a_fixed_rate_is_kept() -> None:
    pace = Pace(0.0, rate_per_s=10.0)
    sent = 0
    now = 0.0
    while now < 10.0:
        allowed = pace.allowance(now)
        assert allowed is not None
        pace.sent(allowed, now)
        sent += allowed
        now = pace.resumes_at(now) or now
    assert 95 <= sent <= 101
