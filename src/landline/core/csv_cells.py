"""Text in CSV that a spreadsheet opens without running it: what strangers wrote may be a formula."""

import re

_PHONE = re.compile(r"\+[0-9]+", re.ASCII)
_FORMULA = "=+-@\t\r\n＝＋－＠"
"""What spreadsheets take for the beginning of a formula, in either width (OWASP: CSV injection)."""


def safe(text: str) -> str:
    """`text`, after an apostrophe where a spreadsheet would take it for a formula. Phone numbers stay as they are."""
    if text[:1] in _FORMULA and text and not _PHONE.fullmatch(text):
        return f"'{text}"
    return text
