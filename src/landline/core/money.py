"""Amounts of money as whole millionths of the deployment's currency: exact coming in, in sums and going out."""

from decimal import Decimal, InvalidOperation

PLACES = 6
ONE = 10**PLACES
"""One unit of the currency."""
_MOST_DIGITS = 28
"""What the arithmetic of decimals keeps without rounding."""


def read(written: str) -> Decimal | None:
    """The number that a file has; None when it is none. Python takes the digits of all scripts, and `1_0` for 10."""
    if not written.isascii() or "_" in written:
        return None
    try:
        return Decimal(written)
    except InvalidOperation:
        return None


def micros(amount: Decimal) -> int | None:
    """`amount` in millionths; None when it is no such number: below 0, infinite, or finer than a millionth."""
    if not amount.is_finite() or amount < 0:
        return None
    if not amount:
        return 0
    fits = -PLACES <= amount.adjusted() <= _MOST_DIGITS - PLACES and len(amount.as_tuple().digits) <= _MOST_DIGITS
    scaled = amount.scaleb(PLACES) if fits else None
    return int(scaled) if scaled is not None and scaled == scaled.to_integral_value() else None


def text(micros: int) -> str:
    """The amount of so many millionths as a decimal, such as `0.0075`: no digit more than it has."""
    sign, (whole, rest) = "-" if micros < 0 else "", divmod(abs(micros), ONE)
    return f"{sign}{whole}.{rest:0{PLACES}d}".rstrip("0").rstrip(".")
