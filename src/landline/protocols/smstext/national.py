"""The national language tables that a header may name in place of the GSM alphabet and its extension (3GPP TS 23.038
§6.2.1.2 and annex A): read, never written. Phones in Turkey, Spain, Portugal and India write by them.

The tables of the nine Indian scripts are one: their Unicode blocks have the same letters in the same places, and what a
script lacks is left out.
"""

from functools import lru_cache

from landline.protocols.smstext.alphabet import DEFAULT, EXTENSION, Tables, tables

_TURKISH, _SPANISH, _PORTUGUESE = 1, 2, 3
_BENGALI, _GUJARATI, _HINDI, _KANNADA, _MALAYALAM, _ORIYA, _PUNJABI, _TAMIL, _TELUGU, _URDU = range(4, 14)


@lru_cache(maxsize=256)
def of_languages(locking: int, single: int) -> Tables | None:
    """The tables of these languages (§6.2.1.2.4): `locking` is whose alphabet it is, `single` whose extension; those of
    an identifier that is reserved are the default ones. None when both are."""
    if locking not in _LOCKING and single not in _SINGLE:
        return None
    return tables(_LOCKING.get(locking, DEFAULT), _SINGLE.get(single, EXTENSION))


def _indic(block: int, lacking: str, more: tuple[int, ...]) -> str:
    """An Indian script's alphabet (A.3.4 to A.3.12): `lacking` are the offsets in its Unicode block that it leaves out,
    `more` those of the codes 0x60 and 0x7B to 0x7F, where each script has something of its own."""
    left_out = {int(offset, 16) for offset in lacking.split()}
    table = list(_INDIC_PLAIN)
    for code, offset in _INDIC_LETTERS.items():
        if offset not in left_out:
            table[code] = chr(block + offset)
    for code, offset in zip((0x60, *range(0x7B, 0x80)), more, strict=True):
        table[code] = chr(block + offset)
    return "".join(table)


_INDIC_PLAIN = (
    "          \n  \r                   !      )(  , . 0123456789:;   ?"
    "                                 abcdefghijklmnopqrstuvwxyz     "
)
_INDIC_LETTERS = {
    code: int(offset, 16)
    for start, offsets in {
        0x00: "01 02 03 05 06 07 08 09 0A 0B -- 0C 0D -- 0E 0F",
        0x10: "10 11 12 13 14 15 16 17 18 19 1A -- 1B 1C 1D 1E",
        0x20: "-- -- 1F 20 21 22 23 24 -- -- 25 26 -- 27 -- 28",
        0x3C: "29 2A 2B",
        0x40: "2C 2D 2E 2F 30 31 32 33 34 35 36 37 38 39 3C 3D",
        0x50: "3E 3F 40 41 42 43 44 45 46 47 48 49 4A 4B 4C 4D",
    }.items()
    for code, offset in enumerate(offsets.split(), start=start)
    if offset != "--"
}
"""Where the letters stand, by their offsets in the block."""

_LATIN_END = "abcdefghijklmnopqrstuvwxyz"
_LOCKING = {
    _TURKISH: (
        "@£$¥€éùıòÇ\nĞğ\rÅåΔ_ΦΓΛΩΠΨΣΘΞ ŞşßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
        "İABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§ç" + _LATIN_END + "äöñüà"
    ),
    _PORTUGUESE: (
        "@£$¥êéúíóç\nÔô\rÁáΔ_ªÇÀ∞^\\€Ó| ÂâÊÉ !\"#º%&'()*+,-./0123456789:;<=>?"
        "ÍABCDEFGHIJKLMNOPQRSTUVWXYZÃÕÚÜ§~" + _LATIN_END + "ãõ`üà"
    ),
    _BENGALI: _indic(0x0980, "0D 0E 11 12 29 31 33 34 35 45 46 49 4A", (0x4E, 0x57, 0x5C, 0x5D, 0x70, 0x71)),
    _GUJARATI: _indic(0x0A80, "0E 12 29 31 34 46 4A", (0x50, 0x60, 0x61, 0x62, 0x63, 0x71)),
    _HINDI: _indic(0x0900, "", (0x50, 0x72, 0x7B, 0x7C, 0x7E, 0x7F)),
    _KANNADA: _indic(0x0C80, "01 0D 11 29 34 45 49", (0x55, 0x56, 0x60, 0x61, 0x62, 0x63)),
    _MALAYALAM: _indic(0x0D00, "01 0D 11 29 3C 45 49", (0x57, 0x60, 0x61, 0x62, 0x63, 0x79)),
    _ORIYA: _indic(0x0B00, "0D 0E 11 12 29 31 34 45 46 49 4A", (0x56, 0x57, 0x60, 0x61, 0x62, 0x63)),
    _PUNJABI: _indic(
        0x0A00, "0B 0C 0D 0E 11 12 29 31 34 37 3D 43 44 45 46 49 4A", (0x51, 0x70, 0x71, 0x72, 0x73, 0x74)
    ),
    _TAMIL: _indic(
        0x0B80,
        "01 0B 0C 0D 11 16 17 18 1B 1D 20 21 22 25 26 27 2B 2C 2D 3C 3D 43 44 45 49",
        (0x50, 0x57, 0x70, 0x71, 0x72, 0x79),
    ),
    _TELUGU: _indic(0x0C00, "0D 11 29 34 3C 45 49", (0x55, 0x56, 0x60, 0x61, 0x62, 0x63)),
    _URDU: (
        "\u0627\u0622\u0628\u067b\u0680\u067e\u06a6\u062a\u06c2\u067f\n\u0679\u067d\r\u067a\u067c"
        "\u062b\u062c\u0681\u0684\u0683\u0685\u0686\u0687\u062d\u062e\u062f \u068c\u0688\u0689\u068a"
        " !\u068f\u068d\u0630\u0631\u0691\u0693)(\u0699\u0632,\u0696.\u0698"
        "0123456789:;\u069a\u0633\u0634?"
        "\u0635\u0636\u0637\u0638\u0639\u0641\u0642\u06a9\u06aa\u06ab\u06af\u06b3\u06b1\u0644\u0645\u0646"
        "\u06ba\u06bb\u06bc\u0648\u06c4\u06d5\u06c1\u06be\u0621\u06cc\u06d0\u06d2\u064d\u0650\u064f\u0657"
        "\u0654" + _LATIN_END + "\u0655\u0651\u0653\u0656\u0670"
    ),
}
"""A.3. Spanish has none. Codes that a table leaves empty are spaces, and so is the escape."""


