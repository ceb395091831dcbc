"""Text as SMS carries it: known vectors of 3GPP TS 23.038 and 23.040, and what must hold for every text."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.protocols.smstext import (
    Concatenation,
    Encoding,
    MalformedHeader,
    decode_gsm,
    encode_gsm,
    encoding,
    fill_bits_after,
    pack,
    parse_header,
    segments,
    split,
    unpack,
)

ALPHABET = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = "\f^{}\\[~]|€"
GSM_TEXT = st.text(alphabet=ALPHABET + EXTENSION * 6, max_size=700)
ANY_TEXT = st.one_of(GSM_TEXT, st.text(max_size=300), st.text(alphabet="aé😀ж€🇫🇷👨‍👩‍👧", max_size=300))


def cost(text: str) -> int:
    """Septets or code units, counted the slow way."""
    if encoding(text) is Encoding.GSM_7BIT:
        return sum(2 if character in EXTENSION else 1 for character in text)
    return sum(2 if ord(character) > 0xFFFF else 1 for character in text)


def test_the_alphabet_has_its_127_characters_at_their_codes() -> None:
    assert len(ALPHABET) == 127
    codes = [code for code in range(128) if code != 0x1B]
    assert encode_gsm(ALPHABET) == bytes(codes)
    assert decode_gsm(bytes(codes)) == ALPHABET


@pytest.mark.parametrize(
    ("character", "code"),
    [
        *(("\f", 0x0A), ("^", 0x14), ("{", 0x28), ("}", 0x29), ("\\", 0x2F)),
        *(("[", 0x3C), ("~", 0x3D), ("]", 0x3E), ("|", 0x40), ("€", 0x65)),
    ],
)
def test_an_extension_character_is_an_escape_and_its_code(character: str, code: int) -> None:
    assert encode_gsm(character) == bytes((0x1B, code))
    assert decode_gsm(bytes((0x1B, code))) == character
    assert segments(character).units == 2


@pytest.mark.parametrize("text", ["`", "ç", "\x1b", "\0", "\t", "ж", "“", "…", "\u00a0", "😀", "á", "\ufffe"])
def test_a_character_outside_the_alphabet_makes_the_text_ucs2(text: str) -> None:
    assert encode_gsm("plain " + text) is None
    assert encoding("plain " + text) is Encoding.UCS2


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 459, 3),
        ("a" * 460, 4),
        ("a" * 2048, 14),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("€" * 152, 2),  # 76 escape pairs in a part of 153
        ("€" * 153, 3),
        ("a" * 158 + "€", 1),
        ("a" * 159 + "€", 2),
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),  # 306 septets, but the euro does not fit the first part
        ("@" * 160, 1),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 134, 2),
        ("ж" * 135, 3),
        ("ж" * 201, 3),
        ("ж" * 202, 4),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 66, 2),  # 33 pairs in a part of 67
        ("😀" * 67, 3),
        ("ж" * 66 + "😀" + "ж" * 66, 3),
        ("ж" * 65 + "😀" + "ж" * 67, 2),
        ("a" * 69 + "“", 1),
        ("a" * 70 + "“", 2),
    ],
)
def test_known_texts_take_known_counts_of_segments(text: str, count: int) -> None:
    assert segments(text).count == count
    assert len(split(text)) == count


@given(ANY_TEXT)
def test_the_parts_of_any_text_are_as_many_as_counted_and_join_to_it(text: str) -> None:
    parts = split(text)
    found = segments(text)
    assert "".join(parts) == text
    assert len(parts) == found.count
    assert found.encoding is encoding(text)
    assert found.units == cost(text)


@given(ANY_TEXT)
def test_no_part_is_over_its_limit_and_none_could_be_cut_later(text: str) -> None:
    gsm = encoding(text) is Encoding.GSM_7BIT
    single, part_limit = (160, 153) if gsm else (70, 67)

    def units(part: str) -> int:
        return sum(2 if (character in EXTENSION if gsm else ord(character) > 0xFFFF) else 1 for character in part)

    parts = split(text)
    if len(parts) == 1:
        assert units(parts[0]) <= single
    for part, following in pairwise(parts):
        assert part_limit - 1 <= units(part) <= part_limit
        assert units(part) + units(following[0]) > part_limit


@given(st.text(alphabet=st.characters(categories=["Cs", "Lu"]), max_size=200))
def test_lone_surrogates_are_counted_and_kept(text: str) -> None:
    assert "".join(split(text)).encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")
    assert len(split(text)) == segments(text).count


@given(GSM_TEXT)
def test_septets_decode_to_the_text_they_were_made_of(text: str) -> None:
    septets = encode_gsm(text)
    assert septets is not None
    assert max(septets, default=0) < 128
    assert decode_gsm(septets) == text


@pytest.mark.parametrize(
    ("septets", "text"),
    [(b"a\x1b", "a "), (b"\x1bab", "ab"), (b"\x1b\x1bab", " ab"), (b"\x1b\x1b\x1be", " €"), (b"\xe1", "a"), (b"", "")],
)
def test_odd_septets_decode_as_the_standard_says(septets: bytes, text: str) -> None:
    assert decode_gsm(septets) == text


@given(st.binary(max_size=80))
def test_any_septets_decode_to_something(septets: bytes) -> None:
    assert len(decode_gsm(septets)) <= len(septets)


def test_septets_pack_as_in_the_well_known_examples() -> None:
    assert pack(b"hellohello") == bytes.fromhex("e8329bfd4697d9ec37")
    assert pack(b"Hi") == bytes.fromhex("c834")
    assert pack(b"A", fill_bits=1) == bytes.fromhex("82")
    assert len(pack(b"a" * 160)) == 140
    assert fill_bits_after(6) == 1  # 48 bits, the text begins at 49
    assert fill_bits_after(7) == 0


@given(st.binary(max_size=170), st.integers(min_value=0, max_value=6))
def test_packed_septets_unpack_to_themselves(octets: bytes, fill_bits: int) -> None:
    septets = bytes(octet & 0x7F for octet in octets)
    packed = pack(septets, fill_bits=fill_bits)
    assert unpack(packed, len(septets), fill_bits=fill_bits) == septets
    assert len(packed) == (len(septets) * 7 + fill_bits + 7) // 8


def test_unpacking_stops_where_the_octets_end() -> None:
    assert unpack(b"\xc8", 5) == b"H"
    assert unpack(b"", 5) == b""


def test_concatenation_headers_have_their_known_octets() -> None:
    assert Concatenation(0xCC, 2, 1).header() == bytes.fromhex("050003cc0201")
    assert Concatenation(0x1234, 3, 2, wide=True).header() == bytes.fromhex("06080412340302")


@given(st.integers(0, 65535), st.integers(1, 255), st.data(), st.binary(max_size=20))
def test_a_concatenation_header_parses_to_itself(reference: int, total: int, data: st.DataObject, text: bytes) -> None:
    wide = reference > 255 or data.draw(st.booleans())
    made = Concatenation(reference, total, data.draw(st.integers(1, total)), wide)
    header = parse_header(made.header() + text)
    assert header.concatenation == made
    assert (made.header() + text)[header.size_bytes :] == text


def test_other_elements_are_kept_and_impossible_parts_ignored() -> None:
    ports = bytes.fromhex("0b05040b8423f00003cc0201")
    assert parse_header(ports).concatenation == Concatenation(0xCC, 2, 1)
    assert parse_header(ports).elements[0] == (5, bytes.fromhex("0b8423f0"))
    assert parse_header(bytes.fromhex("050003cc0203")).concatenation is None
    assert parse_header(bytes.fromhex("050003cc0200")).concatenation is None
    assert parse_header(bytes.fromhex("050003cc0000")).concatenation is None
    assert parse_header(b"\0text").size_bytes == 1


@given(st.binary(max_size=40))
def test_any_octets_parse_or_are_malformed(octets: bytes) -> None:
    try:
        header = parse_header(octets)
    except MalformedHeader:
        return
    assert 1 <= header.size_bytes <= len(octets)
