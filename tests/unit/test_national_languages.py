"""Texts by the national language tables of 3GPP TS 23.038, annex A: words put into septets by hand from the tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.protocols.smpp import texts
from landline.protocols.smpp.commands import ESM_UDH, Tag
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.texts import Alphabet
from landline.protocols.smstext import decode_gsm

LOCKED = [
    (1, "40 79 69 20 67 7e 6e 6c 65 72 20 0b 07", "İyi günler Ğı"),
    (3, "53 7b 6f 20 4a 6f 7b 6f 20 5b 40", "São João ÃÍ"),
    (4, "40 50 01 46 50", "বাংলা"),
    (5, "17 53 1d 44 50 27 52", "ગુજરાતી"),
    (6, "2f 42 4c 5f 27 59 2c 20 61 31 2e", "नमस्ते, a1."),
    (7, "15 2f 5f 2f 24", "ಕನ್ನಡ"),
    (8, "42 46 43 50 47 01", "മലയാളം"),
    (9, "13 24 4e 51 04", "ଓଡ\u0b3cିଆ"),
    (10, "3d 7b 1d 50 40 52", "ਪੰਜਾਬੀ"),
    (11, "27 42 51 48 5f", "தமிழ்"),
    (12, "27 58 46 53 17 53", "తెలుగు"),
    (13, "00 25 1a 53", "اردو"),
]
SHIFTED = [
    (1, "1b53 65 6b 65 72 20 1b67 1b69 1b65", "Şeker ğı€"),
    (2, "60 51 75 05 3f 20 53 1b69 20 1b09", "¿Qué? Sí ç"),
    (3, "4f 6c 1b0f 20 6e 1b7b 6f 20 1b18", "Olá não Σ"),
    (4, "1b19 1b1a 1b34 1b28 1b41", "০১৺{A"),
    (5, "1b19 1b1c 1b25", "।૦૯"),
    (6, "1b1d 1b39 1b26 1b06", "१॰॑¤"),
    (7, "1b1c 1b2a 1b0e", "೦ೲ-"),
    (8, "1b2b 1b34", "൳ൿ"),
    (9, "1b2c", "ୱ"),
    (10, "1b2d 1b65", "ੵ€"),
    (11, "1b2e", "௺"),
    (12, "1b1c 1b32 1b65", "౦౿€"),
    (13, "1b33 1b1c 1b3f 1b3b", "؟۰۔ۍ"),
]


def header(locking: int = 0, single: int = 0) -> bytes:
    elements = (b"\x25\x01" + bytes((locking,)) if locking else b"") + (
        b"\x24\x01" + bytes((single,)) if single else b""
    )
    return bytes((len(elements),)) + elements


def text_of(octets: bytes, coding: int = 0, default: Alphabet = Alphabet.GSM) -> str:
    piece = texts.read(ShortMessage(esm_class=ESM_UDH, data_coding=coding, short_message=octets), default)
    return texts.decode(piece.data_coding, piece.octets, default)


@pytest.mark.parametrize(("language", "septets", "text"), LOCKED)
def test_a_text_is_in_the_alphabet_of_its_language(language: int, septets: str, text: str) -> None:
    assert text_of(header(locking=language) + bytes.fromhex(septets)) == text


@pytest.mark.parametrize(("language", "septets", "text"), SHIFTED)
def test_escaped_characters_are_of_the_extension_of_its_language(language: int, septets: str, text: str) -> None:
    assert text_of(header(single=language) + bytes.fromhex(septets)) == text


def test_alphabet_and_extension_may_be_of_two_languages() -> None:
    assert text_of(header(locking=6, single=4) + bytes.fromhex("2f 1b19")) == "न০"
    assert text_of(header(locking=13) + bytes.fromhex("00 1b65")) == "ا€"


@pytest.mark.parametrize("language", [2, 14, 255])
def test_what_is_no_alphabet_is_the_default_one(language: int) -> None:
    assert text_of(header(locking=language) + b"\x00\x10") == "@Δ"


def test_a_code_without_an_escaped_character_shows_what_it_is_without_the_escape() -> None:
    assert text_of(header(locking=1, single=1) + bytes.fromhex("1b40 1b41 1b1c")) == "|AŞ"


@pytest.mark.parametrize("coding", [0x00, 0x10, 0xC0, 0xF0])
def test_only_the_gsm_alphabet_has_such_tables(coding: int) -> None:
    assert text_of(header(locking=1) + b"\x40", coding) == "İ"
    for other in (0x03, 0x04, 0xF4):
        assert text_of(header(locking=1) + b"\x40", other) == "@"
    assert text_of(header(locking=1) + b"\x40", 0x00, Alphabet.LATIN1) == "@"
    assert text_of(header(locking=1) + b"\0\x40", 0x08) == "@"


def test_parts_of_a_long_text_have_their_tables_each_and_count_as_one_each() -> None:
    octets = bytes.fromhex("08 0003070201 240101") + b"\x1b\x67" * 70
    piece = texts.read(ShortMessage(esm_class=ESM_UDH, short_message=octets))
    assert piece.concatenation is not None
    assert (piece.concatenation.total, piece.concatenation.sequence, piece.segments) == (2, 1, 1)
    assert texts.decode(piece.data_coding, piece.octets) == "ğ" * 70


@pytest.mark.parametrize(("septets", "segments"), [(0, 1), (155, 1), (156, 2), (310, 2)])
def test_a_text_takes_as_many_segments_as_its_septets_do(septets: int, segments: int) -> None:
    payload = ((Tag.MESSAGE_PAYLOAD, header(locking=1) + b"\x40" * septets),)
    assert texts.read(ShortMessage(esm_class=ESM_UDH, tlvs=payload)).segments == segments


@given(locking=st.integers(0, 255), single=st.integers(0, 255), septets=st.binary(max_size=60))
def test_anything_is_read_somehow(locking: int, single: int, septets: bytes) -> None:
    assert len(text_of(header(locking, single) + septets)) <= len(decode_gsm(septets)) + len(septets)