def _of_script(own: str) -> dict[int, str]:
    """The extension of an Indian language (A.2.4 to A.2.13): all have the same but for `own`, which take the codes that
    are left from 0x19 on, in order; a space is a code without one."""
    table = {code: character for code, character in zip(_LEFT, own, strict=False) if character != " "}
    return {**EXTENSION, **_SIGNS, **{code: chr(code) for code in range(ord("A"), ord("Z") + 1)}, **table}


_SIGNS = {code: sign for code, sign in enumerate("@£$¥¿\"¤%&'\f*+ -/<=>¡^¡_#*") if sign != " "}
_LEFT = (0x19, 0x1A, *range(0x1C, 0x28), *range(0x2A, 0x2F), *range(0x30, 0x3C), 0x3F)
_DANDA = "\u0964\u0965"


def _span(first: int, last: int) -> str:
    return "".join(map(chr, range(first, last + 1)))


_SINGLE = {
    _TURKISH: {**EXTENSION, **dict(zip(b"GIScgis", "ĞİŞçğış", strict=True))},
    _SPANISH: {**EXTENSION, 0x09: "ç", **dict(zip(b"AIOUaiou", "ÁÍÓÚáíóú", strict=True))},
    _PORTUGUESE: {
        **EXTENSION,
        **dict(zip(b"\x05\x09\x0b\x0c\x0e\x0f\x1f", "êçÔôÁáÊ", strict=True)),
        **dict(zip(b"\x12\x13\x15\x16\x17\x18\x19", "ΦΓΩΠΨΣΘ", strict=True)),
        **dict(zip(b"AIOU[\\aiou{|\x7f", "ÀÍÓÚÃÕÂíóúãõâ", strict=True)),
    },
    _BENGALI: _of_script(_span(0x09E6, 0x09EF) + _span(0x09DF, 0x09E3) + _span(0x09F2, 0x09FA)),
    _GUJARATI: _of_script(_DANDA + _span(0x0AE6, 0x0AEF)),
    _HINDI: _of_script(
        _DANDA
        + _span(0x0966, 0x096F)
        + _span(0x0951, 0x0954)
        + _span(0x0958, 0x095F)
        + _span(0x0960, 0x0963)
        + "\u0970\u0971"
    ),
    _KANNADA: _of_script(_DANDA + _span(0x0CE6, 0x0CEF) + "\u0cde\u0cf1\u0cf2"),
    _MALAYALAM: _of_script(_DANDA + _span(0x0D66, 0x0D6F) + _span(0x0D70, 0x0D75) + _span(0x0D7A, 0x0D7F)),
    _ORIYA: _of_script(_DANDA + _span(0x0B66, 0x0B6F) + "\u0b5c\u0b5d\u0b5f\u0b70\u0b71"),
    _PUNJABI: _of_script(_DANDA + _span(0x0A66, 0x0A6F) + "\u0a59\u0a5a\u0a5b\u0a5c\u0a5e\u0a75"),
    _TAMIL: _of_script(_DANDA + _span(0x0BE6, 0x0BEF) + _span(0x0BF3, 0x0BF8) + "\u0bfa"),
    _TELUGU: _of_script("  " + _span(0x0C66, 0x0C6F) + "\u0c58\u0c59" + _span(0x0C78, 0x0C7F)),
    _URDU: _of_script(
        "\u0600\u0601"
        + _span(0x06F0, 0x06F9)
        + "\u060c\u060d\u060e\u060f"
        + _span(0x0610, 0x0614)
        + "\u061b\u061f\u0640\u0652\u0658\u066b\u066c\u0672\u0673\u06cd\u06d4"
    ),
}
"""A.2."""
