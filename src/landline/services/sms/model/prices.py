"""What carriers charge, as values: prices a segment by carrier and the first digits of the recipient's number."""

import re
from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from landline.core import money
from landline.core.errors import Invalid

DEAREST = 1_000_000 * money.ONE
_REMEMBERED = 65_536
_PREFIX = re.compile(r"\+(?:[1-9][0-9]{0,14})?", re.ASCII)


class Price(Struct, frozen=True):
    """What a segment costs by `carrier` to numbers that begin with `prefix` (with its `+`), in millionths."""

    carrier: str
    prefix: str
    micros: int


def checked_prefix(text: str) -> str:
    """`text` as a prefix. Spreadsheets take the `+` away, so digits alone are one, too. Raises `Invalid`."""
    prefix = text if text.startswith("+") else f"+{text}"
    if not _PREFIX.fullmatch(prefix):
        raise Invalid("Must be a + and the first digits of phone numbers, or + alone for all others.", target="prefix")
    return prefix


def checked_amount(amount: Decimal) -> int:
    """The price `amount` in millionths. Raises `Invalid`."""
    found = money.micros(amount)
    if found is None or found > DEAREST:
        most = money.text(DEAREST)
        raise Invalid(f"Must be from 0 to {most} with at most {money.PLACES} decimals, such as 0.0075.", target="price")
    return found


class PriceList:
    """All prices in force, asked for each message. False where there are none."""

    __slots__ = ("_lists",)

    def __init__(self, prices: Iterable[Price] = ()) -> None:
        by_carrier: dict[str, dict[str, int]] = {}
        for price in prices:
            by_carrier.setdefault(price.carrier, {})[price.prefix] = price.micros
        self._lists = {carrier: _OfCarrier(by_prefix) for carrier, by_prefix in by_carrier.items()}

    def __bool__(self) -> bool:
        return bool(self._lists)

    def of(self, carrier: str, number: str) -> int | None:
        """Millionths a segment to `number` (E.164) by `carrier`: of its longest prefix that has a price. None: no
        price is known."""
        found = self._lists.get(carrier)
        return None if found is None else found.price(number)


class _OfCarrier:
    __slots__ = ("_by_prefix", "_known", "_lengths", "_longest")

    def __init__(self, by_prefix: dict[str, int]) -> None:
        self._by_prefix = by_prefix
        self._lengths = sorted({len(prefix) for prefix in by_prefix}, reverse=True)
        self._longest = self._lengths[0]
        self._known: dict[str, int] = {}

    def price(self, number: str) -> int | None:
        beginning = number[: self._longest]
        known = self._known.get(beginning)
        return self._look_up(beginning) if known is None else known

    def _look_up(self, beginning: str) -> int | None:
        by_prefix = self._by_prefix
        for length in self._lengths:
            if (prefix := beginning[:length]) in by_prefix:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                found = self._known[beginning] = by_prefix[prefix]
                return found
        return None
