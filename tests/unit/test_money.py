"""Amounts of money: exact both ways, and nothing that is not one."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core import money


@given(st.integers(0, 10**22))
def test_an_amount_is_the_same_after_it_was_shown(micros: int) -> None:
    shown = money.text(micros)
    assert money.micros(Decimal(shown)) == micros
    assert "e" not in shown.lower()
    assert not ("." in shown and shown.endswith("0"))


@pytest.mark.parametrize(
    ("text", "micros"),
    [("0.0075", 7_500), ("12", 12_000_000), ("1E+3", 10**9), ("0.10000000000", 100_000), ("0.000001", 1), ("-0", 0)],
)
def test_decimals_are_read_exactly(text: str, micros: int) -> None:
    assert money.micros(Decimal(text)) == micros


@pytest.mark.parametrize(
    "text", ["NaN", "sNaN", "Infinity", "-0.01", "0.0000001", "1E+999999", "1E-999999", "1." + "1" * 40]
)
def test_what_is_no_amount_is_none(text: str) -> None:
    assert money.micros(Decimal(text)) is None


def test_amounts_are_shown_without_needless_digits() -> None:
    assert [money.text(each) for each in (0, 7_500, 1_000_000, 12_500_000, -250_000)] == [
        "0",
        "0.0075",
        "1",
        "12.5",
        "-0.25",
    ]
