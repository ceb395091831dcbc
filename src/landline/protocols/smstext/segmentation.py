"""How many segments a text takes and where it is cut: GSM 7-bit if it can be, else UCS-2 (3GPP TS 23.040 §9.2.3.24.1).

A segment has 140 octets: 160 septets or 70 UTF-16 code units; the concatenation header takes 7 septets or 3 units of
each part. What takes two units (an escaped character, a surrogate pair) is never cut in two.
"""

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum

from landline.protocols.smstext.alphabet import ESCAPE, compact, decode_gsm, expand, width

GSM_SINGLE, GSM_PART = 160, 153
UCS2_SINGLE, UCS2_PART = 70, 67


class Encoding(Enum):
    """The two alphabets a text message can be sent in."""

    GSM_7BIT = "gsm7"
    UCS2 = "ucs2"


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What sending a text takes."""

    encoding: Encoding
    count: int
    """Segments; an empty text is sent as one."""
    units: int
    """Septets or UTF-16 code units of the whole text, without headers."""


# Most texts fit one segment: their answers are made once.
_GSM = [Segmentation(Encoding.GSM_7BIT, 1, units) for units in range(GSM_SINGLE + 1)]
_UCS2 = [Segmentation(Encoding.UCS2, 1, units) for units in range(UCS2_SINGLE + 1)]


def encoding(text: str) -> Encoding:
    """The encoding `text` is sent in: GSM 7-bit unless a character is neither in its alphabet nor its extension."""
    return Encoding.UCS2 if compact(text) is None else Encoding.GSM_7BIT


def segments(text: str) -> Segmentation:
    """What sending `text` takes."""
    octets = compact(text)
    if octets is None:
        return _ucs2_segments(text)
    units = width(octets)
    if units <= GSM_SINGLE:
        return _GSM[units]
    if units == len(octets):
        return Segmentation(Encoding.GSM_7BIT, -(-units // GSM_PART), units)
    return Segmentation(Encoding.GSM_7BIT, sum(1 for _ in _gsm_parts(expand(octets))), units)


def split(text: str, *, wide: bool = False) -> list[str]:
    """The parts of `text`, in order, one for each of its segments; joined they are `text` again. `wide` leaves room for
    a reference of 16 bits in each, which costs a character (§9.2.3.24.8): there may be more parts than segments."""
    octets = compact(text)
    if octets is None:
        units = _utf16(text)
        parts = [units] if len(units) <= UCS2_SINGLE * 2 else _ucs2_parts(units, UCS2_PART - wide)
        return [part.decode("utf-16-be", "surrogatepass") for part in parts]
    if width(octets) <= GSM_SINGLE:
        return [text]
    return [decode_gsm(part) for part in _gsm_parts(expand(octets), GSM_PART - wide)]


def _ucs2_segments(text: str) -> Segmentation:
    units = _utf16(text)
    count = len(units) // 2
    if count <= UCS2_SINGLE:
        return _UCS2[count]
    if count == len(text):
        return Segmentation(Encoding.UCS2, -(-count // UCS2_PART), count)
    return Segmentation(Encoding.UCS2, sum(1 for _ in _ucs2_parts(units)), count)


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")  # a lone surrogate is a unit like any other


def _gsm_parts(septets: bytes, size: int = GSM_PART) -> Generator[bytes]:
    start = 0
    while start < len(septets):
        end = start + size
        if end < len(septets) and septets[end - 1] == ESCAPE:
            end -= 1
        yield septets[start:end]
        start = end


def _ucs2_parts(units: bytes, size: int = UCS2_PART) -> Generator[bytes]:
    start = 0
    while start < len(units):
        end = start + size * 2
        if end < len(units) and _is_high_surrogate(units[end - 2]) and _is_low_surrogate(units[end]):
            end -= 2
        yield units[start:end]
        start = end


def _is_high_surrogate(first_octet: int) -> bool:
    return 0xD8 <= first_octet <= 0xDB


def _is_low_surrogate(first_octet: int) -> bool:
    return 0xDC <= first_octet <= 0xDF
