"""The GSM 7-bit default alphabet and its extension table (3GPP TS 23.038 §6.2.1), between text and septets.

Python's charmap codec does the look-ups, because counting segments is on the path of every accepted message.
"""

import codecs
from collections.abc import Mapping

ESCAPE = 0x1B

_DEFAULT = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\ufffeÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""§6.2.1; U+FFFE, which is no character, stands at the escape code."""

_EXTENSION = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}
"""§6.2.1.1: what stands for a code after an escape."""

# One octet per character: the default alphabet's own codes, and the extension's codes with the high bit set. The codec
# is only fast when U+0000 stands at 0, so that `@` (whose code is 0) is kept at 0x80, which no extension uses.
_AT = 0x80


_table = ["\0", *_DEFAULT[1:]] + ["\ufffe"] * 128
_table[_AT] = "@"
for _code, _character in _EXTENSION.items():
    _table[0x80 | _code] = _character
_ENCODING_MAP = codecs.charmap_build("".join(_table))
_WIDE = bytes(0x80 | code for code in _EXTENSION)
Tables = tuple[str, str]
"""What each septet stands for by itself, and after an escape."""


def tables(plain: str, escaped: Mapping[int, str]) -> Tables:
    """Those of an alphabet and an extension: a code that has none there shows what it is without the escape."""
    return plain, "".join(escaped.get(code, character) for code, character in enumerate(plain))


DEFAULT = _DEFAULT.replace("\ufffe", " ")
EXTENSION: Mapping[int, str] = _EXTENSION
_DEFAULT_TABLES = tables(DEFAULT, EXTENSION)


def compact(text: str) -> bytes | None:
    """One octet for each character of `text` for `width` and `expand`, or None when the alphabet lacks one of them."""
    try:
        octets, _ = codecs.charmap_encode(text, "strict", _ENCODING_MAP)
    except UnicodeEncodeError:
        return None
    return None if 0 in octets else octets


def width(octets: bytes) -> int:
    """How many septets `compact` octets take: an extension character is an escape and a code."""
    if octets.isascii():
        return len(octets)
    return 2 * len(octets) - len(octets.translate(None, _WIDE))


def expand(octets: bytes) -> bytes:
    """`compact` octets as septets, one in each octet."""
    if octets.isascii():
        return octets
    for code in _WIDE:
        octets = octets.replace(bytes((code,)), bytes((ESCAPE, code & 0x7F)))
    return octets.replace(bytes((_AT,)), b"\0")


def encode_gsm(text: str) -> bytes | None:
    """`text` as septets, one in each octet (how most SMSCs want data_coding 0), or None when it needs UCS-2."""
    octets = compact(text)
    return None if octets is None else expand(octets)


def decode_gsm(septets: bytes, by: Tables = _DEFAULT_TABLES) -> str:
    """The text of `septets`, one in each octet (high bits ignored), by the default alphabet or `national.tables`.

    An escape before a code without an extension shows the default alphabet's character, an escape before another or at
    the end a space (§6.2.1 and §6.2.1.1).
    """
    plain, escaped = by
    pieces = septets.translate(_LOW_BITS).split(bytes((ESCAPE,)))
    text = [_read(pieces[0], plain)]
    skip = False
    for piece in pieces[1:]:
        if skip:
            text.append(_read(piece, plain))
            skip = False
        elif piece:
            text.append(escaped[piece[0]] + _read(piece[1:], plain))
        else:  # the escape is followed by another, which this space stands for, or by nothing
            text.append(" ")
            skip = True
    return "".join(text)


_LOW_BITS = bytes(octet & 0x7F for octet in range(256))


def _read(septets: bytes, table: str) -> str:
    return septets.decode("ascii").translate(table)
