"""Texts as short messages carry them: encoding by data_coding, the ways to send a long one, and reading them back.

Long texts (SMPP 3.4 has three ways): a header in the user data (3GPP TS 23.040 §9.2.3.24), the sar_* TLVs (§5.3.2.22 to
§5.3.2.24), or one message with the whole text in message_payload (§5.3.2.32).
"""

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from enum import Enum

from msgspec import Struct

from landline.protocols.smpp.commands import ESM_UDH, Tag
from landline.protocols.smpp.errors import LocalProtocolError
from landline.protocols.smpp.pdu import SHORT_MESSAGE_LIMIT, ShortMessage, Tlvs, tlv
from landline.protocols.smstext import (
    Concatenation,
    MalformedHeader,
    decode_gsm,
    encode_gsm,
    of_languages,
    parse_header,
    split,
)

_OCTETS_SINGLE, _OCTETS_PART = 140, 134
_PARTS_MOST = 255
_ASCII, _UCS2 = 0x01, 0x08


class LongStyle(Enum):
    """How a text of several segments is sent."""

    UDH8 = "udh8"
    UDH16 = "udh16"
    SAR = "sar"
    PAYLOAD = "payload"


class Alphabet(Enum):
    """What data_coding 0, the SMSC's default alphabet, is with an SMSC. LATIN1 sends data_coding 3 instead, and UTF8 no
    more than ASCII as 0: whoever reads 0 otherwise reads these as well."""

    GSM = "gsm"
    LATIN1 = "latin1"
    UTF8 = "utf8"
    UCS2 = "ucs2"


class Part(Struct, frozen=True):
    """What one submit_sm of a text carries."""

    esm_class: int
    data_coding: int
    short_message: bytes
    tlvs: Tlvs = ()


class Piece(Struct, frozen=True):
    """What one deliver_sm carries of a text."""

    data_coding: int
    octets: bytes
    concatenation: Concatenation | None
    """None when this is the whole text."""
    segments: int | None = None
    """How many it took, where that cannot be told by its text."""
    overlong: bool = False
    """Whether it calls itself a part of a text, and is larger than any is. It is a text of its own then: what waits for
    the others of its text is kept, and read again with each of them, up to 255 times its size."""


def write(text: str, style: LongStyle, alphabet: Alphabet, reference: int) -> list[Part]:
    """The parts that carry `text`, in order. `reference` (16 bits) tells texts to one recipient apart. Raises
    `LocalProtocolError` when they are more than a text can have."""
    wide = style is LongStyle.UDH16
    coding, pieces = _encoded(text, alphabet, wide=wide)
    if len(pieces) == 1:
        return [Part(0, coding, pieces[0])]
    if style is LongStyle.PAYLOAD:
        return [Part(0, coding, b"", ((Tag.MESSAGE_PAYLOAD, b"".join(pieces)),))]
    if len(pieces) > _PARTS_MOST:
        raise LocalProtocolError(f"a text of {len(pieces)} parts, where {_PARTS_MOST} fit")
    if style is LongStyle.SAR:
        return [
            Part(0, coding, piece, _sar(reference, len(pieces), number)) for number, piece in enumerate(pieces, start=1)
        ]
    reference = reference if wide else reference & 0xFF
    return [
        Part(ESM_UDH, coding, Concatenation(reference, len(pieces), number, wide).header() + piece)
        for number, piece in enumerate(pieces, start=1)
    ]


