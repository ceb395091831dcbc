"""Reads carriers' price lists: CSV with a header."""

import csv
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from io import StringIO

from landline.core.errors import Invalid
from landline.services.sms.model.prices import Price, checked_amount, checked_prefix

COLUMNS = ("carrier", "prefix", "price")
AT_MOST = 50_000
_SHOWN = 20


def read(text: str, carrier: str | None) -> list[Price]:
    """The prices of a CSV file, all of them or none; of `carrier` where the file does not name any. Raises `Invalid`,
    by line, for up to 20 bad lines."""
    if "\0" in text:
        raise Invalid("The file may not hold the character NUL.", target="csv")
    rows = csv.DictReader(StringIO(text), strict=True)
    found: dict[tuple[str, str], tuple[int, Price]] = {}
    errors: dict[str, list[str]] = {}
    try:
        rows.fieldnames = _columns(rows.fieldnames, carrier)
        for row in rows:
            try:
                price = _price(row, carrier)
                before = found.setdefault((price.carrier, price.prefix), (rows.line_num, price))
                if before[1] is not price:
                    raise Invalid(f"{price.prefix} of {price.carrier} is on line {before[0]} already", target="prefix")
            except Invalid as error:
                errors[f"line {rows.line_num}"] = [f"{error.target}: {error.message}"]
            if len(errors) >= _SHOWN or len(found) > AT_MOST:
                break
    except csv.Error as error:
        raise Invalid(f"Line {rows.line_num or 1} is not CSV: {error}.", target="csv") from None
    if len(found) > AT_MOST:
        raise Invalid(f"At most {AT_MOST} prices at once.", target="csv")
    if errors:
        line, messages = next(iter(errors.items()))
        raise Invalid(f"Nothing was changed. {line}: {messages[0]}", target="csv", errors=errors)
    return [price for _, price in found.values()]


def _columns(first_line: Sequence[str] | None, carrier: str | None) -> list[str]:
    names = [name.strip() for name in first_line or ()]
    needed = {"prefix", "price"} | ({"carrier"} if carrier is None else set[str]())
    if set(names) - set(COLUMNS) or needed - set(names) or len(set(names)) != len(names):
        raise Invalid(
            "The first line names the columns: prefix, price, and carrier where none is given for all lines.",
            target="csv",
        )
    if carrier is not None and "carrier" in names:
        raise Invalid("The file names carriers itself: give none for all lines.", target="carrier")
    return names


def _price(row: Mapping[str | None, object], carrier: str | None) -> Price:
    if None in row:
        raise Invalid("more values than the first line has columns", target="line")
    values = {str(name): "" if value is None else str(value).strip() for name, value in row.items()}
    name = carrier or values["carrier"]
    if not name:
        raise Invalid("Must name a carrier.", target="carrier")
    try:
        amount = Decimal(values["price"])
    except InvalidOperation:
        raise Invalid("Must be an amount of money, such as 0.0075.", target="price") from None
    return Price(name, checked_prefix(values["prefix"]), checked_amount(amount))
