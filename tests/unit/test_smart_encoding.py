"""Smart encoding: typographic characters become plain ones when that makes a text fit GSM 7-bit, and only then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.protocols.smstext import encode_gsm, segments, smart


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\u201cHello\u201d \u2013 it\u2019s 5\u202fpm\u2026", '"Hello" - it\'s 5 pm...'),
        ("\u00bd price \u2022 today", "1/2 price * today"),
        ("zero\u200bwidth", "zerowidth"),
        ("plain", "plain"),
        ("\u20ac5 for \u00e9t\u00e9", "\u20ac5 for \u00e9t\u00e9"),
    ],
)
def test_typographic_characters_become_plain(text: str, plain: str) -> None:
    assert smart(text) == plain


def test_a_text_that_needs_ucs2_anyway_is_left_as_it_is() -> None:
    assert (
        smart("\u201c\u041f\u0440\u0438\u0432\u0435\u0442\u201d") == "\u201c\u041f\u0440\u0438\u0432\u0435\u0442\u201d"
    )
    assert smart("\u200b") == "\u200b"


@given(st.text())
def test_it_never_costs_more_and_never_changes_what_fits(text: str) -> None:
    result = smart(text)
    assert segments(result).count <= segments(text).count
    if encode_gsm(text) is not None:
        assert result == text
