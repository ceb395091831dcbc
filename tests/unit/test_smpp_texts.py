"""Texts in short messages: written in each style and read back, parts joined in any order; and pacing."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.protocols.smpp import texts
from landline.protocols.smpp.commands import ESM_UDH, Tag
from landline.protocols.smpp.errors import LocalProtocolError
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


def _of_some_length(words: st.SearchStrategy[str], most: int) -> st.SearchStrategy[str]:
    """Drawn letter by letter, texts of several parts would hardly come up."""
    return st.tuples(words, st.integers(1, 60)).map(lambda drawn: (drawn[0] * drawn[1])[:most])


GSM_TEXT = _of_some_length(st.text("abc €{}[]äöü@£ \n", max_size=40), 700)
ANY_TEXT = _of_some_length(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1b\ufeff\ufffe"), max_size=20), 400
)


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


@pytest.mark.parametrize("style", [LongStyle.UDH8, LongStyle.UDH16, LongStyle.SAR])
def test_a_text_has_255_parts_at_most(style: LongStyle) -> None:
    room = 66 if style is LongStyle.UDH16 else 67
    assert len(texts.write("ş" * room * 255, style, Alphabet.GSM, 7)) == 255
    with pytest.raises(LocalProtocolError):
        texts.write("ş" * (room * 255 + 1), style, Alphabet.GSM, 7)
    (whole,) = texts.write("ş" * (room * 255 + 1), LongStyle.PAYLOAD, Alphabet.GSM, 7)
    assert len(whole.tlvs) == 1


@pytest.mark.parametrize(("text", "parts"), [("x" * 306, 3), ("x" * 304, 2), ("я" * 134, 3), ("я" * 132, 2)])
def test_a_wide_reference_takes_a_character_of_each_part(text: str, parts: int) -> None:
    assert len(texts.write(text, LongStyle.UDH16, Alphabet.GSM, 1)) == parts


def sar(reference: int, total: int, number: int) -> Tlvs:
    return (
        (Tag.SAR_MSG_REF_NUM, reference.to_bytes(2, "big")),
        (Tag.SAR_TOTAL_SEGMENTS, bytes((total,))),
        (Tag.SAR_SEGMENT_SEQNUM, bytes((number,))),
    )


SAR = sar(0x0102, 3, 2)
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


GSM, LATIN1, UCS2 = "@¤", "\0$", "$"
# SMPP 3.4 §5.2.19; its default alphabet is GSM's here. Pictograms, music and octets are shown as Latin-1.
CODINGS = dict.fromkeys(range(16), LATIN1) | {0x00: GSM, 0x08: UCS2}
CODINGS[0x01] = GSM  # with a NUL in front, which ASCII texts do not have
for coding in range(0x10, 0x100):  # 3GPP TS 23.038 §4
    match coding >> 4:
        case 0b0001 | 0b0100 | 0b0101:  # bits 3 and 2 say the alphabet
            CODINGS[coding] = (GSM, LATIN1, UCS2, LATIN1)[coding >> 2 & 3]
        case 0b1100 | 0b1101:  # message waiting
            CODINGS[coding] = GSM
        case 0b1110:
            CODINGS[coding] = UCS2
        case 0b1111:  # class: bit 2 says octets
            CODINGS[coding] = LATIN1 if coding & 4 else GSM
        case _:  # compressed or reserved
            CODINGS[coding] = LATIN1


def test_each_data_coding_is_read_in_its_alphabet() -> None:
    assert {coding: texts.decode(coding, b"\x00\x24") for coding in range(256)} == CODINGS


@pytest.mark.parametrize(
    ("coding", "octets", "text"),
    [
        (0x00, b"\x00\x1be", "@€"),
        (0x01, b"\xe9", "é"),
        (0x01, b"a_b@{x}\t\r\n", "a_b@{x}\t\r\n"),
        (0x01, b"end\0\0", "end\0\0"),
        (0x01, b"a\x11b\0c \x02 \x1be", "a_b@c $ €"),  # npm's smpp
        (0x01, b"caf\x05", "café"),
        (0x01, b"\xe9\x11", "é\x11"),
        (0x03, b"\xe9", "é"),
        (0x05, b"\x93\xfa\xb1", "日ｱ"),
        (0x06, b"\xb0", "А"),
        (0x07, b"\xe0", "א"),
        (0x0D, b"\xc6\xfc", "日"),
        (0x0E, b"\xc7\xd1", "한"),
        (0x08, b"\xd8\x3d\xde\x00", "😀"),
        (0x08, b"\xfe\xff\0S\0T\0O\0P", "STOP"),  # with a byte order mark
        (0x08, b"\xff\xfeS\0T\0O\0P\0", "STOP"),
        (0x18, b"\xfe\xff\0S\xfe\xff", "S\ufeff"),
        (0x02, b"\x80", "\x80"),
    ],
)
def test_characters_of_each_alphabet(coding: int, octets: bytes, text: str) -> None:
    assert texts.decode(coding, octets) == text


@pytest.mark.parametrize(
    ("default", "text"),
    [(Alphabet.GSM, GSM), (Alphabet.LATIN1, LATIN1), (Alphabet.UTF8, LATIN1), (Alphabet.UCS2, UCS2)],
)
def test_only_data_coding_0_is_read_in_the_default_alphabet(default: Alphabet, text: str) -> None:
    read = {coding: texts.decode(coding, b"\x00\x24", default) for coding in range(256)}
    assert read == CODINGS | {0x00: text}


@pytest.mark.parametrize("header", [b"", PORTS])
def test_a_text_may_be_in_the_payload_whose_header_is_its_own(header: bytes) -> None:
    user_data = (bytes((len(header),)) + header if header else b"") + b"words"
    tlvs = ((Tag.USER_MESSAGE_REFERENCE, b"\0\1"), (Tag.MESSAGE_PAYLOAD, user_data))
    piece = texts.read(ShortMessage(esm_class=ESM_UDH if header else 0, data_coding=8, tlvs=tlvs))
    assert piece == texts.Piece(8, b"words", None)


@pytest.mark.parametrize(
    ("short", "payload", "read"),
    [
        (b"words", b"words", b"words"),
        (b"wor", b"words", b"words"),
        (b"words", b"wor", b"words"),
        (b"words", b"", b"words"),
        (b"wor", b"ds", b"words"),
    ],
)
def test_nothing_is_lost_of_a_text_that_is_in_short_message_and_payload(
    short: bytes, payload: bytes, read: bytes
) -> None:
    double = ShortMessage(data_coding=8, short_message=short, tlvs=((Tag.MESSAGE_PAYLOAD, payload),))
    assert texts.read(double) == texts.Piece(8, read, None)
    assert texts.is_double(double) is bool(payload)


@pytest.mark.parametrize(
    ("text", "style", "written"),
    [
        ("hi", LongStyle.PAYLOAD, [texts.Part(0, 0, b"hi")]),
        ("x" * 200, LongStyle.PAYLOAD, [texts.Part(0, 0, b"", ((Tag.MESSAGE_PAYLOAD, b"x" * 200),))]),
        (
            "x" * 161,
            LongStyle.SAR,
            [texts.Part(0, 0, b"x" * size, sar(0xABCD, 2, number)) for number, size in ((1, 153), (2, 8))],
        ),
        (
            "x" * 161,
            LongStyle.UDH8,
            [
                texts.Part(ESM_UDH, 0, bytes((5, 0, 3, 0xCD, 2, number)) + b"x" * size)
                for number, size in ((1, 153), (2, 8))
            ],
        ),
        (
            "x" * 161,
            LongStyle.UDH16,
            [
                texts.Part(ESM_UDH, 0, bytes((6, 8, 4, 0xAB, 0xCD, 2, number)) + b"x" * size)
                for number, size in ((1, 152), (2, 9))
            ],
        ),
    ],
)
def test_a_text_is_written_in_these_octets(text: str, style: LongStyle, written: list[texts.Part]) -> None:
    assert texts.write(text, style, Alphabet.GSM, 0xABCD) == written


@pytest.mark.parametrize(
    ("alphabet", "character", "coding", "single", "part"),
    [
        (Alphabet.GSM, "x", 0, 160, 153),
        (Alphabet.GSM, "€", 0, 80, 76),
        (Alphabet.GSM, "я", 8, 70, 67),
        (Alphabet.LATIN1, "é", 3, 140, 134),
        (Alphabet.UTF8, "x", 0, 140, 134),
        (Alphabet.UCS2, "x", 8, 70, 67),
        (Alphabet.UCS2, "😀", 8, 35, 33),
    ],
)
def test_how_much_fits_one_message_and_each_part(
    alphabet: Alphabet, character: str, coding: int, single: int, part: int
) -> None:
    def count(characters: int) -> int:
        written = texts.write(character * characters, LongStyle.UDH8, alphabet, 1)
        assert {each.data_coding for each in written} == {coding}
        return len(written)

    counts = [count(size) for size in (single, single + 1, 2 * part, 2 * part + 1, 3 * part, 3 * part + 1)]
    assert counts == [1, 2, 2, 3, 3, 4]


@given(_of_some_length(st.text("\U00010000\U0010ffff\ud7ff\ue000яx", min_size=1, max_size=30), 300), st.booleans())
def test_no_part_begins_or_ends_within_a_character(text: str, wide: bool) -> None:
    """A phone may show a part alone, and a gateway may translate it alone."""
    style = LongStyle.UDH16 if wide else LongStyle.UDH8
    pieces = [texts.read(message(part)).octets for part in texts.write(text, style, Alphabet.UCS2, 1)]
    assert "".join(piece.decode("utf-16-be") for piece in pieces) == text


@pytest.mark.parametrize(
    "tlvs",
    [
        sar(7, 2, 3),
        sar(7, 2, 0),
        sar(7, 0, 0),
        sar(7, 2, 1)[:2],
        sar(7, 2, 1)[1:],
        ((Tag.SAR_MSG_REF_NUM, b""), *sar(7, 2, 1)[1:]),
        sar(7, 1, 1),
    ],
)
def test_sar_tlvs_out_of_range_are_ignored(tlvs: Tlvs) -> None:
    """SMPP 3.4 §5.3.2.22 to §5.3.2.24; one part of one is a whole text."""
    assert texts.read(ShortMessage(short_message=b"words", tlvs=tlvs)).concatenation is None


@pytest.mark.parametrize(("octets", "text"), [(b"@ \xc3\xa9", "@ é"), (b"@ \xe9", "@ é")])
def test_a_default_alphabet_of_utf8_is_read_and_what_is_none_is_latin1(octets: bytes, text: str) -> None:
    assert texts.decode(0x00, octets, Alphabet.UTF8) == text


def test_the_codings_that_are_text() -> None:
    read = {coding for coding in range(256) if texts.is_text(coding)}
    assert {coding for coding in read if coding < 0x10} == {0, 1, 3, 5, 6, 7, 8, 0xD, 0xE}
    assert {coding for coding in read if 0x10 <= coding < 0x40} == {0x10, 0x11, 0x12, 0x13, 0x18, 0x19, 0x1A, 0x1B}
    assert not any(0x80 <= coding < 0xC0 for coding in read)
    assert {coding for coding in read if 0x40 <= coding < 0x80} == {
        *(group + low for group in (0x40, 0x50) for low in (0, 1, 2, 3, 8, 9, 10, 11))
    }
    assert {coding for coding in read if 0xC0 <= coding < 0xF0} == {*range(0xC0, 0xF0)}
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


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([(8, b"\0a\xd8\x3d"), (8, b"\xde\0\0b")], "a😀b"),  # cut in two by a sender that counts octets
        ([(0, b"\x1b"), (0, b"e")], "€"),
        ([(0, b"@\0"), (8, b"\x04\x1f"), (3, b"\xe9")], "¡@Пé"),
    ],
)
def test_parts_are_read_together_where_they_are_of_one_coding(pieces: list[tuple[int, bytes]], text: str) -> None:
    joiner, total = Joiner(), len(pieces)
    joined: list[Joined] = []
    for number, (coding, octets) in reversed(list(enumerate(pieces, start=1))):
        joined += joiner.add(part_of("a", "b", Concatenation(1, total, number), coding, octets), 0)
    assert [each.text for each in joined] == [text]


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


def test_what_was_given_lately_is_slowed_down_at_most_once_a_second_and_grows_again() -> None:
    pace = Pace(0.0, pause_s=0.1)
    for second in range(4):
        pace.sent(50, float(second))
    pace.throttled(3.5)
    assert pace.rate_per_s == pytest.approx(35)
    assert pace.allowance(3.6) == 1
    pace.throttled(3.7)
    assert pace.rate_per_s == pytest.approx(35), "what was learnt has not shown its effect yet"
    assert pace.allowance(3.75) == 0, "but the SMSC is left alone"
    pace.throttled(4.6)
    assert pace.rate_per_s == pytest.approx(24.5)
    assert pace.allowance(4.7) == 1
    pace.allowance(5.6)
    assert pace.rate_per_s == pytest.approx(24.5)
    pace.allowance(5.8)
    assert pace.rate_per_s == pytest.approx(24.5 * 1.1**1.1)
    for second in range(10, 40, 2):
        pace.throttled(float(second))
    assert pace.rate_per_s == 1


def test_the_slower_of_what_was_bought_and_what_was_learnt_counts() -> None:
    pace = Pace(0.0, rate_per_s=100, pause_s=0.1)
    pace.sent(1000, 0.5)
    pace.throttled(0.9)
    assert pace.rate_per_s == 100
    pace.limit(700)
    assert pace.rate_per_s == 700
    pace.limit(800)
    assert pace.rate_per_s == pytest.approx(700)


@given(
    st.floats(0.5, 500),
    st.sampled_from([0.1, 1.0]),
    st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=30),
)
def test_no_more_than_the_rate_and_one_burst_is_sent_and_waking_is_never_in_vain(
    rate: float, burst_s: float, steps: list[tuple[float, bool]]
) -> None:
    pace, now, sent = Pace(0.0, rate_per_s=rate, burst_s=burst_s), 0.0, 0
    burst = max(rate * burst_s, 1.0)
    assert pace.allowance(0.0) == int(burst)
    for pause_s, all_ in steps:
        now += pause_s
        allowed = pace.allowance(now)
        assert allowed is not None
        count = allowed if all_ else min(allowed, 1)
        pace.sent(count, now)
        sent += count
        assert sent <= burst + rate * now + 1e-6
        wakes_at = pace.resumes_at(now)
        if wakes_at is not None:
            assert wakes_at - now <= 1 / rate + 0.001
            now = wakes_at
            assert (pace.allowance(now) or 0) >= 1


def test_what_others_overdrew_is_made_up_for_in_a_bounded_time() -> None:
    free, pace = Pace(0.0), Pace(0.0, rate_per_s=10, burst_s=1.0)
    free.shared(1000, 0.0)
    assert free.allowance(0.0) is None
    pace.shared(4, 0.0)
    assert pace.allowance(0.0) == 6
    pace.shared(1000, 0.0)
    assert pace.resumes_at(0.0) == pytest.approx(1.1, abs=0.01)
    assert pace.allowance(1.2) == 2
    slow = Pace(0.0, rate_per_s=0.5, burst_s=1.0)
    slow.shared(1000, 0.0)
    assert slow.resumes_at(0.0) == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize(("counted_at", "throttled_at", "rate"), [(0.0, 2.0, 35), (0.0, 2.5, 35), (None, 5.0, 14)])
def test_what_was_given_is_counted_over_the_time_it_took(
    counted_at: float | None, throttled_at: float, rate: float
) -> None:
    pace = Pace(100.0, pause_s=0.1)
    pace.sent(100, 100.0)
    if counted_at is not None:
        pace.sent(1, 102.0)
    pace.throttled(100.0 + throttled_at)
    assert pace.rate_per_s == pytest.approx(rate)


def test_what_was_learnt_grows_by_a_tenth_each_second_until_it_is_twice_what_was_given() -> None:
    pace = Pace(0.0, pause_s=0.5)
    pace.sent(1000, 0.0)
    pace.throttled(0.5)
    for second in range(1, 12):
        pace.allowance(1.0 + second)
        assert pace.rate_per_s == pytest.approx(700 * 1.1**second)
    pace.allowance(13.0)
    assert pace.rate_per_s is None


def test_who_may_send_one_does_not_wait() -> None:
    pace = Pace(0.0, rate_per_s=10.0)
    assert pace.allowance(0.0) == 1
    assert pace.resumes_at(0.0) is None
