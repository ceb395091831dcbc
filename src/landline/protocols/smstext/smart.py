"""Smart encoding: characters outside the GSM alphabet that have a plain twin inside it, so that a typographic quote
does not cost a message more than half of its room (70 characters a segment instead of 160)."""

from landline.protocols.smstext.alphabet import compact

_TWINS = {
    '"': "“”„‟«»″‶❝❞〝〞＂",
    "'": "‘’‚‛′‵❛❜ʼʻˈ`´＇",
    "-": "‐‑‒–—―−﹘﹣－⁃",
    " ": "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
    "...": "…",
    "..": "‥",
    "*": "•∗＊",
    "!": "！",
    "?": "？",
    ",": "，",
    ".": "．",
    ":": "：",
    ";": "；",
    "/": "⁄∕／",
    "(": "（",
    ")": "）",
    "<": "‹",
    ">": "›",
    "(c)": "©",
    "(r)": "®",
    "(tm)": "™",
    "1/4": "¼",
    "1/2": "½",
    "3/4": "¾",
    "\n": "\u2028\u2029",
    "": "\u200b\u200c\u200d\u2060\ufeff\u00ad",
}
_TABLE = str.maketrans({character: twin for twin, characters in _TWINS.items() for character in characters})


def smart(text: str) -> str:
    """`text` with its typographic characters replaced, if that makes it fit the GSM alphabet; else `text` as it is,
    since in UCS-2 every character costs the same."""
    if compact(text) is not None:
        return text
    plain = text.translate(_TABLE)
    return text if compact(plain) is None or not plain else plain
