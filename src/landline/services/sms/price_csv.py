"""Reads carriers' price lists: CSV with a header."""

from collections.abc import Mapping, Sequence

from landline.core import money
from landline.core.errors import Invalid
from landline.edge import csv_files
from landline.services.sms.model.prices import Price, checked_amount, checked_prefix

COLUMNS = ("carrier", "prefix", "price")
AT_MOST = 50_000


def read(text: str, carrier: str | None) -> list[Price]:
    """The prices of a CSV file, all of them or none; of `carrier` where the file does not name any. Raises `Invalid`,
    by line, for up to 20 bad lines."""
    on_line: dict[tuple[str, str], int] = {}

    def price(row: Mapping[str | None, object], line: int) -> Price:
        found = _price(row, carrier)
        before = on_line.setdefault((found.carrier, found.prefix), line)
        if before != line:
            raise Invalid(f"{found.prefix} of {found.carrier} is on line {before} already", target="prefix")
        return found

    return csv_files.read(
        text, lambda names: _columns(names, carrier), price, at_most=AT_MOST, what="prices", done="changed"
    )


def _columns(names: Sequence[str], carrier: str | None) -> list[str]:
    needed = {"prefix", "price"} | ({"carrier"} if carrier is None else set[str]())
    if set(names) - set(COLUMNS) or needed - set(names) or len(set(names)) != len(names):
        raise Invalid(
            "The first line names the columns: prefix, price, and carrier where none is given for all lines.",
            target="csv",
        )
    if carrier is not None and "carrier" in names:
        raise Invalid("The file names carriers itself: give none for all lines.", target="carrier")
    return list(names)


def _price(row: Mapping[str | None, object], carrier: str | None) -> Price:
    values = {str(name): "" if value is None else str(value).strip() for name, value in row.items()}
    name = carrier or values["carrier"]
    if not name:
        raise Invalid("Must name a carrier.", target="carrier")
    amount = money.read(values["price"])
    if amount is None:
        raise Invalid("Must be an amount of money, such as 0.0075.", target="price")
    return Price(name, checked_prefix(values["prefix"]), checked_amount(amount))
