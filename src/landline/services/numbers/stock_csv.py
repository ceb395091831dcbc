"""Reads the numbers an operator has for sale: CSV with a header, or a range. What is left out follows from
the number."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

from landline.core import money
from landline.core.errors import Invalid
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.edge import csv_files
from landline.services.numbers import lookup, model, parameters
from landline.services.numbers.model import Directions
from landline.services.numbers.offers import NOT_TO_BE_RESOLD, Assignment, Cost, Place
from landline.services.numbers.records_stock import StockNumber

COLUMNS = (
    "number", "country", "kind", "assignments", "sms", "calling", "areaCode", "locality", "division", "cost",
    "currency", "notResell", "carrier",
)  # fmt: skip
AT_MOST = 10_000
_NOBODY = ResourceId(parameters.NIL)
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")
T = TypeVar("T")


def read(text: str) -> list[StockNumber]:
    """The numbers of a CSV file, all of them or none: raises `Invalid`, by line, for up to 20 bad lines."""
    return csv_files.read(
        text, _columns, lambda row, _line: _number(row), at_most=AT_MOST, what="numbers", done="added"
    )


def read_range(first: str, last: str, values: Mapping[str, str]) -> list[StockNumber]:
    """All numbers from `first` to `last`, of equal length, with the same `values`. Raises `Invalid`."""
    unknown = sorted(values.keys() - (set(COLUMNS) - {"number"}))
    if unknown:
        raise Invalid(f"There is no such value: {unknown[0]}.", target="values")
    plus = "+" if first.startswith("+") else ""
    low, high = first.removeprefix("+"), last.removeprefix("+")
    digits = (low + high).isascii() and (low + high).isdigit()
    if not digits or len(first) != len(last) or len(low) != len(high) or len(low) > 15 or low > high:
        raise Invalid("Two numbers of the same length, the lower one first.", target="last")
    if int(high) - int(low) >= AT_MOST:
        raise Invalid(f"At most {AT_MOST} numbers at once.", target="last")
    width = len(low)
    return [_number({**values, "number": f"{plus}{each:0{width}d}"}) for each in range(int(low), int(high) + 1)]


def _columns(names: Sequence[str]) -> list[str]:
    if set(names) - set(COLUMNS) or "number" not in names or len(set(names)) != len(names):
        raise Invalid(f"The first line names the columns: number, and any of {', '.join(COLUMNS[1:])}.", target="csv")
    return list(names)


def _number(row: Mapping[str | None, object] | Mapping[str, str]) -> StockNumber:
    values = _values(row)
    sms, calling = (parameters.directions_of(values.get(name), name) for name in ("sms", "calling"))
    kind = parameters.kind_of(values["kind"], "kind") if "kind" in values else None
    owned = model.owned(
        _NOBODY, values.get("number", ""), kind=kind, sms=sms, calling=calling, carrier=values.get("carrier")
    )
    if owned.kind is SenderKind.ALPHANUMERIC:
        raise Invalid("Names are not sold, numbers are.", target="number")
    if calling is None and owned.kind is not SenderKind.SHORT_CODE:
        calling = Directions.BOTH
    code = values.get("country")
    country = _country(code) if code else lookup.country_of(owned.number)
    return StockNumber(
        number=owned.number,
        country=country,
        kind=owned.kind,
        assignments=_assignments(values.get("assignments"), owned.kind),
        sms=owned.sms,
        calling=calling or owned.calling,
        area_code=values.get("areaCode") or lookup.area_code_of(owned.number, owned.kind),
        place=_place(values),
        cost=Cost(_amount(values.get("cost", "0")), values.get("currency", "USD")),
        not_resell=_flag(values["notResell"]) if "notResell" in values else country in NOT_TO_BE_RESOLD,
        carrier=owned.carrier,
    )


def _values(row: Mapping[str | None, object] | Mapping[str, str]) -> dict[str, str]:
    """What is given, by column."""
    return {str(name): str(value).strip() for name, value in row.items() if value is not None and str(value).strip()}


def _country(text: str) -> str:
    if not lookup.is_country(text.upper()):
        raise Invalid("Must be a country's two letters (ISO 3166-1), such as US.", target="country")
    return text.upper()


def _assignments(text: str | None, kind: SenderKind) -> tuple[Assignment, ...]:
    if text is None:
        geographic = kind is SenderKind.GEOGRAPHIC
        return (Assignment.APPLICATION, Assignment.PERSON) if geographic else (Assignment.APPLICATION,)
    found = [parameters.assignment_of(part.strip()) for part in _parts(text)]
    if not found:
        raise Invalid("Must be application, person, or application|person.", target="assignments")
    return tuple(dict.fromkeys(each for each in found if each is not None))


def _parts(text: str) -> Iterable[str]:
    return text.replace("+", " ").replace("|", " ").split()


def _place(values: Mapping[str, str]) -> Place | None:
    locality, division = values.get("locality"), values.get("division")
    if locality is None and division is not None:
        raise Invalid("A division needs a locality.", target="division")
    return Place(locality, division, division) if locality is not None else None


def _amount(text: str) -> Decimal:
    amount = money.read(text)
    if amount is None:
        raise Invalid("Must be an amount of money, such as 1.50.", target="cost")
    if not (amount.is_finite() and 0 <= amount < 10_000_000):
        raise Invalid("Must be from 0 to below 10000000.", target="cost")
    return amount.quantize(Decimal("0.0001"))


def _flag(text: str) -> bool:
    if text.lower() not in (*_YES, *_NO):
        raise Invalid("Must be true or false.", target="notResell")
    return text.lower() in _YES