def read(message: ShortMessage, default: Alphabet = Alphabet.GSM) -> Piece:
    """What `message` carries; a header that cannot be read counts as text, so that nothing is lost. `default` is the
    SMSC's own alphabet. What is written by national language tables becomes UCS-2."""
    octets = message.short_message
    if message.tlvs:
        octets = _both(octets, tlv(message.tlvs, Tag.MESSAGE_PAYLOAD) or b"")
    if not message.esm_class & ESM_UDH:
        return _piece(message.data_coding, octets, _several(_sar_of(message.tlvs)) if message.tlvs else None)
    try:
        header = parse_header(octets)
    except MalformedHeader:
        return Piece(message.data_coding, octets, None)
    if header.size_bytes == 1 and message.data_coding == _UCS2 and len(octets) % 2 == 0:
        return Piece(_UCS2, octets, None)  # the flag is wrong: without its first octet the text would be another
    concatenation = _several(header.concatenation or _sar_of(message.tlvs))  # a header may have ports alone
    octets = octets[header.size_bytes :]
    piece = _piece(message.data_coding, octets, concatenation)
    national = of_languages(header.locking, header.single)
    if national is None or not _is_gsm(message.data_coding, default):
        return piece
    room = max((_OCTETS_SINGLE - header.size_bytes) * 8 // 7, 1)
    text = decode_gsm(octets, national).encode("utf-16-be")
    return Piece(_UCS2, text, piece.concatenation, min(-(-len(octets) // room) or 1, _PARTS_MOST), piece.overlong)


def _piece(data_coding: int, octets: bytes, concatenation: Concatenation | None) -> Piece:
    if concatenation is not None and len(octets) > SHORT_MESSAGE_LIMIT:
        return Piece(data_coding, octets, None, overlong=True)
    return Piece(data_coding, octets, concatenation)


def is_double(message: ShortMessage) -> bool:
    """Whether it has a text in short_message and one in message_payload, which §4.4.1 and §5.3.2.32 forbid."""
    return bool(message.short_message and message.tlvs and tlv(message.tlvs, Tag.MESSAGE_PAYLOAD))


def is_for_port(message: ShortMessage) -> bool:
    """Whether it is for an application of the phone that listens on a port (§5.3.2.21, 3GPP TS 23.040 §9.2.3.24.3 f.),
    which would show it as any text without that."""
    if message.tlvs and any(tlv(message.tlvs, Tag.DESTINATION_PORT) or b""):
        return True
    if not message.esm_class & ESM_UDH:
        return False
    try:
        return parse_header(message.short_message or tlv(message.tlvs, Tag.MESSAGE_PAYLOAD) or b"").port != 0
    except MalformedHeader:
        return False


def _both(short: bytes, payload: bytes) -> bytes:
    """The text of who fills both fields: one of them when it repeats the other or its beginning, else one after the
    other."""
    if payload.startswith(short):
        return payload
    return short if short.startswith(payload) else short + payload


def decode(data_coding: int, octets: bytes, default: Alphabet = Alphabet.GSM) -> str:
    """The text of `octets` (§5.2.19); `default` is the SMSC's own alphabet. Binary data is shown as Latin-1."""
    if _is_gsm(data_coding, default) or (data_coding == _ASCII and _is_no_ascii(octets)):
        return decode_gsm(octets)
    if data_coding & 0xF0 == 0xE0 or data_coding == _UCS2:
        return _of_ucs2(octets)
    if data_coding & _GENERAL == data_coding and data_coding & _WITH_BITS:
        return _of_ucs2(octets) if data_coding >> 2 & 3 == 2 else octets.decode("latin-1")
    if data_coding == 0x00:
        return _default(octets, default)
    return octets.decode(_CHARSETS.get(data_coding, "latin-1"), "replace")


def _is_gsm(data_coding: int, default: Alphabet) -> bool:
    if data_coding & 0xF0 == 0xF0:  # GSM message class (3GPP TS 23.038 §4): bit 2 says octets
        return not data_coding & 0x04
    if data_coding == 0x00:
        return default is Alphabet.GSM
    general = data_coding & _GENERAL == data_coding and data_coding & _WITH_BITS
    return data_coding & 0xF0 in (0xC0, 0xD0) or bool(general and not data_coding >> 2 & 3)


def _is_no_ascii(octets: bytes) -> bool:
    """Whether what calls itself ASCII is by the GSM alphabet, as npm's smpp sends it: it has octets that no text in
    ASCII has, and that are `_`, `$`, `@`, é or the escape before {, say. NULs at the end are no part of the text."""
    return octets.isascii() and _NO_ASCII.search(octets.rstrip(b"\0")) is not None


_NO_ASCII = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_GENERAL, _WITH_BITS = 0x5F, 0x50
"""3GPP TS 23.038 §4: the general group without compression whose bits 3 and 2 say the alphabet, with a class (a "flash"
message, say) or to be deleted once read. Without either it is SMPP's own table."""
# What calls itself ASCII and has octets beyond is Latin-1, as a rule.
_CHARSETS = {0x03: "latin-1", 0x05: "shift_jis", 0x06: "iso8859_5", 0x07: "iso8859_8", 0x0D: "euc_jp", 0x0E: "euc_kr"}


def is_text(data_coding: int) -> bool:
    """Whether `decode` reads it as what it is: no octets, no pictograms, nothing compressed or reserved."""
    if data_coding < 0x10:
        return data_coding in _TEXTS
    if data_coding >= 0xC0:
        return data_coding & 0xF4 != 0xF4
    return data_coding & _GENERAL == data_coding and data_coding >> 2 & 3 in (0, 2)


_TEXTS = frozenset((0x00, 0x01, 0x08, *_CHARSETS))


def _default(octets: bytes, default: Alphabet) -> str:
    if default is Alphabet.UTF8:
        try:
            return octets.decode()
        except UnicodeDecodeError:
            return octets.decode("latin-1")  # a customer that was not told, with whom nothing is to be lost
    return octets.decode("latin-1") if default is Alphabet.LATIN1 else _of_ucs2(octets)


def _of_ucs2(octets: bytes) -> str:
    """The text of UCS-2, which begins with a byte order mark where its sender's library writes one (Java's "UTF-16"):
    none is needed here, and it is no part of the text."""
    if octets.startswith(BOM_UTF16_LE):
        return octets[2:].decode("utf-16-le", "replace")
    return octets.removeprefix(BOM_UTF16_BE).decode("utf-16-be", "replace")


def _encoded(text: str, alphabet: Alphabet, *, wide: bool) -> tuple[int, list[bytes]]:
    """`wide`: the header of each part takes an octet more."""
    if alphabet is Alphabet.GSM:
        whole = encode_gsm(text)
        if whole is not None:
            if len(whole) <= 160:
                return 0x00, [whole]
            return 0x00, [encode_gsm(part) or b"" for part in split(text, wide=wide)]
    coding, charset = _SENT_AS.get(alphabet, (_UCS2, ""))
    if charset:
        try:
            octets = text.encode(charset)
        except UnicodeEncodeError:
            pass
        else:
            size = _OCTETS_PART - wide if len(octets) > _OCTETS_SINGLE else _OCTETS_SINGLE
            return coding, [octets[start : start + size] for start in range(0, len(octets), size)] or [b""]
    return _UCS2, _in_ucs2(text, _OCTETS_PART - 2 * wide)


_SENT_AS = {Alphabet.LATIN1: (0x03, "latin-1"), Alphabet.UTF8: (0x00, "ascii")}


def _in_ucs2(text: str, size: int) -> list[bytes]:
    octets = text.encode("utf-16-be", "surrogatepass")
    if len(octets) <= _OCTETS_SINGLE:
        return [octets]
    pieces: list[bytes] = []
    start = 0
    while start < len(octets):
        end = start + size
        if end < len(octets) and 0xD8 <= octets[end - 2] <= 0xDB and 0xDC <= octets[end] <= 0xDF:
            end -= 2  # a surrogate pair is not cut in two
        pieces.append(octets[start:end])
        start = end
    return pieces


def _sar(reference: int, total: int, number: int) -> Tlvs:
    return (
        (Tag.SAR_MSG_REF_NUM, (reference & 0xFFFF).to_bytes(2, "big")),
        (Tag.SAR_TOTAL_SEGMENTS, bytes((total,))),
        (Tag.SAR_SEGMENT_SEQNUM, bytes((number,))),
    )


def _sar_of(tlvs: Tlvs) -> Concatenation | None:
    reference, total, number = (
        tlv(tlvs, tag) for tag in (Tag.SAR_MSG_REF_NUM, Tag.SAR_TOTAL_SEGMENTS, Tag.SAR_SEGMENT_SEQNUM)
    )
    if not reference or not total or not number:
        return None
    count, sequence = total[-1], number[-1]
    # §5.3.2.22: out of range values make a receiver ignore all three
    valid = 1 <= sequence <= count
    # §5.3.2.22: two octets; some pad it in front
    return Concatenation(int.from_bytes(reference[-2:], "big"), count, sequence, wide=True) if valid else None


def _several(concatenation: Concatenation | None) -> Concatenation | None:
    return concatenation if concatenation is not None and concatenation.total > 1 else None
